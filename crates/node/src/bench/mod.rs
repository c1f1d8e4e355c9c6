//! Measuring this machine: [`run`] proves just enough to know the cost of any task here, and makes
//! a [`Profile`] from it.
//!
//! ```text
//!  Subject ─▶ cut for each budget (metering only) ─▶ prove segments of some, on all threads and on one ─┐
//!          ─▶ execute, find boundaries                                                                  ├─▶ Profile
//!          ─▶ a small job whole: leaves, nodes of every arity that fits, the final proof ───────────────┘
//! ```
//!
//! All of the work is real: engine children do it, as for a job, and verify every proof.

mod disk;
mod subject;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use myriad_cost::profile::{Machine as MachineProfile, PROFILE_VERSION, Profile};
use myriad_engine::{
    Input, MemoryBudget, VerifyError,
    worker::{WorkerConfig, WorkerError},
};
use thiserror::Error;

use crate::Machine;

/// A program that is measured.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: String,
    /// An ELF or a `.vmexe`.
    pub image: Vec<u8>,
    pub program_config: Option<String>,
    /// The long execution, with the length of a real job: it is cut for every budget.
    pub long: Input,
    /// The short execution, of a few segments at [`Self::whole_budget`]: it is proven whole, to
    /// measure the tree.
    pub short: Input,
    pub whole_budget: MemoryBudget,
}

/// The settings of the measurements.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// The machine's name.
    pub name: String,
    /// The build, for people.
    pub build: String,
    /// Folder of keys; its disk is the one that is measured.
    pub data_dir: PathBuf,
    /// The most memory of an engine child. Budgets and nodes above it are not tried.
    pub memory: MemoryBudget,
    /// The command that starts an engine child; its `threads` are set here.
    pub worker: WorkerConfig,
    /// Numbers of threads to measure with; the largest comes first and gets all of it.
    pub threads: Vec<usize>,
    /// Budgets whose segments are proven.
    pub budgets: Vec<MemoryBudget>,
    /// Budgets that an execution is cut for.
    pub cuts: Vec<MemoryBudget>,
    /// Nodes of all arities, or just those that a small job needs.
    pub every_arity: bool,
    pub subjects: Vec<Subject>,
}

/// A step of the measurement.
#[derive(Clone, Debug)]
pub enum Step {
    /// This is being done now.
    Begins { what: String },
    /// A task was measured.
    Measured {
        what: String,
        wall: Duration,
        peak_bytes: u64,
    },
    /// It was left out, and why.
    Skipped { what: String, why: String },
}

/// Why a machine was not measured.
#[derive(Debug, Error)]
pub enum BenchError {
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error("{what} gave a proof that does not verify: {reason}")]
    Unsound { what: String, reason: VerifyError },
    #[error("the disk of {} cannot be measured: {reason}", folder.display())]
    Disk { folder: PathBuf, reason: std::io::Error },
    #[error("{name} has {actual} segments in {budget}, and its tree is measured with {least} or more")]
    TooShort {
        name: String,
        actual: usize,
        least: usize,
        budget: MemoryBudget,
    },
    #[error(
        "the smallest tree of {name} needs {needed} for one engine child, and {allowed} are allowed: raise --memory"
    )]
    Memory {
        name: String,
        needed: MemoryBudget,
        allowed: MemoryBudget,
    },
}

/// Measures.
///
/// # Errors
/// See [`BenchError`].
pub fn run(options: &BenchOptions, observe: &mut dyn FnMut(&Step)) -> Result<Profile, BenchError> {
    let (hash_bytes_per_s, disk) = disk::measure(&options.data_dir, observe)?;
    let machine = Machine::detect();
    let mut programs = Vec::new();
    for subject in &options.subjects {
        programs.push(subject::measure(subject, options, observe)?);
    }
    Ok(Profile {
        version: PROFILE_VERSION,
        name: options.name.clone(),
        build: options.build.clone(),
        engine: hex::encode(options.worker.engine.id.fingerprint),
        engine_name: options.worker.engine.id.name,
        machine: MachineProfile {
            cpu: cpu_name(),
            cores: machine.cores as u32,
            memory_bytes: machine.total_bytes.unwrap_or(options.memory.bytes()),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        },
        hash_bytes_per_s,
        disk,
        programs,
    })
}

/// The name of the processor; only Linux says it in a file.
fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let fields: BTreeMap<&str, &str> = info
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let name = fields.get("model name").or_else(|| fields.get("Hardware"));
    name.filter(|name| !name.is_empty())
        .map_or_else(|| "unknown".into(), |name| name.chars().take(100).collect())
}
