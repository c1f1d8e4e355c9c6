//! The inputs of the state machine: what its caller tells it.

use std::time::Duration;

use crate::{
    ids::{Blob, JobId, Peer, TaskId, TaskRef},
    time::Time,
    tree::Tree,
};

/// Something that happened. The caller has decoded and bounded what a peer says, which may be a lie
/// all the same.
#[derive(Clone, Debug)]
pub enum Input {
    /// The caller wants a job done.
    Open(Box<JobSpec>),
    /// The execution of a job whose plan [grows](Tree::growing) was cut further. Each of the new
    /// segments can be given out from now on.
    Grow {
        job: JobId,
        /// The costs of the segments that follow those known so far.
        costs: Vec<Cost>,
        /// Proofs of them that an earlier run has left: accepted and durable.
        done: Vec<(TaskId, Blob)>,
    },
    /// The plan of a job that grew is there to its end, and this is its tree.
    Settle {
        job: JobId,
        /// It begins with all segments that the job has.
        tree: Tree,
        /// The cost of each task that the job does not have yet, in the order of [`Tree::tasks`]:
        /// further segments, the nodes, the final proof.
        costs: Vec<Cost>,
        /// Proofs of the further segments that an earlier run has left: accepted and durable.
        done: Vec<(TaskId, Blob)>,
    },
    /// A peer has room for one more task.
    Offer { peer: Peer, offer: Offer },
    /// A peer says that it has the program and the input of a job that is open or about to be.
    /// Others are expected to fetch them for so long before they can begin with a task.
    FilesHeld {
        peer: Peer,
        job: JobId,
        spares: Duration,
    },
    /// A peer is still at its task.
    Renewed {
        peer: Peer,
        task: TaskRef,
        /// The part of the task that is done, in thousandths.
        progress: u16,
    },
    /// A peer gives a task back undone.
    Returned { peer: Peer, task: TaskRef, why: Return },
    /// A peer says that this is the proof.
    Submitted { peer: Peer, task: TaskRef, proof: Blob },
    /// The caller has looked at a proof that it was asked to check.
    Checked {
        peer: Peer,
        task: TaskRef,
        proof: Blob,
        verdict: Verdict,
    },
    /// A proof that the caller was asked to check does not come, or so slowly that others should
    /// not wait for it. The check goes on.
    Stalled { peer: Peer, task: TaskRef, proof: Blob },
    /// The caller has made durable the proof that it was asked to persist.
    Persisted { task: TaskRef, proof: Blob },
    /// The caller has lost the accepted proof of a task, for example because its disk damaged it.
    /// Where the proof is still needed, the task is done again; nobody is to blame.
    Lost { task: TaskRef, proof: Blob },
    /// The caller has done a task itself, or has tried to, as [`Output::Try`](crate::Output::Try)
    /// asked it to.
    Tried { task: TaskRef, outcome: TrialVerdict },
    /// A peer that was woken is busy with another requester's task. It makes an offer when it is
    /// free.
    Declined { peer: Peer },
    /// A peer is gone. It may come back with another offer.
    PeerLost { peer: Peer },
    /// There will be no plan of a job that grows: no peer gets a task of it any more. Whatever
    /// peers are at goes on, until the job is cancelled.
    Halt { job: JobId },
    /// The caller does not want a job any more.
    Cancel { job: JobId },
    /// The time of [`poll_timeout`](crate::Requester::poll_timeout) has come.
    Timeout,
}

/// A job to be done.
#[derive(Clone, Debug)]
pub struct JobSpec {
    pub id: JobId,
    /// The job's tree. It [grows](Tree::growing) if the execution is not over: the job has only
    /// segments until [`Input::Settle`].
    pub tree: Tree,
    /// The cost of each task, in the order of [`Tree::tasks`].
    pub costs: Vec<Cost>,
    /// Jobs of higher priority go first whenever they have a task that is ready. Jobs of the same
    /// priority and deadline do not share the machines: the one that was opened first goes first.
    /// Shares would make all of them as late as the last one.
    pub priority: i32,
    /// The time by which it should be done. The earliest one goes first among jobs of the same
    /// priority.
    pub deadline: Option<Time>,
    /// Whether the caller makes the final proof itself, because that takes no proving.
    /// [`Output::Try`](crate::Output::Try) asks it to as soon as the top of the tree is there, and
    /// no peer gets that task.
    pub own_final: bool,
    /// Proofs of these tasks that an earlier run has left: accepted and durable.
    pub done: Vec<(TaskId, Blob)>,
    /// The peers that held leases when the earlier run ended, as far as is known, and their tasks.
    /// They may still be at work, and are not told again: they renew their leases, submit, or are
    /// not heard of. Their leases go on as soon as the job has their tasks.
    pub leased: Vec<(TaskId, Peer)>,
}

/// The cost of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Time on a machine of speed [`SPEED_ONE`].
    pub work: Duration,
    /// Peak memory of the process that does it, in bytes.
    pub memory: u64,
}

/// The speed of the machine that [`Cost::work`] is measured on; speeds are in thousandths of it.
pub const SPEED_ONE: u32 = 1000;

/// The offer of a peer: what it has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Memory for one task, in bytes.
    pub memory: u64,
    /// The speed that the peer claims, in thousandths of [`SPEED_ONE`]'s machine; believed until
    /// its work shows better.
    pub speed: u32,
    pub trust: Trust,
    /// The network that it calls from, as a number that the caller makes of the address; none where
    /// that says nothing, as on a LAN. An address is harder to come by than an identity.
    pub origin: Option<u64>,
}

/// The owner of a peer. The caller decides it; a peer cannot say it of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The requester's own machine. A task that fails there fails because of the job.
    Own,
    Stranger,
}

/// Why a peer gives a task back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Return {
    /// It cannot or does not want to go on, for reasons of its own. No blame, and the task is no
    /// worse for it.
    Stopping,
    /// It tried, and this is what happened.
    Failed { message: String },
    /// It got another task first, from another requester. That is no setback.
    Surplus,
}

/// The verdict of a trial, or of another attempt of the caller at a task: see
/// [`Output::Try`](crate::Output::Try).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialVerdict {
    /// It can be done: this is its proof, which was verified. `by` is the caller itself.
    Made { by: Peer, proof: Blob, took: Duration },
    /// It cannot be done by anyone: over this accepted proof of a child, taken alone, no node can
    /// be made. Nothing but doing it, and more than once, shows that.
    Refuted {
        child: TaskId,
        proof: Blob,
        reason: String,
    },
    /// The process died over this accepted proof of a child, or took far too long or too much
    /// memory, more than once. That may be the proof's fault or this machine's: the child is done
    /// again, and nobody is banned.
    Doubted {
        child: TaskId,
        proof: Blob,
        reason: String,
    },
    /// The caller knows no more than before: for example, it had no memory for the task.
    Unable,
}

/// The caller's finding about a submitted proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the proof of this very task of this very job.
    Accepted,
    /// It is not, and only its sender can be the cause.
    Invalid { reason: String },
    /// The bytes could not be had from the sender.
    Unavailable { reason: String },
}
