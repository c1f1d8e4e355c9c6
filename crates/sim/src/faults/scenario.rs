//! The parameters of a simulation.

use std::{ops::Range, time::Duration};

use myriad_core::{Arities, Cost, JobId, JobSpec, Kind, Redundancy, Tree};

use crate::{peer::Habit, rng::Rng};

pub const GIB: u64 = 1 << 30;

/// A simulation, but for what chance adds.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub redundancy: Redundancy,
    pub look_ahead: bool,
    pub jobs: Vec<Job>,
    pub classes: Vec<Class>,
    pub faults: Faults,
    /// The virtual time after which the jobs have to be done.
    pub limit: Duration,
    /// The number of inputs between looks at the requester's state, each of which takes as long as
    /// there are tasks.
    pub settle_every: u32,
    /// Keep the last lines of the log, for a failure.
    pub lines_kept: usize,
}

/// A job that the requester has.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub segments: u32,
    pub arities: Arities,
    pub priority: i32,
    pub opened: Duration,
    /// How its plan comes; none if it is there when the job is opened.
    pub growth: Option<Growth>,
}

/// A plan that comes while its segments are given out already.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// Segments that are known when the job is opened.
    pub first: u32,
    /// One more is known each time that this has passed. With the last one the plan is there.
    pub every: Duration,
}

impl Growth {
    /// That of a plan of so many segments.
    fn random(rng: &mut Rng, segments: u32) -> Self {
        Self {
            first: rng.below(segments.into()) as u32,
            every: rng.duration(Duration::from_millis(1)..Duration::from_secs(30)),
        }
    }
}

/// Machines that are alike.
#[derive(Clone, Debug)]
pub struct Class {
    pub count: usize,
    /// The speed in thousandths of the machine that work is measured on.
    pub speed: Range<u64>,
    /// Memory for one task, in bytes.
    pub memory: u64,
    /// The time of one way.
    pub latency: Range<Duration>,
    /// The time to fetch the inputs of a task.
    pub fetch: Range<Duration>,
    pub habit: Habit,
    /// Whether the requester knows it from earlier jobs.
    pub known: bool,
    /// The number of them that call from the same network; none where addresses say nothing.
    pub per_origin: Option<u64>,
}

/// The faults, and when they end.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The end of all faults; from then on jobs must get done.
    pub until: Duration,
    pub requester_crashes: u32,
    pub peer_crashes: u32,
    /// Times in which a part of the peers is cut off.
    pub partitions: u32,
    /// The time for which a crashed or cut-off node stays so.
    pub outage: Range<Duration>,
    /// Messages that are lost, in thousandths.
    pub loss: u32,
    /// Writes of the requester that a crash may find half done, or that take long.
    pub persist: Range<Duration>,
    /// The most by which the clocks of peers run fast or slow, in thousandths.
    pub drift: u32,
}

impl Faults {
    pub const NONE: Self = Self {
        until: Duration::ZERO,
        requester_crashes: 0,
        peer_crashes: 0,
        partitions: 0,
        outage: Duration::ZERO..Duration::ZERO,
        loss: 0,
        persist: Duration::from_millis(2)..Duration::from_millis(10),
        drift: 0,
    };
}

impl Class {
    /// Home machines like the one that [`cost`] was measured on.
    pub fn honest(count: usize) -> Self {
        Self {
            count,
            speed: 1000..1001,
            memory: 4 * GIB,
            latency: Duration::from_millis(5)..Duration::from_millis(80),
            fetch: Duration::from_millis(200)..Duration::from_secs(2),
            habit: Habit::Honest,
            known: false,
            per_origin: None,
        }
    }
}

/// The cost of a task: of block 20612842 on two cores, as `docs/MEASUREMENTS.md` has it, rounded.
pub fn cost(kind: Kind) -> Cost {
    let (seconds, mib) = match kind {
        Kind::Segment => (23, 3900),
        Kind::Leaf => (31, 2900),
        Kind::InternalForLeaf => (54, 4000),
        Kind::InternalRecursive => (31, 2100),
        Kind::Final => (19, 2100),
    };
    Cost {
        work: Duration::from_secs(seconds),
        memory: mib << 20,
    }
}

impl Job {
    pub fn id(index: usize) -> JobId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
        JobId(id)
    }

    pub fn tree(&self) -> Tree {
        Tree::new(self.segments, self.arities)
    }

    pub fn spec(&self, index: usize) -> JobSpec {
        let tree = self.tree();
        JobSpec {
            id: Self::id(index),
            costs: tree.tasks().map(|task| cost(task.kind())).collect(),
            tree,
            priority: self.priority,
            deadline: None,
            // The requester makes the final proof of one of two jobs itself.
            own_final: index % 2 == 1,
            done: Vec::new(),
            leased: Vec::new(),
        }
    }

    /// The same job, of which the first segments are known.
    pub fn growing_spec(&self, index: usize, known: u32) -> JobSpec {
        let whole = self.spec(index);
        JobSpec {
            tree: Tree::growing(known),
            costs: whole.costs[..known as usize].to_vec(),
            ..whole
        }
    }

    /// The work of all tasks on the machine that it was measured on.
    pub fn work(&self) -> Duration {
        self.tree().tasks().map(|task| cost(task.kind()).work).sum()
    }

    /// The work of the longest path.
    pub fn critical_path(&self) -> Duration {
        let tree = self.tree();
        let up = std::iter::successors(Some(myriad_core::TaskId::Segment(0)), |task| tree.parent(*task));
        up.map(|task| cost(task.kind()).work).sum()
    }
}

impl Scenario {
    /// A small simulation in which anything may go wrong: of every habit some machines, and one or
    /// more that are honest and have the memory for every task.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "scenario");
        let seconds = Duration::from_secs;
        let arities = Arities {
            leaf: 1 + rng.below(3) as u32,
            internal_for_leaf: 1 + rng.below(3) as u32,
            internal_recursive: 2 + rng.below(2) as u32,
        };
        let mut growths = Rng::new(seed, "growth");
        let jobs = (0..1 + rng.below(3)).map(|_| {
            let segments = 1 + rng.below(24) as u32;
            Job {
                segments,
                arities,
                priority: rng.below(2) as i32,
                opened: rng.duration(Duration::ZERO..seconds(120)),
                growth: growths
                    .chance(500)
                    .then(|| Growth::random(&mut growths, segments)),
            }
        });
        let jobs = jobs.collect();
        let mut classes = vec![Class {
            speed: 500..3000,
            ..Class::honest(1 + rng.below(8) as usize)
        }];
        for habit in [Habit::Honest].into_iter().chain(Habit::HOSTILE) {
            let slow = rng.chance(300);
            classes.push(Class {
                speed: if slow { 60..400 } else { 500..3000 },
                memory: (1 + rng.below(5)) * GIB,
                latency: Duration::from_millis(1)..Duration::from_millis(1 + rng.below(2000)),
                habit,
                known: rng.chance(200),
                per_origin: rng.chance(300).then(|| 1 + rng.below(8)),
                ..Class::honest(rng.below(8) as usize)
            });
        }
        // Each costs the honest ones several tries at a node.
        let mut poisoners = Rng::new(seed, "poisoners");
        if poisoners.chance(500) {
            classes.push(Class {
                habit: Habit::Poisons,
                speed: 500..3000,
                known: poisoners.chance(500),
                ..Class::honest(1 + poisoners.below(4) as usize)
            });
        }
        let redundancy = match rng.below(4) {
            0 => Redundancy::Fixed(1 + rng.below(4) as u32),
            _ => Redundancy::default(),
        };
        Self {
            seed,
            redundancy,
            look_ahead: Rng::new(seed, "look ahead").chance(800),
            jobs,
            classes,
            faults: Faults {
                until: rng.duration(Duration::ZERO..seconds(900)),
                requester_crashes: rng.below(5) as u32,
                peer_crashes: rng.below(30) as u32,
                partitions: rng.below(4) as u32,
                outage: Duration::from_millis(100)..rng.duration(seconds(1)..seconds(120)),
                loss: rng.below(150) as u32,
                persist: Duration::ZERO..rng.duration(Duration::from_millis(1)..seconds(3)),
                drift: rng.below(200) as u32,
            },
            limit: seconds(100_000),
            settle_every: 1,
            lines_kept: 40,
        }
    }
}
