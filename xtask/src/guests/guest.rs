//! The guests that there are, and where their ELFs lie.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result, bail};

use crate::metadata::{self, Package};

/// A workspace of guests: those of one engine. Its folder has the manifest, the lock file, and the
/// ELFs in `elf/`.
pub struct Set {
    /// The folder, relative to the checkout.
    pub folder: &'static str,
    /// Variables of the environment that its dependencies ask for when they are compiled.
    pub environment: &'static [(&'static str, &'static str)],
}

/// All workspaces of guests. One toolchain and one set of flags build them all.
pub const SETS: &[Set] = &[
    Set {
        folder: "guests",
        environment: &[],
    },
    Set {
        folder: "engines/risc0/guests",
        // risc0-bigint2 does not compile unless the builder says that the VM has the accelerator.
        environment: &[("RISC0_FEATURE_bigint2", "")],
    },
];

/// The sources and settings of an ELF.
pub struct Guest {
    /// The name of the ELF.
    pub name: String,
    pub package: Rc<Package>,
    /// The features that it is built with, if they are not the default ones.
    pub features: Option<Vec<String>>,
}

impl Set {
    /// The members that are programs. Their ELFs have their names, or those in
    /// `package.metadata.elf`, each for a build with its own features.
    pub fn guests(&self, repository: &Path) -> Result<Vec<Guest>> {
        let mut packages = metadata::workspace_packages(&repository.join(self.manifest()))?;
        packages.retain(|package| {
            package
                .targets
                .iter()
                .any(|target| target.kind.iter().any(|kind| kind == "bin"))
        });
        if packages.is_empty() {
            bail!("{} has no member with a program", self.manifest());
        }
        Ok(packages.into_iter().flat_map(elfs_of).collect())
    }

    /// The workspace's `Cargo.toml`, relative to the checkout.
    pub fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }

    /// The workspace's `Cargo.lock`, relative to the checkout.
    pub fn lock(&self) -> String {
        format!("{}/Cargo.lock", self.folder)
    }

    pub fn elf_folder(&self, repository: &Path) -> PathBuf {
        repository.join(self.folder).join("elf")
    }

    pub fn elf_path(&self, repository: &Path, guest: &str) -> PathBuf {
        self.elf_folder(repository).join(guest).with_extension("elf")
    }

    pub fn committed_elfs(&self, repository: &Path) -> Result<BTreeSet<String>> {
        let folder = self.elf_folder(repository);
        let mut names = BTreeSet::new();
        for file in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "elf") {
                names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
        Ok(names)
    }
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
