//! What any task takes on a machine, from what was measured there: time by threads, memory, bytes, verification.
//!
//! Called by the drivers in `myriad-node`, which choose segment sizes and trees with it and say with it how fast they
//! are, by the planner, and by the simulator.
//!
//! The laws, whose coefficients are fitted to a [`Profile`] (`docs/PLANNING.md` has their sources):
//!
//! ```text
//! memory of a segment   m0 + m1 cells + m2 interactions  bytes; cells and interactions of the bus in all traces
//! work of a segment     w0 + w1 cells + w2 interactions  seconds on one thread
//! wall time             work (s + (1 - s) / threads)     Amdahl's law; s by stage
//! a node                what was measured for its stage and children, a line through them for others
//! ```

mod fit;

use std::collections::BTreeMap;

use myriad_core::{Arities, Kind};
use thiserror::Error;

use crate::profile::{Cut, Measured, NodeSample, Profile, Program, SegmentSample, Vm};
use fit::{FEATURES, Row, fit, predict};

/// The part of a task's work that is taken not to get faster with threads where a profile has one number of
/// threads only and cannot tell: that of the reference machine, rounded up.
const SERIAL_UNKNOWN: f64 = 0.1;
/// How finely the serial part is searched.
const SERIAL_STEPS: u32 = 100;

/// What a task takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// With tools ready.
    pub wall_s: f64,
    /// Of all threads.
    pub cpu_s: f64,
    /// What the process takes longer when its last task was of another kind, and it has to load keys.
    pub cold_s: f64,
    pub peak_bytes: u64,
    pub proof_bytes: u64,
    /// To verify the proof, on one thread.
    pub verify_s: f64,
}

/// What a segment's cost follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Field elements in all traces.
    pub cells: f64,
    /// Bus interactions.
    pub interactions: f64,
}

impl Load {
    fn features(self) -> [f64; FEATURES] {
        [1.0, self.cells, self.interactions]
    }
}

/// What tasks take on one machine.
#[derive(Clone, Debug)]
pub struct CostModel {
    /// Bytes that it hashes in a second.
    pub hash_bytes_per_s: f64,
    /// Bytes that it writes durably in a second.
    pub write_bytes_per_s: f64,
    programs: Vec<ProgramModel>,
}

/// What the tasks of one program take on one machine.
#[derive(Clone, Debug)]
pub struct ProgramModel {
    name: String,
    vm: Vm,
    execute_per_s: f64,
    meter_per_s: f64,
    boundary_s: f64,
    cuts: Vec<Cut>,
    segment: SegmentLaw,
    nodes: BTreeMap<(Kind, u32), NodeLaw>,
    /// Internal-recursive nodes by their children, in trees whose internal-for-leaf nodes have one child each.
    over_ones: BTreeMap<u32, NodeLaw>,
}

/// Of which width the internal-for-leaf nodes of a tree are. The proof of one over more children is larger, and takes more memory and
/// time to verify, and so do the proofs of the internal-recursive nodes above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    Ones,
    More,
}

impl Below {
    /// By the most children of an internal-for-leaf node.
    pub fn of(internal_for_leaf: u32) -> Self {
        match internal_for_leaf {
            1 => Self::Ones,
            _ => Self::More,
        }
    }
}

/// Coefficients for the features of a [`Load`].
#[derive(Clone, Debug)]
struct SegmentLaw {
    work_s: [f64; FEATURES],
    serial: f64,
    cpu_s: [f64; FEATURES],
    peak_bytes: [f64; FEATURES],
    proof_bytes: [f64; FEATURES],
    verify_s: [f64; FEATURES],
    cold_s: f64,
}

/// A node with a number of children.
#[derive(Clone, Copy, Debug)]
struct NodeLaw {
    /// On one thread.
    work_s: f64,
    serial: f64,
    cpu_s: f64,
    cold_s: f64,
    peak_bytes: f64,
    proof_bytes: f64,
    verify_s: f64,
}

/// How fast a machine is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Seconds of a reference core's work for each of one of its own.
    pub core_speed: f64,
    /// Seconds of a reference core's work that it does in a second with its threads.
    pub speed: f64,
}

/// Why no model is fitted.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FitError {
    #[error("{program} was measured without {missing}: measure again with `myriad bench`, without --quick")]
    Missing { program: String, missing: String },
}

impl CostModel {
    /// Fits a model to all programs of a profile.
    ///
    /// # Errors
    /// [`FitError::Missing`] where a program lacks a stage.
    pub fn fit(profile: &Profile) -> Result<Self, FitError> {
        Ok(Self {
            hash_bytes_per_s: profile.hash_bytes_per_s,
            write_bytes_per_s: profile.disk.write_bytes_per_s,
            programs: profile
                .programs
                .iter()
                .map(ProgramModel::fit)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The same with what was not measured taken from another machine, as much faster or slower as this one was at what
    /// was measured on both: a quick look at a machine tells how fast it is, and the reference what of.
    #[must_use]
    pub fn completed_by(mut self, reference: &Self) -> Self {
        let own = self.clone();
        let pace = own.pace(reference, 1);
        for other in &reference.programs {
            match self
                .programs
                .iter_mut()
                .find(|program| program.name == other.name)
            {
                Some(program) => {
                    let slower = own
                        .program(&other.name)
                        .map_or(1.0, |own| own.slower_than(other, 1));
                    for (&children, law) in &other.over_ones {
                        let missing = || law.slowed(slower);
                        program.over_ones.entry(children).or_insert_with(missing);
                    }
                    for (&shape, law) in &other.nodes {
                        program.nodes.entry(shape).or_insert_with(|| law.slowed(slower));
                    }
                    let known = program.cuts.last().map_or(0, |cut| cut.budget_bytes);
                    let larger = other.cuts.iter().filter(|cut| cut.budget_bytes > known);
                    program.cuts.extend(larger.cloned());
                }
                None => self.programs.push(other.slowed(1.0 / pace.core_speed)),
            }
        }
        self
    }

    /// How fast this machine is beside the reference, at the programs that both were measured with.
    pub fn pace(&self, reference: &Self, threads: u32) -> Pace {
        let common: Vec<(&ProgramModel, &ProgramModel)> = self
            .programs
            .iter()
            .filter_map(|own| Some((own, reference.program(&own.name)?)))
            .collect();
        if common.is_empty() {
            return Pace {
                core_speed: 1.0,
                speed: f64::from(threads),
            };
        }
        let core_slower = mean(common.iter().map(|(own, other)| own.slower_than(other, 1)));
        // Work is counted in seconds of one core.
        let speeds = common
            .iter()
            .map(|(own, other)| other.work_s() / own.wall_s(other, threads));
        Pace {
            core_speed: 1.0 / core_slower,
            speed: mean(speeds),
        }
    }

    pub fn programs(&self) -> &[ProgramModel] {
        &self.programs
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&ProgramModel> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// The first program that wants this virtual machine.
    pub fn of(&self, vm: Vm) -> Option<&ProgramModel> {
        self.programs.iter().find(|program| program.vm == vm)
    }
}

impl ProgramModel {
    /// Fits a model to one program.
    ///
    /// # Errors
    /// See [`CostModel::fit`].
    pub fn fit(program: &Program) -> Result<Self, FitError> {
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

    /// How many times as long this takes as the same on another machine, with so many threads on each.
    fn slower_than(&self, other: &Self, threads: u32) -> f64 {
        self.wall_s(other, threads) / other.wall_s(other, threads)
    }

    /// One task of each shape that `shapes` has, the mean segment of its largest cut included, as far as both have it.
    fn wall_s(&self, shapes: &Self, threads: u32) -> f64 {
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
    fn work_s(&self) -> f64 {
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

    /// On a machine that takes so many times as long.
    fn slowed(&self, factor: f64) -> Self {
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

    pub fn vm(&self) -> Vm {
        self.vm
    }

    /// A segment with this load, on so many threads, without what leads to its start.
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

    /// What a segment of so many instructions has to prove: on a line between the cuts beside it, and through
    /// the origin beyond the last.
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
            // What a short segment has in it is mostly there in any: the line through the first two, if it falls.
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

    /// Below the smallest cut: along the line through the two smallest, but not below a line to the origin and not
    /// above the smallest itself.
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

    /// A node, or for [`Kind::Final`] the final proof; none where nothing like it was measured. `below` matters to
    /// internal-recursive ones.
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

    /// Seconds to execute so many instructions.
    pub fn execution_s(&self, instructions: f64) -> f64 {
        instructions / self.execute_per_s
    }

    /// Seconds to execute and cut so many instructions.
    pub fn metering_s(&self, instructions: f64) -> f64 {
        instructions / self.meter_per_s
    }

    /// Seconds to find the true boundaries of so many segments.
    pub fn boundaries_s(&self, segments: u64) -> f64 {
        self.boundary_s * segments as f64
    }

    /// The cuts that were measured, by rising budget.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// The cut of the largest budget that is not above this one. Between measured budgets memory is left unused
    /// rather than promised: sizes go in steps.
    pub fn cut_for(&self, memory_bytes: u64) -> Option<&Cut> {
        self.cuts
            .iter()
            .rev()
            .find(|cut| cut.budget_bytes <= memory_bytes)
    }

    /// Instructions of a segment, on average, where a process may take so much memory.
    pub fn instructions_for(&self, memory_bytes: u64) -> Option<f64> {
        self.cut_for(memory_bytes).map(|cut| cut.instructions)
    }

    /// The arities whose nodes, up to the widest, fit into so much memory; none if no tree does.
    pub fn arities(&self, memory_bytes: u64) -> Vec<Arities> {
        let fitting = |stage: Kind, below: Below, least: u32| {
            (least..)
                .map_while(|children| self.law(stage, children, below))
                .take_while(|law| law.peak_bytes <= memory_bytes as f64)
                .count() as u32
        };
        let fits_final = fitting(Kind::Final, Below::More, 1) > 0;
        let leaf = fitting(Kind::Leaf, Below::More, 1);
        let internal = fitting(Kind::InternalForLeaf, Below::More, 1);
        let mut all = Vec::new();
        for leaf in (1..=leaf).filter(|_| fits_final) {
            for internal_for_leaf in 1..=internal {
                let recursive = fitting(Kind::InternalRecursive, Below::of(internal_for_leaf), 2);
                for internal_recursive in 2..2 + recursive {
                    all.push(Arities {
                        leaf,
                        internal_for_leaf,
                        internal_recursive,
                    });
                }
            }
        }
        all
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

impl NodeLaw {
    fn slowed(&self, factor: f64) -> Self {
        Self {
            work_s: self.work_s * factor,
            cpu_s: self.cpu_s * factor,
            cold_s: self.cold_s * factor,
            verify_s: self.verify_s * factor,
            ..*self
        }
    }
}

/// The time that so many threads take, as a part of what one takes.
fn amdahl(serial: f64, threads: u32) -> f64 {
    serial + (1.0 - serial) / f64::from(threads.max(1))
}

/// The features of each measurement of wall time are scaled by what its threads do, so that one fit takes them all; the
/// serial part is the one with which it fits best.
fn fit_wall(rows: &[(Row, u32)]) -> ([f64; FEATURES], f64) {
    let with = |serial: f64| {
        let scaled: Vec<Row> = rows
            .iter()
            .map(|(row, threads)| Row {
                features: row.features.map(|feature| feature * amdahl(serial, *threads)),
                value: row.value,
            })
            .collect();
        fit(&scaled)
    };
    if rows.iter().all(|(_, threads)| *threads == rows[0].1) {
        return (with(SERIAL_UNKNOWN).0, SERIAL_UNKNOWN);
    }
    let tried = (0..=SERIAL_STEPS).map(|step| {
        let serial = f64::from(step) / f64::from(SERIAL_STEPS);
        let (coefficients, error) = with(serial);
        (coefficients, serial, error)
    });
    let (coefficients, serial, _) = tried
        .min_by(|a, b| a.2.total_cmp(&b.2))
        .expect("some step is tried");
    (coefficients, serial)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// Those with tools ready, or all where there are none.
fn warm<'a, T>(samples: &[&'a T], measured: impl Fn(&T) -> &Measured) -> Vec<&'a T> {
    let warm: Vec<&T> = samples.iter().copied().filter(|s| !measured(s).cold).collect();
    if warm.is_empty() { samples.to_vec() } else { warm }
}

impl SegmentLaw {
    /// There is at least one sample.
    fn fit(samples: &[&SegmentSample], execute_per_s: f64) -> Self {
        let warm = warm(samples, |s| &s.measured);
        let load = |s: &SegmentSample| Load {
            cells: s.cells as f64,
            interactions: s.interactions as f64,
        };
        // What led to the start of the segment is not part of it.
        let without_start = |s: &SegmentSample, measured: f64| {
            (measured - s.instructions_before as f64 / execute_per_s).max(measured / 2.0)
        };
        let rows = |value: &dyn Fn(&SegmentSample) -> f64| -> Vec<Row> {
            warm.iter()
                .map(|s| Row {
                    features: load(s).features(),
                    value: value(s),
                })
                .collect()
        };
        let walls: Vec<(Row, u32)> = rows(&|s| without_start(s, s.measured.undisturbed_wall_s()))
            .into_iter()
            .zip(warm.iter().map(|s| s.measured.threads))
            .collect();
        let (work_s, serial) = fit_wall(&walls);
        let cold_s = mean(samples.iter().filter(|s| s.measured.cold).map(|s| {
            let warm = predict(&work_s, &load(s).features()) * amdahl(serial, s.measured.threads);
            (without_start(s, s.measured.undisturbed_wall_s()) - warm).max(0.0)
        }));
        Self {
            work_s,
            serial,
            cpu_s: fit(&rows(&|s| without_start(s, s.measured.cpu_s))).0,
            peak_bytes: fit(&rows(&|s| s.measured.peak_bytes as f64)).0,
            proof_bytes: fit(&rows(&|s| s.measured.proof_bytes as f64)).0,
            verify_s: fit(&rows(&|s| s.measured.verify_s)).0,
            cold_s,
        }
    }
}

/// Nodes of one stage, by their children: as they were measured, and on a line through these where they were
/// not, up to the widest that was.
fn fit_stage(samples: &[&NodeSample]) -> impl Iterator<Item = (u32, NodeLaw)> {
    let warm = warm(samples, |s| &s.measured);
    let line = |s: &NodeSample, value: f64| Row {
        features: [1.0, f64::from(s.children), 0.0],
        value,
    };
    let fit_of = |value: &dyn Fn(&Measured) -> f64| {
        let rows: Vec<Row> = warm.iter().map(|s| line(s, value(&s.measured))).collect();
        fit(&rows).0
    };
    let walls: Vec<(Row, u32)> = warm
        .iter()
        .map(|s| (line(s, s.measured.undisturbed_wall_s()), s.measured.threads))
        .collect();
    let (work, serial) = fit_wall(&walls);
    let cold_s = mean(samples.iter().filter(|s| s.measured.cold).filter_map(|s| {
        let same = |w: &&&NodeSample| {
            !w.measured.cold && w.children == s.children && w.measured.threads == s.measured.threads
        };
        let warm: Vec<f64> = warm
            .iter()
            .filter(same)
            .map(|w| w.measured.undisturbed_wall_s())
            .collect();
        (!warm.is_empty()).then(|| (s.measured.undisturbed_wall_s() - mean(warm.into_iter())).max(0.0))
    }));
    let lines = [
        fit_of(&|m| m.cpu_s),
        fit_of(&|m| m.peak_bytes as f64),
        fit_of(&|m| m.proof_bytes as f64),
        fit_of(&|m| m.verify_s),
    ];
    let widest = warm.iter().map(|s| s.children).max().unwrap_or(0);
    let laws: Vec<(u32, NodeLaw)> = (1..=widest)
        .map(|children| {
            let same: Vec<&&NodeSample> = warm.iter().filter(|s| s.children == children).collect();
            let or_line = |law: &[f64; FEATURES], value: &dyn Fn(&Measured) -> f64| {
                if same.is_empty() {
                    predict(law, &[1.0, f64::from(children), 0.0])
                } else {
                    mean(same.iter().map(|s| value(&s.measured)))
                }
            };
            let law = NodeLaw {
                work_s: or_line(&work, &|m| m.undisturbed_wall_s() / amdahl(serial, m.threads)),
                serial,
                cpu_s: or_line(&lines[0], &|m| m.cpu_s),
                cold_s,
                // The largest that was seen, with keys to load too: it is what has to fit.
                peak_bytes: samples
                    .iter()
                    .filter(|s| s.children == children)
                    .map(|s| s.measured.peak_bytes as f64)
                    .reduce(f64::max)
                    .unwrap_or_else(|| predict(&lines[1], &[1.0, f64::from(children), 0.0])),
                proof_bytes: or_line(&lines[2], &|m| m.proof_bytes as f64),
                verify_s: or_line(&lines[3], &|m| m.verify_s),
            };
            (children, law)
        })
        .collect();
    laws.into_iter()
}

#[cfg(test)]
mod tests;
