//! The outputs of the state machine: what its caller is to do.

use std::time::Duration;

use thiserror::Error;

use crate::{
    ids::{Blob, JobId, Peer, TaskId, TaskRef},
    time::Time,
};

/// Something for the caller to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Give a peer a task; it is its own until then.
    Lease { peer: Peer, task: TaskRef, until: Time },
    /// Tell a peer that has renewed its lease how long it lasts now.
    Extended { peer: Peer, task: TaskRef, until: Time },
    /// Tell a peer why its request is refused.
    Refuse { peer: Peer, why: Refusal },
    /// Tell a peer that was refused for want of work that an offer may succeed now.
    Wake { peer: Peer },
    /// Fetch a proof and verify it; answer with [`Checked`](crate::Input::Checked).
    Check { peer: Peer, task: TaskRef, proof: Blob },
    /// Make an accepted proof durable; answer with [`Persisted`](crate::Input::Persisted).
    Persist { peer: Peer, task: TaskRef, proof: Blob },
    /// Do a task with the caller's own engine, and answer with [`Tried`](crate::Input::Tried). It
    /// is the final proof of a job with [`own_final`](crate::JobSpec::own_final), or a task that
    /// peers have failed at. The latter shows whether those peers were the cause, or a proof that
    /// the task is made of.
    Try { task: TaskRef },
    /// Tell a peer that a task is not its own any more.
    Revoke {
        peer: Peer,
        task: TaskRef,
        why: Revocation,
    },
    /// Tell the network that a job wants provers, or that it does not any more.
    Announce { job: JobId, open: bool },
    /// No open task needs this proof any more: everything made from it is durable. If one of those
    /// proofs is refuted, it is needed again, so the caller keeps it as long as the job.
    Obsolete { task: TaskRef },
    /// The standing of a peer has changed; see [`Requester::standing`](crate::Requester::standing).
    Learned { peer: Peer },
    /// Something happened that an observer may want to know.
    Event(Event),
}

/// The reason why a peer's request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("there is no job")]
    NoJob,
    #[error(
        "no task that is ready fits into {offered} bytes of memory; the smallest needs {needed}: offer more"
    )]
    Memory { offered: u64, needed: u64 },
    #[error("all tasks wait for {under_way} others that are under way")]
    Waiting { under_way: usize },
    #[error("this machine holds {held} tasks, and {allowed} are allowed: finish one first")]
    TooManyLeases { held: usize, allowed: usize },
    #[error("{}; ask again in {} s", pausing(*setbacks), remaining.as_secs_f64().ceil())]
    Cooling { setbacks: u32, remaining: Duration },
    #[error(
        "{held} machines without an accepted proof work from this network, and {allowed} are allowed: ask again when one of them has delivered"
    )]
    Crowded { held: usize, allowed: usize },
    #[error("this machine is banned: {reason}")]
    Banned { reason: String },
    #[error("there is no such task")]
    NoSuchTask,
    #[error("the plan is being made again and does not reach this task yet: submit the proof again later")]
    NotYet,
    #[error("the task was not given to this machine")]
    NotLeased,
    #[error("the task is done")]
    Done,
    #[error("a proof of this task from this machine is being looked at already")]
    Submitted,
}

/// Why a task is taken from a peer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Revocation {
    #[error("the lease ran out")]
    Expired,
    #[error("another machine was faster")]
    Done,
    #[error("another machine will have done it much sooner")]
    Faster,
    #[error("the job is not wanted any more")]
    Cancelled,
    #[error("the job failed")]
    JobFailed,
    #[error("this machine is banned")]
    Banned,
    #[error("a proof that this task takes turned out to be unusable")]
    Refuted,
    #[error("a proof that this task takes has to be made again")]
    Lost,
}

/// An event, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A proof is accepted and durable.
    TaskDone {
        task: TaskRef,
        peer: Peer,
        /// The time from the lease to the submission, as the requester saw it.
        took: Duration,
    },
    /// The final proof is durable.
    JobDone { job: JobId },
    /// The time by which a job should have been done has come. It goes on.
    DeadlineMissed { job: JobId },
    /// A task failed too often; the peers' messages say why.
    JobFailed {
        job: JobId,
        task: TaskId,
        failures: Vec<(Peer, String)>,
    },
    /// A task goes to another peer.
    TaskFailed {
        task: TaskRef,
        peer: Peer,
        message: String,
    },
    /// A peer sent a proof that is none.
    Banned {
        peer: Peer,
        task: TaskRef,
        reason: String,
    },
    /// An accepted proof was refuted, and its task is to be done again; `maker` is none where an
    /// earlier run accepted it.
    Refuted {
        task: TaskRef,
        proof: Blob,
        maker: Option<Peer>,
        reason: String,
    },
    /// An accepted proof was lost, or is doubted, and its task is to be done again. Nobody is to
    /// blame.
    Reopened {
        task: TaskRef,
        proof: Blob,
        reason: String,
    },
    /// A peer is no longer banned: nobody could have done the task for which it was.
    Pardoned { peer: Peer, task: TaskRef },
}

/// Why a machine has to pause.
fn pausing(setbacks: u32) -> String {
    match setbacks {
        0 => "this machine has just given a task back for another one".into(),
        _ => format!("the last {setbacks} leases of this machine came to nothing"),
    }
}
