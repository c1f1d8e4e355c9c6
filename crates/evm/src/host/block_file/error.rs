//! The errors of block files.

use std::{io, path::PathBuf};

use alloy_primitives::B256;

use super::{BATCH_GAS_MAX, GAS_LIMIT_MAX, JSON_BYTES_MAX};
use crate::{
    host::{
        chain_config::ChainConfigError, transaction_type::UnsupportedType,
        unsupported_chain::UnsupportedChain,
    },
    input::{BLOCKS_MAX, INPUT_BYTES_MAX},
};

/// Each variant is one thing that can be wrong with a block file; its text says what to do about
/// it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockFileError {
    /// The operating system did not give us the file.
    #[error("cannot read block file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The operating system did not take the file.
    #[error("cannot write block file {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is empty.
    #[error("the block file is empty; expected (gzipped) JSON")]
    Empty,
    /// More bytes on disk than [`JSON_BYTES_MAX`].
    #[error("the block file has {bytes} bytes, at most {JSON_BYTES_MAX} are read; is this a block file?")]
    TooLarge {
        /// Its size, or as much of it as was read, in bytes.
        bytes: u64,
    },
    /// It inflates to more than [`JSON_BYTES_MAX`].
    #[error(
        "the block file of {compressed_bytes} bytes inflates to more than the {JSON_BYTES_MAX} bytes that are read; \
         if its block is genuine, its witness is too large to be proven"
    )]
    InflatesTooLarge {
        /// Its size on disk, in bytes.
        compressed_bytes: usize,
    },
    /// The gzip stream stops before its end.
    #[error("the gzip stream is truncated: it stops after {compressed_bytes} bytes; fetch the file again")]
    GzipTruncated {
        /// Its size on disk, in bytes.
        compressed_bytes: usize,
    },
    /// The gzip stream is damaged: bad header, bad block or wrong checksum.
    #[error("the gzip stream is corrupt ({detail}); fetch the file again")]
    GzipCorrupt {
        /// The error of the decompressor.
        detail: String,
    },
    /// The JSON text stops before its end.
    #[error("the JSON is truncated: it stops at line {line}, column {column}, after {bytes} bytes")]
    JsonTruncated {
        /// Size of the text, in bytes.
        bytes: usize,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The file is not JSON, or has a value of another type than the format.
    #[error("the block file is not the JSON of a block file: {detail}")]
    Json {
        /// The fault, with line and column.
        detail: String,
    },
    /// A field that every block file has is missing.
    #[error("the block file has no `{field}`; it must have {}", super::FIELDS)]
    MissingField {
        /// The field's name in the JSON, e.g. `witness.state`.
        field: &'static str,
    },
    /// The file has both a block and a batch of blocks.
    #[error("the block file has both `block` and `blocks`; remove the wrong one")]
    BlockAndBlocks,
    /// A block of a batch is not the child of the one before.
    #[error(
        "block {number} names the parent {named}, and the block before it in the batch has the hash {before}"
    )]
    NotTheNext {
        /// The block's number.
        number: u64,
        /// The parent that it names.
        named: B256,
        /// Hash of the block before it.
        before: B256,
    },
    /// More blocks than a batch may have.
    #[error("the block file has {actual} blocks, and {BLOCKS_MAX} are allowed: make several files of it")]
    TooManyBlocks {
        /// The number that it has.
        actual: usize,
    },
    /// A field has a wrong value.
    #[error("`{field}` of the block file is wrong: {detail}")]
    BadField {
        /// The field's name in the JSON, e.g. `witness.state[17]`.
        field: String,
        /// The fault of the value.
        detail: String,
    },
    /// The transactions of a batch may take more gas than [`BATCH_GAS_MAX`].
    #[error(
        "the transactions of the batch may take {actual} gas, and {BATCH_GAS_MAX} are allowed: make it of fewer blocks"
    )]
    BatchGas {
        /// The sum over its blocks.
        actual: u64,
    },
    /// The block has room for more gas than [`GAS_LIMIT_MAX`].
    #[error(
        "the gas limit of block {number} is {actual}, and {GAS_LIMIT_MAX} are allowed; executing it could take for ever"
    )]
    GasLimit {
        /// The block's number.
        number: u64,
        /// The number in its header.
        actual: u64,
    },
    /// The input is longer than the guest reads.
    #[error(
        "the block and its witness have {actual} bytes, and the guest takes at most {INPUT_BYTES_MAX}: \
         the block reads too much to be proven"
    )]
    InputTooLong {
        /// Length of the guest's input, in bytes.
        actual: usize,
    },
    /// The block is of a chain with transactions of its own.
    #[error(transparent)]
    TransactionType(#[from] UnsupportedType),
    /// A block of a batch is of a chain with transactions of its own.
    #[error("`blocks[{index}]` of the block file: {source}")]
    OfBatch {
        /// The block's index, from 0.
        index: usize,
        /// The transaction in it.
        source: UnsupportedType,
    },
    /// The block is of a chain whose rules are known not to be supported.
    #[error(transparent)]
    UnsupportedChain(#[from] UnsupportedChain),
    /// The rules of the block's chain are not known.
    #[error(
        "chain {chain_id} is not built in (mainnet, 1, is), and the file has no `chainConfig`: add \
         the `config` object of the chain's geth genesis file"
    )]
    UnknownChain {
        /// The file's `chainId`.
        chain_id: u64,
    },
    /// The rules of the block's chain cannot be read.
    #[error("`chainConfig` of the block file is wrong: {0}")]
    ChainConfig(#[from] ChainConfigError),
    /// `parent` and `parentStateRoot` are both given, and contradict each other.
    #[error(
        "`parent` has the state root {header}, but `parentStateRoot` says {stated}; remove the wrong one"
    )]
    ParentContradicts {
        /// State root in the parent's header.
        header: B256,
        /// State root as stated.
        stated: B256,
    },
}
