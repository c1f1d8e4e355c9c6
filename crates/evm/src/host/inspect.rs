//! Summarises a block file: `myriad block inspect`.

use std::iter;

use alloy_consensus::Transaction as _;
use alloy_primitives::B256;
use serde::Serialize;

use super::{BlockFile, BlockFileError};
use crate::{ChainConfig, Parent};

/// A summary of a block file. For a batch, values after a block are the last one's, and values
/// before a block the first one's. All numbers are sums, except for those two blocks' own. Its JSON
/// has the names of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockSummary {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Whether the chain's rules are built in; otherwise they come from the file.
    pub chain_built_in: bool,
    /// The rules that hold for the block; absent where they are not supported.
    pub fork: Option<String>,
    /// The number of blocks.
    pub blocks: usize,
    /// Block number.
    pub number: u64,
    /// Hash of the block's header.
    pub block_hash: B256,
    /// Hash of the parent's header, as the block says.
    pub parent_hash: B256,
    /// Whether the file has the parent's header; without it, a block can be executed but not
    /// proven.
    pub parent_header_known: bool,
    /// Root of the state before the block, as the file says.
    pub parent_state_root: B256,
    /// Root of the state after the block, as the block says.
    pub state_root: B256,
    /// Unix time, in seconds.
    pub timestamp: u64,
    /// The gas that the blocks use, by their headers.
    pub gas_used: u64,
    /// Most gas that they may use.
    pub gas_limit: u64,
    /// Wei per gas, in the last block.
    pub base_fee_per_gas: Option<u64>,
    /// Transactions.
    pub transactions: usize,
    /// Transactions by their type.
    pub transaction_types: TransactionTypes,
    /// Blobs that the transactions carry (EIP-4844).
    pub blobs: u64,
    /// Withdrawals (EIP-4895).
    pub withdrawals: usize,
    /// Size of the blocks' RLP, in bytes.
    pub block_bytes: usize,
    /// The parts of the witness.
    pub witness: WitnessSummary,
    /// The block was made up.
    pub synthetic: bool,
    /// A text for people.
    pub description: Option<String>,
}

impl BlockSummary {
    /// Number of the first block of a batch.
    pub fn first_number(&self) -> u64 {
        // A header can say anything.
        self.number.saturating_sub(self.blocks as u64 - 1)
    }
}

/// The number of transactions of each type (EIP-2718).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransactionTypes {
    /// Transactions without a type.
    pub legacy: usize,
    /// Type 1, with an access list.
    pub eip2930: usize,
    /// Type 2, with a tip.
    pub eip1559: usize,
    /// Type 3, with blobs.
    pub eip4844: usize,
    /// Type 4, with delegations.
    pub eip7702: usize,
}

/// The parts of a witness; sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessSummary {
    /// Trie nodes.
    pub state_nodes: usize,
    /// Their size.
    pub state_bytes: usize,
    /// Contract codes.
    pub codes: usize,
    /// Their size.
    pub code_bytes: usize,
    /// Headers of ancestors.
    pub headers: usize,
    /// Their size.
    pub header_bytes: usize,
}

/// Summarises a block file. It executes nothing, and checks none of the file's statements.
///
/// # Errors
/// The block or the parent is not RLP, or the chain is not known.
pub fn inspect(file: &BlockFile) -> Result<BlockSummary, BlockFileError> {
    let chain = file.chain()?;
    let blocks = file.decode_blocks()?;
    let parent_state_root = match (&file.parent, file.decode_parent()?) {
        (Parent::StateRoot(root), _) => *root,
        (Parent::Header(_), header) => header.map(|header| header.state_root).unwrap_or_default(),
    };
    let (first, last) = (&blocks[0].header, &blocks[blocks.len() - 1].header);
    let mut types = TransactionTypes::default();
    let transactions = || blocks.iter().flat_map(|block| &block.body.transactions);
    for transaction in transactions() {
        *match transaction {
            crate::Transaction::Legacy(_) => &mut types.legacy,
            crate::Transaction::Eip2930(_) => &mut types.eip2930,
            crate::Transaction::Eip1559(_) => &mut types.eip1559,
            crate::Transaction::Eip4844(_) => &mut types.eip4844,
            crate::Transaction::Eip7702(_) => &mut types.eip7702,
        } += 1;
    }
    let blobs = transactions().filter_map(|tx| tx.blob_versioned_hashes());
    let headers = || blocks.iter().map(|block| &block.header);
    // A header can say anything.
    let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::saturating_add);
    let withdrawals = blocks.iter().filter_map(|block| block.body.withdrawals.as_ref());
    Ok(BlockSummary {
        chain_id: file.chain_id,
        chain_built_in: ChainConfig::builtin(file.chain_id).is_some(),
        fork: chain
            .fork_at(last.number, last.timestamp)
            .ok()
            .map(|fork| fork.to_string()),
        blocks: blocks.len(),
        number: last.number,
        block_hash: last.hash_slow(),
        parent_hash: first.parent_hash,
        parent_header_known: matches!(file.parent, Parent::Header(_)),
        parent_state_root,
        state_root: last.state_root,
        timestamp: last.timestamp,
        gas_used: sum(&mut headers().map(|header| header.gas_used)),
        gas_limit: sum(&mut headers().map(|header| header.gas_limit)),
        base_fee_per_gas: last.base_fee_per_gas,
        transactions: transactions().count(),
        transaction_types: types,
        blobs: blobs.map(|hashes| hashes.len() as u64).sum(),
        withdrawals: withdrawals.map(|list| list.len()).sum(),
        block_bytes: iter::once(&file.block)
            .chain(&file.later)
            .map(|block| block.len())
            .sum(),
        witness: WitnessSummary {
            state_nodes: file.witness.state.len(),
            state_bytes: file.witness.state_bytes(),
            codes: file.witness.codes.len(),
            code_bytes: file.witness.code_bytes(),
            headers: file.witness.headers.len(),
            header_bytes: file.witness.headers.iter().map(|header| header.len()).sum(),
        },
        synthetic: file.synthetic,
        description: file.description.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sample::{CHAIN_ID, SampleSpec, generate};

    #[test]
    fn a_sample_is_summed_up() {
        let spec = SampleSpec {
            txs: 10,
            seed: 1,
            accounts: 500,
            token_holders: 100,
        };
        let file = generate(&spec).unwrap();
        let summary = inspect(&file).unwrap();
        assert_eq!((summary.chain_id, summary.chain_built_in), (CHAIN_ID, false));
        assert_eq!(summary.fork.as_deref(), Some("Prague"));
        assert_eq!(
            (summary.transactions, summary.transaction_types.eip1559),
            (10, 10)
        );
        assert_eq!((summary.withdrawals, summary.witness.headers), (2, 1));
        assert!(summary.synthetic && summary.parent_header_known);
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["witness"]["state_nodes"], file.witness.state.len());
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let spec = SampleSpec {
            txs: 1,
            seed: 1,
            accounts: 500,
            token_holders: 100,
        };
        let mut file = generate(&spec).unwrap();
        file.block = file.block.slice(..file.block.len() - 1);
        assert!(matches!(inspect(&file), Err(BlockFileError::BadField { .. })));
        file.chain_config = None;
        assert!(matches!(inspect(&file), Err(BlockFileError::UnknownChain { .. })));
    }
}
