//! A made-up L2 block, for users without a node: `myriad block sample` and `myriad demo`.
//!
//! It is of a chain of its own ([`CHAIN_ID`]) that nobody runs, and says so: `"synthetic": true`
//! and a description in the file, "synthetic" in the header's extra data. A stateless client sees a
//! block like those of a young rollup under Prague's rules:
//!
//! - 2^17 accounts and two ERC-20 tokens of 2^15 holders each, so that an account's proof has about
//!   6 nodes and a token slot's about 5 (on Ethereum, with 3 * 10^8 accounts, it is 8 to 9);
//! - a constant-product pool of the two tokens. The contracts are real EVM code, assembled from
//!   `token.easm` and `pool.easm`;
//! - the system contracts of EIP-2935, 4788, 7002 and 7251 with their published code, full ring
//!   buffers and empty queues. They cost the guest four calls per block, and they are what every
//!   real block since Prague has;
//! - signed EIP-1559 transactions: 35 % token transfers, 30 % payments, 20 % swaps, 10 % approvals,
//!   5 % that fail; some clear a slot, and with it make a branch of a storage trie collapse;
//! - two withdrawals, and a parent with a header.
//!
//! Equal [`SampleSpec`]s give equal bytes. State roots and witness come from alloy-trie,
//! which rebuilds each trie from all its leaves, and execution from alloy-evm's own block executor.
//! Apart from the EVM itself, the code that later validates the block is another, so that each
//! checks the other.
//!
//! It differs from a real block: the contracts are hand-written, and a tenth of the size that
//! compilers make of the same; there are no precompiles, no blobs and no delegations in it.

mod asm;
mod build;
pub mod chain_state;
mod contracts;
mod draft;
mod features;
mod genesis;
mod merkle;
mod operation_inputs;
pub mod operations;
mod osaka;
mod replay;
mod rng;
#[cfg(test)]
mod tests;
mod traffic;

pub use asm::AsmError;
pub(super) use build::Rules;
pub use build::{generate, generate_chain};
pub use features::{features, features_after_bpo, features_of_a_young_chain};
pub use replay::{Replayed, replayed, replayed_after};
pub use rng::Rng;

/// The sample's chain id: "myri".
pub const CHAIN_ID: u64 = 0x6d79_7269;

/// Transactions in a sample by default: a small rollup puts this many into a block.
pub const DEFAULT_TXS: usize = 20;

/// Most transactions in a sample. They use 50,000 gas each on average, so that 400 fill two thirds
/// of the block's 30 M gas and the costliest mix still fits.
pub const TXS_MAX: usize = 400;

/// Most accounts and most holders of a token: 2^20 of each take half a minute and 1.2 GB.
pub const ACCOUNTS_MAX: usize = 1 << 20;

/// Seconds from block to block.
const SLOT_SECONDS: u64 = 2;
/// The block before the sample's: far enough from the genesis for full ring buffers.
const PARENT_NUMBER: u64 = 1_048_575;
/// 2025-06-15 12:00 UTC.
const PARENT_TIMESTAMP: u64 = 1_749_988_800;

/// The parameters of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSpec {
    /// Transactions in the block, 0 to [`TXS_MAX`].
    pub txs: usize,
    /// Decides everything that is drawn at random.
    pub seed: u64,
    /// Accounts without a part in the block, which give the state trie its depth; 1 to
    /// [`ACCOUNTS_MAX`].
    pub accounts: usize,
    /// Holders of each token, which give its storage trie depth; 0 to [`ACCOUNTS_MAX`].
    pub token_holders: usize,
}

impl Default for SampleSpec {
    fn default() -> Self {
        Self {
            txs: DEFAULT_TXS,
            seed: 0,
            accounts: 1 << 17,
            token_holders: 1 << 15,
        }
    }
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A number of the [`SampleSpec`] is out of bounds.
    #[error("{what} {actual} is out of bounds: {min} to {max} are possible")]
    OutOfBounds {
        /// The name of the number.
        what: &'static str,
        /// Its value.
        actual: usize,
        /// The least that it can be.
        min: usize,
        /// The most that it can be.
        max: usize,
    },
    /// A contract of the sample does not assemble: a mistake in this crate.
    #[error("a contract of the sample chain does not assemble: {0}")]
    Contract(#[from] AsmError),
    /// The block does not run as planned: a mistake in this crate.
    #[error("the sample block does not run as planned: {0}")]
    Execution(String),
}
