//! The commands, one to a file.

mod bench;
mod block;
mod bootstrap;
mod completions;
mod demo;
mod engine_worker;
mod execute;
mod jobs;
mod keys;
mod plan;
mod prove;
mod prover;
mod serve;
mod simulate;
mod status;
mod verify;

use crate::{args::Command, error::Error};

/// Runs a command.
///
/// # Errors
/// The cause that keeps it from its end; see [`Error`].
pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Prove(args) => prove::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Execute(args) => execute::run(&args),
        Command::Block(command) => block::run(command),
        Command::Jobs(command) => jobs::run(command),
        Command::Keys(command) => keys::run(command),
        Command::Prover(args) => prover::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Bootstrap(args) => bootstrap::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::EngineWorker(args) => engine_worker::run(&args),
    }
}
