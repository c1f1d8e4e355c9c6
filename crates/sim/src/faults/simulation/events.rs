//! Applies what happens: faults as they were planned, messages as they arrive.

use std::time::Duration;

use myriad_core::{Input, Time};

use super::{Occurrence, Simulation};
use crate::rng::Rng;

impl Simulation<'_> {
    pub(super) fn plan_faults(&mut self) {
        let faults = &self.scenario.faults;
        let mut rng = Rng::new(self.scenario.seed, "faults");
        let start = Time::default();
        for _ in 0..faults.requester_crashes {
            let time = start + rng.duration(Duration::ZERO..faults.until);
            self.queue.push(time, Occurrence::RequesterCrashes);
        }
        for _ in 0..faults.peer_crashes {
            let time = start + rng.duration(Duration::ZERO..faults.until);
            let prover = rng.below(self.provers.len() as u64) as usize;
            self.queue.push(time, Occurrence::PeerCrashes { prover });
        }
        for _ in 0..faults.partitions {
            let time = start + rng.duration(Duration::ZERO..faults.until);
            let isolated = (0..self.provers.len()).filter(|_| rng.chance(400)).collect();
            let outage = rng.duration(faults.outage.clone());
            self.queue
                .push(time, Occurrence::PartitionBegins { isolated, outage });
        }
        self.queue.push(start + faults.until, Occurrence::FaultsEnd);
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each event")]
    pub(super) fn happens(&mut self, happens: Occurrence) -> Result<(), String> {
        match happens {
            Occurrence::Acts { prover } => self.acts(prover),
            Occurrence::Reaches {
                from,
                boot,
                term,
                say,
            } => self.reaches(from, boot, term, say)?,
            Occurrence::Returns { to, boot, hear } => {
                let now = self.now;
                let prover = &mut self.provers[to];
                if prover.up && prover.reachable && prover.boot == boot {
                    prover.hear(now, hear);
                    self.wind(to);
                }
            }
            Occurrence::Finds { term, input } if term == self.term => self.input(input, None)?,
            Occurrence::Persisted { term, task, proof } if term == self.term => {
                self.make_durable(task, proof)?;
                self.input(Input::Persisted { task, proof }, None)?;
            }
            Occurrence::Tried { term, task } if term == self.term => self.tried(task)?,
            Occurrence::Grows { term, job, known } if term == self.term => self.grow(job, known)?,
            // The requester that asked is no more.
            Occurrence::Finds { .. }
            | Occurrence::Persisted { .. }
            | Occurrence::Tried { .. }
            | Occurrence::Grows { .. } => {}
            Occurrence::Lost { prover, boot } => {
                let gone = &self.provers[prover];
                // A prover that came back meanwhile was not lost.
                if !(gone.up && gone.reachable) && gone.boot == boot {
                    let peer = gone.peer;
                    if self.requester.is_some() {
                        self.journal.leases.retain(|(_, holder)| *holder != peer);
                    }
                    self.input(Input::PeerLost { peer }, None)?;
                }
            }
            Occurrence::Opens { job } => {
                self.journal.opened.insert(job);
                self.open(job)?;
            }
            Occurrence::RequesterCrashes if self.faulty && self.requester.is_some() => {
                self.note(|| "the requester crashes".into());
                self.report.crashes += 1;
                self.requester = None;
                self.holders.clear();
                self.tries.clear();
                let outage = self.rng.duration(self.scenario.faults.outage.clone());
                self.queue.push(self.now + outage, Occurrence::RequesterStarts);
            }
            Occurrence::RequesterStarts if self.requester.is_none() => {
                self.start_requester()?;
                let now = self.now;
                for index in 0..self.provers.len() {
                    if self.provers[index].up && self.provers[index].reachable {
                        let prover = &mut self.provers[index];
                        prover.reconnected(now + prover.latency);
                        self.wind(index);
                    }
                }
            }
            Occurrence::PeerCrashes { prover } if self.faulty && self.provers[prover].up => {
                let now = self.now;
                self.note(|| format!("prover {prover} crashes"));
                self.provers[prover].crash(now);
                self.goes_missing(prover);
                let outage = self.rng.duration(self.scenario.faults.outage.clone());
                self.queue.push(now + outage, Occurrence::PeerStarts { prover });
            }
            Occurrence::PeerStarts { prover } => {
                let now = self.now;
                self.provers[prover].start(now);
                self.wind(prover);
            }
            Occurrence::PartitionBegins { isolated, outage } if self.faulty => {
                self.note(|| format!("{} provers are cut off", isolated.len()));
                for &prover in &isolated {
                    self.provers[prover].reachable = false;
                    self.goes_missing(prover);
                }
                self.queue
                    .push(self.now + outage, Occurrence::PartitionEnds { isolated });
            }
            Occurrence::PartitionEnds { isolated } => {
                for prover in isolated {
                    self.provers[prover].reachable = true;
                }
            }
            Occurrence::FaultsEnd => self.faulty = false,
            Occurrence::RequesterCrashes
            | Occurrence::RequesterStarts
            | Occurrence::PeerCrashes { .. }
            | Occurrence::PartitionBegins { .. } => {}
        }
        Ok(())
    }
}
