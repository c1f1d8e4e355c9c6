//! The segment sizes and trees that a planner chooses from, each with what its tasks take and how
//! early it could end.

use std::collections::BTreeMap;

use myriad_core::{Arities, Kind};

use super::question::{Class, PlanError, Question, SEGMENTS_MAX};
use crate::{
    model::{Below, Estimate},
    trees::{Candidate, ClassTimes, KINDS, Shape, Times},
};

/// Trips between a prover and the requester or another prover for one task, which cannot overlap:
/// to be woken, to offer, to get the lease; to ask for the children and get them; to submit, to be
/// asked for the proof and to send it.
const TRIPS: f64 = 8.0;

/// One way to do a job: a tree, and its facts beside the schedule.
pub(super) type Way = Candidate<Beside>;

/// The facts of a way beside its schedule.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    /// Budget that segments are cut for.
    pub memory_bytes: u64,
    /// Bytes of all proofs together.
    pub proof_bytes: f64,
    /// CPU seconds to verify all proofs and find all boundaries.
    pub requester_cpu_s: f64,
}

/// All ways that fit the machines.
///
/// # Errors
/// [`PlanError::Memory`] where none does, [`PlanError::Segments`] where all are of too many
/// segments.
pub(super) fn candidates(question: &Question) -> Result<Vec<Way>, PlanError> {
    let model = &question.requester.model;
    let memory = question
        .present()
        .map(|class| class.memory_bytes)
        .max()
        .unwrap_or(0);
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
            candidates.extend(way(question, segments as u32, memory_bytes, arities));
        }
    }
    if candidates.is_empty() {
        return Err(too_little());
    }
    Ok(candidates)
}

/// A way to do the job; none where some task fits no machine.
fn way(question: &Question, segments: u32, memory_bytes: u64, arities: Arities) -> Option<Way> {
    let requester = &question.requester.model;
    let job = Job {
        question,
        segments,
        memory_bytes,
        below: Below::of(arities.internal_for_leaf),
    };
    let beside = Beside {
        memory_bytes,
        proof_bytes: 0.0,
        requester_cpu_s: requester.boundaries_s(segments.into()),
    };
    let mut way = Candidate::new(segments, arities, beside, |shapes| {
        let classes = question.classes.iter().map(|class| job.times(class, &shapes));
        Some(Times {
            classes: classes.collect::<Option<_>>()?,
            shapes,
            ..Times::default()
        })
    })?;
    for (&shape, &count) in &way.counts {
        let proof = job.estimate(requester, shape, 1)?;
        way.of.proof_bytes += count as f64 * proof.proof_bytes as f64;
        way.of.requester_cpu_s += count as f64 * proof.verify_s;
    }
    Some(way)
}

/// The facts of a job that the times of its tasks follow from.
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

    /// The times of each shape on a class; none where the class's profile lacks a shape.
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

    /// The time of a task beside its proving: reaching the start of a segment, transfers, trips,
    /// and verification.
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
