//! What is made again or here. The disk may have damaged or lost an accepted proof: the blob store finds that when it serves or
//! reads it. And no node may come of an accepted proof: then the node is done with an engine child of this machine, beside
//! everything else, to find out why.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Blob, Input, TaskId, TaskRef, Tried};

use super::{
    Driver,
    completion::Completion,
    trials::{self, TrialOutcome},
};
use crate::{Event, requester::backend::JobBackend};

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn try_it(&mut self, task: TaskRef) {
        if !self.trials.begin(task) {
            return;
        }
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
            let outcome = trials::attempt(&*backend, &blobs, task.task, &inputs);
            drop(backend);
            let took = start.elapsed();
            // If nobody listens, the job is over.
            let _ = tell.send(Completion::Tried { task, took, outcome });
        });
    }

    pub(super) fn tried(&mut self, task: TaskRef, took: Duration, outcome: TrialOutcome<J::Finding>) {
        self.trials.end();
        let awaited = self.requester.is_trying(task);
        let outcome = match outcome {
            TrialOutcome::Made { proof, finding } if awaited => {
                self.findings.insert(task, finding);
                self.proofs.insert(task.task, proof);
                self.accepted.insert(proof.blob);
                Tried::Made {
                    by: self.network.peer(),
                    proof: proof.blob,
                    took,
                }
            }
            TrialOutcome::Made { .. } => Tried::Unable,
            TrialOutcome::Refuted { child, proof, reason } => {
                if awaited {
                    self.let_go(child, proof);
                }
                Tried::Refuted { child, proof, reason }
            }
            TrialOutcome::Doubted { child, proof, reason } => {
                if awaited {
                    self.let_go(child, proof);
                }
                Tried::Doubted { child, proof, reason }
            }
            TrialOutcome::Unable(reason) => {
                self.observer.event(&Event::Notice {
                    text: format!("{} cannot be done here: {reason}", task.task),
                });
                Tried::Unable
            }
        };
        self.input(Input::Tried { task, outcome });
        while let Some(next) = self.trials.next_waiting() {
            if self.requester.is_trying(next) {
                return self.try_it(next);
            }
        }
    }

    /// Has done again what the disk has lost and the job still needs.
    pub(super) fn look_for_lost(&mut self) {
        let lost = self.network.blobs().take_lost();
        self.lost_proofs
            .extend(lost.into_iter().filter(|blob| self.accepted.contains(blob)));
        let lost: Vec<(TaskId, Blob)> = self
            .proofs
            .iter()
            .map(|(&task, proof)| (task, proof.blob))
            .filter(|(_, blob)| self.lost_proofs.contains(blob))
            .collect();
        for (task, proof) in lost {
            let of_job = TaskRef { job: self.job, task };
            // It may be about to become durable, and is looked at again then.
            if self.requester.proof(of_job) == Some(proof) {
                self.lost_proofs.remove(&proof);
                self.let_go(task, proof);
                self.input(Input::Lost { task: of_job, proof });
            }
        }
    }

    /// A proof is not the job's any more.
    pub(super) fn let_go(&mut self, task: TaskId, proof: Blob) {
        self.proofs.remove(&task);
        self.accepted.remove(&proof);
    }
}
