//! Measures one program: its plans at several budgets, segments of some, and its tree.

mod tree;

use myriad_core::Kind;
use myriad_cost::profile::{Cut, Measured, NodeSample, Program as ProgramProfile, SegmentSample, Vm};
use myriad_engine::{
    Input, Level, Loaded, MemoryBudget, Plan, ProofOf, Segment,
    worker::{Failure, Usage, Worker, WorkerConfig, WorkerError},
};

use super::{BenchError, BenchOptions, Step, Subject};
use crate::{make_keys, with_readable_keys};

/// The repetitions of an execution. The fastest one counts, because something has disturbed the
/// slower ones.
const EXECUTIONS: usize = 3;

pub(super) fn measure(
    subject: &Subject,
    options: &BenchOptions,
    observe: &mut dyn FnMut(&Step),
) -> Result<ProgramProfile, BenchError> {
    observe(&Step::Begins {
        what: format!("{}: keys", subject.name),
    });
    make_keys(&options.worker, options.memory, subject.program_config.clone())?;
    let mut threads = options.threads.clone();
    threads.sort_unstable_by(|a, b| b.cmp(a));
    threads.dedup();
    let config = subject.program_config.as_deref();
    let (verifier, loaded) = with_readable_keys(&options.worker, options.memory, config, || {
        let (mut verifier, loaded) = started(subject, options, threads[0], &subject.short)?;
        verifier.prepare_verifier()?;
        Ok((verifier, loaded))
    })?;
    let mut bench = Bench {
        subject,
        options,
        verifier,
        observe,
        profile: ProgramProfile {
            name: subject.name.clone(),
            vm: Vm::of_costs(&loaded.costs),
            execute_instructions_per_s: 0.0,
            meter_instructions_per_s: 0.0,
            boundary_s: 0.0,
            cuts: Vec::new(),
            segments: Vec::new(),
            nodes: Vec::new(),
        },
        loaded,
    };
    bench.executions(threads[0])?;
    for (place, &threads) in threads.iter().enumerate() {
        let first = place == 0;
        bench.segments(threads, first)?;
        // Threads speed up nodes about as much as segments, so a quick look measures nodes with one
        // number of threads only.
        if first || options.every_arity {
            bench.whole(threads, first)?;
        }
    }
    Ok(bench.profile)
}

struct Bench<'a> {
    subject: &'a Subject,
    options: &'a BenchOptions,
    /// What the engine says of the short job.
    loaded: Loaded,
    /// A child that verifies what others have proven.
    verifier: Worker,
    observe: &'a mut dyn FnMut(&Step),
    profile: ProgramProfile,
}

/// A proof, and its cost.
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

/// More than zero, whatever the clock says.
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
        let subject = self.subject;
        let input = if long { &subject.long } else { &subject.short };
        let (worker, _) = started(subject, self.options, threads, input)?;
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
        // The time before the first instruction is part of every segment's time, not of this.
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
            // Sizes go in steps, so a budget may be cut like the one before. Then it has nothing
            // new.
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
            // With fewer threads, one or two sizes are enough to show the effect of threads.
            let last = place + 1 == count;
            if !(first || place == 0 || (last && self.options.every_arity)) {
                continue;
            }
            let middle = plan.segments.len() / 2;
            let largest = (0..plan.segments.len())
                .max_by_key(|&index| plan.segments[index].cells)
                .unwrap_or(middle);
            let mut picked = vec![middle];
            let cells = |index: usize| plan.segments[index].cells;
            if first && self.options.every_arity && cells(largest) > cells(middle) {
                picked.push(largest);
            }
            for index in picked {
                let segment = &plan.segments[index];
                // The first one is proven twice: the additional time of the first is the loading of
                // keys.
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
        let public_values = segment.last.then(|| public_values.to_vec());
        let verify_s = self.verified(what, ProofOf::Segment { public_values }, &proof)?;
        self.measured(what, usage);
        Ok(Made {
            proof,
            usage,
            cold,
            verify_s,
        })
    }

    /// Seconds that it took to verify a proof.
    fn verified(&mut self, what: &str, of: ProofOf, proof: &[u8]) -> Result<f64, BenchError> {
        match self.verifier.verify(of, proof) {
            Ok((_, usage)) => Ok(seconds(usage.wall.as_secs_f64())),
            Err(WorkerError::Failed(Failure::Verify(reason))) => Err(BenchError::Unsound {
                what: what.into(),
                reason,
            }),
            Err(error) => Err(error.into()),
        }
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

/// A child with a job of a program, and what it says of that.
fn started(
    subject: &Subject,
    options: &BenchOptions,
    threads: usize,
    input: &Input,
) -> Result<(Worker, Loaded), WorkerError> {
    let config = WorkerConfig {
        threads,
        ..options.worker.clone()
    };
    let mut worker = Worker::spawn(&config)?;
    let loaded = worker.load(&subject.image[..], subject.program_config.clone(), input)?;
    Ok((worker, loaded))
}

/// None where the budget is too small.
fn plan(worker: &mut Worker, budget: MemoryBudget) -> Result<Option<(Plan, Usage)>, WorkerError> {
    match worker.plan(budget, u64::MAX) {
        Ok(planned) => Ok(Some(planned)),
        Err(WorkerError::Failed(Failure::Execute(e))) if e.asks_for_memory() => Ok(None),
        Err(error) => Err(error),
    }
}

fn cut(budget: MemoryBudget, plan: &Plan) -> Cut {
    // The last one is as long as it happens to be.
    let whole = match plan.segments.len() {
        1 => &plan.segments[..],
        count => &plan.segments[..count - 1],
    };
    let mean =
        |of: &dyn Fn(&Segment) -> u64| whole.iter().map(|s| of(s) as f64).sum::<f64>() / whole.len() as f64;
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

    /// A profile says of a cut what its plan and its samples say.
    #[test]
    fn a_cut_without_interactions_has_none() {
        let segment = Segment {
            index: 0,
            instret_start: 0,
            num_insns: 4,
            details: Vec::new(),
            last: false,
            cells: 8,
            interactions: 0,
            peak_bytes: 1,
        };
        let plan = Plan {
            segments: vec![segment.clone(), segment.clone()],
            public_values: Vec::new(),
            instructions: 8,
        };
        let budget = MemoryBudget::from_bytes(1 << 30);
        let cut = cut(budget, &plan);
        assert_eq!((cut.instructions, cut.cells, cut.interactions), (4.0, 8.0, 0.0));
        let made = Made {
            proof: vec![1],
            usage: Usage::default(),
            cold: false,
            verify_s: 1.0,
        };
        let sample = segment_sample(budget, &segment, made.measured(1));
        assert_eq!(sample.interactions as f64, cut.interactions);
    }
}
