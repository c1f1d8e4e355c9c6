//! Doing a node that peers fail at, with an engine child of this machine: one at a time, beside everything else.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Blob, Input, TaskId, TaskRef, Tried};
use myriad_net::blob::{BlobRef, BlobStore};

use super::{
    backend::{Attempt, Done, JobBackend},
    driver::Driver,
};
use crate::Event;

/// An [`Attempt`], with its proof among the blobs.
pub(super) enum Found<F> {
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

/// What is being done here, and what waits for it.
#[derive(Default)]
pub(super) struct Trials {
    under_way: bool,
    waiting: VecDeque<TaskRef>,
}

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn try_it(&mut self, task: TaskRef) {
        if self.trials.under_way {
            return self.trials.waiting.push_back(task);
        }
        self.trials.under_way = true;
        self.observer.event(&Event::Notice {
            text: format!("provers fail at {}: it is done here, to see why", task.task),
        });
        let inputs = self.requester.inputs(task).into_iter();
        let inputs: Vec<_> = inputs
            .filter_map(|input| Some((input, *self.proofs.get(&input)?)))
            .collect();
        let (backend, tell) = (Arc::clone(&self.backend), self.tell.clone());
        let blobs = self.network.blobs().clone();
        tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let found = find_out(&*backend, &blobs, task.task, &inputs);
            drop(backend);
            let took = start.elapsed();
            // If nobody listens, the job is over.
            let _ = tell.send(Done::Tried { task, took, found });
        });
    }

    pub(super) fn tried(&mut self, task: TaskRef, took: Duration, found: Found<J::Finding>) {
        self.trials.under_way = false;
        let awaited = self.requester.is_trying(task);
        let outcome = match found {
            Found::Made { proof, finding } if awaited => {
                self.findings.insert(task, finding);
                self.proofs.insert(task.task, proof);
                self.accepted.insert(proof.blob);
                Tried::Made {
                    by: self.network.peer(),
                    proof: proof.blob,
                    took,
                }
            }
            Found::Made { .. } => Tried::Unable,
            Found::Refuted { child, proof, reason } => {
                if awaited {
                    self.let_go(child, proof);
                }
                Tried::Refuted { child, proof, reason }
            }
            Found::Doubted { child, proof, reason } => {
                if awaited {
                    self.let_go(child, proof);
                }
                Tried::Doubted { child, proof, reason }
            }
            Found::Unable(reason) => {
                self.observer.event(&Event::Notice {
                    text: format!("{} cannot be done here: {reason}", task.task),
                });
                Tried::Unable
            }
        };
        self.input(Input::Tried { task, outcome });
        while let Some(next) = self.trials.waiting.pop_front() {
            if self.requester.is_trying(next) {
                return self.try_it(next);
            }
        }
    }
}

/// Blocks. A proof that is refuted or doubted is not in the journal any more when this returns.
fn find_out<J: JobBackend>(
    backend: &J,
    blobs: &BlobStore,
    task: TaskId,
    inputs: &[(TaskId, BlobRef)],
) -> Found<J::Finding> {
    let mut proofs = Vec::new();
    for &(input, proof) in inputs {
        match blobs.get(proof) {
            Ok(Some(bytes)) => proofs.push((input, bytes)),
            Ok(None) => return Found::Unable(format!("the proof of {input} is damaged on the disk")),
            Err(e) => return Found::Unable(e.to_string()),
        }
    }
    match backend.attempt(task, &proofs) {
        Attempt::Made { proof, finding } => match blobs.put(&proof) {
            Ok(proof) => Found::Made { proof, finding },
            Err(e) => Found::Unable(e.to_string()),
        },
        Attempt::Refuted { child, reason } => match given_up(backend, inputs, child) {
            Ok(proof) => Found::Refuted { child, proof, reason },
            Err(reason) => Found::Unable(reason),
        },
        Attempt::Doubted { child, reason } => match given_up(backend, inputs, child) {
            Ok(proof) => Found::Doubted { child, proof, reason },
            Err(reason) => Found::Unable(reason),
        },
        Attempt::Unable(reason) => Found::Unable(reason),
    }
}

/// Takes the proof of a child out of the journal.
fn given_up<J: JobBackend>(backend: &J, inputs: &[(TaskId, BlobRef)], child: TaskId) -> Result<Blob, String> {
    let of_child = inputs.iter().find(|(input, _)| *input == child);
    let (_, proof) = of_child.ok_or_else(|| format!("{child} is not what it is made of"))?;
    backend.forget(child, proof.blob).map_err(|e| e.to_string())?;
    Ok(proof.blob)
}
