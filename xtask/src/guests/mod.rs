//! The guests: programs of the `guests/` workspace, built for RISC-V and committed as ELFs in
//! `guests/elf/`.
//!
//! ELFs are committed so that nobody needs a RISC-V toolchain to use the product. What keeps them
//! honest:
//!
//! - `guests/elf/MANIFEST.toml` holds a hash of each ELF and of everything that it was built from
//!   ([`inputs`]). [`check`] computes them again. That is cheap, and notices a source that was
//!   changed without a new ELF.
//! - Builds are reproducible ([`build`]), so that [`check_by_rebuild`], with the same toolchain,
//!   can compare bytes.

mod build;
mod inputs;
mod manifest;
mod toolchain;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result, bail};

use self::{
    build::Builder,
    manifest::{Entry, Manifest},
    toolchain::Toolchain,
};
use crate::metadata::{self, Package};

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

/// Whether ELFs and sources agree, by the manifest; prints what does not. Needs no RISC-V
/// toolchain.
pub fn check(repository: &Path) -> Result<bool> {
    let problems = problems(repository)?;
    if problems.is_empty() {
        println!("all ELFs were built from the sources at hand");
    }
    for problem in &problems {
        println!("{problem}");
    }
    Ok(problems.is_empty())
}

/// In what the ELFs of `guests/elf/` and the sources do not agree, in words; nothing if they do.
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

/// What an ELF is made of.
pub struct Guest {
    /// The name of the ELF.
    pub name: String,
    pub package: Rc<Package>,
    /// The features that it is built with, if they are not the default ones.
    pub features: Option<Vec<String>>,
}

/// The members of `guests/` that are programs. Their ELFs have their names, or those that `package.metadata.elf` gives to
/// builds with these features and those.
fn guests(repository: &Path) -> Result<Vec<Guest>> {
    let mut packages = metadata::workspace_packages(&repository.join("guests/Cargo.toml"))?;
    packages.retain(|package| {
        package
            .targets
            .iter()
            .any(|target| target.kind.iter().any(|kind| kind == "bin"))
    });
    if packages.is_empty() {
        bail!("guests/Cargo.toml has no member with a program");
    }
    Ok(packages.into_iter().flat_map(elfs_of).collect())
}

fn elfs_of(package: Package) -> Vec<Guest> {
    let package = Rc::new(package);
    let guest = |name: &str, features: Option<&Vec<String>>| Guest {
        name: name.to_owned(),
        package: package.clone(),
        features: features.cloned(),
    };
    match &package.metadata {
        Some(metadata) if !metadata.elf.is_empty() => {
            let elfs = metadata.elf.iter();
            elfs.map(|(name, features)| guest(name, Some(features))).collect()
        }
        _ => vec![guest(&package.name, None)],
    }
}

fn elf_folder(repository: &Path) -> PathBuf {
    repository.join("guests/elf")
}

fn elf_path(repository: &Path, guest: &str) -> PathBuf {
    elf_folder(repository).join(guest).with_extension("elf")
}

fn committed_elfs(repository: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for file in fs::read_dir(elf_folder(repository)).context("cannot list guests/elf/")? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "elf") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    Ok(names)
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
