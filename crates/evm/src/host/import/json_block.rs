//! Makes RLP again of a block as `eth_getBlockByNumber` has it, for nodes without
//! `debug_getRawBlock`.

use alloy_consensus::{BlockBody, Header, proofs};
use alloy_eips::eip4895::{Withdrawal, Withdrawals};
use alloy_primitives::{B256, Bytes};
use serde::Deserialize;
use serde_json::Value;

use super::{BlockId, ImportError, unsupported};
use crate::{Block, Transaction, host::transaction_type::UnsupportedType};

/// A header, and its hash as the node says it.
#[derive(Deserialize)]
pub(super) struct JsonHeader {
    hash: B256,
    #[serde(flatten)]
    header: Header,
}

/// A whole block.
#[derive(Deserialize)]
pub(super) struct JsonBlock {
    #[serde(flatten)]
    header: JsonHeader,
    transactions: Vec<Value>,
    withdrawals: Option<Vec<Withdrawal>>,
}

impl JsonHeader {
    /// The header as RLP.
    ///
    /// # Errors
    /// It has another hash than the node says: there is more to it than was understood.
    pub(super) fn encode(&self) -> Result<Bytes, ImportError> {
        self.check()?;
        Ok(alloy_rlp::encode(&self.header).into())
    }

    fn check(&self) -> Result<(), ImportError> {
        self.same("hash", self.hash, self.header.hash_slow())
    }

    fn same(&self, what: &'static str, named: B256, given: B256) -> Result<(), ImportError> {
        if named == given {
            return Ok(());
        }
        Err(ImportError::OtherContent {
            number: self.header.number,
            what,
            named,
            given,
        })
    }
}

impl JsonBlock {
    /// The block as RLP. Since the Merge there are no ommers.
    ///
    /// # Errors
    /// A transaction is of a type that is not supported, or the block has another hash or other
    /// transactions than the node says.
    pub(super) fn encode(self, method: &'static str, id: BlockId) -> Result<Bytes, ImportError> {
        let mut transactions: Vec<Transaction> = Vec::with_capacity(self.transactions.len());
        for (index, json) in self.transactions.into_iter().enumerate() {
            let tx_type = json.get("type").and_then(Value::as_str);
            if let Some(source) = tx_type.and_then(|text| UnsupportedType::of_json(index, text)) {
                return Err(unsupported(id, source));
            }
            let transaction = serde_json::from_value(json).map_err(|error| ImportError::Malformed {
                method,
                detail: format!("`transactions[{index}]`: {error}"),
            })?;
            transactions.push(transaction);
        }
        let header = self.header;
        header.check()?;
        let given = proofs::calculate_transaction_root(&transactions);
        header.same("transactions root", header.header.transactions_root, given)?;
        let block = Block {
            header: header.header,
            body: BlockBody {
                transactions,
                ommers: Vec::new(),
                withdrawals: self.withdrawals.map(Withdrawals::new),
            },
        };
        Ok(alloy_rlp::encode(&block).into())
    }
}
