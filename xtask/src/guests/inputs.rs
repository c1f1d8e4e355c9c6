//! The inputs of a guest's ELF, as hashes that can be computed without building it.
//!
//! The files that were compiled come from the compiler, at build time: a file that only the host
//! compiles is not among them, and a new one can come in only by a change of another input. The
//! rest is here: the settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use super::{
    build::{CARGO_FLAGS, RUSTFLAGS},
    guest::{Guest, Set},
};
use crate::metadata::{self, Dependency, Package};

/// BLAKE3 in hexadecimal, by the name of the file or part that was hashed.
pub type Hashes = BTreeMap<String, String>;

pub fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Hashes of files, given relative to the checkout. A file that is not there has no hash.
pub fn sources<'a>(repository: &Path, names: impl IntoIterator<Item = &'a String>) -> Hashes {
    let hash_of = |name: &String| Some((name.clone(), hash(&fs::read(repository.join(name)).ok()?)));
    names.into_iter().filter_map(hash_of).collect()
}

/// Hashes of what steers the build besides the sources.
pub fn settings(repository: &Path, set: &Set, guest: &Guest) -> Result<Hashes> {
    let mut hashes = Hashes::new();
    if let Some(features) = &guest.features {
        hashes.insert(
            "features".to_owned(),
            hash(json!(features).to_string().as_bytes()),
        );
    }
    hashes.insert(
        "flags".to_owned(),
        hash(json!([CARGO_FLAGS, RUSTFLAGS]).to_string().as_bytes()),
    );
    if !set.environment.is_empty() {
        hashes.insert(
            "environment".to_owned(),
            hash(json!(set.environment).to_string().as_bytes()),
        );
    }

    let mut workspace: toml::Table = read_toml(&repository.join(set.manifest()))?;
    // Its members are guests themselves, and what these inherit is in their own hashes.
    workspace.remove("workspace");
    hashes.insert(set.manifest(), hash(workspace.to_string().as_bytes()));

    let lock: Lock = read_toml(&repository.join(set.lock()))?;
    hashes.insert(
        set.lock(),
        hash(
            json!(lock.dependencies_of(&guest.package.name))
                .to_string()
                .as_bytes(),
        ),
    );

    add_package(repository, &guest.package, &mut hashes)?;
    Ok(hashes)
}

/// Adds the settings of a package of this repository and of those that it depends on.
fn add_package(repository: &Path, package: &Package, hashes: &mut Hashes) -> Result<()> {
    let relative = |path: &Path| path.strip_prefix(repository).map(Path::to_owned);
    let manifest = relative(&package.manifest_path)?.display().to_string();
    if hashes.contains_key(&manifest) {
        return Ok(());
    }

    let built: Vec<&Dependency> = package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind.as_deref() != Some("dev"))
        .collect();
    let mut dependencies = BTreeSet::new();
    for dependency in &built {
        let mut dependency = (*dependency).clone();
        dependency.path = dependency.path.as_deref().map(relative).transpose()?;
        dependencies.insert(serde_json::to_string(&dependency)?);
    }
    let mut targets = BTreeSet::new();
    for target in package
        .targets
        .iter()
        .filter(|target| is_built_for_a_dependent(&target.kind))
    {
        targets.insert(json!([target.name, target.kind, relative(&target.src_path)?]).to_string());
    }
    let settings = json!([
        package.name,
        package.version,
        package.edition,
        package.features,
        dependencies,
        targets
    ]);
    hashes.insert(manifest, hash(settings.to_string().as_bytes()));

    for folder in built.iter().filter_map(|dependency| dependency.path.as_deref()) {
        let manifest = folder.join("Cargo.toml");
        let packages = metadata::workspace_packages(&manifest)?;
        let package = packages.iter().find(|package| package.manifest_path == manifest);
        let package =
            package.with_context(|| format!("{} is not in its own workspace", manifest.display()))?;
        add_package(repository, package, hashes)?;
    }
    Ok(())
}

fn is_built_for_a_dependent(kinds: &[String]) -> bool {
    kinds
        .iter()
        .any(|kind| ["bin", "lib", "proc-macro", "custom-build"].contains(&kind.as_str()))
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Lock {
    /// `name version checksum` of all that the guest depends on: a guest is not touched by what
    /// only another one needs.
    fn dependencies_of(&self, guest: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&LockedPackage> = self.named(guest).collect();
        while let Some(package) = open.pop() {
            let checksum = package.checksum.as_deref().unwrap_or_default();
            if found.insert(format!("{} {} {checksum}", package.name, package.version)) {
                open.extend(
                    package
                        .dependencies
                        .iter()
                        .flat_map(|dependency| self.named(dependency)),
                );
            }
        }
        found
    }

    /// The packages that a lock file means by `name`, `name version` or `name version (source)`.
    fn named<'a>(&'a self, dependency: &'a str) -> impl Iterator<Item = &'a LockedPackage> {
        let mut parts = dependency.split(' ');
        let (name, version, source) = (parts.next(), parts.next(), parts.next());
        let source = source.map(|source| source.trim_matches(['(', ')']));
        self.package.iter().filter(move |package| {
            name == Some(&package.name)
                && version.is_none_or(|version| version == package.version)
                && source.is_none_or(|source| package.source.as_deref() == Some(source))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_depends_on_what_its_lock_entries_reach() {
        let lock: Lock = toml::from_str(
            r#"
            [[package]]
            name = "guest"
            version = "0.1.0"
            dependencies = ["a", "b 2.0.0"]

            [[package]]
            name = "a"
            version = "1.0.0"
            checksum = "aa"
            dependencies = ["guest", "b 2.0.0"]

            [[package]]
            name = "b"
            version = "1.0.0"
            checksum = "b1"

            [[package]]
            name = "b"
            version = "2.0.0"
            checksum = "b2"

            [[package]]
            name = "other"
            version = "0.1.0"
            dependencies = ["b 1.0.0"]
            "#,
        )
        .unwrap();
        let expected = ["a 1.0.0 aa", "b 2.0.0 b2", "guest 0.1.0 "].map(str::to_owned);
        assert_eq!(lock.dependencies_of("guest"), BTreeSet::from(expected));
    }
}
