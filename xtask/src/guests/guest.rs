//! The guests that there are, and where their ELFs lie.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result, bail};

use crate::metadata::{self, Package};

/// The sources and settings of an ELF.
pub struct Guest {
    /// The name of the ELF.
    pub name: String,
    pub package: Rc<Package>,
    /// The features that it is built with, if they are not the default ones.
    pub features: Option<Vec<String>>,
}

/// The members of `guests/` that are programs. Their ELFs have their names, or those in
/// `package.metadata.elf`, each for a build with its own features.
pub fn guests(repository: &Path) -> Result<Vec<Guest>> {
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

pub fn elf_folder(repository: &Path) -> PathBuf {
    repository.join("guests/elf")
}

pub fn elf_path(repository: &Path, guest: &str) -> PathBuf {
    elf_folder(repository).join(guest).with_extension("elf")
}

pub fn committed_elfs(repository: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for file in fs::read_dir(elf_folder(repository)).context("cannot list guests/elf/")? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "elf") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    Ok(names)
}
