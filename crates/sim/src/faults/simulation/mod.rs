//! One requester, its peers, and what is between them, in virtual time.

mod proofs;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use myriad_core::{
    Blob, Event, Input, JobSpec, Output, Peer, Policy, Requester, Standing, TaskRef, Time,
    check::{All, Violation},
};
use thiserror::Error;

use super::{
    prover::{Hear, Prover, Say},
    scenario::{Job, Scenario, cost},
};
use crate::{
    peer::{LOST_AFTER, known},
    queue::Queue,
    rng::Rng,
};

/// A simulation that did not turn out as it should.
#[derive(Debug, Error)]
#[error("{why}\n{}", log.join("\n"))]
pub struct Failure {
    pub why: String,
    /// The last lines of the log.
    pub log: Vec<String>,
}

/// How a simulation turned out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When the last job was done.
    pub makespan: Duration,
    /// The work of all proofs that were accepted.
    pub accepted: Duration,
    /// The work that all peers did that deliver, accepted or not.
    pub worked: Duration,
    pub leases: u64,
    /// Of these, of tasks that somebody else was at.
    pub copies: u64,
    pub expired: u64,
    pub banned: u64,
    /// Accepted proofs that turned out to be none.
    pub refuted: u64,
    pub crashes: u64,
    /// Inputs of the requester.
    pub inputs: u64,
    /// BLAKE3 of all that the requester was told and said. Two runs of a scenario have the same.
    pub log: [u8; 32],
}

enum Happens {
    Reaches {
        from: usize,
        boot: u32,
        term: u32,
        say: Say,
    },
    Returns {
        to: usize,
        boot: u32,
        hear: Hear,
    },
    Acts {
        prover: usize,
    },
    /// The requester has come to the end of a task that it does itself.
    Tried {
        term: u32,
        task: TaskRef,
    },
    /// The requester is told what it has found out itself.
    Finds {
        term: u32,
        input: Input,
    },
    Persisted {
        term: u32,
        task: TaskRef,
        proof: Blob,
    },
    Lost {
        prover: usize,
        boot: u32,
    },
    Opens {
        job: usize,
    },
    RequesterCrashes,
    RequesterStarts,
    PeerCrashes {
        prover: usize,
    },
    PeerStarts {
        prover: usize,
    },
    PartitionBegins {
        isolated: Vec<usize>,
        outage: Duration,
    },
    PartitionEnds {
        isolated: Vec<usize>,
    },
    FaultsEnd,
}

/// What the requester's disk holds.
#[derive(Default)]
struct Journal {
    done: BTreeMap<TaskRef, Blob>,
    /// Of the proofs that are done, those whose jobs are over may be gone.
    leases: BTreeSet<(TaskRef, Peer)>,
    standings: BTreeMap<Peer, Standing>,
    opened: BTreeSet<usize>,
    finished: BTreeSet<usize>,
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    now: Time,
    queue: Queue<Happens>,
    provers: Vec<Prover>,
    by_peer: BTreeMap<Peer, usize>,
    /// None while it is down.
    requester: Option<Requester>,
    /// Raised with each start of the requester.
    term: u32,
    checkers: All,
    journal: Journal,
    holders: BTreeMap<TaskRef, u32>,
    /// What the requester does itself, one after the other.
    tries: VecDeque<TaskRef>,
    faulty: bool,
    rng: Rng,
    report: Report,
    hasher: blake3::Hasher,
    lines: VecDeque<String>,
}

/// Runs a simulation to the end.
///
/// # Errors
/// The first violation of a rule, or a job that does not get done.
pub fn run(scenario: &Scenario) -> Result<Report, Box<Failure>> {
    let mut simulation = Simulation::new(scenario);
    let why = match simulation.play() {
        Ok(()) => return Ok(simulation.conclude()),
        Err(why) => why,
    };
    Err(Box::new(Failure {
        why,
        log: simulation.lines.into(),
    }))
}

impl<'a> Simulation<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let mut rng = Rng::new(scenario.seed, "world");
        let classes: Vec<_> = scenario
            .classes
            .iter()
            .enumerate()
            .flat_map(|class| std::iter::repeat_n(class, class.1.count))
            .collect();
        let provers: Vec<Prover> = classes
            .iter()
            .enumerate()
            .map(|(index, class)| {
                let rng = Rng::new(scenario.seed, &format!("prover {index}"));
                Prover::new(index, *class, scenario.faults.drift, rng)
            })
            .collect();
        let mut journal = Journal::default();
        for prover in &provers {
            if scenario.classes[prover.class].known {
                journal.standings.insert(prover.peer, known());
            }
        }
        let mut queue = Queue::default();
        let mut order: Vec<usize> = (0..provers.len()).collect();
        rng.shuffle(&mut order);
        for prover in order {
            // They hear of the job within a second.
            let hears = Time::default() + rng.duration(Duration::ZERO..Duration::from_secs(1));
            queue.push(hears, Happens::Acts { prover });
        }
        for (job, opens) in scenario.jobs.iter().enumerate() {
            queue.push(Time::default() + opens.opened, Happens::Opens { job });
        }
        let mut simulation = Self {
            scenario,
            now: Time::default(),
            queue,
            by_peer: provers
                .iter()
                .enumerate()
                .map(|(index, prover)| (prover.peer, index))
                .collect(),
            provers,
            requester: None,
            term: 0,
            checkers: All::default(),
            journal,
            holders: BTreeMap::new(),
            tries: VecDeque::new(),
            faulty: scenario.faults.until > Duration::ZERO,
            rng,
            report: Report::default(),
            hasher: blake3::Hasher::new(),
            lines: VecDeque::new(),
        };
        simulation.plan_faults();
        simulation
    }

    fn plan_faults(&mut self) {
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

    fn play(&mut self) -> Result<(), String> {
        self.start_requester()?;
        while self.journal.finished.len() < self.scenario.jobs.len() {
            let due = self.requester.as_ref().and_then(Requester::poll_timeout);
            let next = self.queue.peek();
            let time = match (due, next) {
                (Some(due), Some(next)) => due.min(next),
                (Some(time), None) | (None, Some(time)) => time,
                (None, None) => return Err("nothing will happen any more, and a job is not done".into()),
            };
            self.now = self.now.max(time);
            if self.now > Time::default() + self.scenario.limit {
                return Err(self.stuck());
            }
            if next.is_none_or(|next| due.is_some_and(|due| due < next)) {
                self.input(Input::Timeout, None)?;
                continue;
            }
            if let Some((_, happens)) = self.queue.pop() {
                self.happens(happens)?;
            }
        }
        Ok(())
    }

    fn stuck(&self) -> String {
        let mut stages = Vec::new();
        for job in 0..self.scenario.jobs.len() {
            if let Some(requester) = &self.requester {
                let open = requester.stages(Job::id(job)).into_iter();
                stages.extend(open.filter(|(_, stage)| !matches!(stage, myriad_core::Stage::Done)));
            }
        }
        stages.truncate(20);
        format!(
            "after {:?} of virtual time jobs are not done; the requester is {}; {stages:?}",
            self.scenario.limit,
            if self.requester.is_some() { "up" } else { "down" },
        )
    }

    fn happens(&mut self, happens: Happens) -> Result<(), String> {
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
            // Of a requester that is no more.
            Happens::Finds { .. } | Happens::Persisted { .. } | Happens::Tried { .. } => {}
            Happens::Lost { prover, boot } => {
                let gone = &self.provers[prover];
                // Who came back meanwhile was not lost.
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

    fn goes_missing(&mut self, prover: usize) {
        let boot = self.provers[prover].boot;
        self.queue
            .push(self.now + LOST_AFTER, Happens::Lost { prover, boot });
    }

    /// Comes back when a prover wants to act.
    fn wind(&mut self, prover: usize) {
        let alarm = self.provers[prover].alarm;
        if alarm < Time::NEVER {
            self.queue.push(alarm.max(self.now), Happens::Acts { prover });
        }
    }

    fn acts(&mut self, index: usize) {
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
                let happens = Happens::Reaches {
                    from: index,
                    boot,
                    term,
                    say,
                };
                self.queue.push(now + latency, happens);
            }
        }
    }

    fn reaches(&mut self, from: usize, boot: u32, term: u32, say: Say) -> Result<(), String> {
        let prover = &self.provers[from];
        if self.requester.is_none() || term != self.term || prover.boot != boot {
            return Ok(());
        }
        let peer = prover.peer;
        let input = match say {
            Say::Offer(offer) => Input::Offer { peer, offer },
            Say::Renew { task, progress } => Input::Renewed { peer, task, progress },
            Say::Submit { task, proof } => Input::Submitted { peer, task, proof },
            Say::Return { task, why } => Input::Returned { peer, task, why },
        };
        self.input(input, Some(from))
    }

    fn start_requester(&mut self) -> Result<(), String> {
        let policy = Policy {
            redundancy: self.scenario.redundancy,
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
        // Who had a lease and does not come back is lost.
        for index in 0..self.provers.len() {
            if !(self.provers[index].up && self.provers[index].reachable) {
                self.goes_missing(index);
            }
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> Result<(), String> {
        if self.requester.is_none() || self.journal.finished.contains(&index) {
            return Ok(());
        }
        let id = Job::id(index);
        let done = self.journal.done.iter().filter(|(task, _)| task.job == id);
        let leased = self.journal.leases.iter().filter(|(task, _)| task.job == id);
        let spec = JobSpec {
            done: done.map(|(task, proof)| (task.task, *proof)).collect(),
            leased: leased.map(|(task, peer)| (task.task, *peer)).collect(),
            ..self.scenario.jobs[index].spec(index)
        };
        self.input(Input::Open(Box::new(spec)), None)
    }

    fn make_durable(&mut self, task: TaskRef, proof: Blob) -> Result<(), String> {
        match self.journal.done.insert(task, proof) {
            Some(before) if before != proof => Err(format!("{task} was durable, and is done again")),
            _ => Ok(()),
        }
    }

    /// Tells the requester something, and does what it says; `asking` waits for an answer.
    fn input(&mut self, input: Input, asking: Option<usize>) -> Result<(), String> {
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
            answered |= self.output(output, asking, about)?;
        }
        if let Some(prover) = asking
            && !answered
        {
            self.answer(prover, Hear::Received { submitted });
        }
        Ok(())
    }

    /// Does what the requester says; whether it answers `asking`.
    fn output(
        &mut self,
        output: Output,
        asking: Option<usize>,
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
                self.answer(prover, Hear::Lease { task, cost, poisoned });
                return Ok(true);
            }
            Output::Extended { .. } => return Ok(true),
            Output::Refuse { peer, why } => {
                let prover = self.by_peer[&peer];
                debug_assert_eq!(Some(prover), asking);
                self.answer(prover, Hear::Refused { why, about });
                return Ok(true);
            }
            Output::Wake { peer } => self.tell(peer, Hear::Wake),
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
                    .push(self.now + takes, Happens::Persisted { term, task, proof });
                // A crash may come after it is durable and before anybody knows.
                if self.faulty && self.rng.chance(300) {
                    self.make_durable(task, proof)?;
                }
            }
            Output::Revoke { peer, task, why } => {
                self.report.expired += u64::from(why == myriad_core::Revocation::Expired);
                self.lease_ends(task, peer);
                self.tell(peer, Hear::Revoked(task));
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

    fn lease_ends(&mut self, task: TaskRef, peer: Peer) {
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

    fn answer(&mut self, prover: usize, hear: Hear) {
        let lost = self.faulty && self.rng.chance(self.scenario.faults.loss);
        let (latency, boot) = (self.provers[prover].latency, self.provers[prover].boot);
        if !lost {
            self.queue.push(
                self.now + latency,
                Happens::Returns {
                    to: prover,
                    boot,
                    hear,
                },
            );
        }
    }

    fn tell(&mut self, peer: Peer, hear: Hear) {
        let prover = self.by_peer[&peer];
        self.answer(prover, hear);
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.scenario.lines_kept > 0 {
            let line = format!("{:>12} -- {}", self.now.0, line());
            self.hasher.update(line.as_bytes());
            self.keep(line);
        }
    }

    fn keep(&mut self, line: String) {
        if self.lines.len() >= self.scenario.lines_kept {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn conclude(mut self) -> Report {
        let now = self.now;
        for prover in &mut self.provers {
            // What is still under way.
            prover.crash(now);
        }
        let working = self.provers.iter().filter(|prover| prover.habit.works());
        self.report.worked = working.map(|prover| prover.worked).sum();
        self.report.log = *self.hasher.finalize().as_bytes();
        self.report
    }
}
