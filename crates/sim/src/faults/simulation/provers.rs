//! Takes what provers do and say on its way to the requester.

use std::time::Duration;

use myriad_core::{Input, Time};

use super::{Occurrence, Simulation};
use crate::{
    faults::{prover::FromProver, scenario::Job},
    peer::LOST_AFTER,
};

impl Simulation<'_> {
    /// Comes back when a prover wants to act.
    pub(super) fn wind(&mut self, prover: usize) {
        let alarm = self.provers[prover].alarm;
        if alarm < Time::NEVER {
            self.queue.push(alarm.max(self.now), Occurrence::Acts { prover });
        }
    }

    pub(super) fn acts(&mut self, index: usize) {
        let now = self.now;
        let prover = &mut self.provers[index];
        // Winding again leaves the earlier alarm in the queue.
        if !prover.up || prover.alarm > now {
            return;
        }
        let says = prover.act(now);
        let (latency, boot, reachable) = (prover.latency, prover.boot, prover.reachable);
        self.wind(index);
        for say in says {
            let lost = self.faulty && self.rng.chance(self.scenario.faults.loss);
            if reachable && !lost {
                let term = self.term;
                let happens = Occurrence::Reaches {
                    from: index,
                    boot,
                    term,
                    say,
                };
                self.queue.push(now + latency, happens);
            }
        }
    }

    pub(super) fn reaches(
        &mut self,
        from: usize,
        boot: u32,
        term: u32,
        say: FromProver,
    ) -> Result<(), String> {
        let prover = &self.provers[from];
        if self.requester.is_none() || term != self.term || prover.boot != boot {
            return Ok(());
        }
        let peer = prover.peer;
        if matches!(say, FromProver::Offer(_)) && from.is_multiple_of(2) {
            // Liars claim it as well as others, of jobs that are open and of others.
            for number in 0..self.scenario.jobs.len() {
                let job = Job::id(number);
                let spares = Duration::from_secs(number as u64);
                self.input(Input::FilesHeld { peer, job, spares }, None)?;
            }
        }
        let input = match say {
            FromProver::Offer(offer) => Input::Offer { peer, offer },
            FromProver::Renew { task, progress } => Input::Renewed { peer, task, progress },
            FromProver::Submit { task, proof } => Input::Submitted { peer, task, proof },
            FromProver::Return { task, why } => Input::Returned { peer, task, why },
        };
        self.input(input, Some(from))
    }

    pub(super) fn goes_missing(&mut self, prover: usize) {
        let boot = self.provers[prover].boot;
        self.queue
            .push(self.now + LOST_AFTER, Occurrence::Lost { prover, boot });
    }
}
