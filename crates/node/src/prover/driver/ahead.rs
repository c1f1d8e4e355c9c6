//! The next task: it is asked for while one is at hand, so that its inputs are here when the engine
//! is free.

use std::time::Instant;

use myriad_core::Peer;
use myriad_net::{
    AskError, short_name,
    wire::{Lease, Request, Response, Returned},
};

use super::{Answer, Driver};
use crate::prover::{
    Engine,
    current::{Current, Stop},
    task::End,
};

impl<E: Engine> Driver<E> {
    /// Asks the requester of the task at hand for the next one, unless it is another one's turn.
    pub(super) fn ask_ahead(&mut self, now: Instant) {
        if self.stopping.is_some() || self.next.is_some() || self.disk.why_not(now).is_some() {
            return;
        }
        let Some(peer) = self.current.as_ref().map(|current| current.requester) else {
            return;
        };
        let is_its_turn = |next: Option<Peer>| next.is_none_or(|next| next == peer);
        if !is_its_turn(self.offers.choice(&self.limits, now)) {
            return;
        }
        if self.current.as_mut().is_some_and(Current::asks_ahead) {
            self.asking_ahead = Some(now);
            let offer = Request::OfferAhead(self.offer_message());
            self.ask(peer, offer, move |answer| Answer::Ahead { peer, answer });
        }
    }

    /// Whatever it is but a lease, this machine asks again when it is free.
    pub(super) fn answered_ahead(&mut self, peer: Peer, answer: Result<Response, AskError>) {
        self.asking_ahead = None;
        if let Ok(Response::Lease(lease)) = answer {
            self.begin_next(peer, *lease);
        }
    }

    fn begin_next(&mut self, requester: Peer, lease: Lease) {
        let now = Instant::now();
        let Some(current) = &self.current else {
            // The one before has ended meanwhile.
            return self.begin(requester, lease, now);
        };
        if self.stopping.is_some() {
            return self.give_back(requester, lease.task, Returned::Stopping);
        }
        // The files of another job would take the place of those that are read now.
        let follows = current.is_of(lease.task.job, requester) && current.task != lease.task;
        if !follows || current.is_stopped() || self.next.is_some() {
            return self.give_back(requester, lease.task, Returned::Surplus);
        }
        let name = lease.task.task.to_string();
        tracing::info!(stage = "ahead", "{name} comes next");
        self.next = Some(Current::begin_ahead(
            &self.tools,
            requester,
            lease,
            self.longest,
            now,
        ));
    }

    /// The engine is free: it is the next one's turn.
    pub(super) fn go_on(&mut self, now: Instant) {
        let may_begin = self.stopping.is_none() && self.disk.why_not(now).is_none();
        if !may_begin {
            return self.stop_next(Stop::Owner, |_| true);
        }
        if let Some(mut next) = self.next.take_if(|next| !next.is_stopped()) {
            let (name, requester) = (next.task.task.to_string(), next.requester);
            tracing::info!(
                stage = "lease",
                "{name} for requester {}, as it was next",
                short_name(requester)
            );
            next.has_turn(now);
            self.current = Some(next);
        }
    }

    /// The next one has ended before its turn: its inputs do not come, or it was stopped.
    pub(super) fn end_next(&mut self, end: End) -> Option<String> {
        let next = self.next.take().expect("it has ended");
        self.end_of(next, end)
    }

    /// Stops the next one if it is one of these.
    pub(super) fn stop_next(&mut self, why: Stop, is_unwanted: impl Fn(&Current) -> bool) {
        if let Some(next) = self.next.as_mut().filter(|next| is_unwanted(next)) {
            next.stop(why, &*self.tools.engine);
        }
    }
}
