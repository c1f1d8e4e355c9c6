//! The results of what the driver has started beside its loop.

use std::time::Duration;

use myriad_core::{Blob, JobId, Peer, TaskRef};
use myriad_net::SignedReceipt;

use super::{examiner::Examination, proofs::ClaimNumber, trials::TrialOutcome};
use crate::{RunError, StoreError};

/// Something that has ended, or has something to say.
pub(super) enum Completion<F> {
    /// Proofs of all tasks of a job can be judged, or never will be.
    Ready {
        job: JobId,
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
        task: TaskRef,
        proof: Blob,
        result: Result<(), StoreError>,
    },
    /// A task was done here.
    Tried {
        task: TaskRef,
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
    pub peer: Peer,
    pub task: TaskRef,
    pub proof: Blob,
    /// None if the peer had claimed another proof meanwhile.
    pub claim: Option<ClaimNumber>,
    /// Whether the blob was not there before.
    pub fetched: bool,
    pub examination: Examination<F>,
}
