//! Leases ahead: a peer that has delivered gets its next task before it can begin with it, so that
//! it fetches what it needs meanwhile and waits for no message.
//!
//! There are two occasions. A peer that has just submitted the last proof that a node waits for
//! gets that node while its proof is still looked at: it has that proof, all others are durable,
//! and it begins at once. And a peer at a task may ask for the next one, and gets it if nobody is
//! free who could start it now.
//!
//! Nobody is kept from a task by a lease ahead. The task is ready, or waits, as if there were none:
//! it is not under way, and any free peer gets it. It becomes an ordinary lease when the task can
//! start and its peer is at no other one. A peer has one at most, and pays for none that it loses.

use std::time::Duration;

use super::{
    Requester,
    ahead::order,
    assign::{Pick, nothing_for},
};
use crate::{
    ids::{Blob, JobId, Peer, TaskRef},
    input::{Offer, Return},
    job::{Job, TaskState},
    output::{Output, Revocation},
    peers::PeerState,
    time::Time,
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    task: TaskRef,
    /// Since when its peer is at it; none while the peer is at another task.
    since: Option<Time>,
    /// Its proof, which came while a proof that it is made of was still looked at.
    proof: Option<Blob>,
}

impl Requester {
    /// The leases ahead, each with its peer.
    pub fn leases_ahead(&self) -> impl Iterator<Item = (Peer, TaskRef)> {
        self.ahead.iter().map(|(&peer, ahead)| (peer, ahead.task))
    }

    pub(super) fn has_ahead(&self, peer: Peer, task: TaskRef) -> bool {
        self.ahead.get(&peer).is_some_and(|ahead| ahead.task == task)
    }

    /// The node that waits for nothing but a proof that this free peer has submitted and that is
    /// looked at now.
    pub(super) fn above_own_proof(&self, now: Time, jobs: &[(&JobId, &Job)], peer: Peer) -> Option<TaskRef> {
        let state = self
            .peers
            .get(&peer)
            .filter(|state| self.may_have_ahead(peer, state))?;
        if !state.leases.is_empty() {
            return None;
        }
        state.unchecked.keys().find_map(|below| {
            let job = self.jobs.get(&below.job)?;
            let own = job.tree.contains(below.task).then(|| job.task(below.task))?;
            let [claim] = own.claims[..] else {
                return None;
            };
            if own.state != TaskState::Open || claim.peer != peer || !claim.checking || claim.stalled {
                return None;
            }
            let task = job.tree.parent(below.task)?;
            let above = job.task(task);
            let is_for_it = above.state == TaskState::Waiting(1)
                && above.ahead.is_none()
                && above.cost.memory <= state.offer.memory
                && !above.failed_on(peer)
                && !job.is_for_caller(task);
            (is_for_it && !self.is_left_by(now, jobs, (job, task), peer))
                .then_some(TaskRef { task, ..*below })
        })
    }

    /// Whether a peer may have a lease ahead, if there is one for it.
    fn may_have_ahead(&self, peer: Peer, state: &PeerState) -> bool {
        let has_delivered = state.is_proven() && !state.is_own();
        self.policy.ahead && has_delivered && !self.ahead.contains_key(&peer)
    }

    /// A peer at a task asks for the next one.
    pub(super) fn offered_ahead(&mut self, now: Time, peer: Peer, offer: Offer) {
        self.remember(now, peer, offer);
        let picked = match self.refusal(now, peer) {
            Some(why) => Err(why),
            None => self.next_ready(now, peer, &offer),
        };
        match picked {
            Ok(task) => self.grant_ahead(now, peer, task, None),
            Err(why) => self.refuse(peer, why),
        }
    }

    /// The ready task that a peer gets that is at another one: if nobody is free who could start it.
    fn next_ready(&self, now: Time, peer: Peer, offer: &Offer) -> Result<TaskRef, crate::Refusal> {
        let mut jobs: Vec<_> = self.jobs.iter().collect();
        jobs.sort_unstable_by_key(|(_, job)| order(job));
        let at_one = |state: &&PeerState| self.may_have_ahead(peer, state) && state.leases.len() == 1;
        let merit = self.merit(peer);
        let task = self.peers.get(&peer).filter(at_one).and_then(|_| {
            jobs.iter().find_map(|&(&id, job)| {
                let task = job.ready.best(offer.memory, |task| {
                    let own = job.task(task);
                    own.failed_on(peer) || own.ahead.is_some() || own.is_reserved(peer, merit)
                })?;
                let is_free = self.parked.best(job.task(task).cost.memory).is_some();
                (!is_free && !self.is_left_by(now, &jobs, (job, task), peer))
                    .then_some(TaskRef { job: id, task })
            })
        });
        task.ok_or_else(|| nothing_for(&jobs, offer))
    }

    /// Gives a lease ahead. The peer is at it since then, if it is at no other.
    pub(super) fn grant_ahead(&mut self, now: Time, peer: Peer, task: TaskRef, since: Option<Time>) {
        let job = self.jobs.get_mut(&task.job).expect("it was picked");
        let own = job.task_mut(task.task);
        own.ahead = Some(peer);
        let state = &self.peers[&peer];
        let length = state.lease_length(task.task.kind(), own.cost, &self.policy);
        let begins = Some(state.free_at).filter(|free_at| *free_at < Time::NEVER);
        let until = begins.unwrap_or_default().max(now) + length;
        let ahead = Ahead {
            task,
            since,
            proof: None,
        };
        self.ahead.insert(peer, ahead);
        self.outputs.push_back(Output::LeaseAhead { peer, task, until });
    }

    /// Makes the lease ahead of a peer an ordinary one, if its task can start now and the peer is
    /// at no other, or has done it. Whether it was made one.
    pub(super) fn begin_ahead(&mut self, now: Time, peer: Peer) -> bool {
        let Some(Ahead { task, since, proof }) = self.ahead.get(&peer).copied() else {
            return false;
        };
        let is_free = |state: &PeerState| state.leases.is_empty() || proof.is_some();
        let can_start = |job: &Job| job.tree.contains(task.task) && job.task(task.task).is_idle();
        if !self.peers.get(&peer).is_some_and(is_free) || !self.jobs.get(&task.job).is_some_and(can_start) {
            return false;
        }
        self.end_ahead(peer, None);
        let until = self.begin_lease(now, peer, Pick::new(task, Duration::ZERO));
        if let Some(since) = since {
            self.began(peer, task, since);
        }
        self.outputs.push_back(Output::Begun { peer, task, until });
        match proof {
            Some(proof) => self.submitted(now, peer, task, proof),
            // A task for which one peer is not enough may be worth a second one.
            None => self.wake_for_copy(now, task),
        }
        true
    }

    /// A peer makes progress with the task that it has ahead, so that it is at no other, whatever
    /// was heard of that.
    pub(super) fn begin_ahead_late(&mut self, now: Time, peer: Peer) {
        let Some(ahead) = self.ahead.get(&peer).copied() else {
            return;
        };
        if !self.begin_ahead(now, peer) && ahead.since.is_none() {
            // Of its last task nothing was heard yet. It may still come.
            let can_start = |job: &Job| job.task(ahead.task.task).is_idle();
            if self.jobs.get(&ahead.task.job).is_some_and(can_start) {
                self.end_ahead(peer, None);
                let task = ahead.task;
                let until = self.begin_lease(now, peer, Pick::new(task, Duration::ZERO));
                self.outputs.push_back(Output::Begun { peer, task, until });
            }
        }
    }

    /// The peer has been at the task of its lease since before it was an ordinary one.
    fn began(&mut self, peer: Peer, task: TaskRef, since: Time) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        if let Some(lease) = job.task_mut(task.task).leases.get_mut(&peer) {
            lease.ends = lease.granted.max(since + lease.expected);
            lease.granted = since;
            if let Some(state) = self.peers.get_mut(&peer).filter(|state| state.leases.len() == 1) {
                state.free_at = lease.ends;
            }
        }
        job.relist(task.task);
        self.foresee(peer);
    }

    /// A task can start now: the peer that has it ahead begins, if there is one that is free.
    pub(super) fn begins_ahead(&mut self, now: Time, task: TaskRef) -> bool {
        let ahead = self.jobs.get(&task.job).and_then(|job| job.task(task.task).ahead);
        let Some(peer) = ahead else {
            return false;
        };
        if self.begin_ahead(now, peer) {
            return true;
        }
        self.end_ahead(peer, Some(Revocation::Free));
        false
    }

    /// A peer has no lease ahead any more, and hears why if it does not know. Returns the task that
    /// it was of.
    pub(super) fn end_ahead(&mut self, peer: Peer, why: Option<Revocation>) -> Option<TaskRef> {
        let Ahead { task, .. } = self.ahead.remove(&peer)?;
        let job = self.jobs.get_mut(&task.job);
        if let Some(job) = job.filter(|job| job.tree.contains(task.task)) {
            let own = job.task_mut(task.task);
            own.ahead = own.ahead.filter(|of| *of != peer);
        }
        if let Some(why) = why {
            self.outputs.push_back(Output::Revoke { peer, task, why });
        }
        Some(task)
    }

    /// The same; if the task is ready, it is for those who wait.
    pub(super) fn release_ahead(&mut self, now: Time, peer: Peer, why: Option<Revocation>) {
        let Some(task) = self.end_ahead(peer, why) else {
            return;
        };
        let is_ready = |job: &Job| job.tree.contains(task.task) && job.task(task.task).is_idle();
        if self.jobs.get(&task.job).is_some_and(is_ready) {
            self.wake(task, now);
        }
    }

    /// Somebody else begins with a task, or it has to wait for longer.
    pub(super) fn end_ahead_of(&mut self, task: TaskRef, why: &Revocation) {
        let job = self.jobs.get(&task.job);
        if let Some(peer) = job.and_then(|job| job.task(task.task).ahead) {
            self.end_ahead(peer, Some(why.clone()));
        }
    }

    /// A proof of a peer came to nothing: so does the node above it.
    pub(super) fn end_ahead_above(&mut self, peer: Peer, below: TaskRef) {
        let job = self.jobs.get(&below.job);
        let above = job.and_then(|job| job.tree.parent(below.task));
        if above.is_some_and(|task| self.has_ahead(peer, TaskRef { task, ..below })) {
            self.end_ahead(peer, Some(Revocation::Lost));
        }
    }

    /// A peer makes an offer: it is at no task, and so it does not know of one that it has ahead,
    /// unless it has done it.
    pub(super) fn free_without_ahead(&mut self, now: Time, peer: Peer) {
        if self.ahead.get(&peer).is_some_and(|ahead| ahead.proof.is_none()) {
            self.release_ahead(now, peer, None);
        }
    }

    /// A job is over.
    pub(super) fn end_ahead_in(&mut self, id: JobId, why: &Revocation) {
        let of_job = self.ahead.iter().filter(|(_, ahead)| ahead.task.job == id);
        let peers: Vec<Peer> = of_job.map(|(&peer, _)| peer).collect();
        for peer in peers {
            self.end_ahead(peer, Some(why.clone()));
        }
    }

    /// A peer says that it makes progress with the task that it has ahead: it has begun, whatever
    /// became of its last one. Returns until when it has the task.
    pub(super) fn renewed_ahead(&mut self, now: Time, peer: Peer, task: TaskRef) -> Option<Time> {
        let state = self.peers.get(&peer).filter(|_| self.has_ahead(peer, task))?;
        let cost = self.jobs.get(&task.job)?.task(task.task).cost;
        Some(now + state.lease_length(task.task.kind(), cost, &self.policy))
    }

    /// The proof of a task that a peer has ahead: it is kept until those that it is made of have
    /// been looked at. False if the peer has it not.
    pub(super) fn submitted_ahead(&mut self, peer: Peer, task: TaskRef, proof: Blob) -> bool {
        match self.ahead.get_mut(&peer).filter(|ahead| ahead.task == task) {
            Some(ahead) => {
                ahead.proof.get_or_insert(proof);
                true
            }
            None => false,
        }
    }

    /// A peer gives a task back that it has ahead. False if it has it not.
    pub(super) fn returned_ahead(&mut self, now: Time, peer: Peer, task: TaskRef, why: &Return) -> bool {
        if !self.has_ahead(peer, task) {
            return false;
        }
        self.end_ahead(peer, None);
        if let Return::Failed { message } = why {
            self.failed(now, peer, task, message.clone());
        }
        let is_ready = |job: &Job| job.task(task.task).is_idle();
        if self.jobs.get(&task.job).is_some_and(is_ready) {
            self.wake(task, now);
        }
        true
    }
}
