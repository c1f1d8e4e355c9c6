//! The real traffic of a chain as block files: `myriad block replay`.
//!
//! Linea's tracer is tested with *replay files*: blocks of the chain with the outcomes of their
//! transactions, and the accounts, slots and codes that they touch, without proofs. From one, this
//! module makes a block file with the same blocks as a batch.
//!
//! *The chain's own*: transactions, signatures, senders, codes, gas, receipts, and of the headers
//! all but two fields. They are compared with the file: status, gas and logs of each transaction,
//! its sender, and of each block the transactions root, receipts root, bloom, gas used, and hash.
//!
//! *Synthetic*: the tries around the accounts and slots (`synthetic.rs`), and so the state roots,
//! the hashes of blocks, and the parent hashes. A transaction that reads the hash of an earlier
//! block reads a synthetic one. If that changes its result, its block's header has the changed
//! result, and a [`Remark`] says so.
//!
//! The blocks are executed twice by alloy-evm, with the hashes of the chain and with those of the
//! synthetic headers, and then validated as any batch is.

mod blocks;
mod error;
mod format;
mod limits;
mod listed_state;
mod run;
mod synthetic;
#[cfg(test)]
mod tests;

use std::path::Path;

use alloy_primitives::Bytes;
use serde_json::Value;

use super::{
    BlockFile, Witness, batch::batch_file, chain_config::from_geth, unsupported_chain::UnsupportedChain,
};
use crate::{ChainConfig, Parent};
use blocks::{ChainBlock, ancestors, chain_blocks};
pub use error::{Difference, Place, Remark, ReplayError, Unlisted};
use format::Replay;
pub use limits::{LEAVES_MAX, REPLAY_BYTES_MAX};
use listed_state::ListedState;
use synthetic::{Changing, Tries};

/// Blocks that have been replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// The blocks as a batch, with a synthetic state.
    pub file: BlockFile,
    /// Differences from the chain, or of the replay file from it.
    pub remarks: Vec<Remark>,
}

/// Makes a block file of a replay file, gzipped or plain JSON.
///
/// `chain_config` is geth's genesis `config` object of a chain that is not built in.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay(path: &Path, chain_config: Option<&Value>) -> Result<Replayed, ReplayError> {
    build(format::read(path)?, chain_config)
}

/// [`replay`], from the file's content.
///
/// # Errors
/// The errors of [`replay`].
pub fn replay_bytes(bytes: &[u8], chain_config: Option<&Value>) -> Result<Replayed, ReplayError> {
    let failed = |source| ReplayError::Read {
        path: "memory".into(),
        source,
    };
    build(format::decode(bytes, failed)?, chain_config)
}

#[expect(clippy::too_many_lines, reason = "the parts of a batch, in their order")]
fn build(replay: Replay, chain_config: Option<&Value>) -> Result<Replayed, ReplayError> {
    let chain = chain(blocks::chain_id(&replay.blocks.0)?, chain_config)?;
    let hashes = blocks::hashes(replay.block_hashes.0)?;
    let fork = replay.fork.as_ref().map(|name| name.0.as_str());
    let mut blocks = chain_blocks(replay.blocks.0, &chain, fork, &hashes)?;
    let before = ListedState::new(replay.accounts.0, replay.storage.0, hashes)?;
    blocks::check_system_calls(&blocks, |address| before.code_hash(address))?;
    let mut remarks = Vec::new();

    // The first run is as on the chain. Only the header before the first block is synthetic.
    let first = blocks[0].block.header.clone();
    let mut earliest = first.number.checked_sub(1).ok_or(ReplayError::Genesis)?;
    let mut listed = before.clone();
    for block in &mut blocks {
        let header = &block.block.header;
        let run = run::run(&mut listed, &chain, block)?;
        run.check(header)?;
        listed
            .hashes
            .entry(header.number)
            .or_insert_with(|| header.hash_slow());
        remarks.extend(run.differing.into_iter().map(Remark::Tracer));
        for of_one in run.hash_queries.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(place, number)) = of_one.iter().min_by_key(|(_, number)| *number) else {
                continue;
            };
            // A hash is the chain's own where no header has to have it.
            earliest = earliest.min(number.saturating_add(1));
            remarks.push(Remark::BlockHashes {
                place,
                oldest: number,
                count: of_one.len(),
            });
        }
        block.outcomes = run.outcomes;
    }

    // The second run is with the headers of the synthetic state, since everything that the blocks
    // touch is known now.
    let mut synthetic = before;
    synthetic.touch_all(&listed);
    let tries = Tries::new(&synthetic);
    let before = earliest.checked_sub(1);
    let known = before.and_then(|number| synthetic.hashes.get(&number).copied());
    let ancestors = ancestors(&first, tries.state_root, earliest, known);
    for header in &ancestors {
        synthetic.hashes.insert(header.number, header.hash_slow());
    }
    chain_again(&mut blocks, &mut synthetic, &chain, &tries, &mut remarks)?;
    let mut encoded = blocks
        .iter()
        .map(|block| Bytes::from(alloy_rlp::encode(&block.block)));
    let headers: Vec<Bytes> = ancestors
        .iter()
        .map(|header| alloy_rlp::encode(header).into())
        .collect();
    let whole = BlockFile {
        chain_id: chain.chain_id,
        block: encoded.next().unwrap_or_default(),
        later: encoded.collect(),
        parent: Parent::Header(headers.last().cloned().unwrap_or_default()),
        witness: Witness {
            state: tries.nodes,
            codes: synthetic.codes.into_values().collect(),
            headers,
        },
        chain_config: chain_config.filter(|_| !chain.is_builtin()).cloned(),
        synthetic: true,
        description: None,
    };
    // It is executed once more, as any batch, and keeps only what it needs of the witness.
    let file = batch_file(&[whole]).map_err(Box::new)?;
    Ok(Replayed {
        file: BlockFile {
            description: Some(description(&chain, &blocks, &remarks)),
            ..file
        },
        remarks,
    })
}

fn chain(chain_id: u64, config: Option<&Value>) -> Result<ChainConfig, ReplayError> {
    UnsupportedChain::check(chain_id)?;
    match (ChainConfig::builtin(chain_id), config) {
        (Some(chain), _) => Ok(chain),
        (None, Some(config)) => Ok(from_geth(config, chain_id)?),
        (None, None) => Err(ReplayError::UnknownChain { chain_id }),
    }
}

/// Executes the blocks once more, each after the new header of the one before, and gives each its
/// own results.
fn chain_again(
    blocks: &mut [ChainBlock],
    listed: &mut ListedState,
    chain: &ChainConfig,
    tries: &Tries,
    remarks: &mut Vec<Remark>,
) -> Result<(), ReplayError> {
    let mut changing = Changing::new(tries);
    for block in blocks {
        let number = block.block.header.number;
        let parent = number
            .checked_sub(1)
            .and_then(|parent| listed.hashes.get(&parent));
        block.block.header.parent_hash = parent.copied().unwrap_or_default();
        let place = Place {
            block: number,
            transaction: None,
        };
        let run = run::run(listed, chain, block).map_err(|error| match error {
            ReplayError::Missing { place, .. } => ReplayError::OtherReads { place },
            other => other,
        })?;
        // A path that the chain's own execution did not touch.
        let root = changing.root_after(&run.changes, listed);
        let root = root.map_err(|_| ReplayError::OtherReads { place })?;
        match run.check(&block.block.header) {
            Err(ReplayError::Conflict(of_block)) if run.differing.is_empty() => {
                remarks.push(Remark::Hashes(of_block));
            }
            _ => {}
        }
        let header = &mut block.block.header;
        header.gas_used = run.gas_used;
        header.receipts_root = run.receipts_root;
        header.logs_bloom = run.logs_bloom;
        header.state_root = root;
        listed.hashes.insert(number, header.hash_slow());
        remarks.extend(run.differing.into_iter().map(Remark::Hashes));
    }
    Ok(())
}

fn description(chain: &ChainConfig, blocks: &[ChainBlock], remarks: &[Remark]) -> String {
    let number = |block: Option<&ChainBlock>| block.map_or(0, |block| block.block.header.number);
    let mut text = format!(
        "Blocks {} to {} of chain {} ({}), replayed: transactions, receipts and gas are the chain's; the state trie, state \
         roots and block hashes are synthetic",
        number(blocks.first()),
        number(blocks.last()),
        chain.chain_id,
        chain.rules.name,
    );
    let by_hashes: Vec<_> = remarks
        .iter()
        .filter_map(|remark| match remark {
            Remark::Hashes(difference) => Some(difference.place.to_string()),
            _ => None,
        })
        .collect();
    if let Some(first) = by_hashes.first() {
        text = format!(
            "{text}; {} depend on those hashes and come to something else than on the chain, the first is {first}",
            by_hashes.len()
        );
    }
    text
}
