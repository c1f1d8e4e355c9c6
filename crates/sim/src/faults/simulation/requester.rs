//! The requester's side: the inputs of its state machine, the outputs, and the content of its disk.

use myriad_core::{
    Blob, Event, Input, JobSpec, Output, Peer, Policy, Requester, TaskId, TaskRef, Time,
    invariants::{All, Violation},
};

use super::{Occurrence, Simulation};
use crate::faults::{
    prover::ToProver,
    scenario::{Job, cost},
};

impl Simulation<'_> {
    pub(super) fn start_requester(&mut self) -> Result<(), String> {
        let policy = Policy {
            redundancy: self.scenario.redundancy,
            look_ahead: self.scenario.look_ahead,
            ..Policy::default()
        };
        let standings = self.journal.standings.clone();
        self.requester = Some(Requester::with_standings(policy, standings));
        self.checkers = All::sampling(self.scenario.settle_every);
        self.term += 1;
        self.note(|| "the requester starts".into());
        for job in self.journal.opened.clone() {
            self.open(job)?;
        }
        // A prover that had a lease and does not come back is lost.
        for index in 0..self.provers.len() {
            if !(self.provers[index].up && self.provers[index].reachable) {
                self.goes_missing(index);
            }
        }
        Ok(())
    }

    pub(super) fn open(&mut self, index: usize) -> Result<(), String> {
        if self.requester.is_none() || self.journal.finished.contains(&index) {
            return Ok(());
        }
        let id = Job::id(index);
        let done = self.journal.done.iter().filter(|(task, _)| task.job == id);
        let leased = self.journal.leases.iter().filter(|(task, _)| task.job == id);
        let done: Vec<_> = done.map(|(task, proof)| (task.task, *proof)).collect();
        let leased = leased.map(|(task, peer)| (task.task, *peer)).collect();
        let begun = self.begun_spec(index);
        let is_there = |(task, _): &(TaskId, Blob)| begun.tree.contains(*task);
        let spec = JobSpec {
            done: done.into_iter().filter(is_there).collect(),
            leased,
            ..begun
        };
        self.input(Input::Open(Box::new(spec)), None)
    }

    pub(super) fn make_durable(&mut self, task: TaskRef, proof: Blob) -> Result<(), String> {
        match self.journal.done.insert(task, proof) {
            Some(before) if before != proof => Err(format!("{task} was durable, and is done again")),
            _ => Ok(()),
        }
    }

    /// Gives the requester an input, and carries out its outputs; `offerer` waits for an answer.
    pub(super) fn input(&mut self, input: Input, offerer: Option<usize>) -> Result<(), String> {
        if self.requester.is_none() {
            return Ok(());
        }
        self.report.inputs += 1;
        let about = match &input {
            Input::Renewed { task, .. } | Input::Submitted { task, .. } | Input::Returned { task, .. } => {
                Some(*task)
            }
            _ => None,
        };
        if let (Input::Returned { peer, task, .. }, true) = (&input, self.requester.is_some()) {
            self.lease_ends(*task, *peer);
        }
        let submitted = about.filter(|_| matches!(input, Input::Submitted { .. }));
        if self.scenario.lines_kept > 0 {
            let line = format!("{:>12} {input:?}", self.now.0);
            self.hasher.update(line.as_bytes());
            self.keep(line);
        }
        let Some(requester) = self.requester.as_mut() else {
            return Ok(());
        };
        let outputs = self.checkers.drive(requester, self.now, input);
        let outputs = outputs.map_err(|violation: Violation| violation.to_string())?;
        let mut answered = false;
        for output in outputs {
            if self.scenario.lines_kept > 0 {
                let line = format!("{:>12}   {output:?}", self.now.0);
                self.hasher.update(line.as_bytes());
                self.keep(line);
            }
            answered |= self.output(output, offerer, about)?;
        }
        if let Some(prover) = offerer
            && !answered
        {
            self.answer(prover, ToProver::Received { submitted });
        }
        Ok(())
    }

    /// Carries out an output of the requester. Returns whether it answers `offerer`.
    fn output(
        &mut self,
        output: Output,
        offerer: Option<usize>,
        about: Option<TaskRef>,
    ) -> Result<bool, String> {
        match output {
            Output::Lease { peer, task, .. } => {
                if self.journal.done.contains_key(&task) {
                    return Err(format!("{task} is durable, and is given out"));
                }
                let prover = self.by_peer[&peer];
                self.report.leases += 1;
                let holders = self.holders.entry(task).or_default();
                *holders += 1;
                self.report.copies += u64::from(*holders > 1);
                self.journal.leases.insert((task, peer));
                let cost = cost(task.task.kind());
                let poisoned = self.poison(task).is_some();
                self.answer(prover, ToProver::Lease { task, cost, poisoned });
                return Ok(true);
            }
            Output::Extended { .. } => return Ok(true),
            Output::Refuse { peer, why } => {
                let prover = self.by_peer[&peer];
                debug_assert_eq!(Some(prover), offerer);
                self.answer(prover, ToProver::Refused { why, about });
                return Ok(true);
            }
            Output::Wake { peer } => self.send(peer, ToProver::Wake),
            Output::Try { task } => self.try_it(task),
            Output::Check { peer, task, proof } => {
                if self.journal.done.contains_key(&task) {
                    return Err(format!("{task} is durable, and is checked again"));
                }
                self.check(peer, task, proof);
            }
            Output::Persist { task, proof, .. } => {
                let takes = self.rng.duration(self.scenario.faults.persist.clone());
                let term = self.term;
                self.queue
                    .push(self.now + takes, Occurrence::Persisted { term, task, proof });
                // A crash may come after it is durable and before anybody knows.
                if self.faulty && self.rng.chance(300) {
                    self.make_durable(task, proof)?;
                }
            }
            Output::Revoke { peer, task, why } => {
                self.report.expired += u64::from(why == myriad_core::Revocation::Expired);
                self.lease_ends(task, peer);
                self.send(peer, ToProver::Revoked(task));
            }
            Output::Learned { peer } => {
                let standing = self
                    .requester
                    .as_ref()
                    .and_then(|requester| requester.standing(peer));
                if let Some(standing) = standing {
                    self.journal.standings.insert(peer, standing.clone());
                }
            }
            Output::Event(event) => self.event(event),
            Output::Announce { .. } | Output::Obsolete { .. } => {}
        }
        Ok(false)
    }

    pub(super) fn lease_ends(&mut self, task: TaskRef, peer: Peer) {
        self.journal.leases.remove(&(task, peer));
        if let Some(holders) = self.holders.get_mut(&task) {
            *holders = holders.saturating_sub(1);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::TaskDone { task, peer, .. } => {
                self.lease_ends(task, peer);
                self.report.accepted += cost(task.task.kind()).work;
            }
            Event::JobDone { job } => {
                let done = (0..self.scenario.jobs.len()).filter(|index| Job::id(*index) == job);
                self.journal.finished.extend(done);
                self.report.makespan = self.now - Time::default();
            }
            Event::Banned { .. } => self.report.banned += 1,
            Event::Refuted { .. } => self.report.refuted += 1,
            Event::TaskFailed { .. }
            | Event::JobFailed { .. }
            | Event::DeadlineMissed { .. }
            | Event::Reopened { .. }
            | Event::Pardoned { .. } => {}
        }
    }

    fn answer(&mut self, prover: usize, hear: ToProver) {
        let lost = self.faulty && self.rng.chance(self.scenario.faults.loss);
        let (latency, boot) = (self.provers[prover].latency, self.provers[prover].boot);
        if !lost {
            self.queue.push(
                self.now + latency,
                Occurrence::Returns {
                    to: prover,
                    boot,
                    hear,
                },
            );
        }
    }

    fn send(&mut self, peer: Peer, hear: ToProver) {
        let prover = self.by_peer[&peer];
        self.answer(prover, hear);
    }
}
