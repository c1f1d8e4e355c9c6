//! A job whose plan is still being made: its tasks come while the driver runs.

use myriad_core::{Cost, Input, TaskId, Tree};
use myriad_net::blob::BlobRef;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Driver;
use crate::{
    RunError,
    requester::{Growth, backend::JobBackend},
};

/// What comes next of a plan; nothing ever if it is there.
pub(super) async fn next(growth: &mut Option<UnboundedReceiver<Growth>>) -> Growth {
    let Some(more) = growth else {
        return std::future::pending().await;
    };
    let unplanned = || {
        let reason = "who plans is gone".into();
        Growth::Failed(RunError::Truth { reason })
    };
    more.recv().await.unwrap_or_else(unplanned)
}

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn grow(&mut self, growth: Growth) {
        let job = self.job;
        match growth {
            Growth::Cut {
                costs,
                done,
                instructions,
                event,
            } => {
                let known = self.work.len();
                let tree = Tree::growing((known + costs.len()) as u32);
                let done = self.learn(&tree, &costs, done, instructions);
                self.input(Input::Grow { job, costs, done });
                self.show_restored(|task| is_from(task, known));
                self.observer.event(&event);
            }
            Growth::Settled {
                tree,
                costs,
                done,
                instructions,
                event,
            } => {
                self.growth = None;
                let known = self.work.len();
                let done = self.learn(&tree, &costs, done, instructions);
                tracing::debug!(stage = "settle", "the plan is there");
                self.observer.event(&event);
                self.input(Input::Settle {
                    job,
                    tree,
                    costs,
                    done,
                });
                self.show_restored(|task| is_from(task, known));
                // Provers hold the job to their limits by what it says of its size.
                self.announce(true);
            }
            Growth::Failed(error) => self.failed = Some(error),
        }
    }

    /// Why there will be no plan, if that is so: then the truth cannot be found out, either.
    pub(super) fn why_unplanned(&mut self) -> Option<RunError> {
        let growth = self.growth.as_mut()?;
        let news = std::iter::from_fn(|| growth.try_recv().ok());
        news.into_iter().find_map(|growth| match growth {
            Growth::Failed(error) => Some(error),
            Growth::Cut { .. } | Growth::Settled { .. } => None,
        })
    }

    /// The job has further tasks, of which an earlier run has done some; gives these as the state
    /// machine takes them.
    fn learn(
        &mut self,
        tree: &Tree,
        costs: &[Cost],
        done: Vec<(TaskId, BlobRef)>,
        instructions: u64,
    ) -> Vec<(TaskId, myriad_core::Blob)> {
        let tasks: Vec<TaskId> = tree.tasks().skip(self.work.len()).collect();
        for (task, cost) in tasks.into_iter().zip(costs) {
            self.work.insert(task, (cost.work, cost.memory));
            self.extent.memory_min = self.extent.memory_min.min(cost.memory);
        }
        self.extent.instructions = instructions;
        self.proofs.restore(done.iter().copied());
        done.into_iter().map(|(task, proof)| (task, proof.blob)).collect()
    }
}

/// Whether a task is a segment from this one on.
fn is_from(task: TaskId, first: usize) -> bool {
    matches!(task, TaskId::Segment(index) if index as usize >= first)
}
