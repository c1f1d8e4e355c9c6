//! Measuring one program.

use std::{collections::BTreeSet, time::Instant};

use myriad_core::Kind;
use myriad_engine::{
    ExecuteError, KeyCache, Level, MemoryBudget, Plan, Program, Segment, Verifier, VerifyError, VmConfig,
    worker::{Failure, Usage, Worker, WorkerConfig, WorkerError},
};
use myriad_sim::profile::{Cut, Measured, NodeSample, Program as ProgramProfile, SegmentSample, Vm};

use super::{BenchError, BenchOptions, Step, Subject};

/// An execution is repeated so many times, and the fastest counts: what is slower was disturbed.
const EXECUTIONS: usize = 3;
/// Children of an internal-for-leaf node where nodes above it are measured, but for the narrow ones. The proof of one over more children
/// is larger and takes more to verify: internal-recursive nodes of three take 2.5 GiB over nodes of one child each, and 4.1 GiB
/// over nodes of two (`docs/MEASUREMENTS.md`).
const PAIR: usize = 2;
/// Internal-for-leaf nodes of the tree that is made, so that there are internal-recursive ones of every arity, and where one
/// of each kind is enough.
const WIDTH: usize = 3;
const WIDTH_MIN: usize = 2;

/// The virtual machine that a program wants.
pub(crate) fn vm_of(config: &VmConfig) -> Vm {
    if config.is_plain() {
        Vm::Plain
    } else {
        Vm::Extended
    }
}

pub(super) fn measure(
    subject: &Subject,
    options: &BenchOptions,
    observe: &mut dyn FnMut(&Step),
) -> Result<ProgramProfile, BenchError> {
    let program = Program::load(&subject.image, subject.openvm_toml.as_deref())?;
    observe(&Step::Begins {
        what: format!("{}: keys", subject.name),
    });
    let verifier = Verifier::new(&program, &KeyCache::new(options.data_dir.join("keys")))?;
    let mut threads = options.threads.clone();
    threads.sort_unstable_by(|a, b| b.cmp(a));
    threads.dedup();
    let mut bench = Bench {
        subject,
        options,
        config: program.config(),
        verifier: &verifier,
        observe,
        profile: ProgramProfile {
            name: subject.name.clone(),
            vm: vm_of(program.config()),
            execute_instructions_per_s: 0.0,
            meter_instructions_per_s: 0.0,
            boundary_s: 0.0,
            cuts: Vec::new(),
            segments: Vec::new(),
            nodes: Vec::new(),
        },
    };
    bench.executions(threads[0])?;
    for (place, &threads) in threads.iter().enumerate() {
        let first = place == 0;
        bench.segments(threads, first)?;
        // What threads do to segments they do to nodes, roughly; a quick look leaves it at that.
        if first || options.every_arity {
            bench.whole(threads, first)?;
        }
    }
    Ok(bench.profile)
}

struct Bench<'a> {
    subject: &'a Subject,
    options: &'a BenchOptions,
    config: &'a VmConfig,
    verifier: &'a Verifier,
    observe: &'a mut dyn FnMut(&Step),
    profile: ProgramProfile,
}

/// A proof, and what it took.
struct Made {
    proof: Vec<u8>,
    usage: Usage,
    cold: bool,
    verify_s: f64,
}

impl Made {
    fn measured(&self, threads: usize) -> Measured {
        Measured {
            threads: threads as u32,
            cold: self.cold,
            wall_s: seconds(self.usage.wall.as_secs_f64()),
            cpu_s: seconds(self.usage.cpu.as_secs_f64()),
            waited_s: self.usage.waited.as_secs_f64(),
            peak_bytes: self.usage.peak_bytes,
            proof_bytes: self.proof.len() as u64,
            verify_s: self.verify_s,
        }
    }
}

/// More than none, whatever the clock says.
fn seconds(measured: f64) -> f64 {
    measured.max(1e-6)
}

impl Bench<'_> {
    fn begins(&mut self, what: &str) {
        (self.observe)(&Step::Begins {
            what: format!("{}: {what}", self.subject.name),
        });
    }

    fn measured(&mut self, what: &str, usage: Usage) {
        (self.observe)(&Step::Measured {
            what: format!("{}: {what}", self.subject.name),
            wall: usage.wall,
            peak_bytes: usage.peak_bytes,
        });
    }

    fn skipped(&mut self, what: &str, why: String) {
        (self.observe)(&Step::Skipped {
            what: format!("{}: {what}", self.subject.name),
            why,
        });
    }

    fn worker(&self, threads: usize, long: bool) -> Result<Worker, WorkerError> {
        let config = WorkerConfig {
            threads,
            ..self.options.worker.clone()
        };
        let mut worker = Worker::spawn(&config)?;
        let input = if long {
            &self.subject.long
        } else {
            &self.subject.short
        };
        worker.load(
            self.subject.image.clone(),
            self.subject.openvm_toml.clone(),
            input.clone(),
        )?;
        Ok(worker)
    }

    /// Cuts for every budget, executes, and finds boundaries.
    fn executions(&mut self, threads: usize) -> Result<(), BenchError> {
        let mut worker = self.worker(threads, true)?;
        let mut fastest = f64::INFINITY;
        let mut last: Option<Plan> = None;
        for &budget in &self.options.cuts {
            let what = format!("cutting for {budget}");
            self.begins(&what);
            let Some((plan, usage)) = plan(&mut worker, budget)? else {
                self.skipped(&what, "it is too small for any segment".into());
                continue;
            };
            fastest = fastest.min(usage.wall.as_secs_f64());
            self.profile.cuts.push(cut(budget, &plan));
            self.measured(&what, usage);
            last = Some(plan);
        }
        let Some(plan) = last else {
            return Err(BenchError::Memory {
                name: self.subject.name.clone(),
                needed: self.options.memory,
                allowed: self.options.cuts.last().copied().unwrap_or(self.options.memory),
            });
        };
        self.profile.meter_instructions_per_s = plan.instructions as f64 / seconds(fastest);
        self.begins("executing");
        let mut least = |instructions: u64| -> Result<f64, WorkerError> {
            let mut least = f64::INFINITY;
            for _ in 0..EXECUTIONS {
                least = least.min(worker.execute(instructions)?.wall.as_secs_f64());
            }
            Ok(least)
        };
        // What it takes before the first instruction is part of every segment's time, not of this.
        let rest_s = least(plan.instructions)? - least(1)?;
        self.profile.execute_instructions_per_s = (plan.instructions as f64 / seconds(rest_s)).max(1.0);
        self.begins("finding boundaries");
        let (_, usage) = worker.boundaries(&plan.segments)?;
        self.profile.boundary_s = seconds(usage.wall.as_secs_f64() / plan.segments.len() as f64);
        self.measured("finding boundaries", usage);
        Ok(())
    }

    /// Proves some segments for each budget: one in the middle, and at first the largest, too.
    fn segments(&mut self, threads: usize, first: bool) -> Result<(), BenchError> {
        let mut worker = self.worker(threads, true)?;
        let mut plans: Vec<(MemoryBudget, Plan)> = Vec::new();
        for &budget in self.options.budgets.iter().filter(|&&b| b <= self.options.memory) {
            // Sizes go in steps: a budget that is cut as the one before has nothing new.
            match plan(&mut worker, budget)? {
                Some((plan, _))
                    if plans
                        .last()
                        .is_none_or(|(_, last)| last.segments != plan.segments) =>
                {
                    plans.push((budget, plan));
                }
                _ => {}
            }
        }
        let count = plans.len();
        let mut cold = true;
        for (place, (budget, plan)) in plans.into_iter().enumerate() {
            // With fewer threads all that is asked is what threads do, which two sizes tell, or one.
            let last = place + 1 == count;
            if !(first || place == 0 || (last && self.options.every_arity)) {
                continue;
            }
            let middle = plan.segments.len() / 2;
            let largest = (0..plan.segments.len())
                .max_by_key(|&index| plan.segments[index].cells)
                .unwrap_or(middle);
            let mut picked = vec![middle];
            if first && self.options.every_arity && largest != middle {
                picked.push(largest);
            }
            for index in picked {
                let segment = &plan.segments[index];
                // The first one twice: what it takes longer the first time is the loading of keys.
                for cold in if std::mem::take(&mut cold) {
                    vec![true, false]
                } else {
                    vec![false]
                } {
                    let what = format!(
                        "segment {index} of {} at {budget} on {}{}",
                        plan.segments.len(),
                        on(threads),
                        if cold { ", keys not loaded" } else { "" }
                    );
                    let made = self.prove(&mut worker, segment, &plan.public_values, &what, cold)?;
                    let sample = segment_sample(budget, segment, made.measured(threads));
                    self.profile.segments.push(sample);
                }
            }
        }
        Ok(())
    }

    /// Proves the short job whole: nodes of every arity with the first number of threads, some of each kind with
    /// others.
    fn whole(&mut self, threads: usize, first: bool) -> Result<(), BenchError> {
        let budget = self.subject.whole_budget;
        let mut worker = self.worker(threads, false)?;
        let every = first && self.options.every_arity;
        let least = if self.options.every_arity {
            PAIR * WIDTH
        } else {
            WIDTH_MIN
        };
        let plan = match plan(&mut worker, budget)? {
            Some((plan, _)) if plan.segments.len() >= least => plan,
            planned => {
                return Err(BenchError::TooShort {
                    name: self.subject.name.clone(),
                    actual: planned.map_or(0, |(plan, _)| plan.segments.len()),
                    least,
                    budget,
                });
            }
        };
        let mut proofs = Vec::new();
        for segment in &plan.segments {
            let what = format!("segment {} for the tree", segment.index);
            let cold = segment.index == 0;
            let made = self.prove(&mut worker, segment, &plan.public_values, &what, cold)?;
            let sample = segment_sample(budget, segment, made.measured(threads));
            self.profile.segments.push(sample);
            proofs.push(made.proof);
        }
        let last_segment = proofs[proofs.len() - 1].clone();
        let mut level = Level::LEAF;
        while level < Level::INTERNAL_RECURSIVE || proofs.len() > 1 {
            let below = proofs;
            proofs = self.level(&mut worker, level, &below, threads, every)?;
            if level == Level::INTERNAL_FOR_LEAF && self.options.every_arity {
                self.narrow(&mut worker, &below, threads)?;
            }
            level = level.above();
        }
        let top = Level::new(level.number() - 1).expect("it was made");
        let what = format!("final on {}", on(threads));
        let verifier = self.verifier;
        self.begins(&what);
        let (proof, usage) = worker.finish(top, proofs.swap_remove(0), last_segment)?;
        let verify_s = verified(&what, || verifier.final_proof(&proof).map(drop))?;
        self.measured(&what, usage);
        let made = Made {
            proof,
            usage,
            cold: false,
            verify_s,
        };
        self.node(Kind::Final, 1, false, &made, threads);
        Ok(())
    }

    /// Makes internal-recursive nodes over internal-for-leaf ones of one leaf each: with the smallest proofs to verify that there are,
    /// more of them fit.
    fn narrow(&mut self, worker: &mut Worker, leaves: &[Vec<u8>], threads: usize) -> Result<(), BenchError> {
        let level = Level::INTERNAL_RECURSIVE;
        let fits =
            |children: usize| level.peak_bytes(self.config, children, 1) <= self.options.memory.bytes();
        let most = level.children_max(self.config).min(leaves.len());
        let widths: Vec<usize> = (2..=most).filter(|&children| fits(children)).collect();
        let Some(&widest) = widths.last() else {
            return Ok(());
        };
        let ones = leaves[..widest].iter().map(|leaf| {
            let (proof, _) = worker.aggregate(Level::INTERNAL_FOR_LEAF, vec![leaf.clone()])?;
            Ok(proof)
        });
        let ones: Vec<Vec<u8>> = ones.collect::<Result<_, BenchError>>()?;
        // The widest once more, with keys that are loaded.
        for (cold, children) in [(true, widest)]
            .into_iter()
            .chain(widths.iter().map(|&width| (false, width)))
        {
            let below = &ones[..children];
            self.aggregate(worker, level, below, threads, true, cold)?;
        }
        Ok(())
    }

    /// Makes a level of the tree: leaves of one segment, internal-for-leaf nodes of a pair of them where that fits, and
    /// internal-recursive ones as wide as fits; also one node of each other arity, if `every` is to be seen. For a quick
    /// look there are as few nodes as there can be.
    fn level(
        &mut self,
        worker: &mut Worker,
        level: Level,
        below: &[Vec<u8>],
        threads: usize,
        every: bool,
    ) -> Result<Vec<Vec<u8>>, BenchError> {
        let kind = kind_of(level);
        let fits =
            |children: usize| level.peak_bytes(self.config, children, PAIR) <= self.options.memory.bytes();
        let least = if kind == Kind::InternalRecursive {
            2.min(below.len())
        } else {
            1
        };
        let most = level.children_max(self.config).min(below.len());
        if !fits(least) {
            return Err(BenchError::Memory {
                name: self.subject.name.clone(),
                needed: MemoryBudget::from_bytes(level.peak_bytes(self.config, least, PAIR)),
                allowed: self.options.memory,
            });
        }
        // The top has to take all that there is.
        let groups: Vec<usize> = match kind {
            Kind::InternalRecursive if fits(most) => split(below.len(), most),
            Kind::InternalRecursive => split(below.len(), least),
            _ if !self.options.every_arity => split_into(
                below.len(),
                WIDTH_MIN.min(below.len()).max(below.len().div_ceil(most)),
            ),
            Kind::InternalForLeaf if fits(PAIR) => split(below.len(), PAIR),
            _ => split(below.len(), 1),
        };
        // The first node of a kind is made with keys to load. Whatever was seen only so is made again.
        let mut cold = true;
        let mut above = Vec::new();
        let mut warm = BTreeSet::new();
        let mut taken = 0;
        for &children in &groups {
            if !cold {
                warm.insert(children);
            }
            let below = &below[taken..taken + children];
            above.push(self.aggregate(worker, level, below, threads, false, std::mem::take(&mut cold))?);
            taken += children;
        }
        let others = 1..=most;
        let asked = |children: &usize| every || *children == groups[0];
        for children in
            others.filter(|children| asked(children) && !warm.contains(children) && fits(*children))
        {
            self.aggregate(worker, level, &below[..children], threads, false, false)?;
        }
        Ok(above)
    }

    fn aggregate(
        &mut self,
        worker: &mut Worker,
        level: Level,
        below: &[Vec<u8>],
        threads: usize,
        over_ones: bool,
        cold: bool,
    ) -> Result<Vec<u8>, BenchError> {
        let kind = kind_of(level);
        let over = if over_ones { " over nodes of one" } else { "" };
        let what = format!("{} of {}{over} on {}", kind.name(), below.len(), on(threads));
        self.begins(&what);
        let (proof, usage) = worker.aggregate(level, below.to_vec())?;
        let verifier = self.verifier;
        let verify_s = verified(&what, || verifier.node(level, &proof).map(drop))?;
        self.measured(&what, usage);
        let made = Made {
            proof,
            usage,
            cold,
            verify_s,
        };
        self.node(kind, below.len(), over_ones, &made, threads);
        Ok(made.proof)
    }

    fn prove(
        &mut self,
        worker: &mut Worker,
        segment: &Segment,
        public_values: &[u8],
        what: &str,
        cold: bool,
    ) -> Result<Made, BenchError> {
        self.begins(what);
        let (proof, usage) = worker.prove(segment)?;
        let verifier = self.verifier;
        let verify_s = verified(what, || {
            verifier
                .segment(&proof, segment.last.then_some(public_values))
                .map(drop)
        })?;
        self.measured(what, usage);
        Ok(Made {
            proof,
            usage,
            cold,
            verify_s,
        })
    }

    fn node(&mut self, stage: Kind, children: usize, over_ones: bool, made: &Made, threads: usize) {
        self.profile.nodes.push(NodeSample {
            stage,
            children: children as u32,
            over_ones,
            measured: made.measured(threads),
        });
    }
}

fn kind_of(level: Level) -> Kind {
    match level {
        Level::LEAF => Kind::Leaf,
        Level::INTERNAL_FOR_LEAF => Kind::InternalForLeaf,
        _ => Kind::InternalRecursive,
    }
}

fn on(threads: usize) -> String {
    match threads {
        1 => "1 thread".into(),
        _ => format!("{threads} threads"),
    }
}

/// Groups of at most `most`, of nearly equal size.
fn split(count: usize, most: usize) -> Vec<usize> {
    split_into(count, count.div_ceil(most))
}

fn split_into(count: usize, groups: usize) -> Vec<usize> {
    (0..groups)
        .map(|group| (group + 1) * count / groups - group * count / groups)
        .collect()
}

fn verified(what: &str, verify: impl FnOnce() -> Result<(), VerifyError>) -> Result<f64, BenchError> {
    let start = Instant::now();
    verify().map_err(|reason| BenchError::Unsound {
        what: what.into(),
        reason,
    })?;
    Ok(seconds(start.elapsed().as_secs_f64()))
}

/// None where the budget is too small.
fn plan(worker: &mut Worker, budget: MemoryBudget) -> Result<Option<(Plan, Usage)>, WorkerError> {
    match worker.plan(budget, u64::MAX) {
        Ok(planned) => Ok(Some(planned)),
        Err(WorkerError::Failed(Failure::Execute(ExecuteError::BudgetTooSmall { .. }))) => Ok(None),
        Err(error) => Err(error),
    }
}

fn cut(budget: MemoryBudget, plan: &Plan) -> Cut {
    // The last one is as long as it happens to be.
    let whole = match plan.segments.len() {
        1 => &plan.segments[..],
        count => &plan.segments[..count - 1],
    };
    let mean = |of: &dyn Fn(&Segment) -> u64| {
        (whole.iter().map(|s| of(s) as f64).sum::<f64>() / whole.len() as f64).max(1.0)
    };
    Cut {
        budget_bytes: budget.bytes(),
        segments: plan.segments.len() as u32,
        instructions: mean(&|s| s.num_insns),
        cells: mean(&|s| s.cells),
        interactions: mean(&|s| s.interactions),
        peak_bytes: plan.peak_bytes(),
    }
}

fn segment_sample(budget: MemoryBudget, segment: &Segment, measured: Measured) -> SegmentSample {
    SegmentSample {
        budget_bytes: budget.bytes(),
        instructions_before: segment.instret_start,
        instructions: segment.num_insns,
        cells: segment.cells,
        interactions: segment.interactions,
        measured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_nearly_equal_and_take_all() {
        assert_eq!(split(7, 3), [2, 2, 3]);
        assert_eq!(split(3, 3), [3]);
        assert_eq!(split_into(4, 3), [1, 1, 2]);
        for count in 1..20 {
            for most in 1..5 {
                let groups = split(count, most);
                assert_eq!(groups.iter().sum::<usize>(), count);
                assert!(groups.iter().all(|&group| (1..=most).contains(&group)));
            }
        }
    }
}
