//! A requester among made-up peers, with what its caller would remember.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::Duration,
};

use myriad_core::{
    Arities, Blob, Cost, Event, Input, JobId, JobSpec, Offer, Output, Peer, Policy, Redundancy, Requester,
    Return, SPEED_ONE, TaskId, TaskRef, Time, Tree, TrialVerdict, Trust, Verdict,
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
    let costs = tree.tasks().enumerate().map(|(place, task)| Cost {
        // Those of one of the jobs are not all alike.
        work: Duration::from_secs(10 + if index == 2 { place as u64 % 3 } else { 0 }),
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

/// The proofs of these segments among those of a job.
fn between(proofs: &[(TaskId, Blob)], segments: Range<u32>) -> Vec<(TaskId, Blob)> {
    let is_of = |task: TaskId| matches!(task, TaskId::Segment(index) if segments.contains(&index));
    proofs.iter().filter(|(task, _)| is_of(*task)).copied().collect()
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
    /// Jobs whose plan grows: how many segments are known, and how many there will be.
    pub growing: BTreeMap<usize, (u32, u32)>,
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
            growing: BTreeMap::new(),
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
                Output::Announce {
                    job: over,
                    open: false,
                } => self.growing.retain(|of, _| job(*of) != *over),
                Output::Event(Event::JobDone { job }) => self.finished.push(*job),
                Output::Event(Event::JobFailed { job, .. }) => self.failed.push(*job),
                _ => {}
            }
        }
        Ok(outputs)
    }

    fn durable_of(&self, index: usize) -> Vec<(TaskId, Blob)> {
        let done = self.durable.iter().filter(|(task, _)| task.job == job(index));
        done.map(|(task, proof)| (task.task, *proof)).collect()
    }

    pub fn open(&mut self, index: usize, segments: u32) -> Result<(), Violation> {
        let done = self.durable_of(index);
        self.input(Input::Open(Box::new(spec(index, segments, done))))?;
        Ok(())
    }

    /// Opens a job whose plan grows, unless an earlier run had its whole plan.
    pub fn open_growing(&mut self, index: usize, known: u32, segments: u32) -> Result<(), Violation> {
        let done = self.durable_of(index);
        let had_plan = done.iter().any(|(task, _)| !matches!(task, TaskId::Segment(_)));
        if had_plan || self.requester.progress(job(index)).is_some() {
            return self.open(index, segments);
        }
        let whole = spec(index, segments, Vec::new());
        let known = known.min(segments);
        let grows = JobSpec {
            tree: Tree::growing(known),
            costs: whole.costs[..known as usize].to_vec(),
            done: between(&done, 0..known),
            ..whole
        };
        self.growing.insert(index, (known, segments));
        self.input(Input::Open(Box::new(grows)))?;
        Ok(())
    }

    /// More segments are known. To a job whose plan does not grow that means nothing.
    pub fn grow(&mut self, index: usize, more: u32) -> Result<(), Violation> {
        let id = job(index);
        let left = self.durable_of(index);
        let (costs, done) = match self.growing.get_mut(&index) {
            Some((known, segments)) => {
                let from = *known;
                *known = (*known + more).min(*segments);
                let costs = spec(index, *segments, Vec::new()).costs;
                let new = costs[from as usize..*known as usize].to_vec();
                (new, between(&left, from..*known))
            }
            None => (spec(index, 3, Vec::new()).costs, Vec::new()),
        };
        self.input(Input::Grow { job: id, costs, done })?;
        Ok(())
    }

    /// The plan is there. To a job whose plan does not grow that means nothing.
    pub fn settle(&mut self, index: usize) -> Result<(), Violation> {
        let growing = self.growing.remove(&index);
        let left = self.durable_of(index);
        let (known, segments) = growing.unwrap_or((0, 3));
        let JobSpec { id, tree, costs, .. } = spec(index, segments, Vec::new());
        let costs = costs[known as usize..].to_vec();
        let done = growing.map_or_else(Vec::new, |_| between(&left, known..segments));
        self.input(Input::Settle {
            job: id,
            tree,
            costs,
            done,
        })?;
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
            (Hand::Unable, ..) | (Hand::Dies, _, None) => TrialVerdict::Unable,
            (Hand::Dies, _, Some((child, proof))) => {
                self.durable.remove(&TaskRef { task: child, ..task });
                TrialVerdict::Doubted {
                    child,
                    proof,
                    reason: "the process died".into(),
                }
            }
            (Hand::Able, Some((child, proof)), _) => {
                self.durable.remove(&TaskRef { task: child, ..task });
                TrialVerdict::Refuted {
                    child,
                    proof,
                    reason: "no node can be made over it".into(),
                }
            }
            (Hand::Able, None, _) => TrialVerdict::Made {
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
            Step::OpenGrowing(index, known) => self.open_growing(index, known, 3 + 2 * index as u32)?,
            Step::Grow(index, more) => self.grow(index, more)?,
            Step::Settle(index) => self.settle(index)?,
            Step::Cancel(index) => drop(self.input(Input::Cancel { job: job(index) })?),
        }
        Ok(())
    }

    /// From now on the requester's own machine works honestly, with the memory for anything, and
    /// all plans are there.
    pub fn recover(&mut self) -> Result<(), Violation> {
        let own = peer(0);
        let offer = Offer {
            memory: 8 * GIB,
            ..offer(0)
        };
        for index in self.growing.keys().copied().collect::<Vec<_>>() {
            self.settle(index)?;
        }
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
