//! A job, and the parts that all ways of proving it share: the plan, the tree, the store.

mod machine;
mod outset;
mod prepare;
mod tree_choice;

use std::{path::PathBuf, time::Duration};

use myriad_core::{Arities, Offer, Peer, Policy, Redundancy, SPEED_ONE, TaskId, Trust};
use myriad_engine::{
    FinalForm, Input, Loaded, MemoryBudget,
    worker::{Usage, WorkerConfig, WorkerError},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use machine::Machine;
pub(crate) use myriad_cost::job::Hands;
pub(crate) use outset::{Outset, prepare};
pub(crate) use prepare::{Opened, Prepared, level, start_child, stream_from};
pub(crate) use tree_choice::allowed;

use myriad_net::blob::BlobError;

use crate::{StoreError, verifier_pool::NoVerifier};

/// A job: a program and an input to prove.
#[derive(Clone, Debug)]
pub struct Job {
    /// The stem of the names of the output files. Their endings are the engine's.
    pub name: String,
    /// The file of the program, as its engine reads it.
    pub image: Vec<u8>,
    /// The text that configures the program's virtual machine, if it needs one.
    pub program_config: Option<String>,
    pub input: Input,
    /// What the engine says of program and input.
    pub loaded: Loaded,
    /// The arguments that `myriad verify` needs beside the proof, for a command that resumes the
    /// job later.
    pub verify: String,
}

/// The settings of a job's proving.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of keys, accepted proofs and locks; see [`crate::Store`].
    pub data_dir: PathBuf,
    /// Folder of the final proof and its baseline.
    pub out_dir: PathBuf,
    /// The most memory of one engine child.
    pub memory: MemoryBudget,
    /// The most engine children at once. Fewer run where the machine's free memory does not hold as
    /// many.
    pub children: usize,
    /// The most instructions of the execution.
    pub max_instructions: u64,
    /// The form of the final proof.
    pub final_form: FinalForm,
    /// The time within which the proof is wanted. When it has passed, the job continues, and a note
    /// says so.
    pub deadline: Option<Duration>,
    /// The importance beside other jobs of the same requester: those of higher priority go first,
    /// then those that are due first, then the oldest.
    pub priority: i32,
    /// The machines that do the tasks, for the record.
    pub fleet: Fleet,
    /// Jobs of the data folder that ended longer ago than this are removed when this one begins;
    /// none if there is no limit.
    pub keep_jobs: Option<Duration>,
    /// The command that starts an engine child; its `threads` are those of each child.
    pub worker: WorkerConfig,
}

/// The machines that do the tasks of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fleet {
    /// Engine children of the one process.
    Children,
    /// Provers on this machine, which join for this job.
    Cluster { provers: usize },
    /// Provers that are found on the network; segments and tree are chosen for this many.
    Network { provers: usize },
}

/// The notice that the deadline has passed.
pub(crate) const MISSED: &str = "the deadline has passed, and the job continues; Ctrl-C ends it, and accepted proofs \
                                 stay for the same command";

/// The peers are engine children, and the requester trusts them.
pub(crate) fn child_peer(child: usize) -> Peer {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(child as u64).to_be_bytes());
    Peer(id)
}

pub(crate) fn child_of(peer: Peer) -> usize {
    let (bytes, _) = peer.0.split_first_chunk().expect("an id has 32 bytes");
    u64::from_be_bytes(*bytes) as usize
}

/// Segments and arities have been chosen for the children's memory, so that every task fits.
pub(crate) const fn child_offer() -> Offer {
    Offer {
        memory: u64::MAX,
        speed: SPEED_ONE,
        trust: Trust::Own,
        origin: None,
    }
}

/// The policy of a machine for its own children: they share its cores, so that a copy would only
/// slow down the rest.
pub(crate) fn one_machine() -> Policy {
    Policy {
        redundancy: Redundancy::Fixed(1),
        look_ahead: false,
        ..Policy::default()
    }
}

/// An event on the way, for a progress display. Events are sent in order from one thread.
#[derive(Clone, Debug)]
pub enum Event {
    /// The search for the keys of the program's configuration has begun. Missing keys are made.
    Preparing,
    /// The keys are there; the time to make them, if they had to be made.
    KeysReady {
        made: Option<Duration>,
    },
    /// The job waits until others are planned, or done.
    Queued,
    /// The program is being executed to cut it into segments.
    Planning,
    /// So many segments are known, and there will be more: the execution goes on, and these are
    /// given out.
    Cut {
        segments: usize,
        /// As in [`Self::Planned`].
        provers: usize,
        /// How many of them an earlier run has left done.
        reused: usize,
        /// Those of them that no earlier event has named.
        kept: Vec<TaskId>,
    },
    /// The work is known.
    Planned {
        instructions: u64,
        segments: usize,
        /// Nodes of the aggregation tree, without the final proof.
        nodes: usize,
        /// The shape of that tree.
        arities: Arities,
        /// Engine children that will run side by side, or the provers that are reckoned with.
        provers: usize,
        /// Tasks that an earlier run has done.
        reused: usize,
        /// Those tasks, in order.
        kept: Vec<TaskId>,
        /// The public values that the program reveals.
        public_values: Vec<u8>,
    },
    /// A peer has taken its first task.
    Joined {
        /// The engine child or peer, from 0, as in all later events.
        prover: usize,
        peer: Peer,
        name: String,
    },
    /// A peer is gone.
    Left {
        prover: usize,
    },
    Started {
        prover: usize,
        task: TaskId,
    },
    /// A proof has been verified and stored. The prover that made it may be working on its next
    /// task already.
    Done {
        prover: usize,
        task: TaskId,
        usage: Usage,
        proof_bytes: usize,
    },
    /// A task was taken from a prover, or given back. The prover may be working on another one
    /// already.
    Idle {
        prover: usize,
        task: TaskId,
    },
    /// The traffic of the network, now and then.
    Traffic {
        /// Connected peers.
        peers: usize,
        /// Bytes of blobs since the start.
        bytes_in: u64,
        bytes_out: u64,
    },
    /// Something that the user may want to act on.
    Notice {
        text: String,
    },
    /// The same of what concerns all jobs of a requester. Each of them is told.
    NoticeToAll {
        /// The number of the notice: it is the same for all of them, and no other one has it.
        number: u64,
        text: String,
    },
    /// A prover failed and the task goes to another one.
    Retrying {
        task: TaskId,
        reason: String,
    },
    /// A task that was done is open again: its proof turned out to be of no use.
    Reopened {
        task: TaskId,
        reason: String,
    },
    /// The final proof is verified and written.
    Finished,
}

/// Receives the [`Event`]s of a run.
pub trait Observer {
    fn event(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> Observer for F {
    fn event(&mut self, event: &Event) {
        self(event);
    }
}

impl Observer for Box<dyn Observer + Send> {
    fn event(&mut self, event: &Event) {
        (**self).event(event);
    }
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub instructions: u64,
    pub segments: usize,
    /// Nodes of the aggregation tree, without the final proof.
    pub nodes: usize,
    pub public_values: Vec<u8>,
    pub proof_path: PathBuf,
    /// None for an engine that writes none.
    pub baseline_path: Option<PathBuf>,
    /// Bytes of the file at `proof_path`.
    pub proof_bytes: usize,
    /// Tasks that an earlier run had done.
    pub reused: usize,
    pub wall: Duration,
    /// Whether that was within the deadline, if there was one.
    pub in_time: Option<bool>,
    /// Largest resident set of any engine child, in bytes.
    pub peak_bytes: u64,
    /// Time to verify the final proof, keys loaded.
    pub verify: Duration,
    /// The cost of each stage in this run, reused tasks not counted.
    pub stages: Vec<Stage>,
}

/// The cost of all tasks of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `execute`, `segment`, `leaf`, `internal-for-leaf`, `internal-recursive` or `final`.
    pub name: &'static str,
    pub tasks: usize,
    pub wall: Duration,
    pub cpu: Duration,
    pub peak_bytes: u64,
}

/// Why a job was not proven.
#[derive(Debug, Error)]
pub enum RunError {
    #[error(transparent)]
    Verifier(#[from] NoVerifier),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error("{task} failed {attempts} times, at last with: {last}")]
    Task {
        task: TaskId,
        attempts: usize,
        last: String,
    },
    #[error("{task} gave a proof that does not verify: {reason}")]
    Unsound { task: TaskId, reason: String },
    #[error(
        "the true boundaries of the segments could not be found, without which no stranger's proof can be judged: {reason}"
    )]
    Truth { reason: String },
    #[error("the network has ended")]
    NetworkEnded,
    #[error("interrupted; accepted proofs are kept, and the same command continues from there")]
    Interrupted,
    #[error("cancelled; accepted proofs are kept, and the same command continues from there")]
    Cancelled,
    #[error(
        "a bug in myriad ended this job: {reason}; accepted proofs are kept, and the same command continues from there"
    )]
    Panicked { reason: String },
    #[error("aggregating needs {needed} for one engine child, and --memory allows {allowed}; raise it")]
    Memory {
        needed: MemoryBudget,
        allowed: MemoryBudget,
    },
}

impl From<BlobError> for RunError {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}
