//! Running a program, and the plan that follows: where to cut it into segments.

use openvm_circuit::{
    arch::{
        ExecutionError, VirtualMachine, VmExecState, VmExecutor, execution_mode::MeteredCtx,
        interpreter::InterpretedInstance,
    },
    system::memory::merkle::public_values::extract_public_values,
};
use openvm_sdk::{DefaultStarkEngine, F};
use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
use openvm_stark_backend::{StarkEngine, prover::DeviceDataTransporter};
use serde::{Deserialize, Serialize};

use crate::{
    Input, KeyCache, MemoryBudget, Program,
    error::{ExecuteError, KeyError},
    memory::{CostModel, Limits, Load},
    program::caught,
};

/// This part of the budget is left free: measured peaks are up to 2 % above those expected.
const MARGIN_SHARE: u64 = 32;
/// Log2 of the lengths of the fraction tree that are tried. The longest takes 20 GiB, and the shortest is
/// filled by the lookup tables alone.
const LOG_LEAVES: std::ops::RangeInclusive<u32> = 19..=27;
/// How many of these lengths are considered, from the longest that fits down.
const LENGTHS_MAX: usize = 3;
/// Segments that are looked at before a length is chosen.
const FIRST_SEGMENTS: usize = 8;
/// Another length is tried only if it promises less than this share of the segments: while the program is executed,
/// nothing can be proven.
const WORTH_TRYING: f64 = 0.95;

/// One piece of an execution, small enough to be proven within a memory budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its place among the segments, from 0.
    pub index: u32,
    /// Instructions executed before it.
    pub instret_start: u64,
    /// Instructions in it.
    pub num_insns: u64,
    /// Rows that each chip of the VM needs for it.
    pub trace_heights: Vec<u32>,
    /// Whether the program ends in it.
    pub last: bool,
    /// Field elements in the traces of all chips, with each height rounded up to a power of two: what
    /// proving time follows.
    pub cells: u64,
    /// Bus interactions of all rows, likewise.
    pub interactions: u64,
    /// Bytes of memory that the process which proves it is expected to use at its peak.
    pub peak_bytes: u64,
}

/// What an execution came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The segments, in order; there is at least one.
    pub segments: Vec<Segment>,
    /// What the program revealed.
    pub public_values: Vec<u8>,
    /// Instructions executed.
    pub instructions: u64,
}

impl Plan {
    /// Expected peak memory of the process that proves the largest segment, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.peak_bytes).max().unwrap_or(0)
    }
}

/// A VM without the program's commitment, which metering does not need and takes longest to make.
type Vm = VirtualMachine<DefaultStarkEngine, SdkVmCpuBuilder>;

/// Executes `program` on `input` and cuts it into segments that can be proven within `budget`.
///
/// `output` gives what the program has printed since the last call; errors quote it.
pub(crate) fn plan(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    budget: MemoryBudget,
    max_instructions: u64,
    output: &dyn Fn() -> String,
) -> Result<Plan, ExecuteError> {
    let keys = keys.load(program.config())?;
    let pk = &keys.app.app_vm_pk;
    let engine = DefaultStarkEngine::new(pk.get_params());
    let device_pk = engine.device().transport_pk_to_device(&*pk.vm_pk);
    let vm = Vm::new(engine, SdkVmCpuBuilder, pk.vm_config.clone(), device_pk).map_err(|e| {
        ExecuteError::Keys(KeyError::Keygen {
            reason: e.to_string(),
        })
    })?;
    let model = CostModel::new(
        &vm,
        program.exe().program.num_defined_instructions(),
        program.config().is_plain(),
        input.byte_len() as u64,
    );

    let exe = program.exe();
    let metering = Metering {
        vm: &vm,
        interpreter: vm.metered_interpreter(exe).map_err(|e| ExecuteError::Trapped {
            reason: e.to_string(),
            output: output(),
        })?,
        model: &model,
        program,
        input,
        max_instructions,
        output,
    };
    // What a segment has without an instruction.
    let heights = vm.build_metered_ctx(exe).trace_heights;
    let empty = Size {
        load: model.load(&heights),
        heights: &heights,
    };

    let within = budget.bytes() - budget.bytes() / MARGIN_SHARE;
    let lengths = LOG_LEAVES.rev().map(|log| 1u64 << log);
    let mut limits: Vec<Limits> = lengths
        .filter_map(|leaves| model.limits(leaves, within))
        .filter(|limits| limits.leaves > empty.load.interactions && limits.cells > empty.load.cells)
        .take(LENGTHS_MAX)
        .collect();
    if limits.is_empty() {
        // The smallest segments that there are: either they fit all the same, or they say what is needed.
        limits.push(Limits {
            leaves: (empty.load.interactions + 1).next_power_of_two(),
            cells: empty.load.cells + 1,
            height: u32::MAX,
        });
    }
    let (best, needed) = best_cut(&limits, &empty, within, |limits, segments_max| {
        metering.run(limits, segments_max)
    })?;
    best.ok_or(ExecuteError::BudgetTooSmall {
        budget: budget.bytes(),
        // What is kept free is part of what it takes.
        needed: needed + needed / (MARGIN_SHARE - 1),
    })
}

/// What a segment has.
struct Size<'a> {
    load: Load,
    heights: &'a [u32],
}

/// Of the cuts for `limits`, of which there is one at least and that with the longest fraction tree comes first, the one with
/// the fewest segments that all stay `within` so many bytes, if there is one; and the least peak that was seen. `run`
/// executes, and ends after so many segments.
///
/// The fraction tree takes most of the memory, and as much as if it were filled up to a power of two. A longer one leaves
/// less for the traces; which is better depends on the instructions.
fn best_cut(
    limits: &[Limits],
    empty: &Size<'_>,
    within: u64,
    mut run: impl FnMut(Limits, usize) -> Result<Plan, ExecuteError>,
) -> Result<(Option<Plan>, u64), ExecuteError> {
    let first = limits[0];
    let begin = run(first, FIRST_SEGMENTS)?;
    // A short program has ended by then.
    let (mut next, mut whole) = if begin.segments.iter().any(|segment| segment.last) {
        (Some(first), Some(begin))
    } else {
        (fewest(&begin, empty, limits).map(|(limits, _)| limits), None)
    };
    let mut untried = limits.to_vec();
    let mut best: Option<Plan> = None;
    let mut needed = u64::MAX;
    while let Some(limits) = next {
        let mut plan = match whole.take() {
            Some(plan) => plan,
            None => run(limits, usize::MAX)?,
        };
        // OpenVM looks at the limits every thousand instructions, and not at the end.
        let cells = limits.cells - last_past(&plan, within, limits.cells);
        if cells < limits.cells && cells > empty.load.cells {
            plan = run(Limits { cells, ..limits }, usize::MAX)?;
        }
        untried.retain(|other| *other != limits);
        let other = fewest(&plan, empty, &untried);
        needed = needed.min(plan.peak_bytes());
        let fewer = |best: &Plan| plan.segments.len() < best.segments.len();
        if plan.peak_bytes() <= within && best.as_ref().is_none_or(fewer) {
            best = Some(plan);
        }
        let most = best
            .as_ref()
            .map_or(f64::INFINITY, |best| WORTH_TRYING * best.segments.len() as f64);
        next = other.filter(|(_, count)| *count < most).map(|(limits, _)| limits);
    }
    Ok((best, needed))
}

/// How many cells the last segment has too many, where it alone takes more than is allowed.
fn last_past(plan: &Plan, within: u64, cells: u64) -> u64 {
    match plan.segments.split_last() {
        Some((last, others))
            if last.peak_bytes > within && others.iter().all(|other| other.peak_bytes <= within) =>
        {
            last.cells.saturating_sub(cells).min(cells)
        }
        _ => 0,
    }
}

/// Which of `limits` promises the fewest segments for the execution that `plan` is of, or of which it is the beginning, and
/// how many.
fn fewest(plan: &Plan, empty: &Size<'_>, limits: &[Limits]) -> Option<(Limits, f64)> {
    let part = |of: u64, empty: u64, most: u64| of.saturating_sub(empty) as f64 / (most - empty) as f64;
    let count = |limits: &Limits| -> f64 {
        let parts = plan.segments.iter().map(|segment| {
            let grown = segment.trace_heights.iter().zip(empty.heights);
            let tallest = grown
                .filter(|(now, empty)| now > empty)
                .map(|(now, _)| *now)
                .max();
            let of_cells = part(segment.cells, empty.load.cells, limits.cells);
            let of_leaves = part(segment.interactions, empty.load.interactions, limits.leaves);
            let of_height = f64::from(tallest.unwrap_or(0)) / f64::from(limits.height);
            of_cells.max(of_leaves).max(of_height)
        });
        parts.sum::<f64>().ceil()
    };
    let counts = limits.iter().map(|limits| (*limits, count(limits)));
    counts.min_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// What is executed, whatever it is cut for.
struct Metering<'a> {
    vm: &'a Vm,
    interpreter: InterpretedInstance<'a, F, MeteredCtx>,
    model: &'a CostModel,
    program: &'a Program,
    input: &'a Input,
    max_instructions: u64,
    output: &'a dyn Fn() -> String,
}

impl Metering<'_> {
    /// Executes, and cuts where a segment would pass `limits`. Ends after so many segments; what the program reveals
    /// is known only if it has ended before.
    fn run(&self, limits: Limits, segments_max: usize) -> Result<Plan, ExecuteError> {
        let Self {
            vm,
            interpreter,
            model,
            output,
            ..
        } = self;
        // Errors quote what was printed in this execution alone.
        output();
        let mut ctx = vm
            .build_metered_ctx(self.program.exe())
            .with_suspend_on_segment(true);
        ctx.segmentation_ctx = model.segmentation(limits);
        let mut state = VmExecState::new(interpreter.create_initial_vm_state(self.input.to_stdin()), ctx);
        let too_long = || ExecuteError::TooLong {
            max: self.max_instructions,
            output: output(),
        };
        let mut ended = false;
        while !ended && state.ctx.segments().len() < segments_max {
            // OpenVM panics at an access outside of the VM's memory.
            state = caught(|| interpreter.execute_metered_until_suspend(state))
                .map_err(|reason| ExecuteError::Trapped {
                    reason,
                    output: output(),
                })?
                .map_err(|e| explain(e, output))?;
            ended = match std::mem::replace(&mut state.exit_code, Ok(None)) {
                Ok(None) => false,
                Ok(Some(0)) => true,
                Ok(Some(code)) => {
                    return Err(ExecuteError::Failed {
                        code,
                        output: output(),
                    });
                }
                Err(e) => return Err(explain(e, output)),
            };
            if !ended && state.ctx.segmentation_ctx.instret > self.max_instructions {
                return Err(too_long());
            }
        }
        let public_values = extract_public_values(
            self.program.config().public_value_bytes(),
            &state.vm_state.memory.memory,
        );
        let segments = state.ctx.into_segments();
        let count = segments.len();
        let segments: Vec<_> = segments
            .into_iter()
            .enumerate()
            .map(|(index, s)| {
                let load = model.load(&s.trace_heights);
                Segment {
                    index: index as u32,
                    instret_start: s.instret_start,
                    num_insns: s.num_insns,
                    last: ended && index + 1 == count,
                    cells: load.cells,
                    interactions: load.interactions,
                    peak_bytes: model.peak_bytes(load),
                    trace_heights: s.trace_heights,
                }
            })
            .collect();
        let instructions = segments.iter().map(|s| s.num_insns).sum();
        if instructions > self.max_instructions {
            return Err(too_long());
        }
        Ok(Plan {
            segments,
            public_values,
            instructions,
        })
    }
}

/// Executes the first `instructions` of `program` on `input` without metering and without keys: what it takes to reach
/// the start of a segment.
pub(crate) fn run(
    program: &Program,
    input: &Input,
    instructions: u64,
    output: &dyn Fn() -> String,
) -> Result<(), ExecuteError> {
    let trapped = |reason: String| ExecuteError::Trapped {
        reason,
        output: output(),
    };
    // OpenVM panics at an access outside of the VM's memory.
    caught(|| {
        let executor = VmExecutor::<F, SdkVmConfig>::new(program.config().vm().clone())
            .map_err(|e| trapped(e.to_string()))?;
        let interpreter = executor
            .instance(program.exe())
            .map_err(|e| trapped(e.to_string()))?;
        interpreter
            .execute(input.to_stdin(), Some(instructions))
            .map(drop)
            .map_err(|e| explain(e, output))
    })
    .unwrap_or_else(|reason| Err(trapped(reason)))
}

fn explain(error: ExecutionError, output: &dyn Fn() -> String) -> ExecuteError {
    match error {
        ExecutionError::FailedWithExitCode(code) => ExecuteError::Failed {
            code,
            output: output(),
        },
        ExecutionError::HintOutOfBounds { pc } => ExecuteError::InputExhausted { pc, output: output() },
        // OpenVM's only word for a read of an item that there is not.
        ExecutionError::Phantom { pc, inner, .. } if inner.to_string() == "EndOfInputStream" => {
            ExecuteError::InputExhausted { pc, output: output() }
        }
        other => ExecuteError::Trapped {
            reason: other.to_string(),
            output: output(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One chip, of so many rows without an instruction.
    const HEIGHTS: [u32; 1] = [10];

    fn empty() -> Size<'static> {
        let load = Load {
            cells: 10,
            interactions: 2,
        };
        Size {
            load,
            heights: &HEIGHTS,
        }
    }

    fn limits(leaves: u64, cells: u64) -> Limits {
        let height = 1 << 20;
        Limits {
            leaves,
            cells,
            height,
        }
    }

    fn segment(cells: u64, interactions: u64) -> Segment {
        Segment {
            index: 0,
            instret_start: 0,
            num_insns: 1,
            trace_heights: vec![20],
            last: false,
            cells,
            interactions,
            peak_bytes: cells,
        }
    }

    fn plan(segments: Vec<Segment>) -> Plan {
        Plan {
            segments,
            public_values: Vec::new(),
            instructions: 1,
        }
    }

    #[test]
    fn what_binds_says_which_length_promises_the_fewest_segments() {
        let [long, middle, short] = [limits(66, 60), limits(34, 110), limits(18, 210)];
        let promise = |segments: &[Segment]| {
            fewest(&plan(segments.to_vec()), &empty(), &[long, middle, short]).unwrap()
        };
        let of_cells = [segment(60, 8), segment(60, 8), segment(60, 8), segment(60, 8)];
        assert_eq!(promise(&of_cells), (middle, 2.0));
        assert_eq!(
            promise(&[of_cells.clone(), of_cells.clone()].concat()),
            (short, 3.0)
        );
        let of_interactions = [segment(30, 66), segment(30, 66)];
        assert_eq!(promise(&of_interactions), (long, 2.0));
        // Each segment is bound by its own.
        assert_eq!(
            promise(&[&of_cells[..], &of_interactions[..]].concat()),
            (long, 6.0)
        );
        // None is shorter than the chip with the most rows allows.
        let mut of_height = of_cells.clone();
        of_height
            .iter_mut()
            .for_each(|segment| segment.trace_heights = vec![1 << 20]);
        assert_eq!(promise(&of_height), (long, 4.0));
    }

    /// A program of so many equal steps, whose segments end where the next step would pass a limit.
    struct Steps {
        count: u64,
        cells: u64,
        interactions: u64,
        /// Executions of all of it, and of its beginning.
        runs: (usize, usize),
    }

    impl Steps {
        fn new(count: u64, cells: u64, interactions: u64) -> Self {
            Self {
                count,
                cells,
                interactions,
                runs: (0, 0),
            }
        }

        fn run(&mut self, limits: Limits, segments_max: usize) -> Result<Plan, ExecuteError> {
            let fit = ((limits.cells - 10) / self.cells).min((limits.leaves - 2) / self.interactions);
            let mut left = self.count;
            let mut segments = Vec::new();
            while left > 0 && segments.len() < segments_max {
                let steps = fit.min(left);
                left -= steps;
                segments.push(segment(10 + steps * self.cells, 2 + steps * self.interactions));
                segments.last_mut().unwrap().last = left == 0;
            }
            if left == 0 {
                self.runs.0 += 1;
            } else {
                self.runs.1 += 1;
            }
            Ok(plan(segments))
        }

        fn cut(&mut self, within: u64) -> Option<usize> {
            let all = [limits(66, 60), limits(34, 110), limits(18, 210)];
            let best = best_cut(&all, &empty(), within, |limits, most| self.run(limits, most));
            best.unwrap().0.map(|plan| plan.segments.len())
        }
    }

    #[test]
    fn the_best_length_is_executed_once() {
        // 25, 50 and 100 steps in a segment by their cells, and 64, 32 and 16 by their interactions.
        let mut steps = Steps::new(1000, 2, 1);
        assert_eq!((steps.cut(1000), steps.runs), (Some(32), (1, 1)));
        // Interactions bind at every length but the longest.
        let mut steps = Steps::new(1000, 1, 2);
        assert_eq!((steps.cut(1000), steps.runs), (Some(32), (1, 1)));
        // Over within eight segments, and no length promises one less.
        let mut steps = Steps::new(20, 2, 1);
        assert_eq!((steps.cut(1000), steps.runs), (Some(1), (1, 0)));
        // As short, but the next length has half of them.
        let mut steps = Steps::new(60, 2, 1);
        assert_eq!((steps.cut(1000), steps.runs), (Some(2), (2, 0)));
    }

    #[test]
    fn a_length_whose_segments_take_too_much_is_passed_over() {
        let mut steps = Steps::new(1000, 2, 1);
        assert_eq!(steps.cut(70), Some(40));
        assert_eq!(steps.cut(40), None);
    }

    #[test]
    fn a_last_segment_that_takes_too_much_is_cut_again() {
        let mut steps = Steps::new(48, 2, 1);
        let only = [limits(66, 60)];
        let run = |limits: Limits, most| {
            let mut plan = steps.run(limits, most)?;
            let last = plan.segments.last_mut().unwrap();
            last.cells += 10;
            last.peak_bytes += 10;
            Ok(plan)
        };
        let cut = best_cut(&only, &empty(), 60, run).unwrap().0.unwrap();
        assert!(cut.peak_bytes() <= 60, "{cut:?}");
    }
}
