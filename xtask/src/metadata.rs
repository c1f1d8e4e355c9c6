//! The facts that `cargo metadata --no-deps` gives of the packages of a workspace: no network, no
//! resolution, inheritance applied.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{cargo, output};

#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub manifest_path: PathBuf,
    pub edition: String,
    pub features: BTreeMap<String, Vec<String>>,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
    /// The parts of `package.metadata` that are read here.
    pub metadata: Option<PackageMetadata>,
}

#[derive(Deserialize)]
pub struct PackageMetadata {
    /// The ELFs that are made of a guest, by their names, with the features that each is built
    /// with.
    #[serde(default)]
    pub elf: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Dependency {
    pub name: String,
    pub req: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub kind: Option<String>,
    pub rename: Option<String>,
    pub optional: bool,
    pub uses_default_features: bool,
    pub features: Vec<String>,
    pub target: Option<String>,
    /// The absolute folder of a path dependency.
    pub path: Option<PathBuf>,
}

#[derive(Deserialize)]
pub struct Target {
    pub name: String,
    pub kind: Vec<String>,
    pub src_path: PathBuf,
}

/// The members of the workspace to which `manifest` belongs.
pub fn workspace_packages(manifest: &Path) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }

    let json = output(
        cargo()
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(manifest),
    )?;
    let metadata: Metadata =
        serde_json::from_str(&json).context("cannot read the output of cargo metadata")?;
    Ok(metadata.packages)
}
