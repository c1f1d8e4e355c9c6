//! A job whose plan is still being made: its tasks come while the driver runs.

use std::time::{Duration, Instant};

use myriad_core::{Blob, Cost, Input, TaskId, TaskRef};
use myriad_net::blob::BlobRef;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Driver;
use crate::{
    RunError,
    requester::{Growth, backend::JobBackend},
};

/// The next part of a plan. It never comes if the plan is complete.
pub(super) async fn next(growth: &mut Option<UnboundedReceiver<Growth>>) -> Growth {
    let Some(more) = growth else {
        return std::future::pending().await;
    };
    let unplanned = || {
        let reason = "the thread that makes the plan has ended; run the same command again".into();
        Growth::Failed(RunError::Truth { reason })
    };
    more.recv().await.unwrap_or_else(unplanned)
}

/// A job without a plan ends when what peers have claimed by then is judged, and this much later
/// whatever is missing.
const JUDGED_WITHIN: Duration = Duration::from_secs(30);

/// Why a job ends that has no plan, and until when claims are judged.
pub(super) struct Unplanned {
    error: RunError,
    until: Instant,
}

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn grow(&mut self, growth: Growth) {
        let job = self.job.id;
        match growth {
            Growth::Cut {
                costs,
                done,
                instructions,
                event,
            } => {
                let known = self.job.work.len() as u32;
                let new = || (known..).map(TaskId::Segment);
                let count = costs.len();
                let done = self.learn(new(), &costs, done, instructions);
                self.input(Input::Grow { job, costs, done });
                self.show_restored(new().take(count));
                self.job.observer.event(&event);
            }
            Growth::Settled {
                tree,
                costs,
                done,
                instructions,
                event,
            } => {
                self.job.growth = None;
                let known = self.job.work.len();
                let new: Vec<TaskId> = tree.tasks().skip(known).collect();
                let proofs = done.clone();
                let done = self.learn(new.iter().copied(), &costs, done, instructions);
                tracing::debug!(stage = "settle", "the plan is there");
                self.job.observer.event(&event);
                self.input(Input::Settle {
                    job,
                    tree,
                    costs,
                    done,
                });
                self.forget_unused(proofs);
                self.show_restored(new);
                // Provers hold the job to their limits by what it says of its size.
                self.announce(true);
            }
            Growth::Failed(error) => {
                self.job.growth = None;
                // Nothing is given out any more. Those that have delivered hear what comes of it.
                self.job.unplanned = Some(Unplanned {
                    error,
                    until: Instant::now() + JUDGED_WITHIN,
                });
                self.end_unplanned();
            }
        }
    }

    /// The truth will not be found out. If there will be no plan either, that says why, and what is
    /// known of the truth is enough for claims that wait.
    pub(super) fn end_without_truth(&mut self, error: RunError) {
        let growth = self.job.growth.as_mut();
        let news = growth
            .into_iter()
            .flat_map(|growth| std::iter::from_fn(|| growth.try_recv().ok()));
        let unplanned = news.into_iter().find_map(|growth| match growth {
            Growth::Failed(error) => Some(error),
            Growth::Cut { .. } | Growth::Settled { .. } => None,
        });
        match unplanned {
            Some(error) => self.grow(Growth::Failed(error)),
            None if self.job.unplanned.is_some() => {}
            None => self.job.failed = Some(error),
        }
    }

    /// Ends a job that will have no plan, if what peers have claimed is judged, and they have heard
    /// it: a prover forgets what it has made when it hears that the job is closed.
    pub(super) fn end_unplanned(&mut self) {
        let is_judged = self.job.checks == 0 && self.outbox.is_idle();
        let is_over = |unplanned: &mut Unplanned| is_judged || Instant::now() >= unplanned.until;
        if let Some(Unplanned { error, .. }) = self.job.unplanned.take_if(is_over) {
            self.input(Input::Cancel { job: self.job.id });
            self.job.failed = Some(error);
        }
    }

    /// The job has further tasks, of which an earlier run has done some; gives these as the state
    /// machine takes them.
    fn learn(
        &mut self,
        tasks: impl Iterator<Item = TaskId>,
        costs: &[Cost],
        done: Vec<(TaskId, BlobRef)>,
        instructions: u64,
    ) -> Vec<(TaskId, Blob)> {
        for (task, cost) in tasks.zip(costs) {
            self.job.work.insert(task, (cost.work, cost.memory));
            self.job.extent.memory_min = self.job.extent.memory_min.min(cost.memory);
        }
        self.job.extent.instructions = instructions;
        self.job.proofs.restore(done.iter().copied());
        done.into_iter().map(|(task, proof)| (task, proof.blob)).collect()
    }

    /// Lets go of proofs of an earlier run that the state machine does not take, since something
    /// below them is done again.
    fn forget_unused(&mut self, done: Vec<(TaskId, BlobRef)>) {
        for (task, proof) in done {
            let of_job = TaskRef {
                job: self.job.id,
                task,
            };
            if self.requester.proof(of_job) != Some(proof.blob) {
                self.job.proofs.let_go(task, proof.blob);
            }
        }
    }
}
