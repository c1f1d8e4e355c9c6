//! The guests: programs of the `guests/` workspace, built for RISC-V and committed as ELFs in
//! `guests/elf/`.
//!
//! ELFs are committed so that nobody needs a RISC-V toolchain to use the product. Two checks keep
//! them honest:
//!
//! - `guests/elf/MANIFEST.toml` holds a hash of each ELF and of all its inputs ([`inputs`]).
//!   [`check`] computes them again. That is cheap, and notices a source that was changed without a
//!   new ELF.
//! - Builds are reproducible ([`build`]), so that [`check_by_rebuild`], with the same toolchain,
//!   can compare bytes.

mod build;
mod guest;
mod inputs;
mod manifest;
mod toolchain;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use self::{
    build::Builder,
    guest::{committed_elfs, elf_folder, elf_path, guests},
    manifest::{Entry, Manifest},
    toolchain::Toolchain,
};

/// Builds every guest into `guests/elf/` and writes the manifest.
pub fn build_all(repository: &Path) -> Result<()> {
    let guests = guests(repository)?;
    let recorded = Manifest::read(repository)?;
    let toolchain =
        Toolchain::select(|version| recorded.guests.values().any(|entry| entry.toolchain == *version))?;
    println!("building with {}", toolchain.version);

    let builder = Builder::new(repository, &toolchain, &repository.join("guests/target"))?;
    let mut manifest = Manifest::default();
    fs::create_dir_all(elf_folder(repository))?;
    for guest in &guests {
        let built = builder.build(guest)?;
        let entry = Entry::new(repository, guest, &built, toolchain.version.clone())?;
        let path = elf_path(repository, &guest.name);
        fs::write(&path, &built.elf).with_context(|| format!("cannot write {}", path.display()))?;
        println!(
            "{:<12} {} bytes, blake3 {}",
            guest.name,
            built.elf.len(),
            entry.elf
        );
        manifest.guests.insert(guest.name.clone(), entry);
    }
    manifest.write(repository)
}

/// Whether ELFs and sources agree, by the manifest; prints the differences. Needs no RISC-V
/// toolchain.
pub fn check(repository: &Path) -> Result<bool> {
    let problems = problems(repository)?;
    if problems.is_empty() {
        println!("all ELFs were built from the sources of this checkout");
    }
    for problem in &problems {
        println!("{problem}");
    }
    Ok(problems.is_empty())
}

/// The differences between the ELFs of `guests/elf/` and the sources, in words; empty if they
/// agree.
pub fn problems(repository: &Path) -> Result<Vec<String>> {
    let guests = guests(repository)?;
    let manifest = Manifest::read(repository)?;
    let mut problems = Vec::new();
    for guest in &guests {
        match manifest.guests.get(&guest.name) {
            Some(entry) => problems.extend(entry.problems(repository, guest)?),
            None => problems.push(format!("{}: it was never built", guest.name)),
        }
    }

    let known: BTreeSet<_> = guests.iter().map(|guest| guest.name.clone()).collect();
    let listed = manifest.guests.into_keys().collect();
    for stray in committed_elfs(repository)?
        .union(&listed)
        .filter(|name| !known.contains(*name))
    {
        problems.push(format!("{stray}: guests/elf/ has it, but no guest has this name"));
    }
    if !problems.is_empty() {
        problems.push("run `cargo xtask guests` and commit guests/elf/".to_owned());
    }
    Ok(problems)
}

/// Whether a build in a temporary folder gives the committed ELFs, byte for byte. Guests that were
/// built by a toolchain that this machine does not have cannot be compared: it says so, and lets
/// them pass unless they `must_compare`.
pub fn check_by_rebuild(repository: &Path, must_compare: bool) -> Result<bool> {
    let guests = guests(repository)?;
    let manifest = Manifest::read(repository)?;
    let toolchain =
        Toolchain::select(|version| manifest.guests.values().any(|entry| entry.toolchain == *version))?;
    println!("rebuilding with {}", toolchain.version);

    let target = TemporaryFolder::new()?;
    let builder = Builder::new(repository, &toolchain, &target.0)?;
    let mut agree = true;
    let mut compared = 0;
    for (name, entry) in &manifest.guests {
        if entry.toolchain != toolchain.version {
            println!("{name:<12} not compared: it was built with {}", entry.toolchain);
            continue;
        }
        let guest = guests.iter().find(|guest| guest.name == *name);
        let guest = guest.with_context(|| format!("no guest has the name {name}"))?;
        compared += 1;
        let built = builder.build(guest)?;
        if built.elf == fs::read(elf_path(repository, name))? {
            println!("{name:<12} same bytes");
        } else {
            println!("{name:<12} FAILED: its sources give another ELF");
            agree = false;
        }
    }
    let all = manifest.guests.len();
    if must_compare && (compared < all || all == 0) {
        println!(
            "FAILED: {compared} of {all} ELFs were compared, and all must be. Install the toolchain that built the \
             others, or build all of them with the one that is here (`cargo xtask guests`) and commit guests/elf/"
        );
        agree = false;
    }
    Ok(agree)
}

/// A folder of our own that is removed at the end.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("myriad-guests-rebuild-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("warning: cannot remove {}: {error}", self.0.display());
        }
    }
}
