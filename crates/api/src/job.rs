//! Jobs: what is asked of the service, and how far it is.

use serde::{Deserialize, Serialize};

use crate::{Problem, names::names};

/// How a job is to be proven: the part `job` of a submission. All of it is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// The stem of the names of the proof's files; by default that of the uploaded program or
    /// block. It has 1 to 100 letters, digits, dots, hyphens and underscores, and begins with a
    /// letter or digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The zkVM: `openvm` or `risc0`; by default that of the program's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Jobs of higher priority go first.
    #[serde(default)]
    pub priority: i32,
    /// Seconds within which the proof is wanted. A job that is late goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// The form of the final proof; by default the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofForm>,
}

/// The form of a final proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProofForm {
    /// The smallest; it takes one more step.
    Small,
    /// The soonest; it is larger.
    Fast,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    /// The id, in 64 hex digits. It follows from program and input: the same submission is the same
    /// job.
    pub id: String,
    pub name: String,
    pub engine: String,
    pub state: JobState,
    pub priority: i32,
    /// When it was first asked for.
    pub submitted_ms: u64,
    /// When the last event of it happened.
    pub updated_ms: u64,
    /// When the job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    pub progress: Progress,
    /// The bytes that the program reveals, with `0x`; as soon as it has been executed. A list of
    /// jobs leaves out those of more than 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_values: Option<String>,
    /// The block, where the job proves one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockFacts>,
    /// The verified final proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// Why the job failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits until others are planned or done.
    Queued,
    /// Its program is executed and cut.
    Planning,
    /// Its tasks are given out.
    Proving,
    /// Its final proof was verified and written.
    Done,
    /// It ended with an error. Submitting it again continues it.
    Failed,
    /// Somebody cancelled it. Submitting it again continues it.
    Cancelled,
    /// No process works on it: the service was stopped. A start of the service continues it, and so
    /// does submitting it again.
    Interrupted,
    /// One of a later release. No service sends it.
    #[serde(skip_deserializing)]
    Unknown,
}

impl JobState {
    /// Whether nobody works on the job.
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Failed | Self::Cancelled | Self::Interrupted
        )
    }

    /// Whether the job is over until it is submitted again. An interrupted one is not: the service
    /// continues it at its next start.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

names!(JobState {
    Queued = "queued",
    Planning = "planning",
    Proving = "proving",
    Done = "done",
    Failed = "failed",
    Cancelled = "cancelled",
    Interrupted = "interrupted",
});

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Tasks whose proofs were accepted.
    pub done: u64,
    /// All tasks: segments, nodes and the final proof. None before the plan is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// Segments, as far as the execution is cut.
    pub segments: u64,
    /// Instructions of the execution; 0 before the plan is there.
    pub instructions: u64,
    /// Proofs that an earlier run has left.
    pub reused: u64,
    /// Tasks that are being made now.
    pub running: u64,
}

/// The facts about a block, or a batch of blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockFacts {
    pub chain_id: u64,
    /// The number of the last block.
    pub number: u64,
    /// The hash of the last block.
    pub block_hash: String,
    pub parent_state_root: String,
    pub state_root: String,
    /// The number of blocks.
    pub blocks: u64,
    pub gas_used: u64,
    pub transactions: u64,
}

/// A final proof, which was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Proof {
    pub bytes: u64,
    /// The path of the proof's bytes at this service.
    pub href: String,
    /// The path of the baseline, where the engine has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_href: Option<String>,
    /// The time that its verification took; 0 if an earlier process of the service verified it.
    pub verify_ms: u64,
    /// From the beginning of the run that made it to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// Whether that was within the deadline, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_time: Option<bool>,
    /// The arguments that `myriad verify` needs beside the proof.
    pub verify: String,
}

/// A part of the list of jobs, those submitted last first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobList {
    pub jobs: Vec<Job>,
    /// The value of `before` that gets the next part; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
