//! Lending this machine: [`run`] finds requesters, takes their tasks, and does them within the
//! limits of the machine's owner.
//!
//! ```text
//!  Announcement of a job that is being executed ─▶ limits ─▶ fetch program and input beforehand
//!
//!             ┌──────────── no task: offer to each requester with open jobs in turn ◀───────────┐
//!             ▼                                                                                 │
//!  Lease ─▶ limits ─▶ fetch program, input, proofs ─▶ engine child ─▶ keep the proof ─▶ Submit ─┘
//!             │             from peers that hold them    │  renewed by its progress
//!             └─▶ Return, with the reason                └─▶ Revoke, Ctrl-C: the child is stopped
//! ```
//!
//! The prover believes nothing that a requester says. It bounds each file before it fetches it. A
//! confined child process, whose memory is limited and watched, gets the file from the disk piece
//! by piece, decodes it and runs it.

mod calibration;
mod current;
mod disk;
mod driver;
mod engine;
mod finished;
mod offers;

mod prefetch;
mod progress;
mod receipts;
mod status;
mod task;
mod tenure;

use std::{collections::BTreeSet, time::Duration};

use myriad_core::{EngineId, EngineName, JobId, Peer};
use myriad_engine::{
    EngineFacts, MemoryBudget,
    worker::{NoEngine, Usage},
};
use myriad_net::blob::{BlobRef, BlobStore};
use thiserror::Error;

pub use calibration::{Calibrated, Calibration, CalibrationError, profile_file};
pub use driver::run;
pub use engine::Child;
pub use receipts::Earned;
pub use status::{Activity, Status, StatusFile};

/// An engine child may take this share above the lent memory. There is such a share because a
/// requester's expectations come from measurements, and allocators differ from machine to machine.
/// The child is looked at a few times a second.
const MEMORY_SLACK: f64 = 1.06;

/// The limits that the owner of the machine sets.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Memory of the engine child. A child that takes more is stopped.
    pub memory: MemoryBudget,
    pub threads: usize,
    /// The most instructions of a job: the last segment is reached by executing all before it.
    pub max_instructions: u64,
    /// The most bytes of a job's input.
    pub max_input_bytes: u64,
    /// The requesters to serve; all if empty.
    pub only: BTreeSet<Peer>,
    /// The requesters not to serve.
    pub never: BTreeSet<Peer>,
    /// The requesters to serve before all others.
    pub prefer: BTreeSet<Peer>,
}

/// The files of a task. They stay on the disk until the engine reads them: they may be large, and a
/// stranger has made them.
#[derive(Debug)]
pub struct JobFiles {
    /// The requester that has sent them.
    pub requester: Peer,
    pub job: JobId,
    pub program: BlobRef,
    pub program_config: Option<String>,
    /// An encoded [`myriad_engine::Input`].
    pub input: BlobRef,
    /// The store that has the files, and the proofs of a [`Piece`].
    pub blobs: BlobStore,
    /// The engine that the job's proofs are made with, and the fingerprint of the program's own
    /// configuration, as the requester says.
    pub engine: EngineId,
    pub max_instructions: u64,
}

/// The work that is to be done.
#[derive(Debug)]
pub enum Piece {
    /// Postcard of [`myriad_engine::Segment`].
    Segment(Vec<u8>),
    Aggregate {
        level: u8,
        children: Vec<BlobRef>,
    },
    Finish {
        level: u8,
        top: BlobRef,
        last_segment: BlobRef,
    },
}

/// A maker of proofs: an engine child, or in load tests something that only takes time.
pub trait Engine: Send + Sync + 'static {
    /// Makes a proof. Blocks; one at a time.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn work(&self, files: &JobFiles, piece: &Piece) -> Result<(Vec<u8>, Usage), EngineError>;

    /// Ends the task under way at once, if there is one.
    fn stop(&self);

    /// Samples the task under way.
    fn sample(&self) -> Sample;

    /// What is known of one of its engines without a job.
    ///
    /// # Errors
    /// [`NoEngine`]
    fn facts(&self, name: EngineName) -> Result<&EngineFacts, NoEngine>;

    /// Its speed with so many threads, before any of its work has shown it.
    fn calibration(&self, threads: usize) -> Calibration {
        Calibration::unmeasured(threads)
    }
}

/// The time and memory that a task has taken so far.
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
    /// This machine cannot do it, because of its disk, its keys or its processes. No requester is
    /// at fault.
    #[error("{0}")]
    Unable(String),
    #[error("{0}")]
    Failed(String),
}
