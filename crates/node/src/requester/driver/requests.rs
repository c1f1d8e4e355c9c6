//! Answers the requests of peers: offers, renewals, proofs that they submit, and leases that they
//! return.

use std::time::Duration;

use myriad_core::{Blob, Input, JobId, Offer, Peer, Return, Standing};
use myriad_net::{
    Reply, short_name,
    wire::{OfferMessage, Request, Response, Returned, Why},
};

use super::Driver;
use crate::requester::{
    backend::JobBackend,
    refusals::{NOT_SERVED, is_served, no_such_job, other_engine, refused},
    spreading::Prover,
};

/// When a prover without a task is to ask again for the files of a job that has all its tasks.
const SETTLED_RETRY: Duration = Duration::from_secs(60);

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn handle_request(&mut self, peer: Peer, request: Request, reply: Reply) {
        let task = match &request {
            Request::Offer(_) => None,
            Request::Prepare { job, holds } => return reply.send(self.prepare(peer, *job, holds)),
            Request::Renew { task, .. } | Request::Submit { task, .. } | Request::Return { task, .. } => {
                Some(*task)
            }
            // Only requesters give notices, and nobody gives them any.
            Request::Notice(_) => return reply.send(Response::Received),
        };
        if task.is_some_and(|task| task.job != self.job) {
            return reply.send(no_such_job());
        }
        match request {
            Request::Offer(offer) => self.handle_offer(peer, offer, reply),
            Request::Renew { task, progress } => {
                // A peer that proves has the files, so this node need not send the next copy.
                if progress > 0 && self.requester.may_submit(peer, task) {
                    self.has_files(peer);
                }
                self.input_from(peer, reply, Input::Renewed { peer, task, progress });
            }
            Request::Submit { task, proof, spent } => {
                let name = task.task.to_string();
                tracing::debug!(
                    stage = "claim",
                    task = name,
                    "claim of {name} by {}",
                    short_name(peer)
                );
                // Claims of tasks that are not leased are not kept, because a peer could claim
                // without end.
                if self.requester.may_submit(peer, task) {
                    self.proofs.claim(peer, task.task, proof, spent);
                }
                let input = Input::Submitted {
                    peer,
                    task,
                    proof: proof.blob,
                };
                self.input_from(peer, reply, input);
            }
            Request::Return { task, why } => {
                let why = match why {
                    Returned::Stopping | Returned::Unwilling { .. } => Return::Stopping,
                    Returned::Surplus => Return::Surplus,
                    Returned::Failed { message } => Return::Failed { message },
                };
                self.input_from(peer, reply, Input::Returned { peer, task, why });
            }
            Request::Prepare { .. } | Request::Notice(_) => unreachable!("answered above"),
        }
    }

    /// Names the job's files to a prover that has no task yet.
    fn prepare(&mut self, peer: Peer, job: JobId, holds: &[Blob]) -> Response {
        if job != self.job {
            return no_such_job();
        }
        if !self.may_be_named(peer) {
            return refused(Why::NotServed, NOT_SERVED, None);
        }
        if self.unplanned.is_some() {
            return refused(Why::NoWork, "the job ends", None);
        }
        let prover = Prover {
            peer,
            is_proven: self.is_proven(peer),
            origin: self.peers.hello(peer).and_then(|(_, origin)| origin),
            holds,
        };
        let has_all = prover.has_all(&self.files);
        if !has_all && self.growth.is_none() {
            let reason = "the job has all its tasks, and a lease comes with its files";
            return refused(Why::NotNow, reason, Some(SETTLED_RETRY.as_millis() as u64));
        }
        let response = self.spreading.answer(&self.network, &self.files, &prover);
        if has_all {
            self.has_files(peer);
        }
        response
    }

    /// Whether others may be sent to a peer: it is a prover with the same engine, and not banned.
    fn may_be_named(&self, peer: Peer) -> bool {
        let standing = self.requester.standing(peer);
        let is_banned = standing.is_some_and(|standing| standing.banned.is_some());
        let hello = self.peers.hello(peer).map(|(hello, _)| hello);
        !is_banned
            && hello.is_some_and(|hello| is_served(hello, self.files.engine.name, self.network.engines()))
    }

    /// Whether a peer has delivered before.
    pub(super) fn is_proven(&self, peer: Peer) -> bool {
        self.requester.standing(peer).is_some_and(Standing::is_proven)
    }

    /// A peer says that it has the job's files. It is named to others, and woken before others.
    pub(super) fn has_files(&mut self, peer: Peer) {
        self.spreading.has_all(peer, self.is_proven(peer));
        let (job, spares) = (self.job, self.spreading.takes());
        self.input(Input::FilesHeld { peer, job, spares });
    }

    fn handle_offer(&mut self, peer: Peer, offer: OfferMessage, reply: Reply) {
        if self.unplanned.is_some() {
            return reply.send(refused(Why::NoWork, "the job ends", None));
        }
        let name = self.files.engine.name;
        let (other, origin) = match self.peers.hello(peer) {
            Some((hello, origin)) => (other_engine(name, self.network.engines(), &hello.engines), origin),
            None => (Some("it has not greeted".into()), None),
        };
        let is_offered = offer.engines.contains(&name);
        let other = other.or_else(|| (!is_offered).then(|| format!("it offers no engine `{name}`")));
        if let Some(why) = other {
            return reply.send(refused(
                Why::NotServed,
                &format!("this prover is not used: {why}"),
                None,
            ));
        }
        // The state machine refuses a banned peer's offer, and nobody may be sent to it either.
        let may_be_named = self.may_be_named(peer);
        // Blobs that are no proof of this job are not remembered, because anyone can name any
        // number of them.
        for &blob in &offer.holds {
            if may_be_named && self.proofs.has(blob) {
                self.holders.add(blob, peer);
            }
        }
        self.offered = offer.holds;
        if may_be_named && self.files.all().all(|file| self.offered.contains(&file.blob)) {
            self.has_files(peer);
        }
        let offer = Offer {
            memory: offer.memory,
            speed: offer.speed,
            trust: self.peers.trust(peer),
            origin,
        };
        self.input_from(peer, reply, Input::Offer { peer, offer });
        self.offered = Vec::new();
    }

    /// Whether a blob is one of the job's files, or an accepted proof of it.
    pub(super) fn is_of_job(&self, blob: Blob) -> bool {
        self.files.has(blob) || self.proofs.has(blob)
    }

    /// Tells the state machine what a peer said. Its outputs answer the peer.
    fn input_from(&mut self, peer: Peer, reply: Reply, input: Input) {
        self.outbox.begin_reply(peer, reply);
        self.input(input);
        self.outbox.end_reply();
    }
}
