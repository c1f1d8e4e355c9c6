//! The settings of a run, from four layers: defaults < `myriad.toml` in the working folder <
//! `MYRIAD_*` variables < flags. Every command that works with keys or children loads them.
//!
//! A stranger may have made the working folder, and the file with it. So the file may not name a
//! binary.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use directories::ProjectDirs;
use figment::{
    Figment,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
};
use myriad_core::EngineName;
use myriad_engine::{
    FinalForm, INPUT_BYTES_MAX, MemoryBudget,
    worker::{WorkerConfig, data_bytes_max},
};
use myriad_node::Machine;
use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

use crate::{
    confinement::{UNCONFINED, confinement},
    engines::{NamedBy, OwnEngine, OwnEngines},
};

/// The file of settings, in the working folder.
const FILE: &str = "myriad.toml";
/// Start of the names of variables: `MYRIAD_DATA_DIR` is `data_dir`.
const ENV_PREFIX: &str = "MYRIAD_";

/// The setting that names a binary, which `myriad.toml` may not have.
const ENGINE_RISC0: &str = "engine_risc0";

/// The names of the settings in `myriad.toml`, and after `MYRIAD_` in capitals.
const NAMES: [&str; 21] = [
    "data_dir",
    "out",
    "memory",
    "children",
    "threads",
    "max_instructions",
    "deadline",
    "proof",
    "keep_jobs",
    "bootstrap",
    "listen",
    "external",
    "no_mdns",
    "nice",
    "disk",
    "max_input",
    "only",
    "never",
    "prefer",
    "engines",
    ENGINE_RISC0,
];

/// Memory of an engine child by default: a home machine can spare it.
pub const MEMORY: MemoryBudget = MemoryBudget::from_bytes(4 << 30);
/// The most instructions of an execution by default. No valid block of 60 M gas needs as many: the
/// costliest operation that has been measured takes 2,673 instructions per gas, which are 167
/// billion.
const MAX_INSTRUCTIONS: u64 = 200_000_000_000;
/// The most instructions of a stranger's job by default: thirty blocks of 30 M gas at 10
/// instructions per gas. The longest time that a task may take follows from it.
const JOB_INSTRUCTIONS_MAX: u64 = 10_000_000_000;

/// The days for which a done or cancelled job stays. As long as it does, the same command finds its
/// proofs again.
const KEEP_JOBS_DAYS: u32 = 30;

/// The default `nice` value of a lent machine's engine child, behind its owner's programs.
const NICE: u8 = 10;
/// The most that the system allows.
const NICE_MAX: u8 = 19;
/// Disk space of a lent machine: the programs, inputs and proofs of some jobs.
const DISK_BYTES: u64 = 20 << 30;

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of keys and accepted proofs.
    pub data_dir: PathBuf,
    /// Folder of final proofs.
    pub out: PathBuf,
    /// The most memory of one engine child.
    pub memory: MemoryBudget,
    /// The most engine children at once.
    pub children: usize,
    /// Threads of each engine child.
    pub threads: usize,
    /// Threads that the user asked for.
    pub threads_wanted: Option<NonZeroUsize>,
    /// The most instructions of an own execution.
    pub max_instructions: u64,
    /// The engines of this machine.
    pub engines: OwnEngines,
    /// The form of the final proof.
    pub proof: FinalForm,
    /// The time from the start of the command to the proof.
    pub deadline: Option<Duration>,
    /// The time that done and cancelled jobs stay.
    pub keep_jobs: Duration,
    pub net: NetSettings,
    pub owner: OwnerSettings,
}

/// The settings of the network.
#[derive(Clone, Debug, Default)]
pub struct NetSettings {
    /// Addresses, as the user wrote them.
    pub bootstrap: Vec<String>,
    pub listen: Vec<String>,
    pub external: Vec<String>,
    pub mdns: bool,
}

/// The limits of a prover's owner, beside memory and threads.
#[derive(Clone, Debug)]
pub struct OwnerSettings {
    pub nice: u8,
    pub disk_bytes: u64,
    pub max_input_bytes: u64,
    /// The most instructions of a job.
    pub max_instructions: u64,
    /// The engines that are lent; all if there are none.
    pub engines: Vec<EngineName>,
    /// Names of peers, as the user wrote them.
    pub only: Vec<String>,
    pub never: Vec<String>,
    pub prefer: Vec<String>,
}

/// Why the settings could not be loaded.
#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("{key}{reason} ({source_name})")]
    Value {
        key: String,
        reason: String,
        source_name: String,
    },
    #[error("there is no setting `{name}` ({source_name}); the settings are {}", NAMES.join(", "))]
    UnknownName { name: String, source_name: String },
    #[error(
        "{FILE} in the working folder names {}, which `{ENGINE_RISC0}` would have executed, and a stranger may have made \
         the folder, and the file with it: leave it out there, and name the binary with {} or {}",
        .named, NamedBy::Flag, NamedBy::Variable
    )]
    BinaryInFile { named: String },
    #[error("this system has no folder for a user's data; name one with --data-dir or MYRIAD_DATA_DIR")]
    NoDataDir,
    #[error("cannot find the path of this program, which the engine children run: {0}")]
    OwnPath(std::io::Error),
}

/// The settings as the layers have them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layers {
    data_dir: Option<PathBuf>,
    #[serde(default = "working_folder")]
    out: PathBuf,
    #[serde(default = "default_memory", deserialize_with = "memory")]
    memory: MemoryBudget,
    children: Option<NonZeroUsize>,
    threads: Option<NonZeroUsize>,
    max_instructions: Option<u64>,
    deadline: Option<NonZeroU64>,
    /// Days.
    keep_jobs: Option<u32>,
    #[serde(default)]
    proof: FinalForm,
    #[serde(default)]
    bootstrap: Vec<String>,
    #[serde(default)]
    listen: Vec<String>,
    #[serde(default)]
    external: Vec<String>,
    #[serde(default)]
    no_mdns: bool,
    #[serde(default = "default_nice")]
    nice: u8,
    #[serde(default = "default_disk", deserialize_with = "size")]
    disk: u64,
    #[serde(default = "default_max_input", deserialize_with = "size")]
    max_input: u64,
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    never: Vec<String>,
    #[serde(default)]
    prefer: Vec<String>,
    #[serde(default)]
    engines: Vec<EngineName>,
    engine_risc0: Option<PathBuf>,
}

impl Settings {
    /// Loads the settings. `flags` is the topmost layer, and serializes the given ones under
    /// [`NAMES`].
    ///
    /// # Errors
    /// An unknown name in `myriad.toml` or one that it may not have, a value of the wrong kind, or
    /// no place for data.
    pub fn load(flags: &impl Serialize) -> Result<Self, SettingsError> {
        let (layers, by) = layers(flags)?;
        let data_dir = match layers.data_dir {
            Some(dir) => dir,
            None => platform_data_dir().ok_or(SettingsError::NoDataDir)?,
        };
        let engines = OwnEngines::find(layers.engine_risc0.as_deref().map(|path| (path, by)));
        let machine = Machine::detect();
        let children = layers.children.map_or(machine.cores, usize::from);
        let threads = layers
            .threads
            .map_or_else(|| threads(machine, layers.memory, children), usize::from);
        Ok(Self {
            data_dir,
            out: layers.out,
            memory: layers.memory,
            children,
            threads,
            threads_wanted: layers.threads,
            engines,
            proof: layers.proof,
            deadline: layers.deadline.map(|seconds| Duration::from_secs(seconds.get())),
            keep_jobs: days(layers.keep_jobs.unwrap_or(KEEP_JOBS_DAYS)),
            max_instructions: layers.max_instructions.unwrap_or(MAX_INSTRUCTIONS),
            net: NetSettings {
                bootstrap: layers.bootstrap,
                listen: layers.listen,
                external: layers.external,
                mdns: !layers.no_mdns,
            },
            owner: OwnerSettings {
                nice: layers.nice.min(NICE_MAX),
                max_instructions: layers.max_instructions.unwrap_or(JOB_INSTRUCTIONS_MAX),
                disk_bytes: layers.disk,
                max_input_bytes: layers.max_input,
                engines: layers.engines,
                only: layers.only,
                never: layers.never,
                prefer: layers.prefer,
            },
        })
    }

    /// The command that starts a child of an engine for own jobs, one of [`Self::children`].
    ///
    /// # Errors
    /// [`SettingsError::OwnPath`]
    pub fn worker(&self, engine: &OwnEngine) -> Result<WorkerConfig, SettingsError> {
        self.worker_with(engine, self.threads)
    }

    /// The command that starts a child of an engine for own jobs that has the machine to itself.
    ///
    /// # Errors
    /// [`SettingsError::OwnPath`]
    pub fn sole_worker(&self, engine: &OwnEngine) -> Result<WorkerConfig, SettingsError> {
        self.worker_with(engine, Machine::detect().cores)
    }

    fn worker_with(&self, engine: &OwnEngine, threads: usize) -> Result<WorkerConfig, SettingsError> {
        let mut config = self.worker_of(engine, &self.keys_dir(), threads)?;
        // The programs in these children are the user's own choice.
        config
            .args
            .extend(confinement().is_err().then(|| UNCONFINED.into()));
        Ok(config)
    }

    /// The command that starts a child of an engine with the keys of this folder, on a kernel that
    /// can confine it.
    ///
    /// # Errors
    /// [`SettingsError::OwnPath`]
    pub fn worker_of(
        &self,
        engine: &OwnEngine,
        keys: &Path,
        threads: usize,
    ) -> Result<WorkerConfig, SettingsError> {
        let named = keys.to_string_lossy();
        let data = data_bytes_max(self.memory, threads).to_string();
        let (command, first) = engine.command().map_err(SettingsError::OwnPath)?;
        let args = ["--keys", &named, "--data-bytes-max", &data];
        Ok(WorkerConfig {
            engine: engine.facts.clone(),
            command,
            args: first.into_iter().chain(args).map(str::to_owned).collect(),
            keys: keys.into(),
            threads,
        })
    }

    /// The threads of each of this many children, unless the user has set them.
    pub fn threads_each(&self, children: usize) -> usize {
        if let Some(wanted) = self.threads_wanted {
            return wanted.get();
        }
        threads(Machine::detect(), self.memory, children)
    }

    pub fn keys_dir(&self) -> PathBuf {
        self.data_dir.join("keys")
    }
}

/// The settings as the layers have them, and where a binary of RISC Zero's engine is named, if one
/// is.
fn layers(flags: &impl Serialize) -> Result<(Layers, NamedBy), SettingsError> {
    // A file that is there has to be readable; to have none is no error.
    let file = if Path::new(FILE).exists() {
        Figment::from(Toml::file_exact(FILE))
    } else {
        Figment::new()
    };
    if let Ok(value) = file.find_value(ENGINE_RISC0) {
        let named = value.as_str().unwrap_or("something").escape_debug().to_string();
        return Err(SettingsError::BinaryInFile { named });
    }
    let flags = Serialized::defaults(flags);
    let by = if Figment::from(&flags).contains(ENGINE_RISC0) {
        NamedBy::Flag
    } else {
        NamedBy::Variable
    };
    let layers = file
        .merge(Env::prefixed(ENV_PREFIX).only(&NAMES))
        .merge(flags)
        .extract()?;
    Ok((layers, by))
}

/// Threads for each core when all children work.
const THREADS_PER_CORE: usize = 2;

/// Threads of each child: more than its share of the cores, since at the end of the tree few
/// children have work. On two cores that costs nothing in the meantime: two leaves side by side
/// took 38.7 s with one thread each and 38.4 s with two.
fn threads(machine: Machine, memory: MemoryBudget, children: usize) -> usize {
    let running = children.min(machine.fitting(memory.bytes()));
    (THREADS_PER_CORE * machine.cores / running).clamp(1, machine.cores)
}

fn platform_data_dir() -> Option<PathBuf> {
    Some(ProjectDirs::from("", "", "myriad")?.data_local_dir().to_owned())
}

/// This many days.
pub fn days(days: u32) -> Duration {
    const DAY_S: u64 = 24 * 60 * 60;
    Duration::from_secs(DAY_S * u64::from(days))
}

fn working_folder() -> PathBuf {
    PathBuf::from(".")
}

fn default_memory() -> MemoryBudget {
    MEMORY
}

fn default_nice() -> u8 {
    NICE
}

fn default_disk() -> u64 {
    DISK_BYTES
}

fn default_max_input() -> u64 {
    INPUT_BYTES_MAX as u64
}

/// A size is written `20GiB`, or as a number of bytes.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a size, for instance \"20GiB\"")]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Text(text) => text
            .parse::<ByteSize>()
            .map(|size| size.as_u64())
            .map_err(de::Error::custom),
    }
}

/// Memory is written `2GiB`, or as a number of bytes.
fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MemoryBudget, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an amount of memory, for instance \"2GiB\"")]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    let text = match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => bytes.to_string(),
        Size::Text(text) => text,
    };
    text.parse().map_err(de::Error::custom)
}

impl From<figment::Error> for SettingsError {
    fn from(error: figment::Error) -> Self {
        let source_name = match &error.metadata {
            Some(metadata) => match &metadata.source {
                Some(source) => source.to_string(),
                None => format!("from {}", metadata.name),
            },
            None => "from the settings".into(),
        };
        if let Kind::UnknownField(name, _) = &error.kind {
            return Self::UnknownName {
                name: name.clone(),
                source_name,
            };
        }
        let key = match error.path.last() {
            Some(key) => format!("{key}: "),
            None => String::new(),
        };
        Self::Value {
            key,
            reason: error.kind.to_string(),
            source_name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::Choice;

    #[test]
    fn every_child_gets_a_limit_of_data_that_follows_from_the_memory_it_is_lent() {
        let limit = |memory: u64| {
            let flags = serde_json::json!({ "data_dir": "of a test", "memory": memory, "threads": 2 });
            let settings = Settings::load(&flags).unwrap();
            let engine = settings.engines.get(Choice::Openvm.name()).unwrap();
            let config = settings.worker(engine).unwrap();
            let mut args = config.args.iter().skip_while(|arg| *arg != "--data-bytes-max");
            args.nth(1).unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(
            limit(4 << 30),
            data_bytes_max(MemoryBudget::from_bytes(4 << 30), 2)
        );
        assert_eq!(limit(8 << 30) - limit(4 << 30), 4 * (4 << 30));
    }

    /// The most expensive operation takes 2,673 instructions per gas. A stranger's job is held to
    /// less.
    #[test]
    fn a_block_of_sixty_million_gas_is_within_the_limit_of_instructions() {
        let limits = |flags: serde_json::Value| {
            let settings = Settings::load(&flags).unwrap();
            (settings.max_instructions, settings.owner.max_instructions)
        };
        let (own, jobs) = limits(serde_json::json!({ "data_dir": "of a test" }));
        assert!(own >= 60_000_000 * 2_782 && jobs < own, "{own}, {jobs}");
        let set = limits(serde_json::json!({ "data_dir": "of a test", "max_instructions": 7 }));
        assert_eq!(set, (7, 7));
    }

    #[test]
    fn running_children_share_the_cores() {
        let machine = |cores, free_gib: u64| Machine {
            cores,
            free_bytes: Some(free_gib << 30),
            total_bytes: None,
        };
        assert_eq!(threads(machine(2, 16), MEMORY, 2), 2, "no more than cores");
        assert_eq!(threads(machine(64, 1024), MEMORY, 64), 2);
        assert_eq!(
            threads(machine(16, 8), MEMORY, 16),
            16,
            "memory holds two children"
        );
        assert_eq!(threads(machine(1, 1024), MEMORY, 64), 1);
    }
}
