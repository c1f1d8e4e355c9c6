//! A job whose plan is still being made: its tasks come while the driver runs.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    task::Poll,
    time::{Duration, Instant},
};

use myriad_core::{Blob, Cost, Input, JobId, TaskId, TaskRef};
use myriad_net::blob::BlobRef;

use super::{
    Driver,
    of_job::{MissingPlan, OfJob},
};
use crate::{
    RunError,
    requester::{Growth, backend::JobBackend},
};

/// The next part of the plan of one of these jobs. It never comes if all plans are complete.
pub(super) async fn next<J: JobBackend>(jobs: &mut BTreeMap<JobId, OfJob<J>>) -> (JobId, Growth) {
    let unplanned = || {
        let reason = "the thread that makes the plan has ended; run the same command again".into();
        Growth::Failed(RunError::Truth { reason })
    };
    poll_fn(|context| {
        for job in jobs.values_mut() {
            if let Some(growth) = &mut job.growth
                && let Poll::Ready(more) = growth.poll_recv(context)
            {
                return Poll::Ready((job.id, more.unwrap_or_else(unplanned)));
            }
        }
        Poll::Pending
    })
    .await
}

/// A job that will have no plan ends once the claims that peers have made are judged, and after
/// this time at the latest.
const JUDGED_WITHIN: Duration = Duration::from_secs(30);

impl<J: JobBackend> Driver<J> {
    pub(super) fn grow(&mut self, job: JobId, growth: Growth) {
        let Some(of_job) = self.jobs.get_mut(&job) else {
            return;
        };
        match growth {
            Growth::Cut {
                costs,
                done,
                instructions,
                event,
            } => {
                let known = of_job.work.len() as u32;
                let new = || (known..).map(TaskId::Segment);
                let count = costs.len();
                let done = of_job.learn(new(), &costs, done, instructions);
                self.input(Input::Grow { job, costs, done });
                self.show_restored(job, new().take(count));
                self.show(job, &event);
            }
            Growth::Settled {
                tree,
                costs,
                done,
                instructions,
                event,
            } => {
                of_job.growth = None;
                let known = of_job.work.len();
                let new: Vec<TaskId> = tree.tasks().skip(known).collect();
                let proofs = done.clone();
                let done = of_job.learn(new.iter().copied(), &costs, done, instructions);
                tracing::debug!(stage = "settle", "the plan is there");
                self.show(job, &event);
                self.input(Input::Settle {
                    job,
                    tree,
                    costs,
                    done,
                });
                self.forget_unused(job, proofs);
                self.show_restored(job, new);
                // Provers hold the job to their limits by what it says of its size.
                self.announce(job, true);
            }
            Growth::Failed(error) => {
                of_job.growth = None;
                self.input(Input::Halt { job });
                let Some(of_job) = self.jobs.get_mut(&job) else {
                    return;
                };
                // Those that have delivered hear what comes of it.
                of_job.unplanned = Some(MissingPlan {
                    error,
                    until: Instant::now() + JUDGED_WITHIN,
                });
                self.end_unplanned();
            }
        }
    }

    /// The truth about a job will not be found out. If there will be no plan either, that says why,
    /// and what is known of the truth is enough for claims that wait.
    pub(super) fn end_without_truth(&mut self, id: JobId, error: RunError) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let growth = job.growth.as_mut();
        let news = growth
            .into_iter()
            .flat_map(|growth| std::iter::from_fn(|| growth.try_recv().ok()));
        let unplanned = news.into_iter().find_map(|growth| match growth {
            Growth::Failed(error) => Some(error),
            Growth::Cut { .. } | Growth::Settled { .. } => None,
        });
        match unplanned {
            Some(error) => self.grow(id, Growth::Failed(error)),
            None if job.unplanned.is_some() => {}
            None => job.end(Err(error)),
        }
    }

    /// Ends the jobs that will have no plan, if what peers have claimed of them is judged, and they
    /// have heard it: a prover forgets what it has made when it hears that the job is closed.
    pub(super) fn end_unplanned(&mut self) {
        for job in self.jobs.values_mut() {
            let is_judged = job.checks == 0 && job.messages.is_empty();
            let is_over = |unplanned: &mut MissingPlan| is_judged || Instant::now() >= unplanned.until;
            if let Some(MissingPlan { error, .. }) = job.unplanned.take_if(is_over) {
                job.end(Err(error));
            }
        }
    }

    /// Lets go of proofs of an earlier run that the state machine does not take, since something
    /// below them is done again.
    fn forget_unused(&mut self, id: JobId, done: Vec<(TaskId, BlobRef)>) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        for (task, proof) in done {
            if self.requester.proof(TaskRef { job: id, task }) != Some(proof.blob) {
                job.proofs.let_go(task, proof.blob);
            }
        }
    }
}

impl<J: JobBackend> OfJob<J> {
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
            self.work.insert(task, (cost.work, cost.memory));
            self.extent.memory_min = self.extent.memory_min.min(cost.memory);
        }
        self.extent.instructions = instructions;
        self.proofs.restore(done.iter().copied());
        done.into_iter().map(|(task, proof)| (task, proof.blob)).collect()
    }
}
