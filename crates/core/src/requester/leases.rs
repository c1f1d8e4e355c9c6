//! The life of a lease until a proof is submitted: renewed, doubted, expired, returned.

use super::{Alarm, Requester};
use crate::{
    ids::{Peer, TaskRef},
    input::Return,
    job::Lease,
    output::{Event, Output, Refusal, Revocation},
    peers::PeerState,
    policy::Policy,
    redundancy::share,
    time::Time,
};

/// All of a task, in the thousandths of [`Input::Renewed`](crate::Input::Renewed).
const PROGRESS_ONE: u16 = 1000;

/// A holder is late after silence for this part of the task's expected time.
const SILENT_PART: u32 = 4;
/// A holder is also late when it takes longer than expected by this part. Machines with other work
/// meanwhile are that much slower now and then.
const OVERDUE_PART: u32 = 2;

/// A holder falls behind when it will end later than was thought by this part of the expected time.
const BEHIND_PART: u32 = 4;

impl Lease {
    /// When the holder is late if it says nothing more: when it is silent for too long, or takes
    /// too long, whatever it says.
    pub(super) fn next_doubt(&self, policy: &Policy) -> Time {
        let silent = self.heard + (self.expected / SILENT_PART).max(policy.doubt_min);
        let overdue = self.granted + self.expected + self.expected / OVERDUE_PART + policy.doubt_min;
        silent.min(overdue)
    }
}

impl Requester {
    /// Takes a lease away; none if the peer does not hold it.
    pub(super) fn end_lease(&mut self, peer: Peer, task: TaskRef) -> Option<Lease> {
        let job = self.jobs.get_mut(&task.job)?;
        if !job.tree.contains(task.task) {
            return None;
        }
        let own = job.task_mut(task.task);
        let lease = own.leases.remove(&peer)?;
        let peers = &self.peers;
        let stranger = |peer| peers.get(&peer).is_none_or(|state| !state.is_proven());
        own.note_former(peer, lease.granted, stranger);
        job.leases -= 1;
        job.waste.expected -= lease.charge;
        job.relist(task.task);
        self.alarms.remove(&(lease.until, Alarm::Lease(peer, task)));
        self.alarms.remove(&(lease.doubt, Alarm::Doubt(peer, task)));
        self.leaves_origin(lease.origin);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.lets_go(task);
            if state.is_forgettable() {
                self.forgettable.insert((state.seen, peer));
            }
        }
        self.foresee(peer);
        Some(lease)
    }

    /// A lease or proof that a network counted is over.
    pub(super) fn leaves_origin(&mut self, origin: Option<u64>) {
        if let Some(origin) = origin
            && let Some(held) = self.origins.get_mut(&origin)
        {
            *held -= 1;
            if *held == 0 {
                self.origins.remove(&origin);
            }
        }
    }

    pub(super) fn revoke(&mut self, now: Time, peer: Peer, task: TaskRef, why: Revocation) {
        let Some(lease) = self.end_lease(peer, task) else {
            return;
        };
        if why == Revocation::Done {
            let delivers = self.delivers(peer);
            let job = self.jobs.get_mut(&task.job).expect("it had a lease");
            let work = job.task(task.task).cost.work;
            // The progress of a holder that would not have delivered is no real work.
            job.waste.done += share(lease.done(work, now), delivers);
            if lease.late {
                // Another peer's delivery does not excuse the late holder.
                self.blame(now, peer, task);
            }
        }
        self.outputs.push_back(Output::Revoke { peer, task, why });
    }

    /// Lets others have a task that nobody holds any more.
    pub(super) fn release(&mut self, now: Time, task: TaskRef) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        if job.release_if_idle(task.task) {
            self.wake(task, now);
        } else {
            self.wake_for_copy(now, task);
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
            if self.is_awaited(peer, task) {
                let until = now + policy.lease_min;
                return self.outputs.push_back(Output::Extended { peer, task, until });
            }
            return self.refuse(peer, Refusal::NotLeased);
        };
        let progress = progress.min(PROGRESS_ONE);
        let (mut expected_end, mut falls_behind) = (None, false);
        // Only progress renews: to be alive is not enough.
        if progress > lease.progress {
            lease.progress = progress;
            let elapsed = now - lease.granted;
            let remaining = elapsed * u32::from(PROGRESS_ONE - progress) / u32::from(progress);
            let until = now + share(remaining, policy.slack).max(policy.lease_min);
            let until = until.min(lease.latest).max(lease.until);
            self.alarms.remove(&(lease.until, Alarm::Lease(peer, task)));
            if until < Time::NEVER {
                self.alarms.insert((until, Alarm::Lease(peer, task)));
            }
            lease.until = until;
            lease.heard = now;
            let ends = now + remaining;
            falls_behind = ends > lease.ends + lease.expected / BEHIND_PART;
            lease.ends = ends;
            expected_end = Some(ends);
            if lease.doubt < Time::NEVER {
                self.alarms.remove(&(lease.doubt, Alarm::Doubt(peer, task)));
                let doubt = lease.next_doubt(&policy);
                lease.late = doubt <= now;
                lease.doubt = if lease.late { now + policy.doubt_min } else { doubt };
                self.alarms.insert((lease.doubt, Alarm::Doubt(peer, task)));
            }
        }
        let (until, late) = (lease.until, lease.late);
        if let Some(ends) = expected_end {
            // Without the files there is no progress.
            self.files_held(peer, task.job);
            self.ends_at(peer, if late { Time::NEVER } else { ends });
        }
        self.outputs.push_back(Output::Extended { peer, task, until });
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.relist(task.task);
        }
        if falls_behind {
            self.wake_for_copy(now, task);
        }
    }

    /// Nothing was heard of a holder for too long: another peer may have its task too.
    pub(super) fn doubt(&mut self, now: Time, peer: Peer, task: TaskRef) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        if let Some(lease) = job.task_mut(task.task).leases.get_mut(&peer) {
            lease.late = true;
            // Peers that could take it may be there later.
            lease.doubt = now + self.policy.doubt_min;
            self.alarms.insert((lease.doubt, Alarm::Doubt(peer, task)));
            job.relist(task.task);
            self.ends_at(peer, Time::NEVER);
            self.wake_for_copy(now, task);
            self.wake_left(now);
        }
    }

    /// The time at which a peer is expected to end its last lease has changed.
    fn ends_at(&mut self, peer: Peer, end: Time) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.free_at = end;
        }
        self.foresee(peer);
    }

    pub(super) fn expired(&mut self, now: Time, peer: Peer, task: TaskRef) {
        self.blame(now, peer, task);
        self.revoke(now, peer, task, Revocation::Expired);
        self.release(now, task);
        self.wake_left(now);
    }

    /// A peer has not kept to a lease.
    fn blame(&mut self, now: Time, peer: Peer, task: TaskRef) {
        let kind = task.task.kind();
        self.in_vain(task);
        self.disappointed(now, peer, |state| {
            state.standing.expire(kind, state.speed(kind));
        });
    }

    /// A lease has come to nothing, so that copies may cost more than was thought.
    pub(super) fn in_vain(&mut self, task: TaskRef) {
        if let Some(job) = self.jobs.get_mut(&task.job)
            && job.tree.contains(task.task)
        {
            job.waste.in_vain += job.task(task.task).cost.work;
        }
    }

    /// A peer has disappointed; `how` is noted in its standing.
    pub(super) fn disappointed(&mut self, now: Time, peer: Peer, how: impl FnOnce(&mut PeerState)) {
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        if !state.is_own() {
            self.newcomers.note(&state.standing, false);
        }
        how(state);
        state.disappoint(now, &self.policy);
        self.foresee(peer);
        self.outputs.push_back(Output::Learned { peer });
    }

    pub(super) fn returned(&mut self, now: Time, peer: Peer, task: TaskRef, why: Return) {
        if self.end_lease(peer, task).is_none() {
            if let Some(job) = self.jobs.get_mut(&task.job) {
                job.forget_awaited_of(peer, task.task);
            }
            return self.refuse(peer, Refusal::NotLeased);
        }
        match why {
            Return::Failed { message } => self.failed(now, peer, task, message),
            // No blame; but it is not to take the same task again before others hear that it is
            // free.
            Return::Stopping => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.disappoint(now, &self.policy);
                }
            }
            Return::Surplus => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.rest(now, &self.policy);
                }
            }
        }
        self.release(now, task);
    }

    /// A peer could not do a task. A task that no peer can do is the job's error.
    pub(super) fn failed(&mut self, now: Time, peer: Peer, task: TaskRef, message: String) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let peers = &self.peers;
        let stranger = |peer| peers.get(&peer).is_none_or(|state| !state.is_own());
        let own = job.task_mut(task.task);
        own.note_failure(peer, message.clone(), stranger);
        let failures = &own.failures;
        // A stranger's failure only keeps the task from that stranger: identities are free.
        let own_failures = failures.iter().filter(|(failed, _)| !stranger(*failed)).count();
        self.outputs
            .push_back(Output::Event(Event::TaskFailed { task, peer, message }));
        self.suspect(now, peer, task);
        let own = self.jobs[&task.job].task(task.task);
        if own_failures >= self.policy.own_failures_max && !own.suspicion.trying {
            let failures = own.failures.clone();
            self.close(now, task.job, &Revocation::JobFailed);
            self.outputs.push_back(Output::Event(Event::JobFailed {
                job: task.job,
                task: task.task,
                failures,
            }));
        } else {
            self.in_vain(task);
            self.disappointed(now, peer, |state| state.standing.fail());
        }
    }

    pub(super) fn peer_lost(&mut self, now: Time, peer: Peer) {
        self.parked.forget(peer);
        let leases = self.peers.get(&peer).map(|state| state.leases.clone());
        for task in leases.unwrap_or_default() {
            self.end_lease(peer, task);
            self.release(now, task);
        }
        for job in self.jobs.values_mut() {
            job.forget_awaited(peer);
        }
        if self.forget_woken(peer).is_some() {
            self.wake_another(now);
        }
        self.foresee(peer);
        self.wake_left(now);
    }
}
