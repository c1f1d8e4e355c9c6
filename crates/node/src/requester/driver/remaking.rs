//! Makes proofs again, or makes them here. The blob store finds a damaged or lost proof when it
//! serves or reads it. When no node may come of an accepted proof, an engine child of this machine
//! tries the node, beside everything else, to find out why. A final proof that needs no proving is
//! made here, too.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Input, TaskId, TaskRef, TrialVerdict};
use myriad_net::wire::Spent;

use super::{
    Driver,
    completion::Completion,
    jobs::Entry,
    of_job::OfJob,
    trials::{self, TrialOutcome},
};
use crate::{Event, RunError, requester::backend::JobBackend};

impl<J: JobBackend> Driver<J> {
    /// Does a task here at which peers fail or that no peer may do, as soon as its proof can be
    /// judged. A job whose truth is not known yet keeps no other one's tasks waiting.
    pub(super) fn begin_trial(&mut self, task: TaskRef) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let (backend, sender) = (Arc::clone(&job.backend), self.completion_sender.clone());
        let (entry, task) = (job.entry(), task.task);
        job.examining.spawn(async move {
            let ready = backend.ready().await;
            drop(backend);
            // If nobody listens, the driver has ended.
            let _ = sender.send(Completion::Triable { entry, task, ready });
        });
    }

    /// Proofs of a task that is to be done here can be judged, or never will be.
    pub(super) fn judgeable(&mut self, entry: Entry, task: TaskId, ready: Result<(), RunError>) {
        if self.of_entry(entry).is_none() {
            return;
        }
        let task = TaskRef { job: entry.job, task };
        match ready {
            Ok(()) if self.requester.is_trying(task) => self.try_here(task),
            Ok(()) => {}
            Err(e) => {
                let outcome = TrialOutcome::Unable(e.to_string());
                self.end_trial(entry, task.task, Duration::ZERO, outcome);
            }
        }
    }

    /// Does a task here, or has it wait for the one that is being done.
    fn try_here(&mut self, task: TaskRef) {
        let Some(entry) = self.jobs.get(&task.job).map(OfJob::entry) else {
            return;
        };
        // A task that no peer may do waits for no other: it needs no proving.
        if !self.requester.is_for_caller(task) {
            if !self.trials.begin(entry, task.task) {
                return;
            }
            let text = format!(
                "provers fail at {}: this machine does it itself, to see why",
                task.task
            );
            self.show(task.job, &Event::Notice { text });
        }
        let Some(job) = self.jobs.get(&task.job) else {
            return;
        };
        let inputs = self.requester.inputs(task).into_iter();
        let inputs: Vec<_> = inputs
            .filter_map(|input| Some((input, job.proofs.proof(input)?.0)))
            .collect();
        let (backend, sender) = (Arc::clone(&job.backend), self.completion_sender.clone());
        let (blobs, task) = (self.network.blobs().clone(), task.task);
        tokio::spawn(async move {
            let start = Instant::now();
            let attempt = move || trials::attempt(&*backend, &blobs, task, &inputs);
            let outcome = tokio::task::spawn_blocking(attempt)
                .await
                .unwrap_or_else(|e| TrialOutcome::Unable(format!("a bug in myriad: {e}")));
            let took = start.elapsed();
            // If nobody listens, the driver has ended.
            let _ = sender.send(Completion::Tried {
                entry,
                task,
                took,
                outcome,
            });
        });
    }

    pub(super) fn end_trial(
        &mut self,
        entry: Entry,
        task: TaskId,
        took: Duration,
        outcome: TrialOutcome<J::Finding>,
    ) {
        let has_ended = self.trials.end(entry, task);
        let task = TaskRef { job: entry.job, task };
        if let Some(outcome) = self.tried(entry, task, took, outcome) {
            self.input(Input::Tried { task, outcome });
        }
        while has_ended && let Some((entry, task)) = self.trials.next_waiting() {
            let task = TaskRef { job: entry.job, task };
            if self.of_entry(entry).is_some() && self.requester.is_trying(task) {
                return self.try_here(task);
            }
        }
    }

    /// What came of a trial, as the state machine takes it; none if its job is over.
    fn tried(
        &mut self,
        entry: Entry,
        task: TaskRef,
        took: Duration,
        outcome: TrialOutcome<J::Finding>,
    ) -> Option<TrialVerdict> {
        let awaited = self.requester.is_trying(task);
        let by = self.network.peer();
        let job = self.of_entry(entry)?;
        Some(match outcome {
            TrialOutcome::Made { proof, finding } if awaited => {
                job.proofs.accept(task.task, proof, Spent::default(), finding);
                TrialVerdict::Made {
                    by,
                    proof: proof.blob,
                    took,
                }
            }
            TrialOutcome::Made { .. } => TrialVerdict::Unable,
            TrialOutcome::Refuted { child, proof, reason } => {
                if awaited {
                    job.proofs.let_go(child, proof);
                }
                TrialVerdict::Refuted { child, proof, reason }
            }
            TrialOutcome::Doubted { child, proof, reason } => {
                if awaited {
                    job.proofs.let_go(child, proof);
                }
                TrialVerdict::Doubted { child, proof, reason }
            }
            TrialOutcome::Unable(reason) => {
                job.observer.event(&Event::Notice {
                    text: format!("{} cannot be done here: {reason}", task.task),
                });
                TrialVerdict::Unable
            }
        })
    }

    /// Has the proofs made again that the disk has lost and a job still needs.
    pub(super) fn look_for_lost(&mut self) {
        let lost = self.network.blobs().take_lost();
        let mut of_jobs = Vec::new();
        for (&id, job) in &mut self.jobs {
            job.proofs.note_lost(lost.iter().copied());
            let of_job = job.proofs.lost().into_iter();
            of_jobs.extend(of_job.map(|(task, proof)| (TaskRef { job: id, task }, proof)));
        }
        for (task, proof) in of_jobs {
            // It may be about to become durable, and is looked at again then.
            if self.requester.proof(task) == Some(proof) {
                if let Some(job) = self.jobs.get_mut(&task.job) {
                    job.proofs.let_go(task.task, proof);
                }
                self.input(Input::Lost { task, proof });
            }
        }
    }
}
