//! `myriad block ...`

mod execute;
mod import;
mod inspect;
mod prove;
mod replay;
mod sample;
mod spent;

use crate::{args::BlockCommand, error::Error};

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
