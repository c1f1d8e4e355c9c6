//! A requester among made-up peers, with what its caller would remember.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use myriad_core::{
    Arities, Blob, Cost, Event, Input, JobId, JobSpec, Offer, Output, Peer, Policy, Redundancy, Requester,
    Return, SPEED_ONE, TaskId, TaskRef, Time, Tree, Tried, Trust, Verdict,
    invariants::{All, Violation},
};

use crate::steps::{Habit, Hand, Step};

pub const GIB: u64 = 1 << 30;
pub const ONCE: Redundancy = Redundancy::Fixed(1);
pub const PEERS: usize = 6;
pub const JOBS: usize = 3;

pub fn peer(index: usize) -> Peer {
    Peer([index as u8; 32])
}

pub fn job(index: usize) -> JobId {
    JobId([index as u8; 32])
}

/// The peers differ in memory; one is the requester's own.
pub fn offer(index: usize) -> Offer {
    Offer {
        memory: (1 + index as u64 % 3) * GIB,
        speed: SPEED_ONE,
        trust: if index == 0 { Trust::Own } else { Trust::Stranger },
        origin: None,
    }
}

pub fn spec(index: usize, segments: u32, done: Vec<(TaskId, Blob)>) -> JobSpec {
    let arities = Arities {
        leaf: 2,
        internal_for_leaf: 2,
        internal_recursive: 2,
    };
    let tree = Tree::new(segments, arities);
    let costs = tree.tasks().map(|task| Cost {
        work: Duration::from_secs(10),
        // Tasks higher in the tree need more memory; peer 2 can do all.
        memory: GIB
            + if matches!(task, TaskId::Segment(_)) {
                0
            } else {
                GIB
            },
    });
    JobSpec {
        id: job(index),
        costs: costs.collect(),
        tree,
        priority: 0,
        deadline: None,
        // The requester makes the final proof of one of the jobs itself.
        own_final: index == 1,
        done,
        leased: Vec::new(),
    }
}

/// The requester, and what its caller would remember.
pub struct Harness {
    pub requester: Requester,
    pub checkers: All,
    pub now: Time,
    pub leases: BTreeMap<Peer, Vec<TaskRef>>,
    pub checks: VecDeque<(Peer, TaskRef, Blob)>,
    pub persists: VecDeque<(TaskRef, Blob)>,
    pub tries: VecDeque<TaskRef>,
    pub durable: BTreeMap<TaskRef, Blob>,
    pub finished: Vec<JobId>,
    pub failed: Vec<JobId>,
    /// All outputs so far.
    pub log: Vec<Output>,
}

impl Harness {
    pub fn new(redundancy: Redundancy) -> Self {
        let policy = Policy {
            redundancy,
            ..Policy::default()
        };
        Self {
            requester: Requester::new(policy),
            checkers: All::default(),
            now: Time(1),
            leases: BTreeMap::new(),
            checks: VecDeque::new(),
            persists: VecDeque::new(),
            tries: VecDeque::new(),
            durable: BTreeMap::new(),
            finished: Vec::new(),
            failed: Vec::new(),
            log: Vec::new(),
        }
    }

    pub fn input(&mut self, input: Input) -> Result<Vec<Output>, Violation> {
        let outputs = self.checkers.drive(&mut self.requester, self.now, input)?;
        self.log.extend(outputs.iter().cloned());
        for output in &outputs {
            match output {
                Output::Lease { peer, task, .. } => self.leases.entry(*peer).or_default().push(*task),
                Output::Revoke { peer, task, .. } => {
                    self.leases.entry(*peer).or_default().retain(|held| held != task);
                }
                Output::Check { peer, task, proof } => self.checks.push_back((*peer, *task, *proof)),
                Output::Persist { task, proof, .. } => self.persists.push_back((*task, *proof)),
                Output::Try { task } => self.tries.push_back(*task),
                Output::Event(Event::JobDone { job }) => self.finished.push(*job),
                Output::Event(Event::JobFailed { job, .. }) => self.failed.push(*job),
                _ => {}
            }
        }
        Ok(outputs)
    }

    pub fn open(&mut self, index: usize, segments: u32) -> Result<(), Violation> {
        let done = self.durable.iter().filter(|(task, _)| task.job == job(index));
        let done = done.map(|(task, proof)| (task.task, *proof)).collect();
        self.input(Input::Open(Box::new(spec(index, segments, done))))?;
        Ok(())
    }

    pub fn submit(&mut self, peer: Peer, task: TaskRef, proof: Blob) -> Result<(), Violation> {
        self.input(Input::Submitted { peer, task, proof })?;
        Ok(())
    }

    pub fn check(&mut self, lies_pass: bool) -> Result<(), Violation> {
        let Some((peer, task, proof)) = self.checks.pop_front() else {
            return Ok(());
        };
        let verdict = match proof {
            GOOD => Verdict::Accepted,
            _ if is_poison(proof) => Verdict::Accepted,
            BAD => Verdict::Invalid {
                reason: "it does not hold".into(),
            },
            _ if lies_pass => Verdict::Accepted,
            _ => Verdict::Unavailable {
                reason: "it was not sent".into(),
            },
        };
        assert!(
            proof != BAD || verdict != Verdict::Accepted,
            "nobody accepts a bad proof"
        );
        self.input(Input::Checked {
            peer,
            task,
            proof,
            verdict,
        })?;
        Ok(())
    }

    pub fn persist(&mut self) -> Result<(), Violation> {
        if let Some((task, proof)) = self.persists.pop_front() {
            self.durable.insert(task, proof);
            assert_ne!(proof, BAD, "{task} is kept");
            self.input(Input::Persisted { task, proof })?;
        }
        Ok(())
    }

    /// The proof that a task is made of and that no node can be made over.
    pub fn poison(&self, task: TaskRef) -> Option<(TaskId, Blob)> {
        let proofs = self.requester.inputs(task).into_iter().filter_map(|input| {
            let proof = self.requester.proof(TaskRef { task: input, ..task })?;
            Some((input, proof))
        });
        proofs.into_iter().find(|(_, proof)| is_poison(*proof))
    }

    /// Does a task that the requester asks its caller to do.
    pub fn try_it(&mut self, hand: Hand) -> Result<(), Violation> {
        let Some(task) = self.tries.pop_front() else {
            return Ok(());
        };
        let doubted = self.requester.inputs(task).into_iter().find_map(|child| {
            let proof = self.requester.proof(TaskRef { task: child, ..task })?;
            Some((child, proof))
        });
        let outcome = match (hand, self.poison(task), doubted) {
            (Hand::Unable, ..) | (Hand::Dies, _, None) => Tried::Unable,
            (Hand::Dies, _, Some((child, proof))) => {
                self.durable.remove(&TaskRef { task: child, ..task });
                Tried::Doubted {
                    child,
                    proof,
                    reason: "the process died".into(),
                }
            }
            (Hand::Able, Some((child, proof)), _) => {
                self.durable.remove(&TaskRef { task: child, ..task });
                Tried::Refuted {
                    child,
                    proof,
                    reason: "no node can be made over it".into(),
                }
            }
            (Hand::Able, None, _) => Tried::Made {
                by: CALLER,
                proof: GOOD,
                took: Duration::from_secs(1),
            },
        };
        self.input(Input::Tried { task, outcome })?;
        Ok(())
    }

    /// One of the proofs that are durable is damaged.
    pub fn rot(&mut self, index: usize) -> Result<(), Violation> {
        let count = self.durable.len().max(1);
        let Some((&task, &proof)) = self.durable.iter().nth(index % count) else {
            return Ok(());
        };
        self.durable.remove(&task);
        self.input(Input::Lost { task, proof })?;
        Ok(())
    }

    pub fn act(&mut self, index: usize, habit: Habit) -> Result<(), Violation> {
        let peer = peer(index);
        let Some(task) = self.leases.get_mut(&peer).and_then(Vec::pop) else {
            return Ok(());
        };
        let returned = |why| Input::Returned { peer, task, why };
        let poisoned = self.poison(task).is_some();
        match habit {
            Habit::Honest if poisoned => {
                let message = "its new proof is invalid".into();
                drop(self.input(returned(Return::Failed { message }))?);
            }
            Habit::Naive | Habit::Poisons if poisoned => self.submit(peer, task, BAD)?,
            Habit::Honest | Habit::Naive => self.submit(peer, task, GOOD)?,
            Habit::Poisons => self.submit(peer, task, poison_of(index))?,
            Habit::Lies => self.submit(peer, task, BAD)?,
            Habit::Withholds => self.submit(peer, task, WITHHELD)?,
            Habit::Silent => self.leases.entry(peer).or_default().push(task),
            Habit::HandsBack => drop(self.input(returned(Return::Stopping))?),
            Habit::Surplus => drop(self.input(returned(Return::Surplus))?),
            Habit::Fails => {
                let message = "no luck".into();
                drop(self.input(returned(Return::Failed { message }))?);
            }
            Habit::Vanishes => {
                self.leases.remove(&peer);
                drop(self.input(Input::PeerLost { peer })?);
            }
        }
        Ok(())
    }

    pub fn step(&mut self, step: &Step) -> Result<(), Violation> {
        match *step {
            Step::Offer(index) => {
                let (peer, offer) = (peer(index), offer(index));
                drop(self.input(Input::Offer { peer, offer })?);
            }
            Step::Has(index) => {
                let (peer, job, spares) = (peer(index), job(index % JOBS), Duration::from_secs(index as u64));
                drop(self.input(Input::FilesHeld { peer, job, spares })?);
            }
            Step::Act(index, habit) => self.act(index, habit)?,
            Step::Intrude(index, segment) => {
                let task = TaskId::Segment(segment);
                self.submit(peer(index), TaskRef { job: job(0), task }, BAD)?;
            }
            Step::Check(lies_pass) => self.check(lies_pass)?,
            Step::Stall => {
                if let Some((peer, task, proof)) = self.checks.pop_front() {
                    self.checks.push_back((peer, task, proof));
                    drop(self.input(Input::Stalled { peer, task, proof })?);
                }
            }
            Step::Persist => self.persist()?,
            Step::Try(hand) => self.try_it(hand)?,
            Step::Rot(index) => self.rot(index)?,
            Step::Decline(index) => {
                let peer = peer(index);
                drop(self.input(Input::Declined { peer })?);
            }
            Step::Lose(index) => self.act(index, Habit::Vanishes)?,
            Step::Renew(index, progress) => {
                let peer = peer(index);
                if let Some(&task) = self.leases.get(&peer).and_then(|held| held.last()) {
                    drop(self.input(Input::Renewed { peer, task, progress })?);
                }
            }
            Step::Pass(seconds) => {
                self.now = self.now + Duration::from_secs(seconds);
                if self.requester.poll_timeout().is_some_and(|due| due <= self.now) {
                    drop(self.input(Input::Timeout)?);
                }
            }
            Step::Open(index) => self.open(index, 3 + 2 * index as u32)?,
            Step::Cancel(index) => drop(self.input(Input::Cancel { job: job(index) })?),
        }
        Ok(())
    }

    /// From now on the requester's own machine works honestly, with the memory for anything.
    pub fn recover(&mut self) -> Result<(), Violation> {
        let own = peer(0);
        let offer = Offer {
            memory: 8 * GIB,
            ..offer(0)
        };
        for _ in 0..2_000 {
            while !self.checks.is_empty() {
                self.check(true)?;
            }
            while !self.persists.is_empty() {
                self.persist()?;
            }
            while !self.tries.is_empty() {
                self.try_it(Hand::Able)?;
            }
            let open = (0..JOBS).any(|index| self.requester.progress(job(index)).is_some());
            if !open {
                return Ok(());
            }
            if self.leases.get(&own).is_some_and(|held| !held.is_empty()) {
                self.act(0, Habit::Honest)?;
            } else {
                self.input(Input::Offer { peer: own, offer })?;
                // The leases of silent peers run out.
                self.step(&Step::Pass(20))?;
            }
        }
        Err(Violation {
            rule: "with one honest machine every job ends",
            what: format!("{:?}", self.requester.stages(job(0))),
        })
    }
}

pub const GOOD: Blob = Blob([1; 32]);
pub const BAD: Blob = Blob([2; 32]);
pub const WITHHELD: Blob = Blob([3; 32]);
/// The maker of the proofs that the requester makes itself.
pub const CALLER: Peer = Peer([99; 32]);
pub const POISON: u8 = 4;

pub fn poison_of(index: usize) -> Blob {
    let mut poison = [index as u8; 32];
    poison[0] = POISON;
    Blob(poison)
}

pub fn is_poison(proof: Blob) -> bool {
    proof.0[0] == POISON
}
