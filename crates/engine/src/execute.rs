//! Running a program, and the plan that follows: where to cut it into segments.

use openvm_circuit::{
    arch::{ExecutionError, VirtualMachine, VmExecState},
    system::memory::merkle::public_values::extract_public_values,
};
use openvm_sdk::DefaultStarkEngine;
use openvm_sdk_config::SdkVmCpuBuilder;
use openvm_stark_backend::{StarkEngine, prover::DeviceDataTransporter};
use serde::{Deserialize, Serialize};

use crate::{
    Input, KeyCache, MemoryBudget, Program,
    error::{ExecuteError, KeyError},
    memory::CostModel,
};

/// OpenVM's estimate of a segment is never more than this many times its real peak on a CPU.
const LIMIT_PER_BUDGET_MAX: u64 = 1;
/// This part of the budget is left free: measured peaks are up to 2 % above those expected.
const MARGIN_SHARE: u64 = 32;
/// Halvings of the interval of limits: the last one moves the limit by under 2 % of the budget. An
/// execution takes a few hundredths of the time of the proofs that it saves.
const HALVINGS: usize = 6;

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
    let model = CostModel::new(&vm);

    // OpenVM cuts where its own estimate, made for GPUs, passes a limit. What a limit means in bytes
    // of this process depends on the instruction mix: halve the interval of limits, and predict.
    let (mut low, mut high) = (0u64, LIMIT_PER_BUDGET_MAX * budget.bytes());
    let within = budget.bytes() - budget.bytes() / MARGIN_SHARE;
    let mut best = None;
    for _ in 0..HALVINGS {
        let limit = low.midpoint(high);
        let plan = meter(&vm, &model, program, input, limit, max_instructions, output)?;
        if plan.peak_bytes() > within {
            high = limit;
            continue;
        }
        low = limit;
        let whole = plan.segments.len() == 1;
        best = Some(plan);
        if whole {
            break;
        }
    }
    if let Some(plan) = best {
        return Ok(plan);
    }
    let smallest = meter(&vm, &model, program, input, 0, max_instructions, output)?;
    Err(ExecuteError::BudgetTooSmall {
        budget: budget.bytes(),
        needed: smallest.peak_bytes(),
    })
}

/// One metered execution with OpenVM's limit at `limit` bytes.
fn meter(
    vm: &Vm,
    model: &CostModel,
    program: &Program,
    input: &Input,
    limit: u64,
    max_instructions: u64,
    output: &dyn Fn() -> String,
) -> Result<Plan, ExecuteError> {
    let exe = program.exe();
    let ctx = vm
        .build_metered_ctx(exe)
        .with_max_memory(limit as usize)
        .with_suspend_on_segment(true);
    let interpreter = vm.metered_interpreter(exe).map_err(|e| ExecuteError::Trapped {
        reason: e.to_string(),
        output: output(),
    })?;
    let mut state = VmExecState::new(interpreter.create_initial_vm_state(input.to_stdin()), ctx);
    loop {
        state = interpreter
            .execute_metered_until_suspend(state)
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
