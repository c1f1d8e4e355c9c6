//! Runs a program, and makes the plan: where to cut the execution into segments.

use myriad_engine::{
    ExecuteError, Input, KeyError, MemoryBudget, Plan, SEGMENTS_MAX, Segment, worker::Reports,
};
use myriad_system::LeanVmBuilder;
use openvm_circuit::{
    arch::{
        ExecutionError, VirtualMachine, VmExecState, VmExecutor,
        execution_mode::{
            MeteredCtx,
            metered::{ctx::DEFAULT_PAGE_BITS, memory_ctx::BitSet, segment_ctx::Segment as CutByOpenVm},
        },
        interpreter::InterpretedInstance,
    },
    system::memory::merkle::public_values::extract_public_values,
};
use openvm_sdk::{DefaultStarkEngine, F, keygen::AppProvingKey};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::{StarkEngine, prover::DeviceDataTransporter};

mod cut;

use self::cut::{Limits, Refusal, Segmented};
use crate::{KeyCache, Program, heights, memory::SegmentMemory, program::caught, stdin::stdin};

/// The pages of memory for which OpenVM has numbers: 32 bits, less those within a page.
const PAGES: usize = 1 << (u32::BITS as usize - DEFAULT_PAGE_BITS);

/// A VM without the program's commitment, which takes longest to make, and which metering does not
/// need.
pub type Vm = VirtualMachine<DefaultStarkEngine, LeanVmBuilder>;

/// Executes `program` on `input` and cuts it into segments that can be proven within `budget`.
///
/// With `reports`, the segments of a long execution are reported as they are cut: the plan begins
/// with them. `output` gives the text that the program has printed since the last call; errors
/// quote it.
pub(crate) fn plan(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    budget: MemoryBudget,
    max_instructions: u64,
    reports: Option<Reports<'_>>,
    output: &dyn Fn() -> String,
) -> Result<Plan, ExecuteError> {
    let vm = vm(&keys.get(program.config())?.app)?;
    let model = SegmentMemory::new(&vm, program, input);

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
    // The rows of a segment without an instruction.
    let least = model.peak_bytes(&vm.build_metered_ctx(exe).trace_heights);
    let refused = |refusal| match refusal {
        Refusal::Memory { needed } => ExecuteError::BudgetTooSmall {
            budget: budget.bytes(),
            needed,
        },
        Refusal::Segments => ExecuteError::TooManySegments {
            budget: budget.bytes(),
            max: SEGMENTS_MAX,
        },
        Refusal::Rows { details } => ExecuteError::Indivisible {
            reason: model.misfit(&heights::decode(&details).expect("they were encoded here")),
        },
    };
    let limits = Limits {
        budget,
        least,
        segments_max: SEGMENTS_MAX,
    };
    let run = |sums: &[_], segments_max, seen: &mut dyn FnMut(&Segment) -> bool| {
        metering.run(sums, segments_max, seen)
    };
    cut::within(limits, reports, run)?.map_err(refused)
}

pub(crate) fn vm(keys: &AppProvingKey<SdkVmConfig>) -> Result<Vm, ExecuteError> {
    let pk = &keys.app_vm_pk;
    let engine = DefaultStarkEngine::new(pk.get_params());
    let device_pk = engine.device().transport_pk_to_device(&*pk.vm_pk);
    Vm::new(engine, LeanVmBuilder::default(), pk.vm_config.clone(), device_pk).map_err(|e| {
        ExecuteError::Keys(KeyError::Keygen {
            reason: e.to_string(),
        })
    })
}

/// The context in which an execution's rows are counted.
///
/// OpenVM marks the page of an access before it checks that the access is inside the VM's memory.
/// It has only marks for the pages of the memory, and does not check their bounds. An access at the
/// end of 32 bits, which any program can make, would write beside them.
pub(crate) fn metered_ctx(vm: &Vm, program: &Program) -> MeteredCtx {
    let mut ctx = vm.build_metered_ctx(program.exe());
    ctx.memory_ctx.page_indices = BitSet::new(PAGES);
    ctx
}

/// The parts of an execution that are the same for every cut.
struct Metering<'a> {
    vm: &'a Vm,
    interpreter: InterpretedInstance<'a, F, MeteredCtx>,
    model: &'a SegmentMemory,
    program: &'a Program,
    input: &'a Input,
    max_instructions: u64,
    output: &'a dyn Fn() -> String,
}

impl Metering<'_> {
    /// Executes, and cuts where the rows of a segment would come to more than so many bytes, until
    /// there are `segments_max` segments or `seen`, which hears of each, has seen enough. `sums`
    /// has the bytes, each with the first segment that they are for.
    fn run(
        &self,
        sums: &[(usize, u64)],
        segments_max: usize,
        seen: &mut dyn FnMut(&Segment) -> bool,
    ) -> Result<Segmented, ExecuteError> {
        let Self {
            vm,
            interpreter,
            model,
            output,
            ..
        } = self;
        // Errors quote only the text that this execution printed.
        output();
        let mut ctx = metered_ctx(vm, self.program).with_suspend_on_segment(true);
        let mut sums = sums.iter().copied().peekable();
        let (_, bytes) = sums.next().expect("there is something to cut for");
        ctx.segmentation_ctx = model.segmentation(bytes);
        let mut state = VmExecState::new(interpreter.create_initial_vm_state(stdin(self.input)), ctx);
        let too_long = |actual| ExecuteError::TooLong {
            max: self.max_instructions,
            actual,
            output: output(),
        };
        let (mut ended, mut goes_on) = (false, true);
        let mut segments: Vec<Segment> = Vec::new();
        while !ended && goes_on && segments.len() < segments_max {
            // OpenVM panics at an access outside the VM's memory.
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
            // OpenVM counts on from the numbers of the segments before, and not from their rows.
            let cut = &mut state.ctx.segmentation_ctx.segments;
            let count = cut.len();
            for (place, cut) in cut.iter_mut().enumerate().skip(segments.len()) {
                let heights = std::mem::take(&mut cut.trace_heights);
                let segment = self.segment(place, cut, heights, ended && place + 1 == count);
                goes_on = goes_on && seen(&segment);
                segments.push(segment);
            }
            while let Some((_, bytes)) = sums.next_if(|(from, _)| *from <= count) {
                model.cut_for(bytes, &mut state.ctx.segmentation_ctx);
            }
        }
        // A program that has not ended may still change its public values, and nobody asks for them
        // yet.
        let public_values = extract_public_values(
            self.program.config().public_value_bytes(),
            &state.vm_state.memory.memory,
        );
        let instructions = segments.iter().map(|s| s.num_insns).sum();
        if instructions > self.max_instructions {
            return Err(too_long(instructions));
        }
        Ok(Segmented {
            plan: Plan {
                segments,
                public_values,
                instructions,
            },
            whole: ended,
        })
    }

    fn segment(&self, place: usize, cut: &CutByOpenVm, trace_heights: Vec<u32>, last: bool) -> Segment {
        let load = self.model.load(&trace_heights);
        Segment {
            index: place as u32,
            instret_start: cut.instret_start,
            num_insns: cut.num_insns,
            last,
            cells: load.cells,
            interactions: load.interactions,
            peak_bytes: self.model.peak_bytes(&trace_heights),
            details: heights::encode(&trace_heights),
        }
    }
}

/// Executes the first `instructions` of `program` on `input` without metering and without keys.
/// Reaching the start of a segment costs this much.
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
    // OpenVM panics at an access outside the VM's memory.
    caught(|| {
        let executor = VmExecutor::<F, SdkVmConfig>::new(program.config().vm().clone())
            .map_err(|e| trapped(e.to_string()))?;
        let interpreter = executor
            .instance(program.exe())
            .map_err(|e| trapped(e.to_string()))?;
        interpreter
            .execute(stdin(input), Some(instructions))
            .map(drop)
            .map_err(|e| explain(e, output))
    })
    .unwrap_or_else(|reason| Err(trapped(reason)))
}

pub(crate) fn explain(error: ExecutionError, output: &dyn Fn() -> String) -> ExecuteError {
    match error {
        ExecutionError::FailedWithExitCode(code) => ExecuteError::Failed {
            code,
            output: output(),
        },
        ExecutionError::HintOutOfBounds { pc } => ExecuteError::InputExhausted { pc, output: output() },
        // OpenVM says only this about a read of a missing item.
        ExecutionError::Phantom { pc, inner, .. } if inner.to_string() == "EndOfInputStream" => {
            ExecuteError::InputExhausted { pc, output: output() }
        }
        other => ExecuteError::Trapped {
            reason: other.to_string(),
            output: output(),
        },
    }
}
