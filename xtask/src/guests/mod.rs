//! The guests: programs of the workspaces in [`guest::SETS`], built for RISC-V and committed as
//! ELFs in the folder `elf/` of each.
//!
//! ELFs are committed so that nobody needs a RISC-V toolchain to use the product. Two checks keep
//! them honest:
//!
//! - `elf/MANIFEST.toml` holds a hash of each ELF and of all its inputs ([`inputs`]). [`check`]
//!   computes them again. That is cheap, and notices a source that was changed without a new ELF.
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

use anyhow::{Context, Result, bail};

use self::{
    build::Builder,
    guest::{SETS, Set},
    manifest::{Entry, Manifest},
    toolchain::Toolchain,
};

/// Builds every guest into its workspace's `elf/` and writes the manifests; with names in `only`,
/// only the workspaces of these folders.
pub fn build_all(repository: &Path, only: &[String]) -> Result<()> {
    let chosen: Vec<&Set> = SETS
        .iter()
        .filter(|set| only.is_empty() || only.iter().any(|folder| folder == set.folder))
        .collect();
    if let Some(unknown) = only
        .iter()
        .find(|folder| SETS.iter().all(|set| set.folder != **folder))
    {
        let folders: Vec<&str> = SETS.iter().map(|set| set.folder).collect();
        bail!(
            "{unknown} is no workspace of guests; these are: {}",
            folders.join(", ")
        );
    }
    let toolchain = select_toolchain(repository)?;
    println!("building with {}", toolchain.version);

    let builder = Builder::new(repository, &toolchain, &repository.join("guests/target"))?;
    for set in chosen {
        build_set(repository, set, &builder, &toolchain)?;
    }
    Ok(())
}

fn build_set(repository: &Path, set: &Set, builder: &Builder<'_>, toolchain: &Toolchain) -> Result<()> {
    let mut manifest = Manifest::default();
    fs::create_dir_all(set.elf_folder(repository))?;
    for guest in &set.guests(repository)? {
        let built = builder.build(set, guest)?;
        let entry = Entry::new(repository, set, guest, &built, toolchain.version.clone())?;
        let path = set.elf_path(repository, &guest.name);
        fs::write(&path, &built.elf).with_context(|| format!("cannot write {}", path.display()))?;
        println!(
            "{:<12} {} bytes, blake3 {}",
            guest.name,
            built.elf.len(),
            entry.elf
        );
        manifest.guests.insert(guest.name.clone(), entry);
    }
    manifest.write(repository, set)
}

/// The toolchain of this machine that most likely built the ELFs.
fn select_toolchain(repository: &Path) -> Result<Toolchain> {
    let mut recorded = Vec::new();
    for set in SETS {
        let manifest = Manifest::read(repository, set)?;
        recorded.extend(manifest.guests.into_values().map(|entry| entry.toolchain));
    }
    Toolchain::select(|version| recorded.contains(version))
}

/// Whether ELFs and sources agree, by the manifests; prints the differences. Needs no RISC-V
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

/// The differences between the committed ELFs and the sources, in words; empty if they agree.
pub fn problems(repository: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for set in SETS {
        problems.extend(problems_of(repository, set)?);
    }
    Ok(problems)
}

fn problems_of(repository: &Path, set: &Set) -> Result<Vec<String>> {
    let guests = set.guests(repository)?;
    let manifest = Manifest::read(repository, set)?;
    let mut problems = Vec::new();
    for guest in &guests {
        match manifest.guests.get(&guest.name) {
            Some(entry) => problems.extend(entry.problems(repository, set, guest)?),
            None => problems.push(format!("{}: it was never built", guest.name)),
        }
    }

    let known: BTreeSet<_> = guests.iter().map(|guest| guest.name.clone()).collect();
    let listed = manifest.guests.into_keys().collect();
    let folder = set.folder;
    for stray in set
        .committed_elfs(repository)?
        .union(&listed)
        .filter(|name| !known.contains(*name))
    {
        problems.push(format!(
            "{stray}: {folder}/elf/ has it, but no guest has this name"
        ));
    }
    if !problems.is_empty() {
        problems.push(format!("run `cargo xtask guests` and commit {folder}/elf/"));
    }
    Ok(problems)
}

/// Whether a build in a temporary folder gives the committed ELFs, byte for byte. Guests that were
/// built by a toolchain that this machine does not have cannot be compared: it says so, and lets
/// them pass unless they `must_compare`.
pub fn check_by_rebuild(repository: &Path, must_compare: bool) -> Result<bool> {
    let toolchain = select_toolchain(repository)?;
    println!("rebuilding with {}", toolchain.version);

    let target = TemporaryFolder::new()?;
    let builder = Builder::new(repository, &toolchain, &target.0)?;
    let mut total = Comparison::default();
    for set in SETS {
        let found = compare(repository, set, &builder, &toolchain)?;
        total.all += found.all;
        total.compared += found.compared;
        total.differing += found.differing;
    }
    let Comparison {
        all,
        compared,
        differing,
    } = total;
    let mut agree = differing == 0;
    if must_compare && (compared < all || all == 0) {
        println!(
            "FAILED: {compared} of {all} ELFs were compared, and all must be. Install the toolchain that built the \
             others, or build all of them with the one that is here (`cargo xtask guests`) and commit their folders elf/"
        );
        agree = false;
    }
    Ok(agree)
}

/// How many ELFs there are, were built again, and came out otherwise.
#[derive(Default)]
struct Comparison {
    all: usize,
    compared: usize,
    differing: usize,
}

fn compare(repository: &Path, set: &Set, builder: &Builder<'_>, toolchain: &Toolchain) -> Result<Comparison> {
    let guests = set.guests(repository)?;
    let manifest = Manifest::read(repository, set)?;
    let mut found = Comparison {
        all: manifest.guests.len(),
        ..Comparison::default()
    };
    for (name, entry) in &manifest.guests {
        if entry.toolchain != toolchain.version {
            println!("{name:<12} not compared: it was built with {}", entry.toolchain);
            continue;
        }
        let guest = guests.iter().find(|guest| guest.name == *name);
        let guest = guest.with_context(|| format!("no guest of {} has the name {name}", set.folder))?;
        found.compared += 1;
        let built = builder.build(set, guest)?;
        if built.elf == fs::read(set.elf_path(repository, name))? {
            println!("{name:<12} same bytes");
        } else {
            println!("{name:<12} FAILED: its sources give another ELF");
            found.differing += 1;
        }
    }
    Ok(found)
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
