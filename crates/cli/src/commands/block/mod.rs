//! `myriad block ...`

mod claim;
mod execute;
mod import;
mod inspect;
mod prove;
mod sample;

use std::path::Path;

use myriad_evm::{Outcome, host::BlockFile, validate};

use crate::{
    args::BlockCommand,
    error::{Error, block_file},
    progress::Spinner,
};

pub use claim::Claim;
pub use prove::prove;

pub fn run(command: BlockCommand) -> Result<(), Error> {
    match command {
        BlockCommand::Sample(args) => sample::run(&args),
        BlockCommand::Import(args) => import::run(&args),
        BlockCommand::Inspect(args) => inspect::run(&args),
        BlockCommand::Execute(args) => execute::run(&args),
        BlockCommand::Prove(args) => prove::run(&args),
    }
}

/// Validates a block natively, and gives what the guest reads too.
fn validated(path: &Path, file: &BlockFile) -> Result<(Outcome, Vec<u8>), Error> {
    let _spinner = Spinner::new("executing the block natively");
    let input = file.to_input().map_err(block_file(path))?;
    let outcome = validate(&input).map_err(|source| Error::Block {
        path: path.to_owned(),
        source,
    })?;
    Ok((outcome, input.encode()))
}
