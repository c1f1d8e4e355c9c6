//! Running a program, and the plan that follows: where to cut it into segments.

use openvm_circuit::{
    arch::{ExecutionError, VirtualMachine, VmExecState, VmExecutor},
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
/// How many of these lengths are thought of, from the longest that fits down.
const LENGTHS_MAX: usize = 3;
/// Segments that are looked at before a length is chosen.
const FIRST_SEGMENTS: usize = 8;
/// Another length is tried if so many times the segments are expected: executing takes a few hundredths of the time
/// of the proofs, in which nothing can be proven.
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

    let metering = Metering {
        vm: &vm,
        model: &model,
        program,
        input,
        max_instructions,
        output,
    };
    let empty = model.load(&vm.build_metered_ctx(program.exe()).trace_heights);

    // The fraction tree takes most of the memory, and as much as if it were filled up to a power of two.
    // A longer one leaves less for the traces; which is better depends on the instructions.
    let within = budget.bytes() - budget.bytes() / MARGIN_SHARE;
    let lengths = LOG_LEAVES.rev().map(|log| 1u64 << log);
    let mut untried: Vec<Limits> = lengths
        .filter_map(|leaves| model.limits(leaves, within))
        .filter(|limits| limits.leaves > empty.interactions && limits.cells > empty.cells)
        .take(LENGTHS_MAX)
        .collect();
    let mut next = untried.first().copied();
    // What is short is over by then.
    let mut whole: Option<(Limits, Plan)> = None;
    if let Some(first) = next {
        let begin = metering.run(first, FIRST_SEGMENTS)?;
        next = fewest(&begin, empty, &untried).map(|(limits, _)| limits);
        if begin.segments.iter().any(|segment| segment.last) {
            whole = Some((first, begin));
        }
    }
    let mut best: Option<Plan> = None;
    let mut needed = u64::MAX;
    while let Some(limits) = next {
        let plan = match whole.take() {
            Some((of, plan)) if of == limits => plan,
            _ => metering.run(limits, usize::MAX)?,
        };
        untried.retain(|other| *other != limits);
        let other = fewest(&plan, empty, &untried);
        needed = needed.min(plan.peak_bytes());
        let fewer = |best: &Plan| plan.segments.len() < best.segments.len();
        if plan.peak_bytes() <= within && best.as_ref().is_none_or(fewer) {
            best = Some(plan);
        }
        let enough = best
            .as_ref()
            .map_or(f64::INFINITY, |best| best.segments.len() as f64);
        next = other
            .filter(|(_, count)| *count < WORTH_TRYING * enough)
            .map(|(limits, _)| limits);
    }
    if needed == u64::MAX {
        let least = Limits {
            leaves: 1 << LOG_LEAVES.start(),
            cells: empty.cells,
        };
        needed = metering.run(least, usize::MAX)?.peak_bytes();
    }
    best.ok_or(ExecuteError::BudgetTooSmall {
        budget: budget.bytes(),
        // What is kept free is part of what it takes.
        needed: needed + needed / (MARGIN_SHARE - 1),
    })
}

/// Those of `limits` within which the execution that `plan` is of, or begins, has the fewest segments, and how many that
/// is, about. `empty` is what a segment has without an instruction.
fn fewest(plan: &Plan, empty: Load, limits: &[Limits]) -> Option<(Limits, f64)> {
    let part = |of: u64, empty: u64, most: u64| of.saturating_sub(empty) as f64 / (most - empty) as f64;
    let count = |limits: &Limits| -> f64 {
        let parts = plan.segments.iter().map(|segment| {
            let of_cells = part(segment.cells, empty.cells, limits.cells);
            of_cells.max(part(segment.interactions, empty.interactions, limits.leaves))
        });
        parts.sum()
    };
    let counts = limits.iter().map(|limits| (*limits, count(limits)));
    counts.min_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// What is executed, whatever it is cut for.
struct Metering<'a> {
    vm: &'a Vm,
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
            vm, model, output, ..
        } = *self;
        // What it printed before it prints again.
        output();
        let exe = self.program.exe();
        let mut ctx = vm.build_metered_ctx(exe).with_suspend_on_segment(true);
        ctx.segmentation_ctx = model.segmentation(limits);
        let interpreter = vm.metered_interpreter(exe).map_err(|e| ExecuteError::Trapped {
            reason: e.to_string(),
            output: output(),
        })?;
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

    const EMPTY: Load = Load {
        cells: 10,
        interactions: 2,
    };

    /// So many segments with such a load each.
    fn plan(count: usize, cells: u64, interactions: u64) -> Plan {
        let segment = Segment {
            index: 0,
            instret_start: 0,
            num_insns: 1,
            trace_heights: Vec::new(),
            last: false,
            cells,
            interactions,
            peak_bytes: 0,
        };
        Plan {
            segments: vec![segment; count],
            public_values: Vec::new(),
            instructions: 1,
        }
    }

    #[test]
    fn the_length_is_chosen_by_what_binds() {
        let [long, middle, short] =
            [(66, 60), (34, 110), (18, 210)].map(|(leaves, cells)| Limits { leaves, cells });
        let fewest = |plan: &Plan| fewest(plan, EMPTY, &[long, middle, short]).unwrap();
        // Full of cells: twice the room for what instructions take is half the segments.
        assert_eq!(fewest(&plan(6, 60, 8)), (short, 2.25));
        assert_eq!(fewest(&plan(6, 60, 18)), (middle, 3.0));
        // Full of interactions: with half the leaves they were twice as many.
        assert_eq!(fewest(&plan(6, 30, 66)), (long, 6.0));
        // Each segment is bound by its own.
        let mut mixed = plan(4, 60, 18);
        mixed.segments.extend(plan(4, 30, 66).segments);
        assert_eq!(fewest(&mixed), (long, 8.0));
    }

    #[test]
    fn without_limits_there_is_no_choice() {
        assert_eq!(fewest(&plan(1, 60, 10), EMPTY, &[]), None);
    }
}
