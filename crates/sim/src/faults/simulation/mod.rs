//! One requester, its peers, and the messages between them, in virtual time.

mod events;
mod growing;
mod proofs;
mod provers;
mod requester;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use myriad_core::{Blob, Input, Peer, Requester, Standing, TaskRef, Time, invariants::All};
use thiserror::Error;

pub(super) use self::proofs::CHECK;
use super::{
    prover::{FromProver, Prover, ToProver},
    scenario::{Job, Scenario},
};
use crate::{peer::known, queue::Queue, rng::Rng};

/// A simulation that did not turn out as it should.
#[derive(Debug, Error)]
#[error("{why}\n{}", log.join("\n"))]
pub struct Failure {
    pub why: String,
    /// The last lines of the log.
    pub log: Vec<String>,
}

/// The outcome of a simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When the last job was done.
    pub makespan: Duration,
    /// The work of all proofs that were accepted.
    pub accepted: Duration,
    /// The work that all peers did that deliver, accepted or not.
    pub worked: Duration,
    pub leases: u64,
    /// Leases among these of tasks that another peer held.
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

enum Occurrence {
    Reaches {
        from: usize,
        boot: u32,
        term: u32,
        say: FromProver,
    },
    Returns {
        to: usize,
        boot: u32,
        hear: ToProver,
    },
    Acts {
        prover: usize,
    },
    /// The requester has come to the end of a task that it does itself.
    Tried {
        term: u32,
        task: TaskRef,
    },
    /// The requester is told its own findings.
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
    /// This many segments of a job are known, or its plan is there.
    Grows {
        term: u32,
        job: usize,
        known: u32,
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

/// The content of the requester's disk.
#[derive(Default)]
struct Journal {
    done: BTreeMap<TaskRef, Blob>,
    /// Proofs that are done may be gone if their jobs are over.
    leases: BTreeSet<(TaskRef, Peer)>,
    standings: BTreeMap<Peer, Standing>,
    opened: BTreeSet<usize>,
    /// Jobs whose plan is there to its end.
    planned: BTreeSet<usize>,
    finished: BTreeSet<usize>,
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    now: Time,
    queue: Queue<Occurrence>,
    provers: Vec<Prover>,
    by_peer: BTreeMap<Peer, usize>,
    /// None while it is down.
    requester: Option<Requester>,
    /// Raised with each start of the requester.
    term: u32,
    checkers: All,
    journal: Journal,
    holders: BTreeMap<TaskRef, u32>,
    /// The tasks that the requester does itself, one after the other.
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

/// The machines of a scenario.
pub(super) fn provers_of(scenario: &Scenario) -> Vec<Prover> {
    let classes = scenario.classes.iter().enumerate();
    classes
        .flat_map(|class| std::iter::repeat_n(class, class.1.count))
        .enumerate()
        .map(|(index, class)| {
            let rng = Rng::new(scenario.seed, &format!("prover {index}"));
            Prover::new(index, class, scenario.faults.drift, rng)
        })
        .collect()
}

impl<'a> Simulation<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let mut rng = Rng::new(scenario.seed, "world");
        let provers = provers_of(scenario);
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
            // The peers hear of the job within a second.
            let hears = Time::default() + rng.duration(Duration::ZERO..Duration::from_secs(1));
            queue.push(hears, Occurrence::Acts { prover });
        }
        for (job, opens) in scenario.jobs.iter().enumerate() {
            queue.push(Time::default() + opens.opened, Occurrence::Opens { job });
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
            // The work that is still under way ends.
            prover.crash(now);
        }
        let working = self.provers.iter().filter(|prover| prover.habit.works());
        self.report.worked = working.map(|prover| prover.worked).sum();
        self.report.log = *self.hasher.finalize().as_bytes();
        self.report
    }
}
