//! The steps that other tools do: cargo's own, and two that are installed apart.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use super::Finding;
use crate::cargo;

/// The folders of all workspaces: the main one, RISC Zero's engine, its verifier of a release, and
/// the guests.
const WORKSPACES: [&str; 5] = [
    "",
    "guests",
    "engines/risc0",
    "engines/risc0/guests",
    "engines/risc0/stock",
];

/// The workspace whose dependencies take minutes to compile. `.ci/run` has clippy look at it,
/// without its kernels.
const SLOW: &str = "engines/risc0";

const WARNINGS_ARE_ERRORS: &str = "-Dwarnings";

pub fn format(repository: &Path) -> Result<Finding> {
    in_each(&WORKSPACES, repository, |cargo| {
        cargo.args(["fmt", "--all", "--check", "--", "--color=never"])
    })
}

/// The guests as they compile for the host, as for their tests: not every machine has a toolchain
/// for their target.
pub fn clippy(repository: &Path) -> Result<Finding> {
    let quick: Vec<&str> = WORKSPACES.into_iter().filter(|folder| *folder != SLOW).collect();
    in_each(&quick, repository, |cargo| {
        cargo
            .args([
                "clippy",
                "--quiet",
                "--locked",
                "--release",
                "--workspace",
                "--all-targets",
                "--",
            ])
            .arg(WARNINGS_ARE_ERRORS)
    })
}

pub fn docs(repository: &Path) -> Result<Finding> {
    let mut cargo = cargo();
    cargo.args([
        "doc",
        "--quiet",
        "--locked",
        "--release",
        "--workspace",
        "--no-deps",
        "--keep-going",
    ]);
    finding(
        cargo
            .env("RUSTDOCFLAGS", WARNINGS_ARE_ERRORS)
            .current_dir(repository),
    )
}

pub fn unused_dependencies(repository: &Path) -> Result<Finding> {
    require("shear")?;
    in_each(&WORKSPACES, repository, |cargo| {
        cargo.args(["shear", "--deny-warnings", "--locked"])
    })
}

pub fn licences(repository: &Path) -> Result<Finding> {
    deny(repository, &["licenses", "bans", "sources"])
}

/// The advisories are a git repository on the network, which not every machine reaches.
pub fn advisories(repository: &Path) -> Result<Finding> {
    Ok(match deny(repository, &["advisories"])? {
        Finding::Failed(output) if output.contains("failed to fetch advisory database") => {
            Finding::Skipped("the advisory database cannot be reached from here".to_owned())
        }
        finding => finding,
    })
}

pub fn fix(repository: &Path) -> Result<()> {
    let mut steps = Vec::new();
    for workspace in WORKSPACES {
        let folder = repository.join(workspace);
        let mut shear = cargo();
        shear.args(["shear", "--fix"]).current_dir(&folder);
        let mut fmt = cargo();
        fmt.args(["fmt", "--all"]).current_dir(&folder);
        steps.extend([shear, fmt]);
    }
    let mut clippy = cargo();
    clippy.args([
        "clippy",
        "--fix",
        "--allow-dirty",
        "--release",
        "--workspace",
        "--all-targets",
    ]);
    clippy.current_dir(repository);
    steps.insert(0, clippy); // before the formatter, which tidies what it wrote
    require("shear")?;
    for mut step in steps {
        let status = step.status().with_context(|| format!("cannot start {step:?}"))?;
        if !status.success() {
            bail!("{step:?} failed with {status}");
        }
    }
    Ok(())
}

fn deny(repository: &Path, checks: &[&str]) -> Result<Finding> {
    require("deny")?;
    let config = repository.join("deny.toml");
    in_each(&WORKSPACES, repository, |cargo| {
        cargo
            .args(["deny", "--locked", "--config"])
            .arg(&config)
            .arg("check")
            .args(checks)
    })
}

/// An error that says how to install `cargo <subcommand>` where it is not.
fn require(subcommand: &str) -> Result<()> {
    let probe = cargo().args([subcommand, "--version"]).output()?;
    if !probe.status.success() {
        bail!(
            "cargo-{subcommand} is not installed: `cargo install --locked cargo-{subcommand}`, \
             or, prebuilt, `pip install -r .ci/requirements.txt`"
        );
    }
    Ok(())
}

fn in_each(
    workspaces: &[&str],
    repository: &Path,
    arguments: impl Fn(&mut Command) -> &mut Command,
) -> Result<Finding> {
    for workspace in workspaces {
        let found = finding(arguments(&mut cargo()).current_dir(repository.join(workspace)))?;
        if !matches!(found, Finding::Passed) {
            return Ok(found);
        }
    }
    Ok(Finding::Passed)
}

fn finding(command: &mut Command) -> Result<Finding> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if output.status.success() {
        return Ok(Finding::Passed);
    }
    let text = [output.stdout, output.stderr].concat();
    Ok(Finding::Failed(String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::verify::tree::files;

    /// A workspace that is in no list is formatted and looked at by nobody.
    #[test]
    fn every_workspace_is_in_the_list() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let locks = files(repository).unwrap();
        let folders: BTreeSet<String> = locks
            .iter()
            .filter(|file| file.ends_with("Cargo.lock"))
            .map(|file| file.parent().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(folders, WORKSPACES.map(str::to_owned).into());
    }
}
