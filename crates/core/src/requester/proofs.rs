//! From a submitted proof to a durable one.

use super::Requester;
use crate::{
    ids::{Blob, Peer, TaskId, TaskRef},
    input::Verdict,
    job::{Claim, TaskState},
    output::{Event, Output, Refusal, Revocation},
    peers::PeerState,
    time::Time,
};

impl Requester {
    pub(super) fn submitted(&mut self, now: Time, peer: Peer, task: TaskRef, proof: Blob) {
        if let Some(reason) = self.peers.get(&peer).and_then(|state| state.banned.clone()) {
            return self.refuse(peer, Refusal::Banned { reason });
        }
        let known = self
            .jobs
            .get(&task.job)
            .filter(|job| job.tree.contains(task.task));
        let Some(own) = known.map(|job| job.task(task.task)) else {
            return self.refuse(peer, Refusal::NoSuchTask);
        };
        let granted = match own.leases.get(&peer) {
            Some(lease) => Some(lease.granted),
            None => own.former.get(&peer).copied(),
        };
        let Some(granted) = granted else {
            return self.refuse(peer, Refusal::NotLeased);
        };
        if own.state != TaskState::Open {
            return self.refuse(peer, Refusal::Done);
        }
        if own.claims.iter().any(|claim| claim.peer == peer) {
            return self.refuse(peer, Refusal::Submitted);
        }
        self.end_lease(peer, task);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.unchecked.insert(task);
        }
        let job = self.jobs.get_mut(&task.job).expect("seen above");
        // A late proof may come while the task waits for somebody else.
        job.take_ready(task.task);
        let own = job.task_mut(task.task);
        own.claims.push(Claim {
            peer,
            proof,
            took: now - granted,
        });
        if own.claims.len() == 1 {
            self.outputs.push_back(Output::Check { peer, task, proof });
        }
    }

    pub(super) fn checked(&mut self, now: Time, peer: Peer, task: TaskRef, proof: Blob, verdict: Verdict) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.unchecked.remove(&task);
        }
        // A job that was closed meanwhile has no use for it, not even if it was opened again.
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        if !job.tree.contains(task.task) {
            return;
        }
        let own = job.task_mut(task.task);
        let asked = |claim: &Claim| claim.peer == peer && claim.proof == proof;
        if !own.claims.first().is_some_and(asked) {
            return;
        }
        let claim = own.claims.remove(0);
        match verdict {
            Verdict::Accepted => {
                own.state = TaskState::Persisting(claim);
                // What others have submitted is as good as this or worse; nobody looks.
                let passed_over: Vec<Peer> = own.claims.drain(..).map(|claim| claim.peer).collect();
                let cost = own.cost;
                let others: Vec<Peer> = own.leases.keys().copied().collect();
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.accepted += 1;
                    state.setbacks = 0;
                    state.learn(task.task.kind(), cost, claim.took);
                }
                for other in passed_over {
                    if let Some(state) = self.peers.get_mut(&other) {
                        state.unchecked.remove(&task);
                    }
                }
                self.outputs.push_back(Output::Persist {
                    peer,
                    task,
                    proof: claim.proof,
                });
                for other in others {
                    self.revoke(other, task, Revocation::Done);
                }
                return;
            }
            // A machine of one's own does not lie; it is broken, or the job is.
            Verdict::Invalid { reason } if self.is_own(peer) => self.failed(now, peer, task, reason),
            Verdict::Invalid { reason } => self.ban(now, peer, task, reason),
            Verdict::Unavailable { reason } => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.disappoint(now, &self.policy);
                }
                self.outputs.push_back(Output::Event(Event::TaskFailed {
                    task,
                    peer,
                    message: reason,
                }));
            }
        }
        let next = self
            .jobs
            .get(&task.job)
            .and_then(|job| job.task(task.task).claims.first().copied());
        match next {
            Some(Claim { peer, proof, .. }) => {
                self.outputs.push_back(Output::Check { peer, task, proof });
            }
            None => self.release(now, task),
        }
    }

    pub(super) fn is_own(&self, peer: Peer) -> bool {
        self.peers.get(&peer).is_some_and(PeerState::is_own)
    }

    /// Never gives the peer anything again, and takes away what it has.
    pub(super) fn ban(&mut self, now: Time, peer: Peer, task: TaskRef, reason: String) {
        self.parked.remove(peer);
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        state.banned = Some(reason.clone());
        let leases = state.leases.clone();
        self.outputs
            .push_back(Output::Event(Event::Banned { peer, task, reason }));
        for lease in leases {
            self.revoke(peer, lease, Revocation::Banned);
            self.release(now, lease);
        }
    }

    pub(super) fn persisted(&mut self, now: Time, task: TaskRef, durable: Blob) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        if !job.tree.contains(task.task) {
            return;
        }
        let TaskState::Persisting(Claim { peer, proof, took }) = job.task(task.task).state else {
            return;
        };
        if proof != durable {
            return;
        }
        let freed = job.complete(task.task, proof);
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
        if task.task == TaskId::Final {
            self.close(task.job, Revocation::Done);
            self.outputs
                .push_back(Output::Event(Event::JobDone { job: task.job }));
        }
    }
}
