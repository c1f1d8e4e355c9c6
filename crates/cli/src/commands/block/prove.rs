//! `myriad block prove`

use std::path::Path;

use myriad_engine::Input;
use myriad_evm::host::BlockFile;
use serde::Serialize;

use super::validated;
use crate::{
    args::{FleetFlags, ProveBlock, ProveFlags},
    commands::prove::{self as shared, quoted, verify_command},
    error::{Error, block_file},
    files, guest, report,
    settings::Settings,
    terminal::hex0x,
};

/// The block, in the JSON document.
#[derive(Serialize)]
struct BlockReport {
    chain_id: u64,
    number: u64,
    block_hash: String,
    parent_state_root: String,
    state_root: String,
    gas_used: u64,
    transactions: usize,
}

pub fn run(args: &ProveBlock) -> Result<(), Error> {
    let settings = Settings::load(&ProveFlags::new(&args.work, &args.fleet))?;
    let file = BlockFile::read(&args.file).map_err(block_file(&args.file))?;
    prove(&args.file, &file, &settings, &args.fleet, args.work.data.json)
}

/// Proves the block in `file`, which lies at `path`, and prints what came of it.
///
/// # Errors
/// A block that is not valid or not known well enough, and whatever proving fails of.
pub fn prove(
    path: &Path,
    file: &BlockFile,
    settings: &Settings,
    fleet: &FleetFlags,
    json: bool,
) -> Result<(), Error> {
    let (block, input) = validated(path, file)?;
    if !block.skipped.is_empty() {
        return Err(Error::ParentUnknown {
            path: path.to_owned(),
            skipped: block.skipped,
        });
    }
    let input = Input::from_bytes(input).map_err(|source| Error::Input {
        path: path.to_owned(),
        source,
    })?;
    let verify = format!("--block {}", quoted(path));
    let job = shared::job(files::stem(path), guest::evm_block()?, input, verify.clone());
    let outcome = shared::prove(&job, settings, fleet, json)?;
    if outcome.public_values != block.public_values.as_slice() {
        return Err(Error::Disagreement {
            actual: hex0x(&outcome.public_values),
            expected: block.public_values.to_string(),
        });
    }
    let verify = verify_command(&outcome.proof_path, &verify);
    let title = format!("Block {} of chain {}", block.number, block.chain_id);
    let report = BlockReport {
        chain_id: block.chain_id,
        number: block.number,
        block_hash: block.block_hash.to_string(),
        parent_state_root: block.parent_state_root.to_string(),
        state_root: block.state_root.to_string(),
        gas_used: block.gas_used,
        transactions: block.transactions,
    };
    let context = report::Context {
        json,
        title: &title,
        memory: settings.memory,
        verify: &verify,
        block: Some(report),
    };
    report::proof(&outcome, context)
}
