//! From a claimed proof to one that is durable: fetched, verified and kept beside everything else.

use std::sync::Arc;

use myriad_core::{Blob, Input, Peer, TaskRef, Verdict};
use myriad_net::{short_name, wire::Spent};

use super::{
    Driver,
    completion::Completion,
    examiner::{Examination, Examiner},
};
use crate::requester::backend::JobBackend;

impl<J: JobBackend> Driver<'_, J> {
    /// Fetches a proof and looks at it, beside everything else.
    pub(super) fn check(&mut self, peer: Peer, task: TaskRef, proof: Blob) {
        let claim = self.claimed.take(peer, task, proof);
        let examiner = Examiner {
            network: self.network.clone(),
            backend: Arc::clone(&self.backend),
            fetching: Arc::clone(&self.fetching),
            verifying: Arc::clone(&self.verifying),
        };
        let tell = self.tell.clone();
        *self.checking.entry(proof).or_default() += 1;
        // What was there before is somebody else's proof of something else, or this job's.
        let fetched = !self.network.blobs().contains(&proof);
        tokio::spawn(async move {
            // If nobody listens, the job is over.
            let stalled = || {
                let _ = tell.send(Completion::Stalled { peer, task, proof });
            };
            let (examination, spent) = match claim {
                Some((claim, spent)) => (examiner.examine(peer, task.task, claim, stalled).await, spent),
                None => {
                    let twice = Examination::Unavailable("it was submitted twice".into());
                    (twice, Spent::default())
                }
            };
            let _ = tell.send(Completion::Checked {
                peer,
                task,
                proof,
                fetched,
                spent,
                examination,
            });
        });
    }

    pub(super) fn persist(&mut self, peer: Peer, task: TaskRef, proof: Blob) {
        let finding = self.findings.remove(&task).expect("it was examined before");
        let reference = self.proofs[&task.task];
        self.holders.add(proof, peer);
        let (backend, tell) = (Arc::clone(&self.backend), self.tell.clone());
        tokio::task::spawn_blocking(move || {
            let result = backend.persist(task.task, reference, finding);
            drop(backend);
            let _ = tell.send(Completion::Persisted { task, proof, result });
        });
    }

    pub(super) fn handle_completion(&mut self, completion: Completion<J::Finding>) {
        match completion {
            Completion::Ready(Ok(())) => {}
            Completion::Receipt { signed, arrived } => self.receipts.sent(signed, arrived),
            Completion::Ready(Err(error)) => self.failed = Some(error),
            Completion::Checked {
                peer,
                task,
                proof,
                fetched,
                spent,
                examination,
            } => {
                // Of those that were checked side by side one is enough.
                let awaited = self.requester.awaits(peer, task, proof);
                let refused = !awaited || !matches!(examination, Examination::Accepted(_));
                self.checking.entry(proof).and_modify(|count| *count -= 1);
                self.checking.retain(|_, count| *count > 0);
                if refused && fetched {
                    self.discard(proof);
                }
                let verdict = match examination {
                    Examination::Accepted((finding, reference)) => {
                        if !awaited {
                            return;
                        }
                        self.spent.insert(task, spent);
                        self.findings.insert(task, finding);
                        self.proofs.insert(task.task, reference);
                        self.accepted.insert(reference.blob);
                        Verdict::Accepted
                    }
                    Examination::Invalid(reason) => Verdict::Invalid { reason },
                    Examination::Unavailable(reason) => Verdict::Unavailable { reason },
                    Examination::Failed(error) => {
                        self.failed = Some(error.into());
                        return;
                    }
                };
                self.input(Input::Checked {
                    peer,
                    task,
                    proof,
                    verdict,
                });
            }
            Completion::Stalled { peer, task, proof } => {
                tracing::debug!(
                    "{proof:?} for {} does not come from {}",
                    task.task,
                    short_name(peer)
                );
                self.input(Input::Stalled { peer, task, proof });
            }
            Completion::Tried { task, took, outcome } => self.tried(task, took, outcome),
            Completion::Persisted { task, proof, result } => match result {
                Ok(()) => {
                    tracing::debug!("kept {proof:?} of {}", task.task);
                    self.input(Input::Persisted { task, proof });
                }
                Err(error) => self.failed = Some(error.into()),
            },
        }
    }

    /// Removes what a peer sent that is no proof of its task.
    fn discard(&self, proof: Blob) {
        if self.checking.contains_key(&proof) || self.claimed.name(proof) || self.is_of_job(proof) {
            return;
        }
        let blobs = self.network.blobs().clone();
        tokio::task::spawn_blocking(move || {
            // What stays takes some room, and does no other harm.
            let _ = blobs.remove(&proof);
        });
    }
}
