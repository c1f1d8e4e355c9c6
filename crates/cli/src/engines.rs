//! The engines that this machine has: that of this binary, and those whose binaries are found. The
//! greeting, the children of commands and of a prover, the calibration, and the jobs that are
//! resumed all follow from this one list.

use std::{
    env, fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{self, Path, PathBuf},
};

use clap::ValueEnum;
use myriad_core::{EngineId, EngineName};
use myriad_engine::{EngineFacts, known};
use serde::Serialize;
use thiserror::Error;

/// The binary of RISC Zero's engine.
const RISC0_BINARY: &str = "myriad-engine-risc0";
/// The command that builds it, in a checkout, as the README has it.
const RISC0_BUILD: &str = "cargo build --release --manifest-path engines/risc0/Cargo.toml";
/// Where that command leaves it, from the root of the checkout.
const RISC0_BUILT: &str = "engines/risc0/target/release";
/// Where a checkout has this binary.
const OWN_BUILT: &str = "target/release";
/// The first bytes of RISC Zero's `ProgramBinary`: a program together with its kernel.
const RISC0_MAGIC: &[u8] = b"R0BF";

/// The engines that the user can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The one that this binary has (the default)
    Openvm,
    /// In a binary of its own, myriad-engine-risc0
    Risc0,
}

impl Choice {
    /// What is known of the engine, whether this machine has it or not.
    pub fn facts(self) -> EngineFacts {
        match self {
            Self::Openvm => myriad_openvm::facts(),
            Self::Risc0 => known::risc0(),
        }
    }

    pub fn name(self) -> EngineName {
        self.facts().id.name
    }

    /// The engine of this name.
    pub fn named(name: EngineName) -> Option<Self> {
        let mut all = Self::value_variants().iter().copied();
        all.find(|choice| choice.name() == name)
    }
}

/// The signs that show which engine a program is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs<'a> {
    /// The user's word.
    pub named: Option<Choice>,
    /// A proof of it. The ending of its name tells whose it is.
    pub proof: Option<&'a Path>,
}

impl Signs<'_> {
    /// The engine of a program: an ELF may be for either.
    pub fn engine_of(self, image: &[u8]) -> Choice {
        let by_file = image.starts_with(RISC0_MAGIC).then_some(Choice::Risc0);
        let by_proof = || {
            let name = self.proof?.file_name()?.to_string_lossy().into_owned();
            let ends = |choice: &&Choice| name.ends_with(&format!(".{}", choice.facts().proof_ending));
            Choice::value_variants().iter().find(ends).copied()
        };
        let found = self.named.or(by_file).or_else(by_proof);
        found.unwrap_or(Choice::Openvm)
    }
}

/// An engine of this machine.
#[derive(Clone, Debug)]
pub struct OwnEngine {
    pub facts: EngineFacts,
    starts: Starts,
}

/// The command or the binary that starts a child of an engine.
#[derive(Clone, Debug)]
enum Starts {
    /// A command of this binary.
    Subcommand(&'static str),
    /// A binary of its own.
    Binary(PathBuf),
}

impl OwnEngine {
    /// The binary that is a child of the engine, and its first arguments.
    ///
    /// # Errors
    /// The path of this binary cannot be found.
    pub fn command(&self) -> io::Result<(PathBuf, Option<&'static str>)> {
        Ok(match &self.starts {
            Starts::Subcommand(subcommand) => (env::current_exe()?, Some(*subcommand)),
            Starts::Binary(path) => (path.clone(), None),
        })
    }

    /// The binary of its own, if it has one: that may be of another build than this one.
    pub fn binary(&self) -> Option<&Path> {
        match &self.starts {
            Starts::Binary(path) => Some(path),
            Starts::Subcommand(_) => None,
        }
    }
}

/// Where the user has named a binary of RISC Zero's engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    Flag,
    Variable,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "--engine-risc0",
            Self::Variable => "MYRIAD_ENGINE_RISC0",
        })
    }
}

/// An engine is wanted that this machine cannot start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoEngine {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Binary(#[from] NoBinary),
}

/// A job, a program or a setting wants an engine that this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("this machine has no engine `{wanted}`, but {}: {}", has(.there), advice(.wanted))]
pub struct Missing {
    pub wanted: EngineName,
    /// The engines that there are.
    pub there: Vec<EngineName>,
}

fn has(there: &[EngineName]) -> String {
    let names: Vec<String> = there.iter().map(|name| format!("`{name}`")).collect();
    match &names[..] {
        [] => "none at all".into(),
        names => names.join(" and "),
    }
}

fn advice(wanted: &EngineName) -> String {
    match Choice::named(*wanted) {
        Some(Choice::Risc0) => format!(
            "build it in a checkout with `{RISC0_BUILD}`; where this program is not in {OWN_BUILT} of the same checkout, \
             put {RISC0_BINARY} beside it, or name its path with --engine-risc0"
        ),
        _ => "use a build of myriad that has it".into(),
    }
}

/// What to do about a binary of RISC Zero's engine that is of no use.
pub fn other_binary() -> String {
    format!("`{RISC0_BUILD}` makes one in {RISC0_BUILT} of a checkout, which has to be that of this program")
}

/// A path that was given for the binary of an engine leads to none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{by} names {}, which is no file that can be executed{reason}: {}", .path.display(), other_binary())]
pub struct NoBinary {
    by: NamedBy,
    path: PathBuf,
    /// What the system says of it, in brackets, if it says anything.
    reason: String,
}

/// The engines of this machine.
#[derive(Clone, Debug)]
pub struct OwnEngines {
    there: Vec<OwnEngine>,
    /// The reason for which RISC Zero's engine is missing although the user has named its binary.
    /// Commands that need another engine go on.
    no_risc0: Option<NoBinary>,
}

impl OwnEngines {
    /// All of them. `risc0` is the path of RISC Zero's binary, if the user has named one. Otherwise
    /// it is looked for beside this one, and where a checkout builds it.
    pub fn find(risc0: Option<(&Path, NamedBy)>) -> Self {
        let own = OwnEngine {
            facts: Choice::Openvm.facts(),
            starts: Starts::Subcommand("engine-worker"),
        };
        let (binary, no_risc0) = match risc0.map(|(named, by)| named_binary(named, by)) {
            Some(Ok(path)) => (Some(path), None),
            Some(Err(wrong)) => (None, Some(wrong)),
            None => (env::current_exe().ok().and_then(|path| binary_near(&path)), None),
        };
        let risc0 = binary.map(|path| OwnEngine {
            facts: Choice::Risc0.facts(),
            starts: Starts::Binary(path),
        });
        Self {
            there: [own].into_iter().chain(risc0).collect(),
            no_risc0,
        }
    }

    /// Those among them that have these names, in the order of this list; all where there are none.
    ///
    /// # Errors
    /// [`NoEngine`]
    pub fn only(&self, names: &[EngineName]) -> Result<Self, NoEngine> {
        for name in names {
            self.get(*name)?;
        }
        Ok(match names {
            [] => self.clone(),
            names => Self {
                there: self
                    .iter()
                    .filter(|engine| names.contains(&engine.facts.id.name))
                    .cloned()
                    .collect(),
                no_risc0: None,
            },
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &OwnEngine> {
        self.there.iter()
    }

    /// Why an engine is not among them whose binary the user has named.
    pub fn no_binary(&self) -> Option<&NoBinary> {
        self.no_risc0.as_ref()
    }

    /// The engines that this node greets with, and whose measurements it believes.
    pub fn ids(&self) -> Vec<EngineId> {
        self.iter().map(|engine| engine.facts.id).collect()
    }

    /// The engine of this name.
    ///
    /// # Errors
    /// [`NoEngine`]
    pub fn get(&self, name: EngineName) -> Result<&OwnEngine, NoEngine> {
        if let Some(found) = self.iter().find(|engine| engine.facts.id.name == name) {
            return Ok(found);
        }
        Err(match &self.no_risc0 {
            Some(wrong) if name == Choice::Risc0.name() => wrong.clone().into(),
            _ => NoEngine::Missing(Missing {
                wanted: name,
                there: self.ids().iter().map(|id| id.name).collect(),
            }),
        })
    }

    /// The binary of RISC Zero's engine, for a process that is to have the same engines.
    pub fn risc0_binary(&self) -> Option<&Path> {
        self.iter().find_map(OwnEngine::binary)
    }
}

/// The binary that the user has named.
fn named_binary(named: &Path, by: NamedBy) -> Result<PathBuf, NoBinary> {
    let no = |reason| NoBinary {
        by,
        path: named.to_owned(),
        reason,
    };
    let said = |error: io::Error| no(format!(" ({error})"));
    if !is_executable(named).map_err(said)? {
        return Err(no(String::new()));
    }
    // A name without a folder would be looked for in PATH.
    path::absolute(named).map_err(said)
}

/// The binary beside that of `myriad`, or in the checkout that has built `myriad`.
fn binary_near(myriad: &Path) -> Option<PathBuf> {
    let folder = myriad.parent()?;
    let built = || {
        // In any other folder, a path two levels up may be a stranger's.
        let checkout = folder.ends_with(OWN_BUILT).then(|| folder.ancestors().nth(2))??;
        Some(checkout.join(RISC0_BUILT).join(RISC0_BINARY))
    };
    let beside = folder.join(RISC0_BINARY);
    let mut paths = [Some(beside), built()].into_iter().flatten();
    paths.find(|path| is_executable(path).unwrap_or(false))
}

fn is_executable(path: &Path) -> io::Result<bool> {
    const ANYBODY_EXECUTES: u32 = 0o111;
    let metadata = fs::metadata(path)?;
    Ok(metadata.is_file() && metadata.permissions().mode() & ANYBODY_EXECUTES != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is there and can be executed.
    fn binary(path: &Path) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_owned()
    }

    #[test]
    fn a_binary_is_found_beside_this_one_and_in_its_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let myriad = dir.path().join(OWN_BUILT).join("myriad");
        assert_eq!(binary_near(&myriad), None);
        let built = binary(&dir.path().join(RISC0_BUILT).join(RISC0_BINARY));
        assert_eq!(binary_near(&myriad), Some(built));
        // From no other folder.
        assert_eq!(binary_near(&dir.path().join("some/folder/myriad")), None);
        let beside = binary(&myriad.with_file_name(RISC0_BINARY));
        assert_eq!(binary_near(&myriad), Some(beside));
    }

    #[test]
    fn a_named_binary_has_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let (openvm, risc0) = (Choice::Openvm.name(), Choice::Risc0.name());
        let path = binary(&dir.path().join("worker"));
        let engines = OwnEngines::find(Some((&path, NamedBy::Flag)));
        assert_eq!(engines.risc0_binary(), Some(path.as_path()));
        let command = |name| engines.get(name).unwrap().command().unwrap();
        assert_eq!(command(risc0), (path.clone(), None));
        assert_eq!(command(openvm).1, Some("engine-worker"));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        for wrong in [path, dir.path().to_owned(), dir.path().join("nothing")] {
            for (by, said) in [
                (NamedBy::Flag, "--engine-risc0 names"),
                (NamedBy::Variable, "MYRIAD_ENGINE_RISC0 names"),
            ] {
                let engines = OwnEngines::find(Some((&wrong, by)));
                let error = engines.get(risc0).unwrap_err().to_string();
                assert!(error.starts_with(said), "{error}");
                assert!(error.contains(wrong.to_str().unwrap()), "{error}");
                assert!(
                    error.contains(RISC0_BUILD) && error.contains(RISC0_BUILT),
                    "{error}"
                );
                assert_eq!(
                    engines.only(&[risc0]).unwrap_err(),
                    engines.get(risc0).unwrap_err()
                );
                // Nobody else is disturbed, and an owner that lends all engines hears of it.
                assert!(engines.get(openvm).is_ok());
                assert_eq!(engines.only(&[openvm]).unwrap().no_binary(), None);
                assert_eq!(engines.only(&[]).unwrap().no_binary().unwrap().to_string(), error);
            }
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is_and_how_to_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = binary(&dir.path().join("worker"));
        let all = OwnEngines::find(Some((&path, NamedBy::Flag)));
        let (openvm, risc0) = (Choice::Openvm.name(), Choice::Risc0.name());
        let names = |engines: &OwnEngines| engines.ids().iter().map(|id| id.name).collect::<Vec<_>>();
        assert_eq!(names(&all), [openvm, risc0]);
        assert_eq!(names(&all.only(&[]).unwrap()), [openvm, risc0]);
        assert_eq!(
            names(&all.only(&[risc0, openvm, risc0]).unwrap()),
            [openvm, risc0]
        );
        let one = all.only(&[openvm]).unwrap();
        assert_eq!(names(&one), [openvm]);
        let error = one.only(&[openvm, risc0]).unwrap_err().to_string();
        assert!(
            error.starts_with("this machine has no engine `risc0`, but `openvm`: build it"),
            "{error}"
        );
        assert!(error.contains(RISC0_BUILD), "{error}");
        let error = all.get("other".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(
            error,
            "this machine has no engine `other`, but `openvm` and `risc0`: use a build of myriad that has it"
        );
    }

    #[test]
    fn the_file_says_the_engine_unless_the_user_does() {
        let elf = b"\x7fELF".as_slice();
        let of = |named, proof: Option<&str>, image| {
            Signs {
                named,
                proof: proof.map(Path::new),
            }
            .engine_of(image)
        };
        assert_eq!(of(None, None, elf), Choice::Openvm);
        assert_eq!(of(None, None, b"R0BF rest"), Choice::Risc0);
        assert_eq!(of(None, None, b"R0B"), Choice::Openvm);
        assert_eq!(of(Some(Choice::Risc0), None, elf), Choice::Risc0);
        assert_eq!(of(Some(Choice::Openvm), None, b"R0BF"), Choice::Openvm);
        let receipt = format!("a/x.{}", Choice::Risc0.facts().proof_ending);
        assert_eq!(of(None, Some(&receipt), elf), Choice::Risc0);
        assert_eq!(of(None, Some("x.stark.proof"), elf), Choice::Openvm);
        assert_eq!(of(None, Some("x.stark.proof"), b"R0BF"), Choice::Risc0);
        assert_eq!(of(Some(Choice::Openvm), Some(&receipt), elf), Choice::Openvm);
    }

    /// The reference's costs of another engine are those of the engine that is asked for here.
    #[test]
    fn the_reference_has_measured_the_engines_that_there_are() {
        for choice in Choice::value_variants() {
            let EngineId { name, fingerprint } = choice.facts().id;
            if let Some(profile) = myriad_cost::reference::other(name.as_str()) {
                assert_eq!(profile.engine, hex::encode(fingerprint), "{name}");
            } else {
                assert_eq!(name, myriad_cost::reference::profile().engine_name);
            }
        }
    }

    #[test]
    fn every_engine_has_a_name_and_an_ending_of_its_own() {
        let facts: Vec<EngineFacts> = Choice::value_variants().iter().map(|c| c.facts()).collect();
        for (place, one) in facts.iter().enumerate() {
            for other in &facts[..place] {
                assert_ne!(one.id.name, other.id.name);
                assert!(!one.proof_ending.ends_with(other.proof_ending));
                assert!(!other.proof_ending.ends_with(one.proof_ending));
            }
            assert_eq!(Choice::named(one.id.name).map(Choice::name), Some(one.id.name));
        }
    }
}
