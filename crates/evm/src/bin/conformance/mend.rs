//! Mends what an invalid block says of its own body and of its execution.
//!
//! The author of a fixture broke one rule, and could not always know the roots that a validator
//! without that rule would find. A block that is refused for such a root alone does not show that
//! the rule is there.

use alloy_rlp::Decodable;
use myriad_evm::{Block, BlockError, StatelessInput};

/// Puts into the header what the error says that it has to be; gives the name of the field, or
/// `None` where the error is of another kind or the block cannot be decoded.
pub fn mend(input: &mut StatelessInput, error: &BlockError) -> Option<&'static str> {
    let mut block = Block::decode(&mut input.block.as_ref()).ok()?;
    let header = &mut block.header;
    let field = match *error {
        BlockError::TransactionsRoot { actual, .. } => {
            header.transactions_root = actual;
            "transactions root"
        }
        BlockError::WithdrawalsRoot { actual, .. } => {
            header.withdrawals_root = Some(actual);
            "withdrawals root"
        }
        BlockError::BlobGasUsed { expected, .. } => {
            header.blob_gas_used = Some(expected);
            "blob gas used"
        }
        BlockError::GasUsedOverLimit { gas_limit, .. } => {
            header.gas_used = gas_limit;
            "gas used"
        }
        BlockError::GasUsed { actual, .. } => {
            header.gas_used = actual;
            "gas used"
        }
        BlockError::ReceiptsRoot { actual, .. } => {
            header.receipts_root = actual;
            "receipts root"
        }
        BlockError::RequestsHash { actual, .. } => {
            header.requests_hash = Some(actual);
            "requests hash"
        }
        BlockError::StateRoot { actual, .. } => {
            header.state_root = actual;
            "state root"
        }
        _ => return None,
    };
    input.block = alloy_rlp::encode(&block).into();
    Some(field)
}
