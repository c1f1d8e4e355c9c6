//! Lending this machine: [`run`] finds requesters, takes their tasks, and does them within the limits
//! of the machine's owner.
//!
//! ```text
//!             ┌──────────── no task: offer to each requester with open jobs in turn ◀───────────┐
//!             ▼                                                                                 │
//!  Lease ─▶ limits ─▶ fetch program, input, proofs ─▶ engine child ─▶ keep the proof ─▶ Submit ─┘
//!             │             from whoever holds them      │  renewed by its progress
//!             └─▶ Return, with the reason                └─▶ Revoke, Ctrl-C: the child is stopped
//! ```
//!
//! Nothing that a requester says is believed either: what it asks for is bounded before it is fetched,
//! and runs in a child process whose memory is watched.

mod driver;
mod engine;
mod offers;
mod pace;
mod progress;
mod receipts;
mod status;
mod task;
mod view;

use std::{collections::BTreeSet, time::Duration};

use myriad_core::{JobId, Peer};
use myriad_engine::{MemoryBudget, worker::Usage};
use thiserror::Error;

pub use driver::run;
pub use engine::Child;
pub use pace::{PROFILE_FILE, Pace, PaceError};
pub use receipts::Earned;
pub use status::{Activity, Status, StatusFile};

/// What the owner of the machine allows.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Memory of the engine child. One that takes more is stopped.
    pub memory: MemoryBudget,
    pub threads: usize,
    /// Most instructions of a job: the last segment is reached by executing all before it.
    pub max_instructions: u64,
    /// Most bytes of a job's input.
    pub max_input_bytes: u64,
    /// Whom to serve; everybody if empty.
    pub only: BTreeSet<Peer>,
    /// Whom not to serve.
    pub never: BTreeSet<Peer>,
    /// Whom to serve before all others.
    pub prefer: BTreeSet<Peer>,
}

/// What a task is made from.
#[derive(Debug)]
pub struct JobFiles {
    pub job: JobId,
    pub program: Vec<u8>,
    pub openvm_toml: Option<String>,
    /// Postcard of [`myriad_engine::Input`].
    pub input: Vec<u8>,
    /// What the requester says that the job's proofs are made with.
    pub engine: [u8; 32],
    pub max_instructions: u64,
}

/// What is to be done with it.
#[derive(Debug)]
pub enum Piece {
    /// Postcard of [`myriad_engine::Segment`].
    Segment(Vec<u8>),
    Aggregate {
        level: u8,
        children: Vec<Vec<u8>>,
    },
    Finish {
        level: u8,
        top: Vec<u8>,
        last_segment: Vec<u8>,
    },
}

/// What proves: an engine child, or in tests of load something that only takes its time.
pub trait Engine: Send + Sync + 'static {
    /// Makes a proof. Blocks; one at a time.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn work(&self, files: &JobFiles, piece: &Piece) -> Result<(Vec<u8>, Usage), EngineError>;

    /// Ends what is under way, if anything is, at once.
    fn stop(&self);

    /// What is under way has taken so far.
    fn sample(&self) -> Sample;

    /// How fast it is with so many threads, before any of its work has shown it.
    fn pace(&self, threads: usize) -> Pace {
        Pace::unmeasured(threads)
    }
}

/// What a task has taken so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub cpu: Duration,
    /// Memory that it takes now.
    pub memory_bytes: u64,
}

/// Why there is no proof.
#[derive(Clone, Debug, Error)]
pub enum EngineError {
    #[error("stopped")]
    Stopped,
    /// The job is not what it says, or more than is allowed.
    #[error("{0}")]
    Unwilling(String),
    #[error("{0}")]
    Failed(String),
}
