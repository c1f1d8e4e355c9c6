//! The costs of one program's tasks on one machine.

use std::collections::BTreeMap;

use myriad_core::{Arities, EngineName, Kind};
use thiserror::Error;

use super::{
    fit::{FEATURES, predict},
    laws::{Load, NodeLaw, SegmentLaw, amdahl, fit_stage},
};
use crate::{
    profile::{Cut, NodeSample, Program, SegmentSample, Vm},
    trees,
};

/// The cost of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Seconds with tools ready.
    pub wall_s: f64,
    /// CPU seconds of all threads.
    pub cpu_s: f64,
    /// The additional seconds of a process whose last task was of another kind, and that has to
    /// load keys.
    pub cold_s: f64,
    pub peak_bytes: u64,
    pub proof_bytes: u64,
    /// Seconds to verify the proof, on one thread.
    pub verify_s: f64,
}

/// The costs of one program's tasks on one machine.
#[derive(Clone, Debug)]
pub struct ProgramModel {
    pub(super) name: String,
    engine: EngineName,
    pub(super) vm: Vm,
    execute_per_s: f64,
    meter_per_s: f64,
    boundary_s: f64,
    pub(super) cuts: Vec<Cut>,
    segment: SegmentLaw,
    pub(super) nodes: BTreeMap<(Kind, u32), NodeLaw>,
    /// Internal-recursive nodes by their children, in trees whose internal-for-leaf nodes have one
    /// child each.
    pub(super) over_ones: BTreeMap<u32, NodeLaw>,
}

/// The width of a tree's internal-for-leaf nodes. The proof of a node over more children is larger,
/// and takes more memory and time to verify, and so do the proofs of the internal-recursive nodes
/// above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    Ones,
    More,
}

impl Below {
    /// The width for the most children of an internal-for-leaf node.
    pub fn of(internal_for_leaf: u32) -> Self {
        match internal_for_leaf {
            1 => Self::Ones,
            _ => Self::More,
        }
    }
}

/// Why no model is fitted.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FitError {
    #[error("{program} was measured without {missing}: measure again with `myriad bench`, without --quick")]
    Missing { program: String, missing: String },
}

impl ProgramModel {
    /// Fits a model to one program, which this engine proves.
    ///
    /// # Errors
    /// [`FitError::Missing`] where the program lacks a stage.
    pub fn fit(program: &Program, engine: EngineName) -> Result<Self, FitError> {
        let missing = |missing: &str| FitError::Missing {
            program: program.name.clone(),
            missing: missing.into(),
        };
        if program.segments.is_empty() {
            return Err(missing("segments"));
        }
        if program.cuts.is_empty() {
            return Err(missing("cuts"));
        }
        let samples: Vec<&SegmentSample> = program.segments.iter().collect();
        let mut nodes = BTreeMap::new();
        for stage in [
            Kind::Leaf,
            Kind::InternalForLeaf,
            Kind::InternalRecursive,
            Kind::Final,
        ] {
            let of_stage: Vec<&NodeSample> = program
                .nodes
                .iter()
                .filter(|node| node.stage == stage && !node.over_ones)
                .collect();
            if of_stage.is_empty() {
                return Err(missing(stage.name()));
            }
            nodes.extend(fit_stage(&of_stage).map(|(children, law)| ((stage, children), law)));
        }
        let over_ones: Vec<&NodeSample> = program.nodes.iter().filter(|node| node.over_ones).collect();
        let over_ones = match over_ones.as_slice() {
            [] => BTreeMap::new(),
            samples => fit_stage(samples).collect(),
        };
        Ok(Self {
            name: program.name.clone(),
            engine,
            vm: program.vm,
            execute_per_s: program.execute_instructions_per_s,
            meter_per_s: program.meter_instructions_per_s,
            boundary_s: program.boundary_s,
            cuts: program.cuts.clone(),
            segment: SegmentLaw::fit(&samples, program.execute_instructions_per_s),
            nodes,
            over_ones,
        })
    }

    /// The factor between this law's time and another machine's, with this many threads on each.
    pub(super) fn slower_than(&self, other: &Self, threads: u32) -> f64 {
        self.wall_s(other, threads) / other.wall_s(other, threads)
    }

    /// Seconds for one task of each shape that `shapes` has, the mean segment of its largest cut
    /// included, as far as both have it.
    pub(super) fn wall_s(&self, shapes: &Self, threads: u32) -> f64 {
        let load = shapes.typical_load();
        let nodes = shapes.nodes.keys().filter_map(|&(stage, children)| {
            // Narrow ones are in every profile.
            (children <= 1)
                .then(|| self.node(stage, children, Below::More, threads))
                .flatten()
        });
        self.segment(load, threads).wall_s + nodes.map(|node| node.wall_s).sum::<f64>()
    }

    /// The work of the same tasks, in seconds of one core.
    pub(super) fn work_s(&self) -> f64 {
        let nodes = self.nodes.iter().filter(|((_, children), _)| *children <= 1);
        self.segment(self.typical_load(), 1).cpu_s + nodes.map(|(_, law)| law.cpu_s).sum::<f64>()
    }

    fn typical_load(&self) -> Load {
        let cut = &self.cuts[self.cuts.len() / 2];
        Load {
            cells: cut.cells,
            interactions: cut.interactions,
        }
    }

    /// The law on a machine that takes `factor` times as long.
    pub(super) fn slowed(&self, factor: f64) -> Self {
        let times = |coefficients: &[f64; FEATURES]| coefficients.map(|coefficient| coefficient * factor);
        let mut slowed = self.clone();
        slowed.execute_per_s /= factor;
        slowed.meter_per_s /= factor;
        slowed.boundary_s *= factor;
        slowed.segment.work_s = times(&self.segment.work_s);
        slowed.segment.cpu_s = times(&self.segment.cpu_s);
        slowed.segment.verify_s = times(&self.segment.verify_s);
        slowed.segment.cold_s *= factor;
        for law in slowed.nodes.values_mut().chain(slowed.over_ones.values_mut()) {
            *law = law.slowed(factor);
        }
        slowed
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The engine that proves it.
    pub fn engine(&self) -> EngineName {
        self.engine
    }

    pub fn vm(&self) -> Vm {
        self.vm
    }

    /// The cost of a segment with this load on this many threads, without the execution up to its
    /// start.
    pub fn segment(&self, load: Load, threads: u32) -> Estimate {
        let features = load.features();
        let law = &self.segment;
        Estimate {
            wall_s: predict(&law.work_s, &features) * amdahl(law.serial, threads),
            cpu_s: predict(&law.cpu_s, &features),
            cold_s: law.cold_s,
            peak_bytes: predict(&law.peak_bytes, &features) as u64,
            proof_bytes: predict(&law.proof_bytes, &features) as u64,
            verify_s: predict(&law.verify_s, &features),
        }
    }

    /// The load of a segment of this many instructions: on a line between the cuts beside it, and
    /// through the origin beyond the last.
    pub fn load(&self, instructions: f64) -> Load {
        let mut points: Vec<&Cut> = self.cuts.iter().collect();
        points.sort_by(|a, b| a.instructions.total_cmp(&b.instructions));
        let after = points.iter().position(|cut| cut.instructions >= instructions);
        let along = |a: (f64, f64), b: (f64, f64)| {
            if b.0 > a.0 {
                a.1 + (b.1 - a.1) * (instructions - a.0) / (b.0 - a.0)
            } else {
                b.1
            }
        };
        let (a, b) = match after {
            Some(index @ 1..) => (points[index - 1], points[index]),
            // Most of a short segment's load is in any segment: the load is on the line through the
            // first two, if it falls.
            Some(_) => return self.short(points[0], points.get(1).copied(), instructions),
            None => {
                let last = points[points.len() - 1];
                let factor = instructions / last.instructions;
                return Load {
                    cells: last.cells * factor,
                    interactions: last.interactions * factor,
                };
            }
        };
        Load {
            cells: along((a.instructions, a.cells), (b.instructions, b.cells)),
            interactions: along((a.instructions, a.interactions), (b.instructions, b.interactions)),
        }
    }

    /// The load below the smallest cut: along the line through the two smallest, but not below a
    /// line to the origin and not above the smallest itself.
    fn short(&self, first: &Cut, second: Option<&Cut>, instructions: f64) -> Load {
        let share = instructions / first.instructions;
        let back = |at: f64, next: f64, wider: f64| {
            let slope = (next - at) / wider;
            (at - slope * (first.instructions - instructions)).clamp(at * share, at)
        };
        match second {
            Some(second) if second.instructions > first.instructions => {
                let wider = second.instructions - first.instructions;
                Load {
                    cells: back(first.cells, second.cells, wider),
                    interactions: back(first.interactions, second.interactions, wider),
                }
            }
            _ => Load {
                cells: first.cells * share,
                interactions: first.interactions * share,
            },
        }
    }

    /// A node, or for [`Kind::Final`] the final proof; none where nothing like it was measured.
    /// `below` matters to internal-recursive ones.
    pub fn node(&self, stage: Kind, children: u32, below: Below, threads: u32) -> Option<Estimate> {
        let law = self.law(stage, children, below)?;
        Some(Estimate {
            wall_s: law.work_s * amdahl(law.serial, threads),
            cpu_s: law.cpu_s,
            cold_s: law.cold_s,
            peak_bytes: law.peak_bytes as u64,
            proof_bytes: law.proof_bytes as u64,
            verify_s: law.verify_s,
        })
    }

    fn law(&self, stage: Kind, children: u32, below: Below) -> Option<&NodeLaw> {
        let over_ones = || self.over_ones.get(&children);
        let narrow = (stage == Kind::InternalRecursive && below == Below::Ones).then(over_ones);
        // Over larger proofs it takes no less.
        narrow.flatten().or_else(|| self.nodes.get(&(stage, children)))
    }

    /// Seconds to execute this many instructions.
    pub fn execution_s(&self, instructions: f64) -> f64 {
        instructions / self.execute_per_s
    }

    /// Seconds to execute and cut this many instructions.
    pub fn metering_s(&self, instructions: f64) -> f64 {
        instructions / self.meter_per_s
    }

    /// Seconds to find the true boundaries of this many segments.
    pub fn boundaries_s(&self, segments: u64) -> f64 {
        self.boundary_s * segments as f64
    }

    /// The cuts that were measured, by rising budget.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// The cut of the largest budget that is not above this one. Between measured budgets memory is
    /// left unused rather than promised: sizes go in steps.
    pub fn cut_for(&self, memory_bytes: u64) -> Option<&Cut> {
        self.cuts
            .iter()
            .rev()
            .find(|cut| cut.budget_bytes <= memory_bytes)
    }

    /// Instructions of a segment, on average, where a process may take this much memory.
    pub fn instructions_for(&self, memory_bytes: u64) -> Option<f64> {
        self.cut_for(memory_bytes).map(|cut| cut.instructions)
    }

    /// The arities whose nodes, up to the widest, fit into this much memory; none if no tree does.
    pub fn arities(&self, memory_bytes: u64) -> Vec<Arities> {
        let fitting = |stage: Kind, below: Below, least: u32| {
            (least..)
                .map_while(|children| self.law(stage, children, below))
                .take_while(|law| law.peak_bytes <= memory_bytes as f64)
                .count() as u32
        };
        if fitting(Kind::Final, Below::More, 1) == 0 {
            return Vec::new();
        }
        let wide = 1..=fitting(Kind::InternalForLeaf, Below::More, 1);
        // A tree of nodes with one child would never end, so they are counted from two.
        let internal_recursive: Vec<u32> = wide
            .map(|children| 1 + fitting(Kind::InternalRecursive, Below::of(children), 2))
            .collect();
        trees::arities_up_to(fitting(Kind::Leaf, Below::More, 1), &internal_recursive)
    }

    /// The least memory that any tree and the smallest measured segments fit into.
    pub fn memory_min(&self) -> u64 {
        let node = |stage, children| {
            self.nodes
                .get(&(stage, children))
                .map_or(0.0, |law| law.peak_bytes)
        };
        let nodes = [
            node(Kind::Leaf, 1),
            node(Kind::InternalForLeaf, 1),
            node(Kind::InternalRecursive, 2),
            node(Kind::Final, 1),
        ];
        nodes.into_iter().fold(self.cuts[0].budget_bytes as f64, f64::max) as u64
    }
}
