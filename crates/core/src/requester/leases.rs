//! What becomes of leases until a proof is submitted.

use super::{Alarm, Requester};
use crate::{
    ids::{Peer, TaskRef},
    input::Return,
    job::Lease,
    output::{Event, Output, Refusal, Revocation},
    peers::PeerState,
    time::Time,
};

/// All of a task, in the thousandths of [`Input::Renewed`](crate::Input::Renewed).
const PROGRESS_ONE: u16 = 1000;

impl Requester {
    /// Takes a lease away; none if the peer does not hold it.
    pub(super) fn end_lease(&mut self, peer: Peer, task: TaskRef) -> Option<Lease> {
        let job = self.jobs.get_mut(&task.job)?;
        if !job.tree.contains(task.task) {
            return None;
        }
        let own = job.task_mut(task.task);
        let lease = own.leases.remove(&peer)?;
        own.former.insert(peer, lease.granted);
        job.leases -= 1;
        self.alarms.remove(&(lease.until, Alarm::Lease(peer, task)));
        if let Some(state) = self.peers.get_mut(&peer) {
            state.leases.remove(&task);
        }
        Some(lease)
    }

    pub(super) fn revoke(&mut self, peer: Peer, task: TaskRef, why: Revocation) {
        if self.end_lease(peer, task).is_some() {
            self.outputs.push_back(Output::Revoke { peer, task, why });
        }
    }

    /// Lets others have a task that nobody is at any more.
    pub(super) fn release(&mut self, now: Time, task: TaskRef) {
        let released = self
            .jobs
            .get_mut(&task.job)
            .is_some_and(|job| job.release_if_idle(task.task));
        if released {
            self.wake(task, now);
        }
    }

    pub(super) fn renewed(&mut self, now: Time, peer: Peer, task: TaskRef, progress: u16) {
        let policy = self.policy;
        let lease = self
            .jobs
            .get_mut(&task.job)
            .filter(|job| job.tree.contains(task.task))
            .and_then(|job| job.task_mut(task.task).leases.get_mut(&peer));
        let Some(lease) = lease else {
            return self.refuse(peer, Refusal::NotLeased);
        };
        let progress = progress.min(PROGRESS_ONE);
        // Only progress renews: to be alive is not enough.
        if progress > lease.progress {
            lease.progress = progress;
            let elapsed = now - lease.granted;
            let remaining = elapsed * u32::from(PROGRESS_ONE - progress) / u32::from(progress);
            let until = now + (remaining * policy.slack).max(policy.lease_min);
            let until = until.min(lease.latest).max(lease.until);
            self.alarms.remove(&(lease.until, Alarm::Lease(peer, task)));
            if until < Time::NEVER {
                self.alarms.insert((until, Alarm::Lease(peer, task)));
            }
            lease.until = until;
        }
        let until = lease.until;
        self.outputs.push_back(Output::Extended { peer, task, until });
    }

    pub(super) fn returned(&mut self, now: Time, peer: Peer, task: TaskRef, why: Return) {
        if self.end_lease(peer, task).is_none() {
            return self.refuse(peer, Refusal::NotLeased);
        }
        if let Return::Failed { message } = why {
            self.failed(now, peer, task, message);
        }
        self.release(now, task);
    }

    /// A peer could not do a task. What cannot be done by anyone is the job's error.
    pub(super) fn failed(&mut self, now: Time, peer: Peer, task: TaskRef, message: String) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let failures = &mut job.task_mut(task.task).failures;
        failures.push((peer, message.clone()));
        self.outputs
            .push_back(Output::Event(Event::TaskFailed { task, peer, message }));
        // What strangers say of a task only keeps it from themselves: identities are free.
        let own = failures
            .iter()
            .filter(|(failed, _)| self.peers.get(failed).is_some_and(PeerState::is_own))
            .count();
        if own >= self.policy.failures_max {
            let failures = failures.clone();
            self.close(task.job, Revocation::JobFailed);
            self.outputs.push_back(Output::Event(Event::JobFailed {
                job: task.job,
                task: task.task,
                failures,
            }));
        } else if let Some(state) = self.peers.get_mut(&peer) {
            state.disappoint(now, &self.policy);
        }
    }

    pub(super) fn peer_lost(&mut self, now: Time, peer: Peer) {
        self.parked.remove(peer);
        let leases = self.peers.get(&peer).map(|state| state.leases.clone());
        for task in leases.unwrap_or_default() {
            self.end_lease(peer, task);
            self.release(now, task);
        }
        if self.forget_woken(peer) {
            self.wake_another(now);
        }
    }
}
