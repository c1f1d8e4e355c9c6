//! Running a program, and the plan that follows: where to cut it into segments.

use myriad_system::LeanVmBuilder;
use openvm_circuit::{
    arch::{
        ExecutionError, VirtualMachine, VmExecState, VmExecutor,
        execution_mode::{
            MeteredCtx,
            metered::{ctx::DEFAULT_PAGE_BITS, memory_ctx::BitSet},
        },
        interpreter::InterpretedInstance,
    },
    system::memory::merkle::public_values::extract_public_values,
};
use openvm_sdk::{DefaultStarkEngine, F, keygen::AppProvingKey};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::{StarkEngine, prover::DeviceDataTransporter};
use serde::{Deserialize, Serialize};

use crate::{
    Input, KeyCache, MemoryBudget, Program,
    error::{ExecuteError, KeyError},
    memory::{self, CostModel},
    program::caught,
};

/// This part of the budget is left free, should a peak come out above what was expected.
const MARGIN_SHARE: u64 = 32;
/// How often a program is executed to be cut. Once is enough but where a segment comes out too large.
const CUTS_MAX: u32 = 6;
/// So little of what the budget has beside an empty segment is not cut for: there would be thousands of segments.
const SCRAPS: u64 = 10;

/// Pages of memory that OpenVM has numbers for: 32 bits, less those within a page.
const PAGES: usize = 1 << (u32::BITS as usize - DEFAULT_PAGE_BITS);

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

impl Segment {
    /// Bytes of memory that the process which proves a segment takes at least, whatever is in it, where the encoded input
    /// of its job has so many bytes.
    pub fn least_bytes(input_bytes: u64) -> u64 {
        memory::segment_least_bytes(input_bytes)
    }
}

impl Plan {
    /// Expected peak memory of the process that proves the largest segment, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.peak_bytes).max().unwrap_or(0)
    }
}

/// A VM without the program's commitment, which metering does not need and takes longest to make.
type Vm = VirtualMachine<DefaultStarkEngine, LeanVmBuilder>;

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
    let vm = vm(&keys.get(program.config())?.app)?;
    let model = CostModel::new(&vm, program, input);

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
    let least = model.peak_bytes(&vm.build_metered_ctx(exe).trace_heights);
    cut_within(budget, least, |bytes| metering.run(bytes))
}

/// Has `run` execute and cut for so many bytes, until no segment takes more than `budget` has room for. None takes less than
/// `least`.
///
/// OpenVM looks at its limit every thousand instructions, and not at the end: a segment can come out larger by as much as a
/// trace grows in so many, which may be to twice its rows. Then all are cut for as much less, and for twice as much less each time that it
/// is not enough.
fn cut_within(
    budget: MemoryBudget,
    least: u64,
    mut run: impl FnMut(u64) -> Result<Plan, ExecuteError>,
) -> Result<Plan, ExecuteError> {
    let within = budget.bytes() - budget.bytes() / MARGIN_SHARE;
    let mut bytes = within;
    let mut needed = if least > within { least } else { u64::MAX };
    for tries in 0..CUTS_MAX {
        if bytes < least + within.saturating_sub(least) / SCRAPS {
            break;
        }
        let plan = run(bytes)?;
        let peak = plan.peak_bytes();
        if peak <= within {
            return Ok(plan);
        }
        needed = needed.min(peak);
        bytes = bytes.saturating_sub((peak - within) << tries);
    }
    Err(ExecuteError::BudgetTooSmall {
        budget: budget.bytes(),
        // What is kept free is part of what it takes.
        needed: needed + needed / (MARGIN_SHARE - 1),
    })
}

fn vm(keys: &AppProvingKey<SdkVmConfig>) -> Result<Vm, ExecuteError> {
    let pk = &keys.app_vm_pk;
    let engine = DefaultStarkEngine::new(pk.get_params());
    let device_pk = engine.device().transport_pk_to_device(&*pk.vm_pk);
    Vm::new(engine, LeanVmBuilder::default(), pk.vm_config.clone(), device_pk).map_err(|e| {
        ExecuteError::Keys(KeyError::Keygen {
            reason: e.to_string(),
        })
    })
}

/// What is counted while a program is executed.
///
/// OpenVM marks the page of an access before it looks whether the access is inside of the VM's memory. It has marks for the
/// pages that the memory has, and looks at no bound of its own: an access at the end of 32 bits, which any program can make,
/// would write beside them.
fn metered_ctx(vm: &Vm, program: &Program) -> MeteredCtx {
    let mut ctx = vm.build_metered_ctx(program.exe());
    ctx.memory_ctx.page_indices = BitSet::new(PAGES);
    ctx
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
    /// Executes, and cuts where a segment would take more than `bytes`.
    fn run(&self, bytes: u64) -> Result<Plan, ExecuteError> {
        let Self {
            vm,
            interpreter,
            model,
            output,
            ..
        } = self;
        // Errors quote what was printed in this execution alone.
        output();
        let mut ctx = metered_ctx(vm, self.program).with_suspend_on_segment(true);
        ctx.segmentation_ctx = model.segmentation(bytes);
        let mut state = VmExecState::new(interpreter.create_initial_vm_state(self.input.to_stdin()), ctx);
        let too_long = |actual| ExecuteError::TooLong {
            max: self.max_instructions,
            actual,
            output: output(),
        };
        let mut ended = false;
        while !ended {
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
            let executed = state.ctx.segmentation_ctx.instret;
            if !ended && executed > self.max_instructions {
                return Err(too_long(executed));
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
                    last: index + 1 == count,
                    cells: load.cells,
                    interactions: load.interactions,
                    peak_bytes: model.peak_bytes(&s.trace_heights),
                    trace_heights: s.trace_heights,
                }
            })
            .collect();
        let instructions = segments.iter().map(|s| s.num_insns).sum();
        if instructions > self.max_instructions {
            return Err(too_long(instructions));
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
    use openvm_circuit::arch::instructions::{
        LocalOpcode, exe::VmExe, instruction::Instruction, program::Program as Code,
    };
    use openvm_rv32im_transpiler::Rv32LoadStoreOpcode;

    use super::*;

    /// OpenVM's own marks end where memory does.
    #[test]
    fn an_access_outside_of_memory_is_marked_inside_of_the_marks_and_then_refused() {
        // A load from four bytes before 2^32.
        let code = Instruction::<F>::from_usize(
            Rv32LoadStoreOpcode::LOADW.global_opcode(),
            [4, 0, 0xfffc, 1, 2, 1, 1],
        );
        let exe = VmExe::new(Code::from_instructions(&[code]));
        let program = Program::load(&bitcode::serialize(&exe).unwrap(), None).unwrap();
        let keys = AppProvingKey::keygen(program.config().app_config()).unwrap();
        let vm = vm(&keys).unwrap();
        let ctx = metered_ctx(&vm, &program);
        // In words of 64 bits.
        let marks = 64 * (1 + format!("{:?}", ctx.memory_ctx.page_indices).matches(',').count() as u64);
        assert!(marks > u64::from(u32::MAX >> DEFAULT_PAGE_BITS), "{marks}");

        let interpreter = vm.metered_interpreter(program.exe()).unwrap();
        let input = Input::from_bytes(Vec::new()).unwrap();
        let state = VmExecState::new(interpreter.create_initial_vm_state(input.to_stdin()), ctx);
        let reason = caught(|| drop(interpreter.execute_metered_until_suspend(state))).unwrap_err();
        assert!(reason.contains("out of bounds: start=4294967292"), "{reason}");
    }

    fn plan(peaks: &[u64]) -> Plan {
        let segment = |&peak_bytes| Segment {
            index: 0,
            instret_start: 0,
            num_insns: 1,
            trace_heights: vec![20],
            last: false,
            cells: 1,
            interactions: 1,
            peak_bytes,
        };
        Plan {
            segments: peaks.iter().map(segment).collect(),
            public_values: Vec::new(),
            instructions: 1,
        }
    }

    /// Cuts something of 10,000 bytes, whose last segment comes out larger by `excess` than it should.
    fn cut(budget: u64, least: u64, excess: u64) -> (Result<Plan, ExecuteError>, Vec<u64>) {
        let mut tried = Vec::new();
        let run = |bytes: u64| {
            tried.push(bytes);
            let mut peaks = vec![bytes; 10_000 / bytes.max(1) as usize];
            if let Some(last) = peaks.last_mut() {
                *last += excess;
            }
            Ok(plan(&peaks))
        };
        (cut_within(MemoryBudget::from_bytes(budget), least, run), tried)
    }

    #[test]
    fn a_program_is_executed_once_if_no_segment_takes_too_much() {
        let (cut, tried) = cut(1000, 50, 0);
        let within = 1000 - 1000 / MARGIN_SHARE;
        assert_eq!((cut.unwrap().peak_bytes(), tried), (within, vec![within]));
    }

    #[test]
    fn what_comes_out_too_large_is_cut_again_for_as_much_less() {
        let (cut, tried) = cut(1000, 50, 100);
        let within = 1000 - 1000 / MARGIN_SHARE;
        assert_eq!(cut.unwrap().peak_bytes(), within);
        assert_eq!(tried, [within, within - 100]);
    }

    /// At the end a trace grows by a step, so that the last segment is as large whatever it is cut for, down to the step.
    #[test]
    fn what_is_always_as_large_is_cut_for_less_and_less() {
        let within = 1000 - 1000 / MARGIN_SHARE;
        let mut tried = Vec::new();
        let run = |bytes: u64| {
            tried.push(bytes);
            Ok(plan(&[if bytes > within - 60 { within + 10 } else { bytes }]))
        };
        let cut = cut_within(MemoryBudget::from_bytes(1000), 50, run).unwrap();
        assert_eq!(cut.peak_bytes(), within - 70);
        assert_eq!(tried, [0, 10, 30, 70].map(|less| within - less));
    }

    #[test]
    fn a_budget_that_nothing_fits_is_refused_with_what_is_needed() {
        for (least, excess, executed) in [(50, 1000, 1), (2000, 0, 0)] {
            let (cut, tried) = cut(100, least, excess);
            assert_eq!(tried.len(), executed);
            let Err(ExecuteError::BudgetTooSmall { budget, needed }) = cut else {
                panic!("{cut:?}");
            };
            assert_eq!(budget, 100);
            assert!((1000..3000).contains(&needed), "{needed}");
        }
    }
}
