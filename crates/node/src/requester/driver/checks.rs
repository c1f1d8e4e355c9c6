//! Checks claimed proofs: each is fetched, examined and made durable beside the driver's loop.

use std::sync::Arc;

use myriad_core::{Blob, Input, Peer, TaskId, TaskRef, Verdict};
use myriad_net::short_name;

use super::{
    Driver,
    completion::{Checked, Completion},
    examiner::Examination,
    jobs::Entry,
};
use crate::{StoreError, requester::backend::JobBackend};

impl<J: JobBackend> Driver<J> {
    /// Fetches a proof and examines it, beside everything else.
    pub(super) fn begin_check(&mut self, peer: Peer, task: TaskRef, proof: Blob) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let check = job.proofs.begin_check(peer, task.task, proof);
        job.checks += 1;
        let (examiner, sender) = (self.examiner.clone(), self.completion_sender.clone());
        let (backend, entry) = (Arc::clone(&job.backend), job.entry());
        // A blob that was there before is a proof of another job or of this one.
        let fetched = !self.network.blobs().contains(&proof);
        job.examining.spawn(async move {
            // If nobody listens, the driver has ended.
            let stalled = || {
                let _ = sender.send(Completion::Stalled { peer, task, proof });
            };
            let examination = match check {
                Some(check) => {
                    examiner
                        .examine(backend, peer, task.task, check.proof, stalled)
                        .await
                }
                None => Examination::Unavailable("it was submitted twice".into()),
            };
            let _ = sender.send(Completion::Checked(Checked {
                entry,
                peer,
                task: task.task,
                proof,
                claim: check.map(|check| check.claim),
                fetched,
                examination,
            }));
        });
    }

    pub(super) fn persist(&mut self, peer: Peer, task: TaskRef, proof: Blob) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let (reference, finding) = job.proofs.persist(task.task).expect("it was examined before");
        job.holders.add_maker(proof, peer);
        job.checks += 1;
        let (backend, sender) = (Arc::clone(&job.backend), self.completion_sender.clone());
        let (entry, task) = (job.entry(), task.task);
        tokio::task::spawn_blocking(move || {
            let result = backend.persist(task, reference, finding);
            drop(backend);
            let _ = sender.send(Completion::Persisted {
                entry,
                task,
                proof,
                result,
            });
        });
    }

    /// What was begun for a job may come to its end when the job is over; nothing comes of it then.
    pub(super) fn handle_completion(&mut self, completion: Completion<J::Finding>) {
        match completion {
            Completion::Ready { ready: Ok(()), .. } => {}
            Completion::Ready {
                entry,
                ready: Err(error),
            } => {
                if self.of_entry(entry).is_some() {
                    self.end_without_truth(entry.job, error);
                }
            }
            Completion::Receipt { signed, arrived } => self.receipts.sent(signed, arrived),
            Completion::Checked(checked) => self.settle_check(checked),
            Completion::Stalled { peer, task, proof } => {
                tracing::debug!(
                    "{proof:?} for {} does not come from {}",
                    task.task,
                    short_name(peer)
                );
                self.input(Input::Stalled { peer, task, proof });
            }
            Completion::Declined { peer } => self.input(Input::Declined { peer }),
            Completion::Triable { entry, task, ready } => self.judgeable(entry, task, ready),
            Completion::Tried {
                entry,
                task,
                took,
                outcome,
            } => self.end_trial(entry, task, took, outcome),
            Completion::Persisted {
                entry,
                task,
                proof,
                result,
            } => self.persisted(entry, task, proof, result),
        }
        self.end_unplanned();
    }

    fn persisted(&mut self, entry: Entry, task: TaskId, proof: Blob, result: Result<(), StoreError>) {
        let Some(job) = self.of_entry(entry) else {
            return;
        };
        job.checks -= 1;
        match result {
            Ok(()) => {
                let name = task.to_string();
                tracing::debug!(stage = "persisted", task = name, "kept {proof:?} of {name}");
                job.proofs.durable(task, proof);
                let job = entry.job;
                let task = TaskRef { job, task };
                self.input(Input::Persisted { task, proof });
            }
            Err(error) => job.end(Err(error.into())),
        }
    }

    fn settle_check(&mut self, checked: Checked<J::Finding>) {
        let Checked {
            entry,
            peer,
            task,
            proof,
            claim,
            fetched,
            examination,
        } = checked;
        let (finding, verdict) = match examination {
            Examination::Accepted(finding) => (Some(finding), Ok(Some(Verdict::Accepted))),
            Examination::Invalid(reason) => (None, Ok(Some(Verdict::Invalid { reason }))),
            Examination::Unavailable(reason) => (None, Ok(Some(Verdict::Unavailable { reason }))),
            // Nobody is to blame, and the job ends.
            Examination::Moot => (None, Ok(None)),
            Examination::Failed(error) => (None, Err(error)),
        };
        // One of several proofs that were checked side by side is enough.
        let task = TaskRef { job: entry.job, task };
        let is_open = self.of_entry(entry).is_some();
        let awaited = is_open && self.requester.awaits(peer, task, proof);
        let finding = finding.filter(|_| awaited);
        let accepted = finding.is_some();
        if let Some(job) = self.of_entry(entry) {
            job.checks -= 1;
            if let Some(claim) = claim {
                job.proofs.settle(claim, finding);
            }
        }
        if !accepted && fetched {
            self.discard(proof);
        }
        match verdict {
            _ if !is_open => {}
            Ok(None) => {}
            Ok(Some(Verdict::Accepted)) if !accepted => {}
            Ok(Some(verdict)) => self.input(Input::Checked {
                peer,
                task,
                proof,
                verdict,
            }),
            Err(error) => {
                if let Some(job) = self.of_entry(entry) {
                    job.end(Err(error.into()));
                }
            }
        }
    }

    /// Removes a blob that a peer sent and that is not a proof of its task, unless some job may
    /// need it.
    fn discard(&self, proof: Blob) {
        if self.is_of_a_job(proof) {
            return;
        }
        let blobs = self.network.blobs().clone();
        tokio::task::spawn_blocking(move || {
            // A blob that stays takes some room, and does no other harm.
            let _ = blobs.remove(&proof);
        });
    }

    /// Whether a blob is one of a job's files, an accepted proof of it, or claimed to be one.
    fn is_of_a_job(&self, blob: Blob) -> bool {
        let of_open = self
            .jobs
            .values()
            .any(|job| job.files.has(blob) || job.proofs.has(blob) || job.proofs.is_claimed(blob));
        of_open || self.heralded.values().any(|job| job.files.has(blob))
    }
}
