//! `myriad completions`: prints a completion script for a shell.

use clap::CommandFactory;

use crate::{
    args::{Cli, Completions},
    error::Error,
    terminal,
};

pub fn run(args: &Completions) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "myriad", &mut script);
    terminal::print(&String::from_utf8_lossy(&script)).map_err(Error::Stdout)
}
