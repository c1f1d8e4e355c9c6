//! Answers the requests of peers: offers, renewals, proofs that they submit, and leases that they
//! return.

use std::time::Instant;

use myriad_core::{Blob, Input, JobId, Offer, Peer, Return};
use myriad_net::{
    Reply, short_name,
    wire::{OfferMessage, Request, Response, Returned, Why},
};

use super::Driver;
use crate::{
    engine_fingerprint,
    requester::{
        backend::JobBackend,
        refusals::{NOT_SERVED, OTHER_ENGINE, is_served, no_such_job, refused},
    },
};

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn handle_request(&mut self, peer: Peer, request: Request, reply: Reply) {
        let task = match &request {
            Request::Offer(_) => None,
            Request::Prepare { job, holds } => return reply.send(self.prepare(peer, *job, holds)),
            Request::Renew { task, .. } | Request::Submit { task, .. } | Request::Return { task, .. } => {
                Some(*task)
            }
            // Requesters give notice; nobody gives them any.
            Request::Notice(_) => return reply.send(Response::Received),
        };
        if task.is_some_and(|task| task.job != self.job) {
            return reply.send(no_such_job());
        }
        match request {
            Request::Offer(offer) => self.handle_offer(peer, offer, reply),
            Request::Renew { task, progress } => {
                // A peer that proves has the files, and spares this node the next copy.
                if progress > 0 && self.requester.may_submit(peer, task) {
                    for file in self.files.all().collect::<Vec<_>>() {
                        self.holders.add(file.blob, peer);
                    }
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
                // Claims of tasks that are not leased are not kept: a peer could claim without end.
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
        let is_banned = self
            .requester
            .standing(peer)
            .is_some_and(|standing| standing.banned.is_some());
        let hello = self.peers.hello(peer).map(|(hello, _)| hello);
        if is_banned || !hello.is_some_and(is_served) {
            return refused(Why::NotServed, NOT_SERVED, None);
        }
        for &blob in holds.iter().filter(|blob| self.files.has(**blob)) {
            self.holders.add(blob, peer);
        }
        self.spreading
            .answer(&self.network, &self.files, peer, holds, Instant::now())
    }

    fn handle_offer(&mut self, peer: Peer, offer: OfferMessage, reply: Reply) {
        if self.unplanned.is_some() {
            return reply.send(refused(Why::NoWork, "the job ends", None));
        }
        let origin = match self.peers.hello(peer) {
            Some((hello, origin)) if hello.engine == engine_fingerprint() => origin,
            _ => return reply.send(refused(Why::NotServed, OTHER_ENGINE, None)),
        };
        // Blobs that this job is not made of are not remembered: anyone can name any number of
        // them.
        for blob in offer.holds {
            if self.is_of_job(blob) {
                self.holders.add(blob, peer);
            }
        }
        let offer = Offer {
            memory: offer.memory,
            speed: offer.speed,
            trust: self.peers.trust(peer),
            origin,
        };
        self.input_from(peer, reply, Input::Offer { peer, offer });
    }

    /// Whether a blob is one of the job's files, or an accepted proof of it.
    pub(super) fn is_of_job(&self, blob: Blob) -> bool {
        self.files.has(blob) || self.proofs.has(blob)
    }

    /// Tells the state machine what a peer said; what it makes of it answers the peer.
    fn input_from(&mut self, peer: Peer, reply: Reply, input: Input) {
        self.outbox.begin_reply(peer, reply);
        self.input(input);
        self.outbox.end_reply();
    }
}
