//! Block files as one batch, with one witness: `myriad block execute` and `prove` with more than
//! one file, or with files of more than one block.
//!
//! A batch pays off if blocks are small. One proof has only one start and one end. The witness has
//! only once what several blocks read, and does not have values that one block writes and a later
//! one reads.

use std::collections::HashSet;

use alloy_primitives::{B256, Bytes};

use super::{
    BlockFile, BlockFileError, Witness,
    block_file::{BATCH_GAS_MAX, gas_max},
    system_calls::batch_gas,
};
use crate::{
    BlockError, Outcome, StatelessInput,
    codes::unpadded,
    input::{BLOCKS_MAX, CODES_MAX, HEADERS_MAX, INPUT_BYTES_MAX, STATE_NODES_MAX},
    validate_recording,
};

/// Why block files cannot be a batch. Blocks are named by their numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// There are no blocks, or too many.
    #[error("a batch cannot have {actual} blocks: 1 to {BLOCKS_MAX} are allowed")]
    Blocks {
        /// The number of files.
        actual: usize,
    },
    /// One of the files is of no use.
    #[error("block file {index} of the batch: {source}")]
    File {
        /// Its place among the files, from 0.
        index: usize,
        /// The fault of the file.
        source: BlockFileError,
    },
    /// The blocks are not of one chain.
    #[error(
        "block {number} is of another chain than the first block of the batch, or by another configuration"
    )]
    OtherChain {
        /// The block's number.
        number: u64,
    },
    /// A block does not follow the one before it.
    #[error(
        "block {number} names the parent {named}, and the block before it in the batch has the hash {before}"
    )]
    NotTheNext {
        /// The block's number.
        number: u64,
        /// The parent that it names.
        named: B256,
        /// Hash of the block before it in the batch.
        before: B256,
    },
    /// Their transactions may take more gas than [`BATCH_GAS_MAX`].
    #[error(
        "the transactions of the batch may take {actual} gas, and {BATCH_GAS_MAX} are allowed: make it of fewer blocks"
    )]
    Gas {
        /// The sum over its blocks.
        actual: u64,
    },
    /// The blocks may take more gas with their system calls, since the state has another code there
    /// than Ethereum.
    #[error(
        "the transactions and system calls of the batch may take {actual} gas, and {BATCH_GAS_MAX} are allowed: make it of fewer blocks"
    )]
    SystemCalls {
        /// The sum over its blocks.
        actual: u64,
    },
    /// A block is not valid, or its witness does not suffice.
    #[error(transparent)]
    Invalid(#[from] BlockError),
    /// All blocks together have too many parts.
    #[error("the batch has {actual} {what}, and {max} are allowed: make it of fewer blocks")]
    TooMany {
        /// State nodes or codes.
        what: &'static str,
        /// The number of blocks.
        actual: usize,
        /// The most blocks.
        max: usize,
    },
    /// All blocks together are too long.
    #[error("the batch has {actual} bytes of input for the guest, and {max} are allowed: make it of fewer blocks", max = INPUT_BYTES_MAX)]
    TooLong {
        /// Bytes of input.
        actual: usize,
    },
}

/// Joins block files in the order of their blocks, executes the batch, and keeps only the needed
/// parts of the witnesses.
///
/// # Errors
/// See [`BatchError`]. A block that does not follow its predecessor is refused before anything is
/// executed.
pub fn batch(files: &[BlockFile]) -> Result<(StatelessInput, Outcome), BatchError> {
    let mut input = join(files)?;
    match batch_gas(&input) {
        actual if actual > BATCH_GAS_MAX => return Err(BatchError::SystemCalls { actual }),
        _ => {}
    }
    let (outcome, used) = validate_recording(&input)?;
    retain(&mut input.state, &used.state);
    retain(&mut input.codes, &used.codes);
    for (what, actual, max) in [
        ("state nodes", input.state.len(), STATE_NODES_MAX),
        ("codes", input.codes.len(), CODES_MAX),
    ] {
        if actual > max {
            return Err(BatchError::TooMany { what, actual, max });
        }
    }
    match input.encoded_bytes() {
        actual if actual > INPUT_BYTES_MAX => Err(BatchError::TooLong { actual }),
        _ => Ok((input, outcome)),
    }
}

/// One block file for a batch: the same blocks, and the parts of the witnesses that they need.
///
/// # Errors
/// The errors of [`batch`].
pub fn batch_file(files: &[BlockFile]) -> Result<BlockFile, BatchError> {
    let (input, _) = batch(files)?;
    Ok(BlockFile {
        chain_id: input.chain.chain_id,
        block: input.block,
        later: input.later,
        parent: input.parent,
        witness: Witness {
            state: input.state,
            codes: input.codes.iter().filter_map(unpadded).collect(),
            headers: input.headers,
        },
        chain_config: files.first().and_then(|file| file.chain_config.clone()),
        synthetic: files.iter().any(|file| file.synthetic),
        description: None,
    })
}

fn retain(items: &mut Vec<Bytes>, used: &[bool]) {
    let mut used = used.iter();
    items.retain(|_| used.next().is_some_and(|used| *used));
}

/// The blocks with all of their witnesses.
fn join(files: &[BlockFile]) -> Result<StatelessInput, BatchError> {
    let actual = files.iter().map(|file| 1 + file.later.len()).sum();
    let Some((first, rest)) = files.split_first().filter(|_| actual <= BLOCKS_MAX) else {
        return Err(BatchError::Blocks { actual });
    };
    let of_file = |index| move |source| BatchError::File { index, source };
    let mut input = first.to_input().map_err(of_file(0))?;
    if rest.is_empty() {
        // Validation names the fault of the block itself.
        return Ok(input);
    }
    let mut gas = 0u64;
    let mut ends = |index, file: &BlockFile| {
        let blocks = file.decode_blocks().map_err(of_file(index))?;
        gas = blocks.iter().map(gas_max).fold(gas, u64::saturating_add);
        if gas > BATCH_GAS_MAX {
            return Err(BatchError::Gas { actual: gas });
        }
        let mut blocks = blocks.into_iter();
        let first = blocks.next().expect("there is a first one").header;
        let last = blocks
            .next_back()
            .map_or_else(|| first.clone(), |block| block.header);
        Ok::<_, BatchError>((first, last))
    };
    let (_, mut before) = ends(0, first)?;
    let mut state: HashSet<_> = input.state.iter().cloned().collect();
    let mut codes: HashSet<_> = input.codes.iter().cloned().collect();
    let mut headers: HashSet<_> = input.headers.iter().cloned().collect();
    for (index, file) in (1..).zip(rest) {
        let (header, last) = ends(index, file)?;
        let number = header.number;
        let hash = before.hash_slow();
        if header.parent_hash != hash {
            return Err(BatchError::NotTheNext {
                number,
                named: header.parent_hash,
                before: hash,
            });
        }
        let next = file.to_input().map_err(of_file(index))?;
        if next.chain != input.chain {
            return Err(BatchError::OtherChain { number });
        }
        input.later.push(next.block);
        input.later.extend(next.later);
        add(&mut input.state, &mut state, next.state, usize::MAX);
        add(&mut input.codes, &mut codes, next.codes, usize::MAX);
        // The headers of the batch's own blocks are known.
        headers.insert(alloy_rlp::encode(&before).into());
        add(&mut input.headers, &mut headers, next.headers, HEADERS_MAX);
        before = last;
    }
    Ok(input)
}

/// Adds the items that are not there yet, up to a number of items.
fn add(items: &mut Vec<Bytes>, there: &mut HashSet<Bytes>, more: Vec<Bytes>, max: usize) {
    for item in more {
        if items.len() < max && there.insert(item.clone()) {
            items.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::Header;

    use super::*;
    use crate::{
        Parent,
        error::WitnessError,
        host::sample::{SampleSpec, generate_chain},
        trie::TrieError,
        validate,
    };

    const BLOCKS: usize = 4;

    fn files() -> Vec<BlockFile> {
        let spec = SampleSpec {
            txs: 40,
            seed: 5,
            accounts: 2_000,
            token_holders: 500,
        };
        generate_chain(&spec, BLOCKS).unwrap()
    }

    fn headers(files: &[BlockFile]) -> Vec<Header> {
        files
            .iter()
            .map(|file| file.decode_block().unwrap().header)
            .collect()
    }

    #[test]
    fn a_batch_says_what_its_blocks_say() {
        let files = files();
        let headers = headers(&files);
        let (input, outcome) = batch(&files).unwrap();
        let singles = files
            .iter()
            .map(|file| validate(&file.to_input().unwrap()).unwrap());
        let singles: Vec<_> = singles.collect();
        let last = &singles[BLOCKS - 1];
        assert_eq!(
            (
                outcome.blocks,
                outcome.number,
                outcome.block_hash,
                outcome.state_root
            ),
            (BLOCKS, last.number, last.block_hash, last.state_root)
        );
        assert_eq!(outcome.parent_state_root, singles[0].parent_state_root);
        assert_eq!(outcome.transactions, 40);
        let gas: u64 = headers.iter().map(|header| header.gas_used).sum();
        assert_eq!(outcome.gas_used, gas);
        assert!(
            singles
                .iter()
                .all(|single| single.public_values != outcome.public_values)
        );

        // The witness is the guest's, with nothing that it does not need.
        let decoded = StatelessInput::decode(input.encode().into()).unwrap();
        let (again, used) = validate_recording(&decoded).unwrap();
        assert_eq!(again, outcome);
        assert!(used.state.iter().chain(&used.codes).all(|used| *used));
        let apart: usize = files.iter().map(|file| file.witness.state_bytes()).sum();
        let bytes: usize = input.state.iter().map(|node| node.len()).sum();
        assert!(10 * bytes < 9 * apart, "{bytes} bytes of nodes, {apart} apart");

        // A batch of one block is like the block itself.
        let (single, outcome) = batch(&files[..1]).unwrap();
        assert_eq!(outcome, singles[0]);
        assert!(single.later.is_empty());
    }

    /// The result is the same however the blocks are divided among files.
    #[test]
    fn one_file_says_what_several_say() {
        let files = files();
        let (input, outcome) = batch(&files).unwrap();
        let whole = batch_file(&files).unwrap();
        assert_eq!(whole.later.len(), BLOCKS - 1);
        assert_eq!(
            batch(std::slice::from_ref(&whole)).unwrap(),
            (input, outcome.clone())
        );
        let start = batch_file(&files[..2]).unwrap();
        let end = batch_file(&files[2..]).unwrap();
        let middle = batch_file(&files[1..3]).unwrap();
        for parts in [
            vec![start.clone(), end.clone()],
            vec![start.clone(), files[2].clone(), files[3].clone()],
            vec![files[0].clone(), middle.clone(), files[3].clone()],
        ] {
            assert_eq!(batch(&parts).unwrap().1, outcome);
        }
        for parts in [vec![end, start.clone()], vec![start, middle]] {
            let error = batch(&parts).unwrap_err();
            assert!(matches!(error, BatchError::NotTheNext { .. }), "{error}");
        }
        let too_many = vec![whole; BLOCKS_MAX / BLOCKS + 1];
        let error = batch(&too_many).unwrap_err();
        assert!(
            matches!(error, BatchError::Blocks { actual } if actual == BLOCKS_MAX + BLOCKS),
            "{error}"
        );
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let files = files();
        let refused = |order: &[usize]| {
            let files: Vec<_> = order.iter().map(|&at| files[at].clone()).collect();
            let Err(BatchError::NotTheNext { number, .. }) = batch(&files) else {
                panic!("{order:?} is no batch")
            };
            // The guest refuses the same.
            let mut input = files[0].to_input().unwrap();
            input.later = files[1..].iter().map(|file| file.block.clone()).collect();
            match validate(&input) {
                Err(BlockError::InBatch {
                    number: named,
                    source,
                }) => {
                    assert!(matches!(*source, BlockError::ParentHash { .. }), "{source}");
                    assert_eq!(named, number);
                }
                other => panic!("{order:?}: {other:?}"),
            }
        };
        refused(&[0, 2]);
        refused(&[1, 0]);
        refused(&[0, 1, 1]);
        assert!(matches!(batch(&[]), Err(BatchError::Blocks { actual: 0 })));
        let mut other = files.clone();
        other[1].chain_config.as_mut().unwrap()["osakaTime"] = serde_json::json!(u64::MAX);
        assert!(matches!(batch(&other), Err(BatchError::OtherChain { .. })));
    }

    #[test]
    fn a_later_block_is_checked_as_the_first_one_is() {
        let files = files();
        let (input, _) = batch(&files).unwrap();
        let numbers: Vec<_> = headers(&files).iter().map(|header| header.number).collect();
        let changed = |change: fn(&mut crate::Block)| {
            let mut input = input.clone();
            let mut block = files[BLOCKS - 1].decode_block().unwrap();
            change(&mut block);
            input.later[BLOCKS - 2] = alloy_rlp::encode(&block).into();
            match validate(&input) {
                Err(BlockError::InBatch { number, source }) => {
                    assert_eq!(number, numbers[BLOCKS - 1]);
                    *source
                }
                other => panic!("{other:?}"),
            }
        };
        let error = changed(|block| block.header.state_root = B256::ZERO);
        assert!(matches!(error, BlockError::StateRoot { .. }), "{error}");
        let error = changed(|block| block.header.timestamp -= 2);
        assert!(matches!(error, BlockError::Timestamp { .. }), "{error}");
        let error = changed(|block| drop(block.body.transactions.pop()));
        assert!(matches!(error, BlockError::TransactionsRoot { .. }), "{error}");
        let error = changed(|block| block.header.gas_used += 1);
        assert!(matches!(error, BlockError::GasUsed { .. }), "{error}");
    }

    /// Each node is needed by some block.
    #[test]
    fn a_batch_without_one_of_its_nodes_is_refused() {
        let (full, outcome) = batch(&files()).unwrap();
        let mut of_later_blocks = 0;
        for at in (0..full.state.len()).step_by(5) {
            let mut input = full.clone();
            input.state.remove(at);
            match validate(&input) {
                Err(BlockError::InBatch { number, source }) => {
                    assert!(
                        matches!(
                            *source,
                            BlockError::Witness(WitnessError::Trie {
                                error: TrieError::MissingNode { .. },
                                ..
                            })
                        ),
                        "{source}"
                    );
                    of_later_blocks += usize::from(number == outcome.number);
                }
                other => panic!("without node {at}: {other:?}"),
            }
        }
        assert!(of_later_blocks > 0);
    }

    /// The statement about a batch includes its number of blocks, and whether the first one's
    /// parent was known.
    #[test]
    fn public_values_tell_batches_apart() {
        let files = files();
        let (input, full) = batch(&files).unwrap();
        let mut unchecked = input;
        unchecked.parent = Parent::StateRoot(full.parent_state_root);
        let unchecked = validate(&unchecked).unwrap();
        assert!(!unchecked.skipped.is_empty());
        assert_ne!(unchecked.public_values, full.public_values);
        let chain = &files[0].chain().unwrap();
        let by_count = |blocks| {
            crate::execute::public_values(
                chain,
                full.parent_state_root,
                full.state_root,
                full.block_hash,
                blocks,
                &[],
            )
        };
        assert_eq!(by_count(BLOCKS), full.public_values);
        assert!(
            [1, 2, 3]
                .into_iter()
                .all(|blocks| by_count(blocks) != full.public_values)
        );
    }
}
