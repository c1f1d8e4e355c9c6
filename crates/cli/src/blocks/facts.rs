//! The facts about a block, or a batch of them, in JSON documents.

use myriad_evm::Outcome;
use serde::Serialize;

/// A block in a JSON document.
#[derive(Serialize)]
pub struct BlockReport {
    chain_id: u64,
    number: u64,
    block_hash: String,
    parent_state_root: String,
    state_root: String,
    /// The number of blocks. The number and the hash are the last one's; all other fields are of
    /// all blocks.
    blocks: usize,
    gas_used: u64,
    transactions: usize,
}

impl BlockReport {
    pub fn of(outcome: &Outcome) -> Self {
        Self {
            chain_id: outcome.chain_id,
            number: outcome.number,
            block_hash: outcome.block_hash.to_string(),
            parent_state_root: outcome.parent_state_root.to_string(),
            state_root: outcome.state_root.to_string(),
            blocks: outcome.blocks,
            gas_used: outcome.gas_used,
            transactions: outcome.transactions,
        }
    }
}
