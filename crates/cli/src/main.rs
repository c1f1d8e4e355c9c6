//! The binary `myriad`: reads the command line, runs a command, and turns its result into an exit
//! code.

#![forbid(unsafe_code)]

mod activity;
mod args;
mod blocks;
mod bug;
mod cluster;
mod commands;
mod confinement;
mod engines;
mod error;
mod execution;
mod files;
mod guest;
mod handshake;
mod interrupt;
mod network;
mod progress;
mod proving;
mod report;
mod settings;
mod terminal;

use std::{env, io, process::ExitCode};

use clap::Parser;
use myriad_node::RunError;

use crate::{
    args::Cli,
    error::{Error, Exit},
};

fn main() -> ExitCode {
    bug::install_hook();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let json = cli.command.json();
    match bug::caught(|| commands::run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has had enough, as in `myriad ... | head`.
        Err(Error::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let error = if !error.is_reported() && interrupt::is_cause() {
                Error::Run(RunError::Interrupted)
            } else {
                error
            };
            error.report(json);
            ExitCode::from(error.exit() as u8)
        }
    }
}

/// Prints clap's message: help and version on request, or the error in the command line.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed stdout or stderr leaves nobody to tell.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if env::args_os().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        error::print_document(first.trim_start_matches("error: "), "usage");
    }
    ExitCode::from(Exit::Usage as u8)
}
