//! Builds one guest such that the same sources and the same toolchain give the same bytes, on any
//! machine and in any checkout.
//!
//! Two things would let a path of the machine into the ELF. Panic messages name source files:
//! `--remap-path-prefix` renames each root that a source can come from. And cargo mixes the
//! absolute path of a package outside the workspace (such as `crates/evm`, for all guests) into the
//! names of its symbols, which order the code. So every build sees its checkout under one fixed
//! path, a symbolic link.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    guest::{Guest, SETS, Set},
    toolchain::Toolchain,
};
use crate::output;

const TARGET: &str = "riscv32im-risc0-zkvm-elf";

/// The flags of `openvm-build` 2.0.2 (`encode_rust_flags`), which are also those of `risc0-build`
/// 3.0.7. The text start is `TEXT_START` of both platforms.
pub const RUSTFLAGS: &[&str] = &[
    "-Cpasses=lower-atomic",
    "-Clink-arg=-Ttext=0x00200800",
    "-Clink-arg=--fatal-warnings",
    "-Cpanic=abort",
    "--cfg=getrandom_backend=\"custom\"",
];

pub const CARGO_FLAGS: &[&str] = &[
    "--locked",
    "--target",
    TARGET,
    "-Zbuild-std=alloc,core,proc_macro,panic_abort,std",
    "-Zbuild-std-features=compiler-builtins-mem",
];

/// The path under which every build finds its checkout. It must be the same on all machines.
const FIXED_FOLDER: &str = "/tmp/myriad-guests";

pub struct Built {
    pub elf: Vec<u8>,
    /// The files of the checkout that were compiled or included, relative to it, as the compiler
    /// tells.
    pub sources: BTreeSet<String>,
}

pub struct Builder<'a> {
    toolchain: &'a Toolchain,
    checkout: FixedCheckout,
    target: PathBuf,
    cargo_home: PathBuf,
    rustflags: String,
}

impl<'a> Builder<'a> {
    /// Fetches the guests' dependencies. `target` is cargo's target folder.
    pub fn new(repository: &Path, toolchain: &'a Toolchain, target: &Path) -> Result<Self> {
        let checkout = FixedCheckout::new(repository)?;
        let cargo_home = match std::env::var_os("CARGO_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => std::env::home_dir()
                .context("neither CARGO_HOME nor HOME is set")?
                .join(".cargo"),
        };
        let mut builder = Self {
            toolchain,
            checkout,
            target: target.to_owned(),
            cargo_home,
            rustflags: String::new(),
        };
        for set in SETS {
            output(
                builder
                    .cargo("fetch")
                    .args(["--manifest-path"])
                    .arg(builder.manifest(set)),
            )?;
        }

        let mut flags: Vec<String> = RUSTFLAGS.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("-Clinker={}", toolchain.linker.display()));
        let mut remap =
            |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
        remap(&builder.checkout.link(), "/myriad");
        remap(&builder.target, "/target");
        remap(&toolchain.rust_source, "/rust");
        // The compiler knows the sources of the standard library by the target of the link, too.
        remap(&fs::canonicalize(&toolchain.rust_source)?, "/rust");
        for registry in fs::read_dir(builder.cargo_home.join("registry/src"))? {
            remap(&registry?.path(), "/registry");
        }
        builder.rustflags = flags.join("\x1f");
        Ok(builder)
    }

    /// Guests are built one by one: built together, each would get the features of the others'
    /// dependencies.
    pub fn build(&self, set: &Set, guest: &Guest) -> Result<Built> {
        let package = &guest.package.name;
        let mut build = self.cargo("build");
        build
            .args([
                "--release",
                "--package",
                package,
                "--bin",
                package,
                "--manifest-path",
            ])
            .arg(self.manifest(set))
            .arg("--target-dir")
            .arg(&self.target)
            .env("CARGO_ENCODED_RUSTFLAGS", &self.rustflags)
            .envs(set.environment.iter().copied());
        if let Some(features) = &guest.features {
            build.args(["--no-default-features", "--features", &features.join(",")]);
        }
        if !build.status()?.success() {
            bail!("building the guest {} failed", guest.name);
        }

        let folder = self.target.join(TARGET).join("release");
        let elf = fs::read(folder.join(package))?;
        self.refuse_machine_paths(&guest.name, &elf)?;
        let dep_info = fs::read_to_string(folder.join(package).with_extension("d"))?;
        Ok(Built {
            elf,
            sources: self.sources_of(&dep_info)?,
        })
    }

    /// A cargo that no setting of the caller's environment or of the checkout's
    /// `.cargo/config.toml` reaches.
    fn cargo(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.toolchain.cargo);
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| is_setting_of_cargo(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
            .arg(subcommand)
            .args(CARGO_FLAGS)
            .env("CARGO_HOME", &self.cargo_home)
            .env("RUSTC", &self.toolchain.rustc)
            .env("RUSTC_BOOTSTRAP", "1") // allows -Z to a stable compiler
            .current_dir(FIXED_FOLDER);
        command
    }

    fn manifest(&self, set: &Set) -> PathBuf {
        self.checkout.link().join(set.manifest())
    }

    fn refuse_machine_paths(&self, guest: &str, elf: &[u8]) -> Result<()> {
        let roots = [
            &self.checkout.repository,
            &self.target,
            &self.cargo_home,
            &self.toolchain.rust_source,
        ];
        for root in roots
            .map(|root| root.to_string_lossy())
            .into_iter()
            .chain([FIXED_FOLDER.into()])
        {
            if elf.windows(root.len()).any(|bytes| bytes == root.as_bytes()) {
                bail!("the ELF of {guest} has the path {root}: it would differ on another machine");
            }
        }
        Ok(())
    }

    /// Reads `target: source source`, where `\ ` is a blank in a name. Sources outside the checkout
    /// (build scripts' output) follow from those inside and from the lock file.
    fn sources_of(&self, dep_info: &str) -> Result<BTreeSet<String>> {
        let (_, sources) = dep_info
            .trim_end()
            .split_once(": ")
            .context("cargo's dep-info has another format")?;
        let link = self.checkout.link();
        let names = sources.replace("\\ ", "\0");
        Ok(names
            .split(' ')
            .map(|name| name.replace('\0', " "))
            .filter_map(|name| Some(Path::new(&name).strip_prefix(&link).ok()?.to_str()?.to_owned()))
            .collect())
    }
}

fn is_setting_of_cargo(name: &str) -> bool {
    ["CARGO", "RUSTC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// The checkout under its fixed path, for as long as this value lives. Other builds on this machine
/// wait for it.
struct FixedCheckout {
    repository: PathBuf,
    _lock: File,
}

impl FixedCheckout {
    fn new(repository: &Path) -> Result<Self> {
        let create = || -> io::Result<Self> {
            fs::create_dir_all(FIXED_FOLDER)?;
            let lock = File::create(Path::new(FIXED_FOLDER).join("lock"))?;
            lock.lock()?;
            let this = Self {
                repository: repository.to_owned(),
                _lock: lock,
            };
            if this.link().is_symlink() {
                fs::remove_file(this.link())?; // left by a build that was killed
            }
            symlink(repository, this.link())?;
            Ok(this)
        };
        create().with_context(|| format!("cannot link the checkout into {FIXED_FOLDER}"))
    }

    fn link(&self) -> PathBuf {
        Path::new(FIXED_FOLDER).join("checkout")
    }
}

impl Drop for FixedCheckout {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(self.link()) {
            eprintln!("warning: cannot remove {}: {error}", self.link().display());
        }
    }
}
