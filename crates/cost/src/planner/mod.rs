//! Sizes a job for a fleet: which segments, which tree, how long, how many machines, and what binds.
//!
//! ```text
//!  Question ─▶ for each cut that was measured, for each arities that fit: how early could it end?   (bounds, microseconds)
//!                                    │ best first, until none can be better
//!                                    ▼
//!                        the job on paper (list scheduling, milliseconds) ─▶ Plan
//! ```
//!
//! The formulas are in `docs/PLANNING.md`. Nothing here reads a clock or draws a number: the same question has the
//! same plan.

mod candidates;
mod question;

use myriad_core::{Arities, Kind, Tree};
use serde::Serialize;

pub use question::{Class, Link, MACHINES_MAX, PlanError, Question, RequesterSide, SEGMENTS_MAX, Workload};

use crate::trees::Timeline;
use candidates::{Candidate, candidates};

/// Tasks that are put on paper for one plan: about a third of a second.
const TASKS_ON_PAPER: usize = 400_000;
/// The same for each number of machines that is tried for a deadline.
const TASKS_ON_PAPER_SEARCHING: usize = 20_000;
/// Most machines that are tried for a deadline.
pub const MACHINES_TRIED_MAX: u64 = 1 << 20;
/// What a fleet takes longer, as a part, for the whole of it wasting time; a part of it does in proportion. Source:
/// `docs/SIMULATION.md`, where four of five that pretend to work cost a job 20 and 21 %.
const WASTE: f64 = 0.26;

/// How a job is best done, and what that takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// From the request to the final proof.
    pub expected_s: f64,
    /// Which add up to [`Self::expected_s`].
    pub parts: Parts,
    pub segment: SegmentSize,
    pub arities: TreeArities,
    /// Nodes on each level of the tree, leaves first.
    pub levels: Vec<u32>,
    pub stages: Vec<StageWork>,
    /// What no schedule can be faster than.
    pub bounds: Bounds,
    pub binds: Binds,
    /// Machines that deliver, and all.
    pub machines_honest: u64,
    pub machines: u64,
    /// Jobs like it that the fleet can sustain, one after the other without a pause.
    pub jobs_per_h: f64,
    pub requester: Traffic,
    /// Working time of all machines that deliver.
    pub machine_s: f64,
    pub energy_kwh: f64,
    /// Of machines and energy, in the currency of the question.
    pub cost: f64,
}

/// Where the time goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parts {
    /// The requester executes and cuts.
    pub execute_s: f64,
    /// Program and input reach the provers.
    pub distribute_s: f64,
    /// Until the last segment is proven.
    pub segments_s: f64,
    /// From then until the top of the tree is.
    pub tree_s: f64,
    pub final_s: f64,
    /// Proofs queue at the requester's downlink or cores.
    pub requester_s: f64,
    /// Machines that waste time are found out.
    pub wasters_s: f64,
}

impl Parts {
    pub fn total_s(&self) -> f64 {
        self.execute_s
            + self.distribute_s
            + self.segments_s
            + self.tree_s
            + self.final_s
            + self.requester_s
            + self.wasters_s
    }
}

/// The segments that an execution is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SegmentSize {
    /// Budget that they are cut for.
    pub memory_bytes: u64,
    pub instructions: f64,
    pub segments: u64,
}

/// Most children of nodes of each stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TreeArities {
    pub leaf: u32,
    pub internal_for_leaf: u32,
    pub internal_recursive: u32,
}

impl From<Arities> for TreeArities {
    fn from(arities: Arities) -> Self {
        Self {
            leaf: arities.leaf,
            internal_for_leaf: arities.internal_for_leaf,
            internal_recursive: arities.internal_recursive,
        }
    }
}

/// The tasks of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageWork {
    pub stage: &'static str,
    pub tasks: u64,
    /// Working time of machines.
    pub machine_s: f64,
}

/// What no schedule can be faster than.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// All work, by all machines that deliver.
    pub machines_s: f64,
    /// The longest path from a segment to the final proof, on the fastest machines.
    pub path_s: f64,
    /// What follows from the two together: towards the end of a tree there is less and less that can be done at once. No less
    /// than either.
    pub earliest_s: f64,
    /// All proofs, over the requester's downlink.
    pub requester_down_s: f64,
    /// Verifying all proofs and finding all boundaries, on the requester's cores.
    pub requester_cpu_s: f64,
}

impl Bounds {
    fn largest(&self) -> (f64, Binds) {
        [
            (self.machines_s, Binds::Machines),
            (self.path_s, Binds::Path),
            (self.requester_down_s, Binds::RequesterDownlink),
            (self.requester_cpu_s, Binds::RequesterCpu),
        ]
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .expect("there are four")
    }
}

/// What more of would help most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binds {
    /// Work by machines.
    Machines,
    /// The longest path: more machines do not help, faster ones do.
    Path,
    RequesterDownlink,
    RequesterCpu,
    /// What goes before the first segment.
    Start,
}

/// What goes over the requester's link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Traffic {
    /// Program and input, if every prover had them from the requester; they pass them on, so that it is less.
    pub up_bytes_max: f64,
    /// Proofs, to verify them.
    pub down_bytes: f64,
    /// The downlink that is taken while the job runs, on average.
    pub down_bytes_per_s: f64,
}

/// The best plan for a fleet.
///
/// # Errors
/// See [`PlanError`]; [`PlanError::Deadline`] does not occur.
pub fn plan(question: &Question) -> Result<Plan, PlanError> {
    question.check()?;
    let best = best(question, TASKS_ON_PAPER)?;
    Ok(describe(question, &best))
}

/// Every way to do a job that fits the fleet, each as a plan: what [`plan`] has chosen from.
///
/// # Errors
/// See [`plan`].
pub fn plans(question: &Question) -> Result<Vec<Plan>, PlanError> {
    question.check()?;
    let all = candidates(question)?.into_iter();
    Ok(all
        .map(|candidate| describe(question, &on_paper(question, candidate, false)))
        .collect())
}

/// The fewest machines, in the proportions of the question's classes, with which a job is done in time.
///
/// # Errors
/// [`PlanError::Deadline`] where [`MACHINES_TRIED_MAX`] are not enough; otherwise see [`PlanError`].
pub fn machines_for(question: &Question, deadline_s: f64) -> Result<u64, PlanError> {
    question.check()?;
    let with = |machines: u64| -> Result<Option<Best>, PlanError> {
        match best(&scaled(question, machines), TASKS_ON_PAPER_SEARCHING) {
            Ok(best) => Ok(Some(best)),
            // Of a few machines of several classes, those that have the memory may not be among them.
            Err(PlanError::Memory { .. } | PlanError::NobodyHonest { .. })
                if machines < MACHINES_TRIED_MAX =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    };
    let in_time = |machines| -> Result<bool, PlanError> {
        Ok(with(machines)?.is_some_and(|best| best.expected_s() <= deadline_s))
    };
    if !in_time(MACHINES_TRIED_MAX)? {
        let all = scaled(question, MACHINES_TRIED_MAX);
        let plan = describe(&all, &best(&all, TASKS_ON_PAPER_SEARCHING)?);
        return Err(PlanError::Deadline {
            most: MACHINES_TRIED_MAX,
            best_s: plan.expected_s,
            why: plan.binds.explained().into(),
        });
    }
    let (mut late, mut enough) = (0, MACHINES_TRIED_MAX);
    while enough - late > 1 {
        let middle = late + (enough - late) / 2;
        if in_time(middle)? {
            enough = middle;
        } else {
            late = middle;
        }
    }
    Ok(enough)
}

/// The same question with so many machines in all, shared out by largest remainder.
pub fn scaled(question: &Question, machines: u64) -> Question {
    let all: u64 = question.classes.iter().map(|class| class.machines).sum();
    let exact = |class: &Class| u128::from(class.machines) * u128::from(machines);
    let mut scaled = question.clone();
    let mut left = machines;
    for class in &mut scaled.classes {
        class.machines = (exact(class) / u128::from(all.max(1))) as u64;
        left -= class.machines;
    }
    let mut order: Vec<usize> = (0..scaled.classes.len()).collect();
    order.sort_by_key(|&index| {
        let rest = exact(&question.classes[index]) % u128::from(all.max(1));
        std::cmp::Reverse(rest)
    });
    for index in order.into_iter().take(left as usize) {
        scaled.classes[index].machines += 1;
    }
    scaled
}

impl Binds {
    /// What it means for whoever wants to be faster.
    pub const fn explained(self) -> &'static str {
        match self {
            Self::Machines => "the work binds: more machines, or faster ones, help",
            Self::Path => {
                "the longest path binds, a segment and the nodes above it one after the other: more machines do not help, faster ones do"
            }
            Self::RequesterDownlink => {
                "the requester's downlink binds: every proof is fetched to be verified"
            }
            Self::RequesterCpu => "the requester's cores bind: every proof is verified",
            Self::Start => {
                "what goes before the first segment binds: executing at the requester, and sending the program"
            }
        }
    }
}

/// A candidate that was put on paper.
struct Best {
    candidate: Candidate,
    timeline: Timeline,
    execute_s: f64,
    distribute_s: f64,
    requester_s: f64,
    wasters_s: f64,
    bounds: Bounds,
}

impl Best {
    fn expected_s(&self) -> f64 {
        self.execute_s + self.distribute_s + seconds(self.timeline.end_us) + self.requester_s + self.wasters_s
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// The candidate that ends first. Of those that end together it is the one that was cut for more memory: it has less
/// work.
fn best(question: &Question, tasks_on_paper: usize) -> Result<Best, PlanError> {
    let mut candidates = candidates(question)?;
    candidates.sort_by_key(|candidate| candidate.earliest_us);
    let mut left = tasks_on_paper;
    let mut best: Option<Best> = None;
    for candidate in candidates {
        let tasks = candidate.tree.task_count();
        let beaten = |best: &Best| best.timeline.end_us <= candidate.earliest_us;
        if best.as_ref().is_some_and(|best| beaten(best) || tasks > left) {
            break;
        }
        left = left.saturating_sub(tasks);
        let tried = on_paper(question, candidate, tasks > tasks_on_paper);
        if best
            .as_ref()
            .is_none_or(|best| tried.expected_s() < best.expected_s())
        {
            best = Some(tried);
        }
    }
    Ok(best.expect("there is a candidate, and the first is always tried"))
}

/// `outlined` ones are so large that Graham's bound stands for a schedule: all work, and then the longest path.
fn on_paper(question: &Question, candidate: Candidate, outlined: bool) -> Best {
    let (work_us, path_us) = (candidate.work_us(), candidate.times.path_us(&candidate.tree));
    let timeline = if outlined {
        candidate.outlined(work_us, path_us)
    } else {
        candidate.times.schedule(&candidate.tree)
    };
    let bounds = Bounds {
        machines_s: seconds(work_us),
        path_s: seconds(path_us),
        earliest_s: seconds(candidate.earliest_us.max(work_us).max(path_us)),
        requester_down_s: candidate.proof_bytes / question.requester.link.down_bytes_per_s,
        requester_cpu_s: candidate.requester_cpu_s / f64::from(question.requester.cores),
    };
    let end_s = seconds(timeline.end_us);
    let requester_s = (bounds.requester_down_s.max(bounds.requester_cpu_s) - end_s).max(0.0);
    Best {
        execute_s: question
            .requester
            .model
            .metering_s(question.workload.instructions),
        distribute_s: distribute_s(question, candidate.tree.segments()),
        requester_s,
        wasters_s: WASTE * (1.0 - question.honest) * (end_s + requester_s),
        bounds,
        timeline,
        candidate,
    }
}

/// The first copy is the requester's; then everybody who has one passes it on, so that they double.
fn distribute_s(question: &Question, segments: u32) -> f64 {
    let machines: u64 = question
        .classes
        .iter()
        .map(|class| question.honest_of(class))
        .sum();
    let present = || {
        question
            .classes
            .iter()
            .filter(|class| question.honest_of(class) > 0)
    };
    let slowest = |rate: &dyn Fn(&Link) -> f64| {
        present()
            .map(|class| rate(&class.link))
            .fold(f64::INFINITY, f64::min)
    };
    let (up, down) = (
        slowest(&|link| link.up_bytes_per_s),
        slowest(&|link| link.down_bytes_per_s),
    );
    let copies = machines.min(u64::from(segments)).max(1);
    let doublings = f64::from(u64::BITS - (copies - 1).leading_zeros());
    let bytes = question.workload.shared_bytes as f64;
    bytes / question.requester.link.up_bytes_per_s.min(down) + doublings * bytes / up.min(down)
}

fn describe(question: &Question, best: &Best) -> Plan {
    let Best {
        candidate,
        timeline,
        execute_s,
        distribute_s,
        requester_s,
        wasters_s,
        bounds,
    } = best;
    let tree = &candidate.tree;
    let expected_s = best.expected_s();
    let start_s = execute_s + distribute_s;
    let (largest_s, largest) = bounds.largest();
    let busy = || {
        question
            .classes
            .iter()
            .zip(&timeline.busy_us)
            .map(|(class, &us)| (class, seconds(us)))
    };
    let machine_s = busy().map(|(_, busy_s)| busy_s).sum();
    let energy_kwh: f64 = busy().map(|(class, busy_s)| class.watts * busy_s / 3.6e6).sum();
    let hours: f64 = busy()
        .map(|(class, busy_s)| class.price_per_h * busy_s / 3600.0)
        .sum();
    let honest: u64 = question
        .classes
        .iter()
        .map(|class| question.honest_of(class))
        .sum();
    let sustained_s = bounds
        .machines_s
        .max(bounds.requester_down_s)
        .max(bounds.requester_cpu_s);
    Plan {
        expected_s,
        parts: Parts {
            execute_s: *execute_s,
            distribute_s: *distribute_s,
            segments_s: seconds(timeline.segments_us),
            // A tree may be done with all but its top before the last segment is, but not its top.
            tree_s: seconds(timeline.tree_us - timeline.segments_us),
            final_s: seconds(timeline.end_us - timeline.tree_us),
            requester_s: *requester_s,
            wasters_s: *wasters_s,
        },
        segment: SegmentSize {
            memory_bytes: candidate.memory_bytes,
            instructions: question.workload.instructions / f64::from(tree.segments()),
            segments: tree.segments().into(),
        },
        arities: candidate.arities.into(),
        levels: candidate.levels(),
        stages: Kind::ALL
            .into_iter()
            .map(|kind| StageWork {
                stage: kind.name(),
                tasks: tree.tasks().filter(|task| task.kind() == kind).count() as u64,
                machine_s: seconds(timeline.kinds_us[kind as usize]),
            })
            .collect(),
        bounds: *bounds,
        binds: if start_s > largest_s {
            Binds::Start
        } else {
            largest
        },
        machines_honest: honest,
        machines: question.classes.iter().map(|class| class.machines).sum(),
        jobs_per_h: 3600.0 / sustained_s.max(1e-9),
        requester: Traffic {
            up_bytes_max: question.workload.shared_bytes as f64 * honest.min(tree.segments().into()) as f64,
            down_bytes: candidate.proof_bytes,
            down_bytes_per_s: candidate.proof_bytes / (expected_s - start_s),
        },
        machine_s,
        energy_kwh,
        cost: hours + energy_kwh * question.price_per_kwh,
    }
}

impl Plan {
    /// The most children of its nodes, as the state machine has it.
    pub fn arities(&self) -> Arities {
        let TreeArities {
            leaf,
            internal_for_leaf,
            internal_recursive,
        } = self.arities;
        Arities {
            leaf,
            internal_for_leaf,
            internal_recursive,
        }
    }

    /// Its tree, for whoever runs it.
    pub fn tree(&self) -> Tree {
        Tree::new(self.segment.segments as u32, self.arities())
    }
}

#[cfg(test)]
mod tests;
