//! Jobs whose plan grows: their segments are given out while their execution goes on.

use super::Requester;
use crate::{
    ids::{Blob, JobId, Peer, TaskId, TaskRef},
    input::Cost,
    job::Job,
    time::Time,
    tree::Tree,
};

impl Requester {
    /// The execution of a job was cut further.
    pub(super) fn grow(&mut self, now: Time, id: JobId, costs: Vec<Cost>, done: Vec<(TaskId, Blob)>) {
        let redundancy = self.policy.redundancy;
        if let Some(job) = self.growing(id) {
            let freed = job.grow(costs, done, &redundancy);
            self.has_new(now, id, freed);
            self.wake_left(now);
        }
    }

    /// The plan of a job is there to its end.
    pub(super) fn settle(
        &mut self,
        now: Time,
        id: JobId,
        (tree, costs): (Tree, Vec<Cost>),
        done: Vec<(TaskId, Blob)>,
    ) {
        let redundancy = self.policy.redundancy;
        if let Some(job) = self.growing(id) {
            let done = job.usable(&tree, done);
            let freed = job.settle(tree, costs, done, &redundancy);
            self.has_new(now, id, freed);
            self.wake_left(now);
        }
    }

    /// There will be no plan of a job.
    pub(super) fn halt(&mut self, id: JobId) {
        if let Some(job) = self.growing(id) {
            job.halted = true;
        }
    }

    /// Whether a peer was at a task when an earlier run ended, and the plan is not there yet to
    /// that task.
    pub(super) fn is_awaited(&self, peer: Peer, task: TaskRef) -> bool {
        let job = self.jobs.get(&task.job);
        job.is_some_and(|job| job.awaited().contains(&(task.task, peer)))
    }

    /// An open job whose plan grows. A job may be over when its execution is cut further.
    fn growing(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(&id).filter(|job| job.tree.is_growing())
    }

    /// A job has tasks that it had not before, and of these some can start now. Peers that were at
    /// them when an earlier run ended go on; others are woken.
    pub(super) fn has_new(&mut self, now: Time, id: JobId, ready: Vec<TaskId>) {
        let leased = self.jobs.get_mut(&id).map(Job::take_earlier_leases);
        for (task, peer) in leased.unwrap_or_default() {
            self.restore(now, peer, TaskRef { job: id, task });
        }
        // No segment is suspicious.
        if self.growing(id).is_none() {
            self.suspect_again(now, id);
        }
        for task in ready {
            let Some(job) = self.jobs.get(&id) else {
                return;
            };
            let nobody_waits = self.parked.is_empty() && !job.is_for_caller(task);
            if !nobody_waits && job.task(task).leases.is_empty() {
                self.wake(TaskRef { job: id, task }, now);
            }
        }
    }
}
