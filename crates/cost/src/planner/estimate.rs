//! The time of a whole job: its schedule, and the parts before and after.

use myriad_core::{Kind, NodeId, TaskId, Tree};

use super::{
    candidates::{Beside, Way},
    plan::{Binds, Bounds, FleetPlan, Parts, SegmentSize, StageWork, Traffic},
    question::{Link, Question},
};
use crate::trees::{Chosen, Timeline};

/// The added part of a job's time if all of the fleet wastes time. If a part of it does, the added
/// time is in proportion. Source: `docs/SIMULATION.md`, where four of five that pretend to work
/// cost a job 20 to 21 % when the factor was taken.
pub(super) const WASTE: f64 = 0.26;

/// A way that was scheduled on paper.
pub(super) struct Best {
    way: Way,
    timeline: Timeline,
    around: Around,
}

/// The parts of a job before its schedule and after it.
pub(super) struct Around {
    execute_s: f64,
    distribute_s: f64,
    requester_s: f64,
    wasters_s: f64,
    requester_down_s: f64,
    requester_cpu_s: f64,
}

impl Around {
    pub(super) fn of(question: &Question, way: &Way, timeline: &Timeline) -> Self {
        let requester_down_s = way.of.proof_bytes / question.requester.link.down_bytes_per_s;
        let requester_cpu_s = way.of.requester_cpu_s / f64::from(question.requester.cores);
        let end_s = seconds(timeline.end_us);
        let requester_s = (requester_down_s.max(requester_cpu_s) - end_s).max(0.0);
        Self {
            execute_s: question
                .requester
                .model
                .metering_s(question.workload.instructions),
            distribute_s: distribute_s(question, way.tree.segments()),
            requester_s,
            wasters_s: WASTE * (1.0 - question.honest) * (end_s + requester_s),
            requester_down_s,
            requester_cpu_s,
        }
    }

    /// The time from the request to the final proof.
    pub(super) fn expected_s(&self, timeline: &Timeline) -> f64 {
        self.execute_s + self.distribute_s + seconds(timeline.end_us) + self.requester_s + self.wasters_s
    }
}

impl Best {
    pub(super) fn of(question: &Question, way: Chosen<Beside>) -> Self {
        let Chosen { candidate, timeline } = way;
        Self {
            around: Around::of(question, &candidate, &timeline),
            way: candidate,
            timeline,
        }
    }

    pub(super) fn expected_s(&self) -> f64 {
        self.around.expected_s(&self.timeline)
    }

    fn bounds(&self) -> Bounds {
        let (work_us, path_us) = (self.way.work_us(), self.way.path_us());
        Bounds {
            machines_s: seconds(work_us),
            path_s: seconds(path_us),
            earliest_s: seconds(self.way.earliest_us.max(work_us).max(path_us)),
            requester_down_s: self.around.requester_down_s,
            requester_cpu_s: self.around.requester_cpu_s,
        }
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// The first copy is the requester's; then every holder passes it on, so that the copies double.
fn distribute_s(question: &Question, segments: u32) -> f64 {
    let machines = question.delivering();
    let slowest = |rate: &dyn Fn(&Link) -> f64| {
        let rates = question.present().map(|class| rate(&class.link));
        rates.fold(f64::INFINITY, f64::min)
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

/// Nodes on each level of a tree, leaves first.
fn levels(tree: &Tree) -> Vec<u32> {
    (1..=tree.top().level)
        .map(|level| tree.count_beside(TaskId::Node(NodeId { level, index: 0 })))
        .collect()
}

/// The plan that was put on paper, in full.
#[expect(clippy::too_many_lines, reason = "one estimate, field by field")]
pub(super) fn describe(question: &Question, best: &Best) -> FleetPlan {
    let (way, timeline, bounds) = (&best.way, &best.timeline, best.bounds());
    let Around {
        execute_s,
        distribute_s,
        requester_s,
        wasters_s,
        ..
    } = best.around;
    let tree = &way.tree;
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
    let honest = question.delivering();
    let sustained_s = bounds
        .machines_s
        .max(bounds.requester_down_s)
        .max(bounds.requester_cpu_s);
    FleetPlan {
        expected_s,
        parts: Parts {
            execute_s,
            distribute_s,
            segments_s: seconds(timeline.segments_us),
            // All of a tree but its top may be done before the last segment, but not the top.
            tree_s: seconds(timeline.tree_us - timeline.segments_us),
            final_s: seconds(timeline.end_us - timeline.tree_us),
            requester_s,
            wasters_s,
        },
        segment: SegmentSize {
            memory_bytes: way.of.memory_bytes,
            instructions: question.workload.instructions / f64::from(tree.segments()),
            segments: tree.segments().into(),
        },
        arities: way.arities.into(),
        levels: levels(tree),
        stages: Kind::ALL
            .into_iter()
            .map(|kind| StageWork {
                stage: kind.name(),
                tasks: tree.tasks().filter(|task| task.kind() == kind).count() as u64,
                machine_s: seconds(timeline.kinds_us[kind as usize]),
            })
            .collect(),
        bounds,
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
            down_bytes: way.of.proof_bytes,
            down_bytes_per_s: way.of.proof_bytes / (expected_s - start_s),
        },
        machine_s,
        energy_kwh,
        cost: hours + energy_kwh * question.price_per_kwh,
    }
}
