//! The errors of replay files.

use std::{fmt, io, path::PathBuf};

use alloy_primitives::{Address, B256, U256};

use super::limits::{REPLAY_BYTES_MAX, TOUCHED_MAX};
use crate::{
    BlockError,
    host::{
        BatchError,
        block_file::{BATCH_GAS_MAX, GAS_LIMIT_MAX},
        chain_config::ChainConfigError,
        unsupported_chain::UnsupportedChain,
    },
};

/// The place of a fault: a block, and a transaction of it by its place, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block's number.
    pub block: u64,
    /// None for a fault of the whole block.
    pub transaction: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transaction {
            Some(index) => write!(f, "transaction {index} of block {}", self.block),
            None => write!(f, "block {}", self.block),
        }
    }
}

/// A value that differs from the expected one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: the {what} is {actual}, and the file says {expected}")]
pub struct Difference {
    /// The place in the file.
    pub place: Place,
    /// The name of the value, e.g. `gas used`.
    pub what: &'static str,
    /// The value by the file's own transactions and headers, or by executing them.
    pub actual: String,
    /// The value in the file.
    pub expected: String,
}

/// A difference from the chain or from the file, in blocks that are replayed all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// The tracer states an outcome of a transaction that its own headers contradict. The execution
    /// agrees with the headers.
    Tracer(Difference),
    /// A transaction asks for the hashes of earlier blocks (BLOCKHASH), which are synthetic ones.
    BlockHashes {
        /// The transaction.
        place: Place,
        /// The earliest of those blocks.
        oldest: u64,
        /// The number of hashes that it asks for.
        count: usize,
    },
    /// A transaction, or a block in a part that no transaction's outcome has, has another result
    /// with the hashes of synthetic headers than on the chain. The chain's result is the expected
    /// one.
    Hashes(Difference),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracer(difference) => write!(f, "{difference}; the block's header agrees with the first"),
            Self::BlockHashes { place, oldest, count } => write!(
                f,
                "{place} asks for {count} hashes of earlier blocks, from block {oldest} on, which are synthetic"
            ),
            Self::Hashes(Difference {
                place,
                what,
                actual,
                expected,
            }) => write!(
                f,
                "{place} depends on synthetic hashes: its {what} is {actual}, and {expected} on the chain"
            ),
        }
    }
}

/// Each variant is one thing that can be wrong with a replay file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The operating system would not give us the file, or its compression is damaged.
    #[error("cannot read replay file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// More JSON than [`REPLAY_BYTES_MAX`].
    #[error(
        "the replay file has more than the {REPLAY_BYTES_MAX} bytes of JSON that are read; divide its blocks among several"
    )]
    TooLarge,
    /// The file is not the JSON of a replay file.
    #[error("the file is not the JSON of a replay file: {detail}")]
    Json {
        /// The fault, with line and column.
        detail: String,
    },
    /// The file has no blocks.
    #[error("the replay file has no blocks")]
    NoBlocks,
    /// No transaction says which chain it is for.
    #[error("no transaction of the replay file has a chain id, so its chain is not known")]
    NoChain,
    /// The chain is neither built in nor described.
    #[error(
        "chain {chain_id} is not built in (Linea, 59144, and Linea Sepolia, 59141, are): give the `config` object of its geth \
         genesis file (--chain-config)"
    )]
    UnknownChain {
        /// The chain id of the transactions.
        chain_id: u64,
    },
    /// The chain's rules are known not to be supported.
    #[error(transparent)]
    UnsupportedChain(#[from] UnsupportedChain),
    /// The chain's rules cannot be read.
    #[error("the chain configuration is wrong: {0}")]
    ChainConfig(#[from] ChainConfigError),
    /// The block's rules are not supported.
    #[error("block {block} cannot be replayed: {source}")]
    Fork {
        /// The block's number.
        block: u64,
        /// The rules that are not supported.
        source: BlockError,
    },
    /// A transaction is of a type that replay files are not read with.
    #[error("{place} has the type {tx_type}; FRONTIER, ACCESS_LIST and EIP1559 are read")]
    TransactionType {
        /// The transaction.
        place: Place,
        /// Its type, shortened where it is long.
        tx_type: String,
    },
    /// A transaction lacks a price, or has an invalid signature.
    #[error("{place}: {detail}")]
    Transaction {
        /// The transaction.
        place: Place,
        /// Its fault.
        detail: &'static str,
    },
    /// The file contradicts itself, or the result of executing its blocks.
    #[error("{0}")]
    Conflict(#[from] Difference),
    /// A block has room for more gas than is executed.
    #[error(
        "{place} has the gas limit {actual}, and {GAS_LIMIT_MAX} are allowed; executing it could take for ever"
    )]
    GasLimit {
        /// The block.
        place: Place,
        /// The number in its header.
        actual: u64,
    },
    /// The transactions of all blocks may take more gas than is executed.
    #[error(
        "the transactions of the replay file may take {actual} gas, and {BATCH_GAS_MAX} are allowed: divide its blocks among several"
    )]
    Gas {
        /// The sum over its blocks.
        actual: u64,
    },
    /// The blocks may take more gas with their system calls, since the state has another code there
    /// than Ethereum.
    #[error(
        "the transactions and system calls of the replay file may take {actual} gas, and {BATCH_GAS_MAX} are allowed: divide its blocks among several"
    )]
    SystemCalls {
        /// The sum over its blocks.
        actual: u64,
    },
    /// The first block of a chain has no block before it.
    #[error("the replay file begins with block 0, which follows no block and is not executed; leave it out")]
    Genesis,
    /// The blocks touch more of the state than tries are made for.
    #[error(
        "{place} is where the blocks have touched more than {TOUCHED_MAX} accounts and slots, which is the most that synthetic tries \
         are made for; divide the file's blocks among several"
    )]
    TooMuchTouched {
        /// The place in the file.
        place: Place,
    },
    /// A slot has a value, and its account is missing.
    #[error("the replay file lists {what} with a value, and has no such account")]
    Orphan {
        /// The slot.
        what: Unlisted,
    },
    /// An account or slot is listed twice.
    #[error("the replay file lists {what} twice")]
    Twice {
        /// The account or slot.
        what: Unlisted,
    },
    /// The execution reads a part of the state that the file does not have.
    #[error("{place} reads {what}, which the replay file does not have")]
    Missing {
        /// The place in the file.
        place: Place,
        /// The missing part.
        what: Unlisted,
    },
    /// A transaction is not valid.
    #[error("{place} cannot be executed: {reason}")]
    Invalid {
        /// The transaction, or the block if a system call fails.
        place: Place,
        /// Why.
        reason: String,
    },
    /// A transaction reads something on the synthetic chain that it does not read on the real one,
    /// because it depends on the hash of an earlier block.
    #[error(
        "{place} reads something else on a chain with a synthetic state: it depends on the hash of an earlier block, so that it \
         cannot be replayed"
    )]
    OtherReads {
        /// The block, and the transaction if it is known.
        place: Place,
    },
    /// The result is not a valid batch: a mistake in this crate, or a block that no chain has.
    #[error("the replayed blocks are not a valid batch: {0}")]
    Batch(#[from] Box<BatchError>),
}

/// A part of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unlisted {
    /// An account.
    Account(Address),
    /// A slot of an account.
    Slot(Address, U256),
    /// A code, by its hash.
    Code(B256),
    /// The hash of a block, by its number.
    BlockHash(u64),
    /// More accounts and slots than tries are made for.
    TooMuch,
}

impl fmt::Display for Unlisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(address) => write!(f, "account {address}"),
            Self::Slot(address, slot) => write!(f, "slot {slot:#x} of account {address}"),
            Self::Code(hash) => write!(f, "the code with hash {hash}"),
            Self::BlockHash(number) => write!(f, "the hash of block {number}"),
            Self::TooMuch => write!(f, "more than {TOUCHED_MAX} accounts and slots"),
        }
    }
}

impl std::error::Error for Unlisted {}

impl revm::database_interface::DBErrorMarker for Unlisted {}
