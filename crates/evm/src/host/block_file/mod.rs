//! A block file: one block, or a batch of consecutive ones, with the parent and the part of the
//! state that executing them needs. Every `myriad block` command reads or writes one.
//!
//! It is JSON, gzipped or not:
//!
//! | key | value |
//! |---|---|
//! | `chainId` | number |
//! | `block` | the block's RLP, in hex |
//! | `blocks` | of a batch, in place of `block`: the RLP of 1 to 1,024 blocks, each the child of the one before |
//! | `parent` | RLP of the header before the (first) block, in hex; `null` where only its state root is known |
//! | `parentStateRoot` | 32 bytes in hex, where `parent` is `null` |
//! | `witness` | `state` (trie nodes), `codes`, `headers`: lists of hex or objects with hex, as `debug_executionWitness` returns them |
//! | `chainConfig` | geth's genesis `config`, for a chain that is not built in |
//! | `synthetic`, `description` | optional: `true` for a made-up block, and a text for people |
//!
//! A batch has one witness: values that its blocks make themselves may be missing in it. Other keys
//! are ignored. A file comes from anywhere, so reading one never panics and never takes more memory
//! than the limits in this module allow. Whether its statements are *true* is for `validate` to
//! find out.

mod codec;
mod encode;
mod error;
#[cfg(test)]
mod tests;

use std::{iter, path::Path};

use alloy_consensus::{Header, Transaction};
use alloy_primitives::Bytes;
use alloy_rlp::Decodable;
use serde_json::Value;

use super::{
    chain_config::from_geth, transaction_type::UnsupportedType, unsupported_chain::UnsupportedChain,
};
use crate::{
    Block, ChainConfig, Parent, StatelessInput,
    codes::padded,
    input::{BLOCKS_MAX, INPUT_BYTES_MAX},
};
pub(super) use codec::{Bounded, RawWitness, chain_config, quantity};
pub use error::BlockFileError;

/// Most bytes of JSON of a block file, read or written, gzipped or not, and of a node's answer. A
/// block of 60 M gas that reads as much as it can has some 300 MB of nodes and codes, which are
/// twice as long in hex. Reading takes little more memory than the values have
/// (`docs/evm-block.md`). A file that inflates further is a gzip bomb.
pub const JSON_BYTES_MAX: u64 = 600 << 20;

/// The largest gas limit of a block. Ethereum's blocks have 30 to 60 M, and the largest rollups' a
/// few hundred. 10^10 would be 5 * 10^10 instructions of the guest and more, which nobody proves.
/// Executing such a block natively takes minutes and a few GB at the very most. But the gas limit
/// of a made-up block, after a made-up parent, can be 2^62, and then neither time nor the EVM's
/// memory has a bound.
pub const GAS_LIMIT_MAX: u64 = 10_000_000_000;

/// Most gas that the transactions of a batch may take together. It is no more than that of one
/// block, so that a file is executed in the same time whatever it has. Each block counts with the
/// gas that its transactions may take, and not with its gas limit, which is 2 * 10^9 in each of
/// Linea's blocks. The system calls of a block, four of 30 M gas at most, count where the state has
/// another code at their addresses than Ethereum, whose own take at most some hundred thousand gas:
/// `batch` and `replay` look.
pub const BATCH_GAS_MAX: u64 = GAS_LIMIT_MAX;

/// The fields that cannot be left out, for the message that one is missing.
const FIELDS: &str = "`chainId`, `block` or `blocks`, `parent` or `parentStateRoot`, and `witness` with `state`, `codes` and `headers`";

/// One block, or a batch of them, with its witness; see the [module](self) for the format.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockFile {
    /// EIP-155 chain id: decides which rules apply.
    pub chain_id: u64,
    /// RLP of the whole block: header, transactions, ommers, withdrawals. In a batch it is the
    /// first block.
    pub block: Bytes,
    /// The blocks after it, in a batch, each the child of the one before.
    pub later: Vec<Bytes>,
    /// The parent, as far as it is known.
    pub parent: Parent,
    /// The part of the pre-state that executing the block, or the batch, reads.
    pub witness: Witness,
    /// Geth's genesis `config` object, for a chain that is not built in. Kept as it came.
    pub chain_config: Option<Value>,
    /// The block or its state was made up, and so was its hash: it belongs to no chain that anybody
    /// runs.
    pub synthetic: bool,
    /// A text for people.
    pub description: Option<String>,
}

/// The part of the state that a block needs, as `debug_executionWitness` returns it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// RLP of trie nodes, of account and storage tries alike, in no particular order; each is found
    /// by its hash.
    pub state: Vec<Bytes>,
    /// Contract codes, each found by its hash.
    pub codes: Vec<Bytes>,
    /// RLP of headers of ancestors, for `BLOCKHASH`; may hold the parent.
    pub headers: Vec<Bytes>,
}

impl BlockFile {
    /// Reads a block file, gzipped or not.
    ///
    /// # Errors
    /// Every fault of the file's bytes. The RLP inside is looked at by
    /// [`Self::decode_block`] and others.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, BlockFileError> {
        codec::read_file(path.as_ref())
    }

    /// [`Self::read`], from the file's content.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlockFileError> {
        codec::decode(bytes, |source| BlockFileError::Read {
            path: "memory".into(),
            source,
        })
    }

    /// The file's content, gzipped: the same for the same block file, whenever and wherever this
    /// build runs (another version of the compressor may pack it otherwise).
    ///
    /// # Errors
    /// More JSON than [`JSON_BYTES_MAX`].
    pub fn to_gzip(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        encode::encode(self, &mut bytes, true, JSON_BYTES_MAX)?;
        Ok(bytes)
    }

    /// Writes the file: gzipped, or plain where the name ends in `.json`. An existing file is
    /// replaced in one step, and durably: after a crash, it is the old one or the new one.
    ///
    /// # Errors
    /// [`BlockFileError::Write`], e.g. when the disk is full, or where the file would have more
    /// than the [`JSON_BYTES_MAX`] bytes of JSON that are read. An existing file is then left as it
    /// was.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), BlockFileError> {
        self.write_within(path.as_ref(), JSON_BYTES_MAX)
    }

    /// Writes the file with another limit, in bytes of JSON.
    fn write_within(&self, path: &Path, bytes_max: u64) -> Result<(), BlockFileError> {
        let plain = path.extension().is_some_and(|extension| extension == "json");
        let written = encode::write_atomically(path, |file| encode::encode(self, file, !plain, bytes_max));
        written.map_err(|source| BlockFileError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// The block; of a batch, the first one.
    ///
    /// # Errors
    /// [`BlockFileError::TransactionType`] where a transaction has a type that is not supported;
    /// [`BlockFileError::BadField`] where `block` is no block's RLP, or has bytes left over.
    pub fn decode_block(&self) -> Result<Block, BlockFileError> {
        decode_block(self.field(0), &self.block)
    }

    /// The block, or all those of a batch in their order.
    ///
    /// # Errors
    /// The errors of [`Self::decode_block`], but [`BlockFileError::OfBatch`] for the transaction of
    /// a batch; [`BlockFileError::NotTheNext`] where one is not the child of the one before, and
    /// [`BlockFileError::TooManyBlocks`].
    pub fn decode_blocks(&self) -> Result<Vec<Block>, BlockFileError> {
        let actual = 1 + self.later.len();
        if actual > BLOCKS_MAX {
            return Err(BlockFileError::TooManyBlocks { actual });
        }
        let mut blocks: Vec<Block> = Vec::with_capacity(actual);
        for (index, rlp) in iter::once(&self.block).chain(&self.later).enumerate() {
            let block = decode_block(self.field(index), rlp).map_err(|error| match error {
                BlockFileError::TransactionType(source) if actual > 1 => {
                    BlockFileError::OfBatch { index, source }
                }
                error => error,
            })?;
            if let Some(before) = blocks.last() {
                let before = before.header.hash_slow();
                let named = block.header.parent_hash;
                if named != before {
                    return Err(BlockFileError::NotTheNext {
                        number: block.header.number,
                        named,
                        before,
                    });
                }
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// The name of one of the blocks in the JSON.
    fn field(&self, index: usize) -> String {
        if self.later.is_empty() {
            "block".to_owned()
        } else {
            format!("blocks[{index}]")
        }
    }

    /// The parent's header, where it is known.
    ///
    /// # Errors
    /// [`BlockFileError::BadField`] where `parent` is no header's RLP, or has bytes left over.
    pub fn decode_parent(&self) -> Result<Option<Header>, BlockFileError> {
        match &self.parent {
            Parent::Header(rlp) => decode_rlp("parent", rlp).map(Some),
            Parent::StateRoot(_) => Ok(None),
        }
    }

    /// The rules of the block's chain: built in, or as the file's `chainConfig` says. A built-in
    /// chain's `chainConfig` is ignored, so that no file can change mainnet's rules.
    ///
    /// # Errors
    /// [`BlockFileError::UnsupportedChain`] for a chain of the OP Stack;
    /// [`BlockFileError::UnknownChain`] where the chain is not built in and the file has no
    /// `chainConfig`; [`BlockFileError::ChainConfig`] where it is of no use.
    pub fn chain(&self) -> Result<ChainConfig, BlockFileError> {
        if let Some(chain) = ChainConfig::builtin(self.chain_id) {
            return Ok(chain);
        }
        UnsupportedChain::check(self.chain_id)?;
        let config = self.chain_config.as_ref().ok_or(BlockFileError::UnknownChain {
            chain_id: self.chain_id,
        })?;
        Ok(from_geth(config, self.chain_id)?)
    }

    /// The input of [`validate`](crate::validate) and of the guest. The bytes are shared, not
    /// copied.
    ///
    /// # Errors
    /// The errors of [`Self::chain`]; [`BlockFileError::GasLimit`] for a block that would take too
    /// long to execute, [`BlockFileError::BatchGas`] for a batch that would,
    /// [`BlockFileError::TransactionType`] for one with transactions that are not supported,
    /// [`BlockFileError::NotTheNext`] and [`BlockFileError::TooManyBlocks`] for blocks that are no
    /// batch, and [`BlockFileError::InputTooLong`] for an input that is too long for the guest. It
    /// does not check that the block is valid.
    pub fn to_input(&self) -> Result<StatelessInput, BlockFileError> {
        self.check_block()?;
        let input = StatelessInput {
            chain: self.chain()?,
            block: self.block.clone(),
            later: self.later.clone(),
            parent: self.parent.clone(),
            headers: self.witness.headers.clone(),
            state: self.witness.state.clone(),
            codes: self.witness.codes.iter().map(|code| padded(code)).collect(),
        };
        match input.encoded_bytes() {
            actual if actual > INPUT_BYTES_MAX => Err(BlockFileError::InputTooLong { actual }),
            _ => Ok(input),
        }
    }

    /// Checks that the block, or each of a batch, can be executed in bounded time, has transactions
    /// of known types, and follows the one before.
    pub(super) fn check_block(&self) -> Result<(), BlockFileError> {
        match self.decode_blocks() {
            Ok(blocks) => {
                let mut headers = blocks.iter().map(|block| &block.header);
                if let Some(header) = headers.find(|header| header.gas_limit > GAS_LIMIT_MAX) {
                    return Err(BlockFileError::GasLimit {
                        number: header.number,
                        actual: header.gas_limit,
                    });
                }
                match blocks.iter().map(gas_max).fold(0, u64::saturating_add) {
                    actual if actual > BATCH_GAS_MAX => Err(BlockFileError::BatchGas { actual }),
                    _ => Ok(()),
                }
            }
            // Bytes that are not a block are not executed either, and `validate` gives the reason.
            Err(BlockFileError::BadField { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Witness {
    /// Bytes of trie nodes.
    pub fn state_bytes(&self) -> usize {
        self.state.iter().map(|node| node.len()).sum()
    }

    /// Bytes of contract codes.
    pub fn code_bytes(&self) -> usize {
        self.codes.iter().map(|code| code.len()).sum()
    }
}

/// The most gas that the transactions of a block can take, whatever its header says.
pub(super) fn gas_max(block: &Block) -> u64 {
    let transactions = block.body.transactions.iter().map(Transaction::gas_limit);
    let gas = transactions.fold(0, u64::saturating_add);
    gas.min(block.header.gas_limit)
}

fn decode_block(field: String, rlp: &[u8]) -> Result<Block, BlockFileError> {
    decode_rlp(&field, rlp).map_err(|error| match UnsupportedType::in_block(rlp) {
        Some(unsupported) => unsupported.into(),
        None => error,
    })
}

fn decode_rlp<T: Decodable>(field: &str, rlp: &[u8]) -> Result<T, BlockFileError> {
    alloy_rlp::decode_exact(rlp).map_err(|error| {
        codec::bad(
            field,
            format!("its {} bytes do not decode as RLP: {error}", rlp.len()),
        )
    })
}
