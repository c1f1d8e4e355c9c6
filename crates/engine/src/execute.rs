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
    memory::{CostModel, Load},
    program::caught,
};

/// This part of the budget is left free: measured peaks are up to 2 % above those expected.
const MARGIN_SHARE: u64 = 32;
/// Log2 of the lengths of the fraction tree that are tried. The longest takes 20 GiB, and the shortest is
/// filled by the lookup tables alone.
const LOG_LEAVES: std::ops::RangeInclusive<u32> = 19..=27;
/// How many of these lengths are tried at most, from the longest that fits down.
const LENGTHS_TRIED: usize = 3;

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

    let within = budget.bytes() - budget.bytes() / MARGIN_SHARE;
    let meter = |leaves, cells| {
        meter(
            &vm,
            &model,
            program,
            input,
            leaves,
            cells,
            max_instructions,
            output,
        )
    };

    // The fraction tree takes most of the memory, and as much as if it were filled up to a power of two.
    // A longer one leaves less for the traces; which is better depends on the instructions.
    let empty = model.load(&vm.build_metered_ctx(program.exe()).trace_heights);
    let lengths = LOG_LEAVES.rev().map(|log| 1u64 << log);
    let fitting = lengths
        .filter_map(|leaves| Some((leaves, model.cells_max(leaves, within)?)))
        .filter(|&(leaves, cells)| leaves > empty.interactions && cells > empty.cells);
    let mut best: Option<Plan> = None;
    let mut needed = u64::MAX;
    for (leaves, cells) in fitting.take(LENGTHS_TRIED) {
        // An execution of a block takes seconds, in which nobody can prove anything of it.
        let no_better = |best: &Plan| count_within(best, empty, leaves, cells) >= best.segments.len() as f64;
        if best.as_ref().is_some_and(no_better) {
            continue;
        }
        let mut plan = meter(leaves, cells)?;
        // OpenVM looks at the limits only now and then, and a segment may be past one by a few hundredths.
        let most = plan.segments.iter().map(|s| s.cells).max().unwrap_or(0);
        if plan.peak_bytes() > within && most > cells {
            plan = meter(leaves, cells - (most - cells).min(cells))?;
        }
        needed = needed.min(plan.peak_bytes());
        let fewer = best
            .as_ref()
            .is_none_or(|best| plan.segments.len() < best.segments.len());
        if plan.peak_bytes() <= within && fewer {
            best = Some(plan);
        }
        if best.as_ref().is_some_and(|best| best.segments.len() == 1) {
            break;
        }
    }
    if needed == u64::MAX {
        needed = meter(1 << LOG_LEAVES.start(), 0)?.peak_bytes();
    }
    best.ok_or(ExecuteError::BudgetTooSmall {
        budget: budget.bytes(),
        // What is kept free is part of what it takes.
        needed: needed + needed / (MARGIN_SHARE - 1),
    })
}

/// How many segments the execution of `plan` has, about, where one may have so many leaves and cells. `empty` is what a
/// segment has without an instruction.
fn count_within(plan: &Plan, empty: Load, leaves: u64, cells: u64) -> f64 {
    let part = |of: u64, empty: u64, most: u64| of.saturating_sub(empty) as f64 / (most - empty) as f64;
    let parts = plan.segments.iter().map(|segment| {
        let of_cells = part(segment.cells, empty.cells, cells);
        of_cells.max(part(segment.interactions, empty.interactions, leaves))
    });
    parts.sum()
}

/// One metered execution, cut where a segment would have more leaves or cells.
#[expect(
    clippy::too_many_arguments,
    reason = "two limits, and what each execution needs"
)]
fn meter(
    vm: &Vm,
    model: &CostModel,
    program: &Program,
    input: &Input,
    leaves: u64,
    cells: u64,
    max_instructions: u64,
    output: &dyn Fn() -> String,
) -> Result<Plan, ExecuteError> {
    let exe = program.exe();
    let mut ctx = vm.build_metered_ctx(exe).with_suspend_on_segment(true);
    ctx.segmentation_ctx = model.segmentation(leaves, cells);
    let interpreter = vm.metered_interpreter(exe).map_err(|e| ExecuteError::Trapped {
        reason: e.to_string(),
        output: output(),
    })?;
    let mut state = VmExecState::new(interpreter.create_initial_vm_state(input.to_stdin()), ctx);
    loop {
        // OpenVM panics at an access outside of the VM's memory.
        state = caught(|| interpreter.execute_metered_until_suspend(state))
            .map_err(|reason| ExecuteError::Trapped {
                reason,
                output: output(),
            })?
            .map_err(|e| explain(e, output))?;
        match std::mem::replace(&mut state.exit_code, Ok(None)) {
            Ok(None) => {}
            Ok(Some(0)) => break,
            Ok(Some(code)) => {
                return Err(ExecuteError::Failed {
                    code,
                    output: output(),
                });
            }
            Err(e) => return Err(explain(e, output)),
        }
        if state.ctx.segmentation_ctx.instret > max_instructions {
            return Err(ExecuteError::TooLong {
                max: max_instructions,
                output: output(),
            });
        }
    }
    let public_values = extract_public_values(
        program.config().public_value_bytes(),
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
                last: index + 1 == count,
                cells: load.cells,
                interactions: load.interactions,
                peak_bytes: model.peak_bytes(load),
                trace_heights: s.trace_heights,
            }
        })
        .collect();
    let instructions = segments.iter().map(|s| s.num_insns).sum();
    if instructions > max_instructions {
        return Err(ExecuteError::TooLong {
            max: max_instructions,
            output: output(),
        });
    }
    Ok(Plan {
        segments,
        public_values,
        instructions,
    })
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

    #[test]
    fn more_cells_help_where_cells_are_what_binds() {
        let empty = Load {
            cells: 10,
            interactions: 2,
        };
        let segment = |cells, interactions| Segment {
            index: 0,
            instret_start: 0,
            num_insns: 1,
            trace_heights: Vec::new(),
            last: false,
            cells,
            interactions,
            peak_bytes: 0,
        };
        let plan = |segments| Plan {
            segments,
            public_values: Vec::new(),
            instructions: 1,
        };
        let full_of_cells = plan(vec![segment(110, 22); 6]);
        // Twice the room for what instructions take is half the segments; half the leaves hold it just so.
        assert_eq!(count_within(&full_of_cells, empty, 22, 210), 6.0);
        assert_eq!(count_within(&full_of_cells, empty, 42, 210), 3.0);
        let full_of_interactions = plan(vec![segment(60, 42); 6]);
        assert_eq!(count_within(&full_of_interactions, empty, 22, 1000), 12.0);
        // Each segment is bound by its own: three halves and three wholes.
        let mixed = [full_of_cells.segments, full_of_interactions.segments].map(|some| some[..3].to_vec());
        assert_eq!(count_within(&plan(mixed.concat()), empty, 42, 210), 4.5);
    }
}
