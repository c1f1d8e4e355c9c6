//! Developer commands. `cargo xtask help` lists them; CONTRIBUTING.md says when to use which.

#![forbid(unsafe_code)]

mod guests;
mod metadata;
mod picture;
mod verify;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

const USAGE: &str = "\
Developer commands of Myriad

Usage:
  cargo xtask verify [--only STEP]...    all checks but the tests; never writes
  cargo xtask fix                        repair what tools can repair
  cargo xtask guests                     build every guest into the folder elf/ of its workspace
                     --only FOLDER       only those of a workspace, such as guests
  cargo xtask guests --check             compare ELFs with their sources, without building
  cargo xtask guests --check --rebuild   also build them elsewhere, and compare bytes
                     --must-compare      fail where another toolchain built them, rather than pass
  cargo xtask picture                    record `myriad demo` into docs/demo.svg; proves for a minute or more
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut arguments = lexopt::Parser::from_env();
    let command = match arguments.next()? {
        Some(Value(command)) => command.string()?,
        None | Some(Short('h') | Long("help")) => "help".to_owned(),
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "help" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        "verify" => verify_command(arguments),
        "fix" => {
            no_more(arguments)?;
            verify::fix(repository()).map(|()| ExitCode::SUCCESS)
        }
        "guests" => guests_command(arguments),
        "picture" => {
            no_more(arguments)?;
            picture::picture(repository()).map(|()| ExitCode::SUCCESS)
        }
        other => bail!("there is no command `{other}`\n\n{USAGE}"),
    }
}

fn verify_command(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut only = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("only") => only.push(arguments.value()?.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(exit_code(verify::verify(repository(), &only)?))
}

fn guests_command(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let (mut check, mut rebuild, mut must_compare) = (false, false, false);
    let mut only = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("check") => check = true,
            Long("rebuild") => rebuild = true,
            Long("must-compare") => must_compare = true,
            Long("only") => only.push(arguments.value()?.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if must_compare && !(check && rebuild) {
        bail!("--must-compare belongs to --check --rebuild; without these, nothing is built to compare with");
    }
    if check && !only.is_empty() {
        bail!("--only belongs to a build: --check is of all guests");
    }
    match (check, rebuild) {
        (false, false) => guests::build_all(repository(), &only).map(|()| ExitCode::SUCCESS),
        (false, true) => bail!("--rebuild belongs to --check; without it, guests are always built"),
        (true, false) => Ok(exit_code(guests::check(repository())?)),
        (true, true) => {
            let same = guests::check(repository())? && guests::check_by_rebuild(repository(), must_compare)?;
            Ok(exit_code(same))
        }
    }
}

fn no_more(mut arguments: lexopt::Parser) -> Result<()> {
    match arguments.next()? {
        Some(argument) => Err(argument.unexpected().into()),
        None => Ok(()),
    }
}

fn exit_code(passed: bool) -> ExitCode {
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The root of the checkout that this program was built in.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the repository")
}

/// The cargo that runs this program, so that a `+toolchain` holds for the commands that it starts.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from))
}

/// The standard output of a command that must succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} did not print UTF-8"))
}
