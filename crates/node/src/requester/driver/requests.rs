//! Answers the requests of peers: offers, renewals, proofs that they submit, and leases that they
//! return.

use myriad_core::{Blob, Input, Offer, Peer, Return};
use myriad_net::{
    Reply, short_name,
    wire::{OfferMessage, Request, Response, Returned, Why},
};

use super::{Driver, refusals::refused};
use crate::{engine_fingerprint, requester::backend::JobBackend};

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn handle_request(&mut self, peer: Peer, request: Request, reply: Reply) {
        let task = match &request {
            Request::Offer(_) => None,
            Request::Renew { task, .. } | Request::Submit { task, .. } | Request::Return { task, .. } => {
                Some(*task)
            }
            // Requesters give notice; nobody gives them any.
            Request::Notice(_) => return reply.send(Response::Received),
        };
        if task.is_some_and(|task| task.job != self.job) {
            return reply.send(refused(Why::NotLeased, "there is no such job", None));
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
            Request::Notice(_) => unreachable!("answered above"),
        }
    }

    fn handle_offer(&mut self, peer: Peer, offer: OfferMessage, reply: Reply) {
        let origin = match self.peers.hello(peer) {
            Some((hello, origin)) if hello.engine == engine_fingerprint() => origin,
            _ => {
                let reason =
                    "this requester's engine is another one: one of the two builds has to be updated";
                return reply.send(refused(Why::NotServed, reason, None));
            }
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
        self.files.all().any(|file| file.blob == blob) || self.proofs.has(blob)
    }

    /// Tells the state machine what a peer said; what it makes of it answers the peer.
    fn input_from(&mut self, peer: Peer, reply: Reply, input: Input) {
        self.outbox.begin_reply(peer, reply);
        self.input(input);
        self.outbox.end_reply();
    }
}
