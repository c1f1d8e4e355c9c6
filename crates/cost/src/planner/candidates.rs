//! The segment sizes and trees that a planner chooses from, each with what its tasks take and how early it could end.

use std::collections::BTreeMap;

use myriad_core::{Arities, Kind, NodeId, TaskId, Tree};

use super::question::{Class, PlanError, Question, SEGMENTS_MAX};
use crate::{
    model::{Below, Estimate},
    trees::{ClassTimes, KINDS, Shape, Timeline, Times, outline},
};

/// Ways that something goes between a prover and the requester or another prover for one task, which cannot overlap:
/// to be woken, to offer, to get the lease; to ask for the children and get them; to submit, to be asked for the
/// proof and to send it.
const TRIPS: f64 = 8.0;

/// One way to do a job.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Budget that segments are cut for.
    pub memory_bytes: u64,
    pub arities: Arities,
    pub tree: Tree,
    pub times: Times,
    /// It cannot end before this.
    pub earliest_us: u64,
    /// Of all proofs together.
    pub proof_bytes: f64,
    /// To verify all proofs and find all boundaries.
    pub requester_cpu_s: f64,
    /// How many tasks of each shape there are.
    pub counts: BTreeMap<Shape, u64>,
}

/// All that fit the machines.
///
/// # Errors
/// [`PlanError::Memory`] where none does, [`PlanError::Segments`] where all are of too many segments.
pub(super) fn candidates(question: &Question) -> Result<Vec<Candidate>, PlanError> {
    let model = &question.requester.model;
    let present = || {
        question
            .classes
            .iter()
            .filter(|class| question.honest_of(class) > 0)
    };
    let memory = present().map(|class| class.memory_bytes).max().unwrap_or(0);
    let too_little = || PlanError::Memory {
        actual: memory,
        needed: model.memory_min(),
    };
    let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
    for cut in model.cuts().iter().filter(|cut| cut.budget_bytes <= memory) {
        let segments = (question.workload.instructions / cut.instructions)
            .ceil()
            .max(1.0);
        // The least memory for as many; a job of one segment needs no more.
        sizes.entry(segments as u64).or_insert(cut.budget_bytes);
    }
    let fewest = *sizes.keys().next().ok_or_else(too_little)?;
    sizes.retain(|&segments, _| segments <= SEGMENTS_MAX);
    if sizes.is_empty() {
        return Err(PlanError::Segments { segments: fewest });
    }
    let arities = model.arities(memory);
    let mut candidates = Vec::new();
    for (&segments, &memory_bytes) in &sizes {
        for &arities in &arities {
            candidates.extend(Candidate::new(question, segments as u32, memory_bytes, arities));
        }
    }
    if candidates.is_empty() {
        return Err(too_little());
    }
    Ok(candidates)
}

impl Candidate {
    /// None where some task fits nobody.
    fn new(question: &Question, segments: u32, memory_bytes: u64, arities: Arities) -> Option<Self> {
        let tree = Tree::new(segments, arities);
        let levels = outline(&tree);
        let mut counts: BTreeMap<Shape, u64> = BTreeMap::new();
        for (shape, count) in levels.iter().flatten().filter(|(_, count)| *count > 0) {
            *counts.entry(*shape).or_default() += count;
        }
        let shapes: BTreeMap<Shape, usize> = counts.keys().copied().zip(0..).collect();
        let job = Job {
            question,
            segments,
            memory_bytes,
            below: Below::of(arities.internal_for_leaf),
        };
        let classes: Option<Vec<ClassTimes>> = question
            .classes
            .iter()
            .map(|class| job.times(class, &shapes))
            .collect();
        let times = Times {
            shapes,
            classes: classes?,
        };
        if !times.is_possible() {
            return None;
        }
        let mut candidate = Self {
            memory_bytes,
            arities,
            earliest_us: 0,
            proof_bytes: 0.0,
            requester_cpu_s: question.requester.model.boundaries_s(segments.into()),
            counts,
            tree,
            times,
        };
        for (&shape, &count) in &candidate.counts {
            let proof = job.estimate(&question.requester.model, shape, 1)?;
            candidate.proof_bytes += count as f64 * proof.proof_bytes as f64;
            candidate.requester_cpu_s += count as f64 * proof.verify_s;
        }
        candidate.earliest_us = candidate.times.earliest_us(&levels);
        Some(candidate)
    }

    /// All work by all machines.
    pub(super) fn work_us(&self) -> u64 {
        let counts = self.counts.iter();
        self.times
            .work_us(counts.map(|(&shape, &count)| (shape, count as f64)))
    }

    /// Nodes on each level of the tree, leaves first.
    pub(super) fn levels(&self) -> Vec<u32> {
        (1..=self.tree.top().level)
            .map(|level| self.tree.count_beside(TaskId::Node(NodeId { level, index: 0 })))
            .collect()
    }

    /// A job that is too large to be put on paper: Graham's bound, under which every list schedule is. Where segments end is
    /// where their share of the work is done.
    pub(super) fn outlined(&self, work_us: u64, path_us: u64) -> Timeline {
        let mut timeline = Timeline {
            busy_us: vec![0; self.times.classes.len()],
            ..Timeline::default()
        };
        for (&(kind, children), &count) in &self.counts {
            let shape = self.times.shapes[&(kind, children)];
            let rate = |class: &ClassTimes| match class.tasks[shape] {
                Some(time) => class.machines as f64 / time.max(1) as f64,
                None => 0.0,
            };
            let all: f64 = self.times.classes.iter().map(rate).sum();
            for (class, busy) in self.times.classes.iter().zip(&mut timeline.busy_us) {
                let tasks = count as f64 * rate(class) / all;
                let time = (tasks * class.tasks[shape].unwrap_or(0) as f64) as u64;
                *busy += time;
                timeline.kinds_us[kind as usize] += time;
            }
        }
        let of = |kind: Kind| timeline.kinds_us[kind as usize] as f64;
        let all: f64 = Kind::ALL.into_iter().map(of).sum();
        timeline.end_us = work_us + path_us;
        timeline.segments_us = (work_us as f64 * of(Kind::Segment) / all.max(1.0)) as u64;
        let last = self
            .times
            .fastest(self.times.shapes[&(Kind::Final, 1)])
            .unwrap_or(0);
        timeline.tree_us = (timeline.end_us - last.min(timeline.end_us)).max(timeline.segments_us);
        timeline
    }
}

/// What the times of tasks follow from.
struct Job<'a> {
    question: &'a Question,
    segments: u32,
    memory_bytes: u64,
    below: Below,
}

impl Job<'_> {
    fn estimate(&self, model: &crate::model::ProgramModel, shape: Shape, threads: u32) -> Option<Estimate> {
        match shape {
            (Kind::Segment, _) => {
                let instructions = self.question.workload.instructions / f64::from(self.segments);
                Some(model.segment(model.load(instructions), threads))
            }
            (stage, children) => model.node(stage, children, self.below, threads),
        }
    }

    /// None where the class's profile lacks a shape, so that nobody knows what it takes there.
    fn times(&self, class: &Class, shapes: &BTreeMap<Shape, usize>) -> Option<ClassTimes> {
        let mut times = ClassTimes {
            machines: self.question.honest_of(class),
            tasks: vec![None; shapes.len()],
            cold: [0; KINDS],
        };
        for (&shape, &place) in shapes {
            let estimate = self.estimate(&class.model, shape, class.threads)?;
            let needed = match shape.0 {
                Kind::Segment => self.memory_bytes,
                _ => estimate.peak_bytes,
            };
            times.cold[shape.0 as usize] = microseconds(estimate.cold_s);
            if needed <= class.memory_bytes {
                let elsewhere_s = self.elsewhere_s(class, shape, &estimate);
                times.tasks[place] = Some(microseconds(estimate.wall_s + elsewhere_s));
            }
        }
        Some(times)
    }

    /// What a task takes beside its proving: reaching the start of a segment, bytes, ways, and being verified.
    fn elsewhere_s(&self, class: &Class, (kind, children): Shape, estimate: &Estimate) -> f64 {
        let model = &class.model;
        let proof = |stage, children| {
            let node = model.node(stage, children, self.below, 1);
            node.map_or(0.0, |node| node.proof_bytes as f64)
        };
        let segment = || {
            let segment = self.estimate(model, (Kind::Segment, 0), 1);
            segment.map_or(0.0, |segment| segment.proof_bytes as f64)
        };
        let fetched = match kind {
            Kind::Segment => 0.0,
            Kind::Leaf => f64::from(children) * segment(),
            Kind::InternalForLeaf => f64::from(children) * proof(Kind::Leaf, 1),
            Kind::InternalRecursive => f64::from(children) * proof(Kind::InternalForLeaf, 1),
            // The last segment's proof shows the public values.
            Kind::Final => proof(Kind::InternalRecursive, 2) + segment(),
        };
        // Segments start half way through the execution, on average.
        let start_s = match kind {
            Kind::Segment => model.execution_s(self.question.workload.instructions / 2.0),
            _ => 0.0,
        };
        let (link, requester) = (&class.link, &self.question.requester.link);
        let submit = link.up_bytes_per_s.min(requester.down_bytes_per_s);
        start_s
            + TRIPS * link.latency_s
            + fetched / link.down_bytes_per_s
            + estimate.proof_bytes as f64 / submit
            + estimate.verify_s
    }
}

fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}
