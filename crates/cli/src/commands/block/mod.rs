//! `myriad block ...`

mod claim;
mod execute;
mod import;
mod inspect;
mod prove;
mod replay;
mod sample;
mod spent;

use std::path::PathBuf;

use myriad_evm::{
    BlockError, Outcome,
    host::{BatchError, BlockFile, batch, precompiles},
};

use crate::{
    args::BlockCommand,
    error::{Error, block_file},
    guest::Variant,
    progress::Spinner,
};

pub use claim::Claim;
pub use prove::prove;

pub fn run(command: BlockCommand) -> Result<(), Error> {
    match command {
        BlockCommand::Sample(args) => sample::run(&args),
        BlockCommand::Import(args) => import::run(&args),
        BlockCommand::Replay(args) => replay::run(&args),
        BlockCommand::Inspect(args) => inspect::run(&args),
        BlockCommand::Execute(args) => execute::run(&args),
        BlockCommand::Prove(args) => prove::run(&args),
    }
}

/// Reads block files: one, or those of a batch.
fn read(paths: &[PathBuf]) -> Result<Vec<BlockFile>, Error> {
    let read = |path: &PathBuf| BlockFile::read(path).map_err(block_file(path));
    paths.iter().map(read).collect()
}

/// Validates a block or a batch natively, and gives what the guest reads too, and which variant of it is cheapest.
fn validated(paths: &[PathBuf], files: &[BlockFile]) -> Result<(Outcome, Vec<u8>, Variant), Error> {
    let _spinner = Spinner::new("executing the block natively");
    let path_of = |index: usize| paths.get(index).cloned().unwrap_or_default();
    let (result, in_software) = precompiles::in_software(|| batch(files));
    let (input, outcome) = result.map_err(|error| match error {
        BatchError::File { index, source } => block_file(&path_of(index))(source),
        BatchError::Invalid(source @ BlockError::InBatch { .. }) => Error::Batch(source.into()),
        BatchError::Invalid(source) => Error::Block {
            path: path_of(0),
            source,
        },
        source => Error::Batch(source),
    })?;
    let variant = Variant::cheapest(outcome.gas_used, in_software);
    Ok((outcome, input.encode(), variant))
}

/// How a block, or a batch of them, is called.
fn title(outcome: &Outcome) -> String {
    let noun = if outcome.blocks > 1 { "Blocks" } else { "Block" };
    format!(
        "{noun} {} of chain {}",
        inspect::numbers(outcome.number, outcome.blocks),
        outcome.chain_id
    )
}
