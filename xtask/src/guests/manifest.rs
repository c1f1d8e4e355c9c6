//! `elf/MANIFEST.toml` of a workspace of guests: for each ELF, its hash, its toolchain, and the
//! hashes of its inputs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{
    build::Built,
    guest::{Guest, Set},
    inputs::{self, Hashes},
    toolchain::Version,
};

const HEADER: &str = "\
# Written by `cargo xtask guests`. `cargo xtask guests --check` fails if a file or setting below has
# another hash (BLAKE3) than when the ELF was built.

";

#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manifest {
    pub guests: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
pub struct Entry {
    pub elf: String,
    pub toolchain: Version,
    settings: Hashes,
    sources: Hashes,
}

impl Manifest {
    /// Empty where no guest was ever built.
    pub fn read(repository: &Path, set: &Set) -> Result<Self> {
        let path = set.elf_folder(repository).join("MANIFEST.toml");
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path)?;
        toml::from_str(&text)
            .with_context(|| format!("cannot parse {}; `cargo xtask guests` writes it", path.display()))
    }

    pub fn write(&self, repository: &Path, set: &Set) -> Result<()> {
        let path = set.elf_folder(repository).join("MANIFEST.toml");
        let text = format!("{HEADER}{}", toml::to_string(self)?);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Entry {
    pub fn new(
        repository: &Path,
        set: &Set,
        guest: &Guest,
        built: &Built,
        toolchain: Version,
    ) -> Result<Self> {
        Ok(Self {
            elf: inputs::hash(&built.elf),
            toolchain,
            settings: inputs::settings(repository, set, guest)?,
            sources: inputs::sources(repository, &built.sources),
        })
    }

    /// The differences of the checkout from this entry, in words.
    pub fn problems(&self, repository: &Path, set: &Set, guest: &Guest) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        match fs::read(set.elf_path(repository, &guest.name)) {
            Ok(elf) if inputs::hash(&elf) == self.elf => {}
            Ok(_) => problems.push("its ELF is not the one that was built".to_owned()),
            Err(error) => problems.push(format!("its ELF cannot be read: {error}")),
        }
        let mut changed = differing(&self.settings, &inputs::settings(repository, set, guest)?);
        changed.extend(differing(
            &self.sources,
            &inputs::sources(repository, self.sources.keys()),
        ));
        if !changed.is_empty() {
            problems.push(format!("changed since its ELF was built: {}", changed.join(", ")));
        }
        Ok(problems
            .into_iter()
            .map(|problem| format!("{}: {problem}", guest.name))
            .collect())
    }
}

/// The names whose hashes differ, or that only one side has.
fn differing(recorded: &Hashes, now: &Hashes) -> Vec<String> {
    let names: BTreeSet<_> = recorded.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter(|name| recorded.get(*name) != now.get(*name))
        .cloned()
        .collect()
}
