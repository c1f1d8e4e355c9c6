//! The nodes at which peers fail, and which the requester therefore tries itself: the one under
//! way, those that wait, and the result of each.

use std::collections::VecDeque;

use myriad_core::{Blob, TaskId};
use myriad_net::blob::{BlobRef, BlobStore};

use super::jobs::Entry;
use crate::requester::backend::{Attempt, JobBackend};

/// An [`Attempt`], with its proof among the blobs.
pub(super) enum TrialOutcome<F> {
    Made {
        proof: BlobRef,
        finding: F,
    },
    Refuted {
        child: TaskId,
        proof: Blob,
        reason: String,
    },
    Doubted {
        child: TaskId,
        proof: Blob,
        reason: String,
    },
    Unable(String),
}

/// The task that is being done here, one at a time, and those that wait.
#[derive(Default)]
pub(super) struct Trials {
    under_way: Option<(Entry, TaskId)>,
    waiting: VecDeque<(Entry, TaskId)>,
}

impl Trials {
    /// Whether a task is to be done now; otherwise it waits for the one that is under way.
    pub(super) fn begin(&mut self, entry: Entry, task: TaskId) -> bool {
        if self.under_way.is_some() {
            self.waiting.push_back((entry, task));
            return false;
        }
        self.under_way = Some((entry, task));
        true
    }

    /// A task has ended; whether another one may be done now. One that needs no proving was none of
    /// these.
    pub(super) fn end(&mut self, entry: Entry, task: TaskId) -> bool {
        self.under_way.take_if(|under_way| *under_way == (entry, task));
        self.under_way.is_none()
    }

    /// The next one that waits.
    pub(super) fn next_waiting(&mut self) -> Option<(Entry, TaskId)> {
        self.waiting.pop_front()
    }
}

/// Does a task that is made from these proofs. Blocks. When this returns, the journal does not have
/// a refuted or doubted proof any more.
pub(super) fn attempt<J: JobBackend>(
    backend: &J,
    blobs: &BlobStore,
    task: TaskId,
    inputs: &[(TaskId, BlobRef)],
) -> TrialOutcome<J::Finding> {
    let mut proofs = Vec::new();
    for &(input, proof) in inputs {
        match blobs.get(proof) {
            Ok(Some(bytes)) => proofs.push((input, bytes)),
            Ok(None) => return TrialOutcome::Unable(format!("the proof of {input} is damaged on the disk")),
            Err(e) => return TrialOutcome::Unable(e.to_string()),
        }
    }
    match backend.attempt(task, &proofs) {
        Attempt::Made { proof, finding } => match blobs.put(&proof) {
            Ok(proof) => TrialOutcome::Made { proof, finding },
            Err(e) => TrialOutcome::Unable(e.to_string()),
        },
        Attempt::Refuted { child, reason } => match given_up(backend, inputs, child) {
            Ok(proof) => TrialOutcome::Refuted { child, proof, reason },
            Err(reason) => TrialOutcome::Unable(reason),
        },
        Attempt::Doubted { child, reason } => match given_up(backend, inputs, child) {
            Ok(proof) => TrialOutcome::Doubted { child, proof, reason },
            Err(reason) => TrialOutcome::Unable(reason),
        },
        Attempt::Unable(reason) => TrialOutcome::Unable(reason),
    }
}

/// Takes the proof of a child out of the journal.
fn given_up<J: JobBackend>(backend: &J, inputs: &[(TaskId, BlobRef)], child: TaskId) -> Result<Blob, String> {
    let of_child = inputs.iter().find(|(input, _)| *input == child);
    let (_, proof) = of_child.ok_or_else(|| format!("{child} is not what it is made of"))?;
    backend.forget(child, proof.blob).map_err(|e| e.to_string())?;
    Ok(proof.blob)
}
