//! Receipts, as the block executor builds them.

use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, TxType};
use alloy_evm::{
    Evm,
    eth::receipt_builder::{ReceiptBuilder, ReceiptBuilderCtx},
};

use crate::Transaction;

/// Makes the receipts of [`Transaction`]s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipts;

impl ReceiptBuilder for Receipts {
    type Transaction = Transaction;
    type Receipt = ReceiptEnvelope;

    fn build_receipt<E: Evm>(&self, made: ReceiptBuilderCtx<'_, TxType, E>) -> ReceiptEnvelope {
        let receipt = Receipt {
            status: Eip658Value::Eip658(made.result.is_success()),
            cumulative_gas_used: made.cumulative_gas_used,
            logs: made.result.into_logs(),
        };
        let receipt = receipt.with_bloom();
        match made.tx_type {
            TxType::Legacy => ReceiptEnvelope::Legacy(receipt),
            TxType::Eip2930 => ReceiptEnvelope::Eip2930(receipt),
            TxType::Eip1559 => ReceiptEnvelope::Eip1559(receipt),
            TxType::Eip4844 => ReceiptEnvelope::Eip4844(receipt),
            TxType::Eip7702 => ReceiptEnvelope::Eip7702(receipt),
        }
    }
}
