//! What the tasks that the driver has started beside its loop tell it.

use std::time::Duration;

use myriad_core::{Blob, Peer, TaskRef};
use myriad_net::{SignedReceipt, blob::BlobRef, wire::Spent};

use super::{examiner::Examination, trials::TrialOutcome};
use crate::{RunError, StoreError};

/// One that has ended, or has something to say.
pub(super) enum Completion<F> {
    Ready(Result<(), RunError>),
    Checked {
        peer: Peer,
        task: TaskRef,
        proof: Blob,
        /// Whether it was not there before.
        fetched: bool,
        spent: Spent,
        examination: Examination<(F, BlobRef)>,
    },
    /// A proof that is being fetched does not come.
    Stalled {
        peer: Peer,
        task: TaskRef,
        proof: Blob,
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
