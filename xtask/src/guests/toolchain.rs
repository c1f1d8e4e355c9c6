//! Compilers that can build a guest: they have the sources of the standard library, which no one
//! ships compiled for `riscv32im-risc0-zkvm-elf`, and accept `-Z build-std`.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::output;

const NOTHING_FOUND: &str = "\
no toolchain here can build guests for RISC-V. Install one of

  rustup toolchain install nightly --component rust-src
  apt-get install rustc-web cargo-web rust-web-src lld-22    (Debian 12 with its security archive)";

/// The identity of a toolchain in the manifest: the same version gives the same bytes. The linker
/// counts, because it leaves its version in the ELF.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub rustc: String,
    pub linker: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.rustc, self.linker)
    }
}

pub struct Toolchain {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    pub linker: PathBuf,
    /// The folder that has `library/`.
    pub rust_source: PathBuf,
    pub version: Version,
}

impl Toolchain {
    /// The first toolchain of this machine whose version is `preferred`, else the first: rustup's
    /// nightlies, then Debian's.
    pub fn select(preferred: impl Fn(&Version) -> bool) -> Result<Self> {
        let mut found = rustup_nightlies();
        found.extend(Self::probe(
            Path::new("/usr/bin/rustc"),
            Path::new("/usr/bin/cargo"),
        ));
        let index = found
            .iter()
            .position(|toolchain| preferred(&toolchain.version))
            .unwrap_or(0);
        if found.is_empty() {
            bail!(NOTHING_FOUND);
        }
        Ok(found.swap_remove(index))
    }

    /// `None` where a part that guests need is missing.
    fn probe(rustc: &Path, cargo: &Path) -> Option<Self> {
        let sysroot = PathBuf::from(
            output(Command::new(rustc).args(["--print", "sysroot"]))
                .ok()?
                .trim_end(),
        );
        let rust_source = sysroot.join("lib/rustlib/src/rust");
        let host = output(Command::new(rustc).args(["--print", "host-tuple"])).ok()?;
        let linker = [
            sysroot.join("lib/rustlib").join(host.trim_end()).join("bin"),
            sysroot.join("bin"),
        ]
        .map(|folder| folder.join("rust-lld"))
        .into_iter()
        .find(|linker| linker.exists())?;
        if !rust_source.join("library/Cargo.lock").exists() || !cargo.exists() {
            return None;
        }
        let version = Version {
            rustc: rustc_version(rustc).ok()?,
            linker: linker_version(&linker).ok()?,
        };
        Some(Self {
            cargo: cargo.to_owned(),
            rustc: rustc.to_owned(),
            linker,
            rust_source,
            version,
        })
    }
}

fn rustup_nightlies() -> Vec<Toolchain> {
    let Ok(list) = output(Command::new("rustup").args(["toolchain", "list"])) else {
        return Vec::new(); // no rustup here
    };
    let which = |tool, toolchain| -> Option<PathBuf> {
        let path = output(Command::new("rustup").args(["which", tool, "--toolchain", toolchain])).ok()?;
        Some(path.trim_end().into())
    };
    // `nightly-x86_64-unknown-linux-gnu (default)`
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .filter_map(|name| Toolchain::probe(&which("rustc", name)?, &which("cargo", name)?))
        .collect()
}

fn rustc_version(rustc: &Path) -> Result<String> {
    Ok(output(Command::new(rustc).arg("--version"))?
        .trim_end()
        .to_owned())
}

/// `LLD 22.1.8`, of a line such as `Debian LLD 22.1.8 (compatible with GNU linkers)`.
fn linker_version(linker: &Path) -> Result<String> {
    let line = output(Command::new(linker).args(["-flavor", "gnu", "--version"]))?;
    let (_, after) = line
        .split_once("LLD ")
        .with_context(|| format!("{} is not LLD: {line}", linker.display()))?;
    Ok(format!(
        "LLD {}",
        after.split_whitespace().next().unwrap_or_default()
    ))
}
