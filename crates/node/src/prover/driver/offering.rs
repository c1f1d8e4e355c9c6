//! Offers this machine to requesters: alone, or with the submission of a proof.

use std::time::{Duration, Instant};

use myriad_core::Peer;
use myriad_net::{
    AskError,
    wire::{OfferMessage, Request, Response},
};

use super::{Answer, Driver, HOLDS_NAMED};
use crate::prover::Engine;

/// How long no offer is made while an answer may bring the next task.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl<E: Engine> Driver<E> {
    /// Submits what is due.
    pub(super) fn submit(&mut self) {
        let now = Instant::now();
        for (peer, task, mut submission) in self.finished.due(now) {
            let offered = self.offer_with(peer, &mut submission, now).then_some(now);
            self.ask(peer, submission, move |answer| Answer::Submission {
                peer,
                task,
                offered,
                answer,
            });
        }
    }

    /// Offers this machine to those whose turn it is, if it is free.
    pub(super) fn offer(&mut self) {
        let now = Instant::now();
        if !self.is_free(now) {
            return;
        }
        while let Some(peer) = self.offers.next(&self.limits, now) {
            self.offer_to(peer, now);
        }
    }

    fn offer_to(&mut self, peer: Peer, since: Instant) {
        self.ask(peer, Request::Offer(self.offer_message()), move |answer| {
            Answer::Offer { peer, since, answer }
        });
    }

    pub(super) fn offer_message(&self) -> OfferMessage {
        OfferMessage {
            memory: self.memory_offered,
            threads: u16::try_from(self.limits.threads).unwrap_or(u16::MAX),
            speed: self.speed as u32,
            holds: self.network.blobs().held(HOLDS_NAMED),
        }
    }

    /// Whether this machine has room for a task, and none that is about to come.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        let may_get_one = self.asking_ahead.is_some_and(|since| now - since < ANSWER_WITHIN);
        let has_one = self.current.is_some() || self.next.is_some() || may_get_one;
        self.stopping.is_none() && !has_one && self.disk.why_not(now).is_none()
    }

    /// Makes an offer with a submission, if it is its requester's turn.
    pub(super) fn offer_with(&mut self, peer: Peer, submission: &mut Request, now: Instant) -> bool {
        if !self.is_free(now) || self.offers.choice(&self.limits, now) != Some(peer) {
            return false;
        }
        let Request::Submit { next, .. } = submission else {
            return false;
        };
        *next = Some(self.offer_message());
        self.offers.next(&self.limits, now) == Some(peer)
    }

    /// Takes from the answer to a submission what is about the offer that came with it.
    pub(super) fn answered_with(
        &mut self,
        peer: Peer,
        since: Instant,
        answer: Result<Response, AskError>,
    ) -> Result<Response, AskError> {
        let now = Instant::now();
        match answer {
            Ok(Response::Lease(lease)) => {
                self.begin(peer, *lease, since);
                Ok(Response::Received)
            }
            Ok(Response::NoTask(refused)) => {
                self.offers.refused(peer, Some(&refused), now);
                Ok(Response::Received)
            }
            Ok(answer) => {
                self.offers.not_asked(peer);
                Ok(answer)
            }
            Err(error) => {
                self.offers.refused(peer, None, now);
                Err(error)
            }
        }
    }
}
