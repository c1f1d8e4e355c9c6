//! Finds out, when no peer manages a node, whether the peers are to blame or a proof that the node
//! is made of.

use std::collections::BTreeSet;

use super::{Alarm, Requester};
use crate::{
    ids::{Blob, JobId, Kind, Peer, TaskId, TaskRef},
    input::TrialVerdict,
    job::{Claim, Lease, TaskState},
    output::{Event, Output, Revocation},
    peers::PeerState,
    time::Time,
};

/// The patience is doubled at most this many times where the caller was not able to do a task.
const DOUBLED_MAX: u32 = 6;

impl Requester {
    /// A peer has failed at a task, or handed in an invalid proof of it.
    pub(super) fn suspect(&mut self, now: Time, peer: Peer, task: TaskRef) {
        let is_own = self.is_own(peer);
        let policy = self.policy;
        // A task that is made only of the requester's own proofs fails for other reasons.
        if task.task.kind() == Kind::Segment || !self.is_made_of_others(task) {
            return;
        }
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let own = job.task_mut(task.task);
        if own.state != TaskState::Open || own.suspicion.trying {
            return;
        }
        let suspicion = &mut own.suspicion;
        let doubled = suspicion.unable.min(DOUBLED_MAX);
        suspicion.failed.insert(peer);
        // A machine of one's own does not lie.
        let enough = is_own && suspicion.unable == 0;
        if enough || suspicion.failed.len() >= policy.trial_after_peers << doubled {
            self.try_it(task);
        } else if suspicion.due.is_none() {
            let due = now + policy.trial_after * (1 << doubled);
            suspicion.due = Some(due);
            self.alarms.insert((due, Alarm::Suspicion(task)));
        }
    }

    /// Whether a task takes a proof that is not the requester's own, as far as is known.
    fn is_made_of_others(&self, task: TaskRef) -> bool {
        let Some(job) = self.jobs.get(&task.job) else {
            return false;
        };
        job.inputs(task.task)
            .any(|input| job.task(input).maker.is_none_or(|maker| !self.is_own(maker)))
    }

    /// Peers were banned because of tasks of a job in an earlier run: there may be no peer left
    /// that could fail.
    pub(super) fn suspect_again(&mut self, now: Time, id: JobId) {
        let banned_for = self
            .banned
            .iter()
            .filter_map(|peer| self.standing(*peer)?.banned_for);
        let tasks: BTreeSet<TaskRef> = banned_for
            .filter(|task| task.job == id && task.task.kind() != Kind::Segment)
            .collect();
        let due = now + self.policy.trial_after;
        for task in tasks {
            let job = self.jobs.get_mut(&id).filter(|job| job.tree.contains(task.task));
            if let Some(job) = job
                && job.task(task.task).state == TaskState::Open
            {
                job.task_mut(task.task).suspicion.due = Some(due);
                self.alarms.insert((due, Alarm::Suspicion(task)));
            }
        }
    }

    /// Somebody has failed at a task some time ago.
    pub(super) fn still_suspicious(&mut self, now: Time, due: Time, task: TaskRef) {
        let patience = self.policy.trial_after;
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        if !job.tree.contains(task.task) {
            return;
        }
        let own = job.task_mut(task.task);
        if own.suspicion.due != Some(due) || own.state != TaskState::Open || own.suspicion.trying {
            return;
        }
        // Late peers, and newcomers, may hold on to it for as long as they like.
        let peers = &self.peers;
        let is_good =
            |(peer, lease): (&Peer, &Lease)| !lease.late && peers.get(peer).is_some_and(PeerState::is_proven);
        if !own.leases.iter().any(is_good) && own.claims.iter().all(|claim| !claim.proven) {
            return self.try_it(task);
        }
        let own = job.task_mut(task.task);
        let due = now + patience;
        own.suspicion.due = Some(due);
        self.alarms.insert((due, Alarm::Suspicion(task)));
    }

    pub(super) fn try_it(&mut self, task: TaskRef) {
        if let Some(job) = self.jobs.get_mut(&task.job) {
            let suspicion = &mut job.task_mut(task.task).suspicion;
            suspicion.trying = true;
            suspicion.failed.clear();
            suspicion.due = None;
            self.outputs.push_back(Output::Try { task });
        }
    }

    /// The caller has done a task itself, or has not been able to.
    pub(super) fn tried(&mut self, now: Time, task: TaskRef, outcome: TrialVerdict) {
        let Some(job) = self
            .jobs
            .get_mut(&task.job)
            .filter(|job| job.tree.contains(task.task))
        else {
            return;
        };
        let own = job.task_mut(task.task);
        // It may have been done, or have to wait again, meanwhile.
        if !std::mem::take(&mut own.suspicion.trying) || own.state != TaskState::Open {
            return;
        }
        match outcome {
            TrialVerdict::Made { by, proof, took } => {
                job.take_ready(task.task);
                let claim = Claim {
                    peer: by,
                    proof,
                    took,
                    proven: true,
                    checking: false,
                    stalled: false,
                };
                self.accepted(now, task, claim);
            }
            TrialVerdict::Refuted { child, proof, reason } => {
                if job.is_made_of(task.task, child, proof) {
                    self.refuted(now, task, child, proof, reason);
                }
            }
            TrialVerdict::Doubted { child, proof, reason } => {
                if job.is_made_of(task.task, child, proof) {
                    self.doubted(now, task, child, proof, reason);
                }
            }
            TrialVerdict::Unable => {
                own.suspicion.unable += 1;
                let doubled = own.suspicion.unable.min(DOUBLED_MAX);
                let due = now + self.policy.trial_after * (1 << doubled);
                own.suspicion.due = Some(due);
                self.alarms.insert((due, Alarm::Suspicion(task)));
            }
        }
    }

    /// No node can be made over the accepted proof of a task: it is done again.
    fn refuted(&mut self, now: Time, at: TaskRef, child: TaskId, proof: Blob, reason: String) {
        let job = self.jobs.get(&at.job).expect("it was looked at");
        let maker = job.task(child).maker;
        let task = TaskRef { task: child, ..at };
        let failed = job.failed_at(at.task);
        let event = Event::Refuted {
            task,
            proof,
            maker,
            reason: reason.clone(),
        };
        let freed = self.give_up(now, task, Revocation::Refuted, event);
        self.pardon(now, at, failed);
        self.wake_all(now, task.job, freed);
        if let Some(maker) = maker {
            if self.is_own(maker) {
                self.failed(now, maker, task, reason);
            } else {
                self.ban(now, maker, task, reason);
            }
        }
    }

    /// A process that did a node over the accepted proof of a task did not live to the end. The
    /// task is done again, by another peer if there is one. The peers that failed at the node are
    /// as good as before.
    fn doubted(&mut self, now: Time, at: TaskRef, child: TaskId, proof: Blob, reason: String) {
        let job = self.jobs.get(&at.job).expect("it was looked at");
        let maker = job.task(child).maker;
        let task = TaskRef { task: child, ..at };
        let failed = job.failed_at(at.task);
        let event = Event::Reopened {
            task,
            proof,
            reason: reason.clone(),
        };
        let freed = self.give_up(now, task, Revocation::Lost, event);
        if let Some(maker) = maker.filter(|maker| !self.is_own(*maker)) {
            let job = self.jobs.get_mut(&at.job).expect("it was looked at");
            job.task_mut(child).note_failure(maker, reason, |_| true);
        }
        self.pardon(now, at, failed);
        self.wake_all(now, task.job, freed);
    }

    /// Nobody could have done a task: the peers that failed at it are as good as before.
    fn pardon(&mut self, now: Time, task: TaskRef, failed: Vec<Peer>) {
        for peer in failed {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.standing.unfail();
                state.setbacks = state.setbacks.saturating_sub(1);
                state.cooling_until = state.cooling_until.min(now);
                self.outputs.push_back(Output::Learned { peer });
            }
        }
        for peer in self.banned.clone() {
            let known = self.peers.get_mut(&peer).map(|state| &mut state.standing);
            let Some(standing) = known.or_else(|| self.remembered.get_mut(&peer)) else {
                continue;
            };
            if standing.pardon(task) {
                self.banned.remove(&peer);
                self.outputs.push_back(Output::Learned { peer });
                self.outputs
                    .push_back(Output::Event(Event::Pardoned { peer, task }));
            }
        }
    }

    /// Whether a proof that the caller was asked to check is of a task that nobody could have done
    /// then.
    pub(super) fn is_moot(&mut self, peer: Peer, task: TaskRef, proof: Blob) -> bool {
        self.moot.remove(&(peer, task, proof))
    }
}
