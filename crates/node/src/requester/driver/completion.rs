//! The results of what the driver has started beside its loop.

use std::time::Duration;

use myriad_core::{Blob, Peer, TaskId, TaskRef};
use myriad_net::SignedReceipt;

use super::{examiner::Examination, jobs::Entry, proofs::ClaimNumber, trials::TrialOutcome};
use crate::{RunError, StoreError};

/// Something that has ended, or has something to say.
pub(super) enum Completion<F> {
    /// Proofs of all tasks of a job can be judged, or never will be.
    Ready {
        entry: Entry,
        ready: Result<(), RunError>,
    },
    Checked(Checked<F>),
    /// The fetch of a proof stalls.
    Stalled {
        peer: Peer,
        task: TaskRef,
        proof: Blob,
    },
    /// A peer that was woken does not come.
    Declined {
        peer: Peer,
    },
    Persisted {
        entry: Entry,
        task: TaskId,
        proof: Blob,
        result: Result<(), StoreError>,
    },
    /// Proofs of a task that is to be done here can be judged, or never will be.
    Triable {
        entry: Entry,
        task: TaskId,
        ready: Result<(), RunError>,
    },
    /// A task was done here.
    Tried {
        entry: Entry,
        task: TaskId,
        took: Duration,
        outcome: TrialOutcome<F>,
    },
    /// Whether a receipt has reached its prover.
    Receipt {
        signed: SignedReceipt,
        arrived: bool,
    },
}

/// A check that has ended.
pub(super) struct Checked<F> {
    pub entry: Entry,
    pub peer: Peer,
    pub task: TaskId,
    pub proof: Blob,
    /// None if the peer had claimed another proof meanwhile.
    pub claim: Option<ClaimNumber>,
    /// Whether the blob was not there before.
    pub fetched: bool,
    pub examination: Examination<F>,
}
