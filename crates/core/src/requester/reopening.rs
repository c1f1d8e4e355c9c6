//! Gives accepted proofs up: their tasks are done again, and the tasks that take them wait.

use super::Requester;
use crate::{
    ids::{Blob, JobId, Peer, TaskId, TaskRef},
    job::TaskState,
    output::{Event, Output, Revocation},
    time::Time,
};

impl Requester {
    /// The caller does not have the accepted proof of a task any more.
    pub(super) fn lost(&mut self, now: Time, task: TaskRef, proof: Blob) {
        let job = self.jobs.get(&task.job);
        let Some(job) = job.filter(|job| job.tree.contains(task.task)) else {
            return;
        };
        // A proof is needed by nobody once everything that takes it has been made. While the plan
        // grows, what will take it is not known.
        let needs = |taker| matches!(job.task(taker).state, TaskState::Open | TaskState::Waiting(_));
        let is_needed = job.tree.is_growing() || job.takers(task.task).any(needs);
        if job.task(task.task).state != TaskState::Done(proof) || !is_needed {
            return;
        }
        let event = Event::Reopened {
            task,
            proof,
            reason: "it was damaged on this machine's disk".into(),
        };
        let freed = self.give_up(now, task, Revocation::Lost, event);
        self.wake_all(now, task.job, freed);
    }

    /// Gives up the accepted proof of a task, and says `event`. Tasks that take the proof wait
    /// again, and are taken from their holders. Returns the tasks that can start now.
    pub(super) fn give_up(&mut self, now: Time, task: TaskRef, why: Revocation, event: Event) -> Vec<TaskId> {
        let takers: Vec<TaskId> = self.jobs[&task.job].takers(task.task).collect();
        for taker in takers {
            self.suspend(now, TaskRef { task: taker, ..task }, &why);
        }
        self.in_vain(task);
        let job = self.jobs.get_mut(&task.job).expect("it was looked at");
        let freed = job.reopen(task.task, why == Revocation::Refuted);
        self.outputs.push_back(Output::Event(event));
        freed
    }

    pub(super) fn wake_all(&mut self, now: Time, job: JobId, tasks: Vec<TaskId>) {
        for task in tasks {
            self.wake(TaskRef { job, task }, now);
        }
    }

    /// Takes a task from all its holders: it has to wait again.
    fn suspend(&mut self, now: Time, task: TaskRef, why: &Revocation) {
        let job = self.jobs.get_mut(&task.job).expect("it was looked at");
        let own = job.task_mut(task.task);
        if own.state != TaskState::Open {
            return;
        }
        let holders: Vec<Peer> = own.leases.keys().copied().collect();
        for claim in own.claims.drain(..) {
            if claim.checking {
                // It is of something that could not be done.
                self.moot.insert((claim.peer, task, claim.proof));
            }
            if let Some(state) = self.peers.get_mut(&claim.peer) {
                state.is_looked_at(task);
                if state.is_forgettable() {
                    self.forgettable.insert((state.seen, claim.peer));
                }
            }
        }
        for holder in holders {
            self.revoke(now, holder, task, why.clone());
        }
        let job = self.jobs.get_mut(&task.job).expect("it was looked at");
        job.suspend(task.task);
    }
}
