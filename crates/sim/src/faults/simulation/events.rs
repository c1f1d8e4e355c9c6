//! Applies what happens: faults as they were planned, messages as they arrive.

use std::time::Duration;

use myriad_core::{Input, Time};

use super::{Happens, Simulation};
use crate::rng::Rng;

impl Simulation<'_> {
    pub(super) fn plan_faults(&mut self) {
        let faults = &self.scenario.faults;
        let mut rng = Rng::new(self.scenario.seed, "faults");
        let start = Time::default();
        for _ in 0..faults.requester_crashes {
            let time = start + rng.duration(Duration::ZERO..faults.until);
            self.queue.push(time, Happens::RequesterCrashes);
        }
        for _ in 0..faults.peer_crashes {
            let time = start + rng.duration(Duration::ZERO..faults.until);
            let prover = rng.below(self.provers.len() as u64) as usize;
            self.queue.push(time, Happens::PeerCrashes { prover });
        }
        for _ in 0..faults.partitions {
            let time = start + rng.duration(Duration::ZERO..faults.until);
            let isolated = (0..self.provers.len()).filter(|_| rng.chance(400)).collect();
            let outage = rng.duration(faults.outage.clone());
            self.queue
                .push(time, Happens::PartitionBegins { isolated, outage });
        }
        self.queue.push(start + faults.until, Happens::FaultsEnd);
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each event")]
    pub(super) fn happens(&mut self, happens: Happens) -> Result<(), String> {
        match happens {
            Happens::Acts { prover } => self.acts(prover),
            Happens::Reaches {
                from,
                boot,
                term,
                say,
            } => self.reaches(from, boot, term, say)?,
            Happens::Returns { to, boot, hear } => {
                let now = self.now;
                let prover = &mut self.provers[to];
                if prover.up && prover.reachable && prover.boot == boot {
                    prover.hear(now, hear);
                    self.wind(to);
                }
            }
            Happens::Finds { term, input } if term == self.term => self.input(input, None)?,
            Happens::Persisted { term, task, proof } if term == self.term => {
                self.make_durable(task, proof)?;
                self.input(Input::Persisted { task, proof }, None)?;
            }
            Happens::Tried { term, task } if term == self.term => self.tried(task)?,
            Happens::Grows { term, job, known } if term == self.term => self.grow(job, known)?,
            // The requester that asked is no more.
            Happens::Finds { .. }
            | Happens::Persisted { .. }
            | Happens::Tried { .. }
            | Happens::Grows { .. } => {}
            Happens::Lost { prover, boot } => {
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
            Happens::Opens { job } => {
                self.journal.opened.insert(job);
                self.open(job)?;
            }
            Happens::RequesterCrashes if self.faulty && self.requester.is_some() => {
                self.note(|| "the requester crashes".into());
                self.report.crashes += 1;
                self.requester = None;
                self.holders.clear();
                self.tries.clear();
                let outage = self.rng.duration(self.scenario.faults.outage.clone());
                self.queue.push(self.now + outage, Happens::RequesterStarts);
            }
            Happens::RequesterStarts if self.requester.is_none() => {
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
            Happens::PeerCrashes { prover } if self.faulty && self.provers[prover].up => {
                let now = self.now;
                self.note(|| format!("prover {prover} crashes"));
                self.provers[prover].crash(now);
                self.goes_missing(prover);
                let outage = self.rng.duration(self.scenario.faults.outage.clone());
                self.queue.push(now + outage, Happens::PeerStarts { prover });
            }
            Happens::PeerStarts { prover } => {
                let now = self.now;
                self.provers[prover].start(now);
                self.wind(prover);
            }
            Happens::PartitionBegins { isolated, outage } if self.faulty => {
                self.note(|| format!("{} provers are cut off", isolated.len()));
                for &prover in &isolated {
                    self.provers[prover].reachable = false;
                    self.goes_missing(prover);
                }
                self.queue
                    .push(self.now + outage, Happens::PartitionEnds { isolated });
            }
            Happens::PartitionEnds { isolated } => {
                for prover in isolated {
                    self.provers[prover].reachable = true;
                }
            }
            Happens::FaultsEnd => self.faulty = false,
            Happens::RequesterCrashes
            | Happens::RequesterStarts
            | Happens::PeerCrashes { .. }
            | Happens::PartitionBegins { .. } => {}
        }
        Ok(())
    }
}
