//! Jobs among peers that proptest makes up. Whatever peers do, [`myriad_core::invariants`] hold; and if
//! honest peers are left, every job ends.

mod memory;
mod poisoned;
mod reopened;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use myriad_core::{
    Arities, Blob, Cost, Event, Input, JobId, JobSpec, Offer, Output, Peer, Policy, Redundancy, Requester,
    Return, SPEED_ONE, TaskId, TaskRef, Time, Tree, Tried, Trust, Verdict,
    invariants::{All, Violation},
};
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

/// What a peer does with a lease.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Honest,
    Silent,
    HandsBack,
    /// Has got a task from somebody else, too.
    Surplus,
    Fails,
    Lies,
    Vanishes,
    /// Says that it has the proof, and does not give it.
    Withholds,
    /// Honest, but hands in what it has made without a look at it.
    Naive,
    /// Makes proofs that pass every check, and over which no node can be made.
    Poisons,
}

fn habit() -> impl Strategy<Value = Habit> {
    prop_oneof![
        Just(Habit::Honest),
        Just(Habit::Silent),
        Just(Habit::HandsBack),
        Just(Habit::Surplus),
        Just(Habit::Fails),
        Just(Habit::Lies),
        Just(Habit::Vanishes),
        Just(Habit::Withholds),
        Just(Habit::Naive),
        Just(Habit::Poisons),
    ]
}

/// What the requester is able to do itself.
#[derive(Clone, Copy, Debug)]
enum Hand {
    Able,
    Unable,
    /// Whatever it tries dies over the first proof that it takes.
    Dies,
}

fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        2 => Just(Hand::Able),
        1 => Just(Hand::Unable),
        1 => Just(Hand::Dies),
    ]
}

/// A step: which peer does what, and how much time passes.
#[derive(Clone, Debug)]
enum Step {
    Offer(usize),
    Act(usize, Habit),
    /// A submission out of the blue.
    Intrude(usize, u32),
    Check(bool),
    /// What is fetched next does not come; it may later.
    Stall,
    Persist,
    /// The requester does a task itself, and this becomes of it.
    Try(Hand),
    /// The requester's disk damages the proof of a task.
    Rot(usize),
    Lose(usize),
    Decline(usize),
    Renew(usize, u16),
    Pass(u64),
    Open(usize),
    Cancel(usize),
}

fn redundancy() -> impl Strategy<Value = Redundancy> {
    prop_oneof![
        Just(Redundancy::default()),
        Just(ONCE),
        Just(Redundancy::Fixed(3))
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 0..PEERS;
    let job = 0..JOBS;
    prop_oneof![
        6 => peer.clone().prop_map(Step::Offer),
        6 => (peer.clone(), habit()).prop_map(|(peer, habit)| Step::Act(peer, habit)),
        1 => (peer.clone(), 0..9u32).prop_map(|(peer, segment)| Step::Intrude(peer, segment)),
        5 => any::<bool>().prop_map(Step::Check),
        2 => Just(Step::Stall),
        5 => Just(Step::Persist),
        2 => hand().prop_map(Step::Try),
        1 => any::<usize>().prop_map(Step::Rot),
        1 => peer.clone().prop_map(Step::Lose),
        1 => peer.clone().prop_map(Step::Decline),
        1 => (peer, any::<u16>()).prop_map(|(peer, progress)| Step::Renew(peer, progress)),
        2 => (0..60u64).prop_map(Step::Pass),
        1 => job.clone().prop_map(Step::Open),
        1 => job.prop_map(Step::Cancel),
    ]
}

const ONCE: Redundancy = Redundancy::Fixed(1);
const PEERS: usize = 6;
const JOBS: usize = 3;

fn peer(index: usize) -> Peer {
    Peer([index as u8; 32])
}

fn job(index: usize) -> JobId {
    JobId([index as u8; 32])
}

/// The peers differ in memory; one is the requester's own.
fn offer(index: usize) -> Offer {
    Offer {
        memory: (1 + index as u64 % 3) * GIB,
        speed: SPEED_ONE,
        trust: if index == 0 { Trust::Own } else { Trust::Stranger },
        origin: None,
    }
}

fn spec(index: usize, segments: u32, done: Vec<(TaskId, Blob)>) -> JobSpec {
    let arities = Arities {
        leaf: 2,
        internal_for_leaf: 2,
        internal_recursive: 2,
    };
    let tree = Tree::new(segments, arities);
    let costs = tree.tasks().map(|task| Cost {
        work: Duration::from_secs(10),
        // What is higher in the tree needs more; peer 2 can do all.
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
        done,
        leased: Vec::new(),
    }
}

/// The requester, and what its caller would remember.
struct Harness {
    requester: Requester,
    checkers: All,
    now: Time,
    leases: BTreeMap<Peer, Vec<TaskRef>>,
    checks: VecDeque<(Peer, TaskRef, Blob)>,
    persists: VecDeque<(TaskRef, Blob)>,
    tries: VecDeque<TaskRef>,
    durable: BTreeMap<TaskRef, Blob>,
    finished: Vec<JobId>,
    failed: Vec<JobId>,
    /// All that came out.
    log: Vec<Output>,
}

impl Harness {
    fn new(redundancy: Redundancy) -> Self {
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

    fn input(&mut self, input: Input) -> Result<Vec<Output>, Violation> {
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

    fn open(&mut self, index: usize, segments: u32) -> Result<(), Violation> {
        let done = self.durable.iter().filter(|(task, _)| task.job == job(index));
        let done = done.map(|(task, proof)| (task.task, *proof)).collect();
        self.input(Input::Open(Box::new(spec(index, segments, done))))?;
        Ok(())
    }

    fn submit(&mut self, peer: Peer, task: TaskRef, proof: Blob) -> Result<(), Violation> {
        self.input(Input::Submitted { peer, task, proof })?;
        Ok(())
    }

    fn check(&mut self, lies_pass: bool) -> Result<(), Violation> {
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

    fn persist(&mut self) -> Result<(), Violation> {
        if let Some((task, proof)) = self.persists.pop_front() {
            self.durable.insert(task, proof);
            assert_ne!(proof, BAD, "{task} is kept");
            self.input(Input::Persisted { task, proof })?;
        }
        Ok(())
    }

    /// The proof that a task is made of and that no node can be made over.
    fn poison(&self, task: TaskRef) -> Option<(TaskId, Blob)> {
        let proofs = self.requester.inputs(task).into_iter().filter_map(|input| {
            let proof = self.requester.proof(TaskRef { task: input, ..task })?;
            Some((input, proof))
        });
        proofs.into_iter().find(|(_, proof)| is_poison(*proof))
    }

    /// Does what the requester wants to have done by its caller.
    fn try_it(&mut self, hand: Hand) -> Result<(), Violation> {
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
    fn rot(&mut self, index: usize) -> Result<(), Violation> {
        let count = self.durable.len().max(1);
        let Some((&task, &proof)) = self.durable.iter().nth(index % count) else {
            return Ok(());
        };
        self.durable.remove(&task);
        self.input(Input::Lost { task, proof })?;
        Ok(())
    }

    fn act(&mut self, index: usize, habit: Habit) -> Result<(), Violation> {
        let peer = peer(index);
        let Some(task) = self.leases.get_mut(&peer).and_then(Vec::pop) else {
            return Ok(());
        };
        let returned = |why| Input::Returned { peer, task, why };
        let poisoned = self.poison(task).is_some();
        match habit {
            Habit::Honest if poisoned => {
                let message = "what it has made is no proof".into();
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

    fn step(&mut self, step: &Step) -> Result<(), Violation> {
        match *step {
            Step::Offer(index) => {
                let (peer, offer) = (peer(index), offer(index));
                drop(self.input(Input::Offer { peer, offer })?);
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
    fn recover(&mut self) -> Result<(), Violation> {
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
                // What silent peers hold runs out.
                self.step(&Step::Pass(20))?;
            }
        }
        Err(Violation {
            rule: "with one honest machine every job ends",
            what: format!("{:?}", self.requester.stages(job(0))),
        })
    }
}

const GOOD: Blob = Blob([1; 32]);
const BAD: Blob = Blob([2; 32]);
const WITHHELD: Blob = Blob([3; 32]);
/// Who makes what the requester makes itself.
const CALLER: Peer = Peer([99; 32]);
const POISON: u8 = 4;

fn poison_of(index: usize) -> Blob {
    let mut poison = [index as u8; 32];
    poison[0] = POISON;
    Blob(poison)
}

fn is_poison(proof: Blob) -> bool {
    proof.0[0] == POISON
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn whatever_peers_do_the_rules_hold_and_jobs_end(
        redundancy in redundancy(),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut harness = Harness::new(redundancy);
        let mut run = || -> Result<(), Violation> {
            harness.open(0, 9)?;
            steps.iter().try_for_each(|step| harness.step(step))?;
            harness.recover()
        };
        if let Err(violation) = run() {
            return Err(TestCaseError::fail(violation.to_string()));
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(
        redundancy in redundancy(),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let run = || {
            let mut harness = Harness::new(redundancy);
            // What a rule says of it is for the other test.
            let _ = harness.open(0, 9);
            let _ = steps.iter().try_for_each(|step| harness.step(step));
            harness.log
        };
        prop_assert_eq!(run(), run());
    }
}

/// One honest peer after the other: every task is done once, in an order that the tree allows.
#[test]
fn a_job_with_honest_peers_is_done_task_by_task() {
    let mut harness = Harness::new(ONCE);
    harness.open(1, 7).unwrap();
    harness.recover().unwrap();
    assert_eq!(harness.finished, [job(1)]);
    assert_eq!(
        harness.durable.len(),
        Tree::task_count(&spec(1, 7, Vec::new()).tree)
    );
}

/// What an earlier run has left is not done again, and what lies below it not at all.
#[test]
fn a_job_goes_on_where_it_stopped() {
    let mut harness = Harness::new(ONCE);
    harness.open(1, 7).unwrap();
    harness.recover().unwrap();
    let all = harness.durable.clone();
    for kept in 0..=all.len() {
        let mut again = Harness::new(ONCE);
        // The last ones: those higher in the tree.
        again.durable = all
            .iter()
            .rev()
            .take(kept)
            .map(|(task, proof)| (*task, *proof))
            .collect();
        again.open(1, 7).unwrap();
        again.recover().unwrap();
        assert_eq!(again.finished, [job(1)]);
        assert!(
            kept < all.len() || again.durable.len() == all.len(),
            "nothing is left to do"
        );
    }
}

/// Three failures on the requester's own machines, and the job's error tells what they said.
#[test]
fn a_task_that_keeps_failing_is_the_jobs_error() {
    let mut harness = Harness::new(ONCE);
    harness.open(0, 1).unwrap();
    for _ in 0..3 {
        harness.step(&Step::Offer(0)).unwrap();
        harness.act(0, Habit::Fails).unwrap();
    }
    assert_eq!(harness.failed, [job(0)]);
}

/// Strangers cannot end a job by saying that they failed, however many they are.
#[test]
fn strangers_cannot_fail_a_job() {
    let mut harness = Harness::new(ONCE);
    harness.open(0, 1).unwrap();
    for index in 1..=100 {
        let peer = Peer([100 + index; 32]);
        let stranger = offer(1);
        harness
            .input(Input::Offer {
                peer,
                offer: stranger,
            })
            .unwrap();
        let task = harness.leases[&peer][0];
        let why = Return::Failed {
            message: "no luck".into(),
        };
        harness.input(Input::Returned { peer, task, why }).unwrap();
    }
    assert_eq!(harness.failed, []);
    harness.recover().unwrap();
    assert_eq!(harness.finished, [job(0)]);
}

/// A peer that is woken and cannot use the task does not keep it from the next one.
#[test]
fn who_is_woken_in_vain_wakes_the_next() {
    let mut harness = Harness::new(ONCE);
    let woken = |outputs: &[Output]| {
        let mut woken = outputs.iter().filter_map(|output| match output {
            Output::Wake { peer } => Some(*peer),
            _ => None,
        });
        woken.next()
    };
    let ask = |harness: &mut Harness, index: usize| {
        let (peer, offer) = (peer(index), offer(5));
        harness.input(Input::Offer { peer, offer }).unwrap()
    };
    ask(&mut harness, 1);
    ask(&mut harness, 2);
    let outputs = harness
        .input(Input::Open(Box::new(spec(0, 1, Vec::new()))))
        .unwrap();
    let first = woken(&outputs).expect("somebody is woken for the segment");
    let (first, second) = if first == peer(1) { (1, 2) } else { (2, 1) };
    // It takes the task, fails, is woken for nothing, and has to pause.
    ask(&mut harness, first);
    let task = harness.leases[&peer(first)][0];
    let why = Return::Failed {
        message: "no luck".into(),
    };
    let outputs = harness
        .input(Input::Returned {
            peer: peer(first),
            task,
            why,
        })
        .unwrap();
    assert_eq!(woken(&outputs), Some(peer(second)));
    // The second one does not come. The first has asked again meanwhile, in vain.
    ask(&mut harness, first);
    ask(&mut harness, 3);
    assert!(harness.leases[&peer(3)].contains(&task), "a third one gets it");
}
