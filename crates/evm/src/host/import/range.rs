//! Imports consecutive blocks from a node as one file: `myriad block import --block A..B`.

use std::{collections::HashSet, fmt, ops::RangeInclusive, str::FromStr};

use alloy_primitives::Bytes;

use super::{
    BlockId, ImportOptions, Node, add_witness, chain_id, check_chain,
    error::{BlocksError, ImportError},
    without_witness,
};
use crate::{
    host::{
        BatchError, BlockFile,
        batch::batch_file,
        block_file::{BATCH_GAS_MAX, gas_max},
    },
    input::{BLOCKS_MAX, INPUT_BYTES_MAX},
};

/// The block to import, or the consecutive ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// A single one.
    One(BlockId),
    /// The blocks from one number to another, both included: 1 to [`BLOCKS_MAX`].
    Range(RangeInclusive<u64>),
}

impl FromStr for Blocks {
    type Err = BlocksError;

    /// Reads a [`BlockId`], or `A..B` with two numbers.
    fn from_str(text: &str) -> Result<Self, BlocksError> {
        let Some((first, last)) = text.split_once("..") else {
            return Ok(Self::One(text.parse()?));
        };
        let (BlockId::Number(first), BlockId::Number(last)) = (first.parse()?, last.parse()?) else {
            return Err(BlocksError::NoNumber);
        };
        check_range(first, last)?;
        Ok(Self::Range(first..=last))
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(id) => id.fmt(f),
            Self::Range(range) => write!(f, "{}..{}", range.start(), range.end()),
        }
    }
}

fn check_range(first: u64, last: u64) -> Result<(), BlocksError> {
    let Some(more) = last.checked_sub(first) else {
        return Err(BlocksError::Backwards { first, last });
    };
    match u128::from(more) + 1 {
        count if count > BLOCKS_MAX as u128 => Err(BlocksError::TooMany { first, last, count }),
        _ => Ok(()),
    }
}

/// Fetches consecutive blocks from the node at `url`, with one witness for all of them. It executes
/// each by itself, and then all of them as the batch that they are in the file. All blocks are
/// checked before the first witness is asked for.
///
/// # Errors
/// See [`ImportError`]; a fault of one block is [`ImportError::InRange`], which names it. The
/// blocks may have [`INPUT_BYTES_MAX`] bytes, and so may the witness.
pub fn import_range(
    url: &str,
    range: RangeInclusive<u64>,
    options: &ImportOptions,
) -> Result<BlockFile, ImportError> {
    let (first, last) = (*range.start(), *range.end());
    check_range(first, last)?;
    let in_range = |number| {
        move |source| ImportError::InRange {
            number,
            first,
            last,
            source: Box::new(source),
        }
    };
    let node = Node::new(url, options)?;
    let chain_id = chain_id(&node)?;
    check_chain(chain_id, options)?;

    let mut chain_config = options.chain_config.clone();
    let mut blocks: Vec<(BlockFile, _)> = Vec::new();
    let mut bytes = 0;
    let mut gas = 0u64;
    for number in range {
        let id = BlockId::Number(number);
        let block = without_witness(&node, chain_id, &mut chain_config, id);
        let (file, header) = block.map_err(in_range(number))?;
        if let Some((_, before)) = blocks.last() {
            let given = alloy_consensus::Header::hash_slow(before);
            if header.parent_hash != given {
                let named = header.parent_hash;
                return Err(in_range(number)(ImportError::OtherParent {
                    number,
                    given,
                    named,
                }));
            }
        }
        bytes += file.block.len();
        check_bytes("have", bytes).map_err(in_range(number))?;
        // A block that cannot be decoded is refused where it is executed.
        gas = gas.saturating_add(file.decode_block().map_or(0, |block| gas_max(&block)));
        if gas > BATCH_GAS_MAX {
            let source = Box::new(BatchError::Gas { actual: gas });
            return Err(ImportError::Batch { first, last, source });
        }
        blocks.push((file, header));
    }

    let mut there = HashSet::new();
    let mut files = Vec::with_capacity(blocks.len());
    let mut parent: Option<Bytes> = None;
    bytes = 0;
    for (mut file, header) in blocks {
        let number = header.number;
        let id = BlockId::Number(number);
        let used = add_witness(&node, &mut file, &header, id, parent).map_err(in_range(number))?;
        // Nodes that an earlier block has read already are in its file.
        let witness = &mut file.witness;
        for (items, used) in [(&mut witness.state, used.state), (&mut witness.codes, used.codes)] {
            let mut used = used.into_iter();
            items.retain(|item| used.next() == Some(true) && there.insert(item.clone()));
            bytes += items.iter().map(|item| item.len()).sum::<usize>();
        }
        check_bytes("read", bytes).map_err(in_range(number))?;
        parent = Some(alloy_rlp::encode(&header).into());
        files.push(file);
    }
    batch_file(&files).map_err(|source| ImportError::Batch {
        first,
        last,
        source: Box::new(source),
    })
}

fn check_bytes(what: &'static str, actual: usize) -> Result<(), ImportError> {
    match actual {
        actual if actual > INPUT_BYTES_MAX => Err(ImportError::RangeTooLarge { what, actual }),
        _ => Ok(()),
    }
}
