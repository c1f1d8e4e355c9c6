//! The measurements of a machine: the file that `myriad bench` writes and that the cost model is
//! fitted to.
//!
//! Anybody may have written the file. So its size is bounded before it is read, unknown keys are
//! errors, and every number is held to limits that no machine passes.

mod limits;

use std::{fs::File, io::Read, path::Path};

use myriad_core::{EngineName, Kind};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use limits::{
    CHILDREN_MAX, INSTRUCTIONS_MAX, MEMORY_BYTES_MAX, NAME_BYTES_MAX, PROGRAMS_MAX, RATE_MAX, SAMPLES_MAX,
    SECONDS_MAX, THREADS_MAX,
};

/// The version of the format that this build writes and reads.
pub const PROFILE_VERSION: u32 = 1;
/// The most bytes of a profile. A full one has about 40 KB.
pub const PROFILE_BYTES_MAX: u64 = 4 << 20;
/// The measurements of one machine, with one engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// [`PROFILE_VERSION`].
    pub version: u32,
    /// The name of the machine in reports.
    pub name: String,
    /// The build that measured, for people.
    pub build: String,
    /// The fingerprint of the engine that measured, in hex: another engine takes other times, and a
    /// node does not believe a profile of one.
    pub engine: String,
    /// The name of that engine; in profiles of older builds, OpenVM's, which was the only one.
    #[serde(
        default = "EngineName::of_older_builds",
        skip_serializing_if = "is_of_older_builds"
    )]
    pub engine_name: EngineName,
    pub machine: Machine,
    /// BLAKE3 of memory, in bytes a second, on one thread.
    pub hash_bytes_per_s: f64,
    pub disk: Disk,
    pub programs: Vec<Program>,
}

/// Whether a profile need not name its engine. Older builds refuse a profile with a field that they
/// do not know, and can read one without it.
fn is_of_older_builds(name: &EngineName) -> bool {
    *name == EngineName::of_older_builds()
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its processor, as the system calls it.
    pub cpu: String,
    /// Threads that run at once.
    pub cores: u32,
    pub memory_bytes: u64,
    /// `linux x86_64`, for instance.
    pub system: String,
}

/// The disk that blobs are on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Written and made durable, in bytes a second.
    pub write_bytes_per_s: f64,
    /// Read back, most likely from the system's cache, in bytes a second.
    pub read_bytes_per_s: f64,
}

/// The virtual machine that a program needs. Its costs depend on this most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vm {
    /// RV32IM with input and output.
    Plain,
    /// RV32IM with extensions, such as keccak and secp256k1 in `evm-block`.
    Extended,
    /// RISC Zero's, whose segments have a power of two of rows, and whose nodes are all alike. The
    /// cells of its segments are those of all rows, and its interactions are none: 0, in plans, in
    /// cuts and in samples alike.
    Risc0,
}

impl Vm {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Extended, Self::Risc0];
    /// The one whose tasks take longest, which stands for those that nobody has measured: a lease
    /// that is too long costs less than one that runs out before the task is done.
    pub const COSTLIEST: Self = Self::Risc0;

    /// The name in profiles. Engines say it of their programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Extended => "extended",
            Self::Risc0 => "risc0",
        }
    }

    /// The one with the costs of this name, which an engine says of a program. A name that no
    /// profile knows yet stands for the costliest.
    pub fn of_costs(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|vm| vm.name() == name).unwrap_or(Self::COSTLIEST)
    }
}

/// The measurements of one program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub name: String,
    pub vm: Vm,
    /// Plain execution, as a prover does it to reach the start of its segment, on one thread.
    pub execute_instructions_per_s: f64,
    /// Execution with metering, as a requester does it to cut, on one thread.
    pub meter_instructions_per_s: f64,
    /// Seconds of a requester for the true boundaries of one segment, execution included.
    pub boundary_s: f64,
    /// Into what segments each memory budget cuts an execution, by rising budget.
    pub cuts: Vec<Cut>,
    /// Segments that were proven.
    pub segments: Vec<SegmentSample>,
    /// Nodes of the tree, and final proofs, that were made.
    pub nodes: Vec<NodeSample>,
}

/// The segments that a memory budget cuts an execution into. Means are over all segments but the
/// last, which is as long as it happens to be, unless it is the only one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    pub budget_bytes: u64,
    pub segments: u32,
    /// Instructions of a segment, on average.
    pub instructions: f64,
    /// Field elements in all traces, on average.
    pub cells: f64,
    /// Bus interactions, on average; 0 where the virtual machine counts none.
    pub interactions: f64,
    /// The engine's expectation for the largest of them.
    pub peak_bytes: u64,
}

/// The measurements of one task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Threads that the process had.
    pub threads: u32,
    /// Whether the process had to load keys and make its tools first, as with the first task of a
    /// kind.
    pub cold: bool,
    pub wall_s: f64,
    /// CPU seconds of all threads, user and system.
    pub cpu_s: f64,
    /// Seconds in which threads were ready to run while the processor did other work, in all
    /// threads together: a busy machine can be measured too.
    pub waited_s: f64,
    /// Largest resident set of the process.
    pub peak_bytes: u64,
    pub proof_bytes: u64,
    /// Seconds to verify the proof, on one thread, with keys loaded.
    pub verify_s: f64,
}

/// A segment that was proven.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentSample {
    /// The budget for which it was cut.
    pub budget_bytes: u64,
    /// Executed before it, to get to it.
    pub instructions_before: u64,
    pub instructions: u64,
    /// Field elements in all traces, each height rounded up to a power of two.
    pub cells: u64,
    /// Bus interactions of all rows, likewise; 0 where the virtual machine counts none.
    pub interactions: u64,
    pub measured: Measured,
}

/// A node of the tree, or a final proof, that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSample {
    #[serde(with = "stage")]
    pub stage: Kind,
    pub children: u32,
    /// An internal-recursive node whose children are internal-for-leaf nodes of one child each; of
    /// others they have two, or as many as fit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_ones: bool,
    pub measured: Measured,
}

/// Kinds by the names that reports call them.
mod stage {
    use myriad_core::Kind;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        let name = String::deserialize(deserializer)?;
        let nodes = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Segment);
        nodes.clone().find(|kind| kind.name() == name).ok_or_else(|| {
            let known: Vec<_> = nodes.map(Kind::name).collect();
            D::Error::custom(format!(
                "there is no stage {name:?}; the stages are {}",
                known.join(", ")
            ))
        })
    }
}

/// Why a profile is not used. Texts that quote the file escape it.
#[derive(Debug, Error)]
pub enum ProfileError {
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("it has more than {PROFILE_BYTES_MAX} bytes, which no machine profile has")]
    TooLarge,
    #[error("it is not a machine profile: {0}; `myriad bench --out FILE` writes one")]
    Syntax(#[from] serde_json::Error),
    #[error(
        "it has version {actual}, and this build reads {PROFILE_VERSION}: measure again with `myriad bench`"
    )]
    Version { actual: u64 },
    #[error("{what} is {actual}, and has to be {allowed}: measure again with `myriad bench`")]
    Absurd {
        what: String,
        actual: String,
        allowed: String,
    },
    #[error("{0}: measure again with `myriad bench`")]
    Missing(String),
}

impl Profile {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`Profile::parse`]; and a file that cannot be read, or is larger than
    /// [`PROFILE_BYTES_MAX`].
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let mut text = Vec::new();
        File::open(path)?
            .take(PROFILE_BYTES_MAX + 1)
            .read_to_end(&mut text)?;
        Self::parse(&text)
    }

    /// Reads what [`Profile::to_json`] has made.
    ///
    /// # Errors
    /// Bytes that are no profile, have keys that are not known, are of another version, or have
    /// numbers that no machine has.
    pub fn parse(json: &[u8]) -> Result<Self, ProfileError> {
        /// The version of a profile, readable whatever version it is.
        #[derive(Deserialize)]
        struct Head {
            version: u64,
        }
        if json.len() as u64 > PROFILE_BYTES_MAX {
            return Err(ProfileError::TooLarge);
        }
        let head: Head = serde_json::from_slice(json)?;
        if head.version != u64::from(PROFILE_VERSION) {
            return Err(ProfileError::Version { actual: head.version });
        }
        let profile: Self = serde_json::from_slice(json)?;
        profile.validate()?;
        Ok(profile)
    }

    /// The text of the profile for a file.
    ///
    /// # Panics
    /// Never: it has no maps and no numbers that JSON lacks, once it has been checked.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a profile has a JSON form")
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|program| program.name == name)
    }
}

impl Measured {
    /// The time that it would have taken on an idle machine: threads that have a core for a part of
    /// the time do that part of their work.
    pub fn undisturbed_wall_s(&self) -> f64 {
        self.wall_s * self.cpu_s / (self.cpu_s + self.waited_s)
    }
}

#[cfg(test)]
mod tests;
