//! The inputs of a guest's ELF, as hashes that can be computed without building it.
//!
//! The files that were compiled come from the compiler, at build time: a file that only the host
//! compiles is not among them, and a new one can come in only by a change of another input. The
//! rest is here: the settings, and the sources of members that stand in for a crate which a crate
//! from elsewhere asks for. The compiler names the sources of no crate below one from elsewhere.

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
    let dependencies = lock.dependencies_of(&guest.package.name);
    hashes.insert(set.lock(), hash(json!(dependencies).to_string().as_bytes()));

    add_package(repository, &guest.package, &mut hashes)?;
    // The lock file does not know which guest asks for which feature: where one of a workspace
    // reaches a member through an optional dependency, the others do.
    for member in metadata::workspace_packages(&repository.join(set.manifest()))? {
        let is_own = hashes.contains_key(&relative_to(repository, &member.manifest_path)?);
        if !is_own && dependencies.contains(&locked(&member.name, &member.version, "")) {
            add_package(repository, &member, &mut hashes)?;
            let folder = member.manifest_path.with_file_name("src");
            add_sources(repository, &folder, &mut hashes)?;
        }
    }
    Ok(hashes)
}

/// Adds the Rust files of a folder but those of tests, which only the host compiles.
fn add_sources(repository: &Path, folder: &Path, hashes: &mut Hashes) -> Result<()> {
    let cannot_list = || format!("cannot list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot_list)? {
        let path = entry.with_context(cannot_list)?.path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            add_sources(repository, &path, hashes)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            hashes.insert(relative_to(repository, &path)?, hash(&bytes));
        }
    }
    Ok(())
}

fn relative_to(repository: &Path, path: &Path) -> Result<String> {
    Ok(path.strip_prefix(repository)?.display().to_string())
}

/// Adds the settings of a package of this repository and of those that it depends on.
fn add_package(repository: &Path, package: &Package, hashes: &mut Hashes) -> Result<()> {
    let relative = |path: &Path| path.strip_prefix(repository).map(Path::to_owned);
    let manifest = relative_to(repository, &package.manifest_path)?;
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

/// A package as [`Lock::dependencies_of`] names it. One of this repository has no checksum.
fn locked(name: &str, version: &str, checksum: &str) -> String {
    format!("{name} {version} {checksum}")
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
            if found.insert(locked(&package.name, &package.version, checksum)) {
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
    use crate::guests::guest::SETS;

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

    /// OpenVM's guest library asks for the allocator, and no guest names it.
    #[test]
    fn a_member_below_a_crate_from_elsewhere_is_an_input() {
        let repository = crate::repository();
        let all: &[&str] = &["guests/heap/Cargo.toml", "guests/heap/src/lib.rs"];
        for set in SETS {
            let expected = if set.folder == "guests" { all } else { &[] };
            for guest in set.guests(repository).unwrap() {
                let settings = settings(repository, set, &guest).unwrap();
                let names = settings.into_keys();
                let of_heap: Vec<String> = names.filter(|name| name.starts_with("guests/heap/")).collect();
                assert_eq!(of_heap, expected, "{}", guest.name);
            }
        }
    }
}
