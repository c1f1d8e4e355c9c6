//! Carries out what the state machine says.

use myriad_core::{JobId, Output, Time};
use myriad_net::{
    short_name,
    wire::{Notice, Response, shortened},
};

use super::{Driver, completion::Completion};
use crate::{
    Event,
    requester::{backend::JobBackend, refusals::refusal},
};

impl<J: JobBackend> Driver<J> {
    pub(super) fn apply_output(&mut self, output: Output) {
        match output {
            Output::Lease { peer, task, until } => {
                let name = task.task.to_string();
                tracing::debug!(
                    stage = "lease",
                    task = name,
                    "lease of {name} to {}",
                    short_name(peer)
                );
                let lease = self.lease(peer, task, until);
                let answered = self.outbox.answer(peer, Response::Lease(Box::new(lease)));
                debug_assert!(answered, "leases answer offers");
                let prover = self.place(peer);
                let (job, task) = (task.job, task.task);
                self.show(job, &Event::Started { prover, task });
            }
            Output::Extended { peer, until, .. } => {
                let lease_ms = self.millis_until(until);
                self.outbox.answer(peer, Response::Extended { lease_ms });
            }
            Output::Refuse { peer, why } => {
                let response = refusal(&why, self.requester.is_parked(peer));
                self.outbox.answer(peer, response);
            }
            Output::Wake { peer } => {
                let sender = self.completion_sender.clone();
                self.outbox.wake(peer, move || {
                    // If nobody listens, the driver has ended.
                    let _ = sender.send(Completion::Declined { peer });
                });
            }
            Output::Try { task } => self.begin_trial(task),
            Output::Check { peer, task, proof } => {
                let name = task.task.to_string();
                tracing::debug!(stage = "verify", task = name, "looking at {proof:?} for {name}");
                self.begin_check(peer, task, proof);
            }
            Output::Persist { peer, task, proof } => {
                let name = task.task.to_string();
                tracing::debug!(stage = "persist", task = name, "keeping {proof:?} of {name}");
                self.persist(peer, task, proof);
            }
            Output::Revoke { peer, task, why } => {
                if let Some(prover) = self.peers.place(peer) {
                    let (job, task) = (task.job, task.task);
                    self.show(job, &Event::Idle { prover, task });
                }
                let reason = shortened(why.to_string());
                self.notify(task.job, peer, Notice::Revoke { task, reason });
            }
            Output::Announce { job, open } => self.announced(job, open),
            // The proof stays here. Its maker need not keep it any longer.
            Output::Obsolete { task } => self.obsolete(task),
            Output::Learned { peer } => self.peers.learned(peer),
            Output::Event(event) => self.core_event(event),
        }
    }

    fn announced(&mut self, job: JobId, open: bool) {
        tracing::debug!(
            stage = if open { "announce" } else { "withdraw" },
            "announcing that the job is {}",
            if open { "open" } else { "closed" }
        );
        self.announce(job, open);
    }

    pub(super) fn millis_until(&self, until: Time) -> u64 {
        u64::try_from((until - self.now()).as_millis()).unwrap_or(u64::MAX)
    }
}
