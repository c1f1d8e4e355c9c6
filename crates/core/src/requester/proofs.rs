//! The way of a proof from its submission until it is durable, and the ban of a peer that sent an
//! invalid proof.

use super::{Requester, assign::unproven_origin};
use crate::{
    ids::{Blob, Peer, TaskId, TaskRef},
    input::Verdict,
    job::{Claim, TaskState},
    output::{Event, Output, Refusal, Revocation},
    peers::PeerState,
    redundancy::share,
    time::Time,
};

impl Requester {
    pub(super) fn submitted(&mut self, now: Time, peer: Peer, task: TaskRef, proof: Blob) {
        if let Some(reason) = self
            .peers
            .get(&peer)
            .and_then(|state| state.standing.banned.clone())
        {
            return self.refuse(peer, Refusal::Banned { reason });
        }
        let known = self
            .jobs
            .get(&task.job)
            .filter(|job| job.tree.contains(task.task));
        let Some(own) = known.map(|job| job.task(task.task)) else {
            let why = if self.is_awaited(peer, task) {
                Refusal::NotYet
            } else {
                Refusal::NoSuchTask
            };
            return self.refuse(peer, why);
        };
        let held = own.leases.get(&peer).map(|lease| lease.granted);
        let Some(granted) = held.or_else(|| own.former.get(&peer).copied()) else {
            return self.refuse(peer, Refusal::NotLeased);
        };
        if own.state != TaskState::Open {
            return self.refuse(peer, Refusal::Done);
        }
        if own.claims.iter().any(|claim| claim.peer == peer) {
            return self.refuse(peer, Refusal::Submitted);
        }
        if own.refuted.contains(&proof) {
            // A late proof ends no lease, and leaves its task where it is.
            let ended = self.end_lease(peer, task);
            let reason = "it was refuted before: no node can be made over it".into();
            self.invalid(now, peer, task, reason);
            if ended.is_some() {
                self.release(now, task);
            }
            return;
        }
        let mut proven = false;
        if let Some(state) = self.peers.get_mut(&peer) {
            self.forgettable.remove(&(state.seen, peer));
            let origin = unproven_origin(state);
            state.unchecked.insert(task, origin);
            proven = state.is_proven();
            if let Some(origin) = origin {
                *self.origins.entry(origin).or_default() += 1;
            }
        }
        self.end_lease(peer, task);
        let job = self.jobs.get_mut(&task.job).expect("seen above");
        job.submitters.insert(peer);
        // A late proof may come while the task waits for another peer.
        job.take_ready(task.task);
        let own = job.task_mut(task.task);
        let claim = Claim {
            peer,
            proof,
            took: now - granted,
            proven,
            checking: false,
            stalled: false,
        };
        // Strangers, which have nothing to lose, do not keep others waiting, beyond the one that is
        // being checked.
        let behind = |other: &Claim| !other.checking && !other.proven;
        let place = match own.claims.iter().position(behind) {
            Some(place) if proven => place,
            _ => own.claims.len(),
        };
        own.claims.insert(place, claim);
        self.check_next(task);
    }

    /// Begins to check the next proof of a task, if none is being checked but those that stall.
    fn check_next(&mut self, task: TaskRef) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let own = job.task_mut(task.task);
        if own.claims.iter().all(|claim| !claim.checking || claim.stalled)
            && let Some(claim) = own.claims.iter_mut().find(|claim| !claim.checking)
        {
            claim.checking = true;
            let Claim { peer, proof, .. } = *claim;
            self.outputs.push_back(Output::Check { peer, task, proof });
        }
        job.relist(task.task);
    }

    /// A proof that is being checked does not come.
    pub(super) fn stalled(&mut self, now: Time, peer: Peer, task: TaskRef, proof: Blob) {
        let Some(claim) = self.claim(peer, task, proof) else {
            return;
        };
        claim.stalled = true;
        self.check_next(task);
        self.wake_for_copy(now, task);
    }

    /// A proof that is being checked.
    fn claim(&mut self, peer: Peer, task: TaskRef, proof: Blob) -> Option<&mut Claim> {
        let job = self.jobs.get_mut(&task.job)?;
        let own = job.tree.contains(task.task).then(|| job.task_mut(task.task))?;
        let is_asked = |claim: &&mut Claim| claim.checking && claim.peer == peer && claim.proof == proof;
        own.claims.iter_mut().find(is_asked)
    }

    pub(super) fn checked(&mut self, now: Time, peer: Peer, task: TaskRef, proof: Blob, verdict: Verdict) {
        self.looked_at(peer, task);
        if self.is_moot(peer, task, proof) {
            return;
        }
        // A job that was closed meanwhile has no use for the finding, even if it was opened again.
        // Neither has a task of which another proof was accepted. That makes a lie no better.
        let Some(claim) = self.claim(peer, task, proof).copied() else {
            return match verdict {
                Verdict::Invalid { reason } if !self.is_own(peer) => self.ban(now, peer, task, reason),
                _ => (),
            };
        };
        let own = self.jobs.get_mut(&task.job).map(|job| job.task_mut(task.task));
        own.expect("it has a claim")
            .claims
            .retain(|other| *other != claim);
        match verdict {
            Verdict::Accepted => return self.accepted(now, task, claim),
            Verdict::Invalid { reason } => self.invalid(now, peer, task, reason),
            Verdict::Unavailable { reason } => {
                self.in_vain(task);
                self.disappointed(now, peer, |state| state.standing.withhold());
                self.outputs.push_back(Output::Event(Event::TaskFailed {
                    task,
                    peer,
                    message: reason,
                }));
            }
        }
        self.check_next(task);
        self.release(now, task);
    }

    /// A peer's proof of a task waits no more to be looked at.
    pub(super) fn looked_at(&mut self, peer: Peer, task: TaskRef) {
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        let counted = state.is_looked_at(task);
        if state.is_forgettable() {
            self.forgettable.insert((state.seen, peer));
        }
        self.leaves_origin(counted);
    }

    /// A peer handed in an invalid proof for its task.
    fn invalid(&mut self, now: Time, peer: Peer, task: TaskRef, reason: String) {
        if self.is_own(peer) {
            // A machine of one's own does not lie; it is broken, or the job is.
            self.failed(now, peer, task, reason);
        } else {
            self.ban(now, peer, task, reason);
            self.suspect(now, peer, task);
        }
    }

    /// A claim holds: no other peer is needed for the task.
    pub(super) fn accepted(&mut self, now: Time, task: TaskRef, claim: Claim) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let own = job.task_mut(task.task);
        own.state = TaskState::Persisting(claim);
        let (cost, peer) = (own.cost, claim.peer);
        let others: Vec<Peer> = own.leases.keys().copied().collect();
        // The other claims are as good as this one or worse: nobody looks at them.
        let passed_over: Vec<Peer> = own.claims.drain(..).map(|claim| claim.peer).collect();
        job.relist(task.task);
        let delivers: u32 = passed_over.iter().map(|other| self.delivers(*other)).sum();
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.waste.done += share(cost.work, delivers);
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            if !state.is_own() {
                self.newcomers.note(&state.standing, true);
            }
            state.standing.accept(task.task.kind(), cost, claim.took);
            (state.setbacks, state.overslept) = (0, 0);
            self.forgettable.remove(&(state.seen, peer));
            self.outputs.push_back(Output::Learned { peer });
        }
        self.files_held(peer, task.job);
        self.foresee(peer);
        for other in passed_over {
            self.looked_at(other, task);
        }
        self.outputs.push_back(Output::Persist {
            peer,
            task,
            proof: claim.proof,
        });
        for other in others {
            self.revoke(now, other, task, Revocation::Done);
        }
    }

    pub(super) fn is_own(&self, peer: Peer) -> bool {
        self.peers.get(&peer).is_some_and(PeerState::is_own)
    }

    /// Bans a peer: it gets no more tasks, and its leases are revoked. One invalid proof is enough.
    /// Leases that come to nothing are only followed by pauses, see [`PeerState::disappoint`].
    pub(super) fn ban(&mut self, now: Time, peer: Peer, task: TaskRef, reason: String) {
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        if state.standing.banned.is_some() {
            return;
        }
        self.parked.forget(peer);
        self.in_vain(task);
        let state = self.peers.get_mut(&peer).expect("seen above");
        self.newcomers.note(&state.standing, false);
        state.standing.ban(task, reason.clone());
        self.banned.insert(peer);
        let leases = state.leases.clone();
        self.outputs.push_back(Output::Learned { peer });
        self.outputs
            .push_back(Output::Event(Event::Banned { peer, task, reason }));
        for lease in leases {
            self.revoke(now, peer, lease, Revocation::Banned);
            self.release(now, lease);
        }
        self.foresee(peer);
        self.wake_left(now);
    }

    pub(super) fn persisted(&mut self, now: Time, task: TaskRef, durable: Blob) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        if !job.tree.contains(task.task) {
            return;
        }
        let TaskState::Persisting(Claim {
            peer, proof, took, ..
        }) = job.task(task.task).state
        else {
            return;
        };
        if proof != durable {
            return;
        }
        let freed = job.complete(task.task, proof, peer);
        self.outputs
            .push_back(Output::Event(Event::TaskDone { task, peer, took }));
        for input in job.inputs(task.task) {
            if job.is_done(input) && job.takers(input).all(|taker| job.is_done(taker)) {
                self.outputs.push_back(Output::Obsolete {
                    task: TaskRef {
                        job: task.job,
                        task: input,
                    },
                });
            }
        }
        for freed in freed {
            self.wake(
                TaskRef {
                    job: task.job,
                    task: freed,
                },
                now,
            );
        }
        self.wake_left(now);
        if task.task == TaskId::Final {
            self.close(now, task.job, &Revocation::Done);
            self.outputs
                .push_back(Output::Event(Event::JobDone { job: task.job }));
        }
    }
}
