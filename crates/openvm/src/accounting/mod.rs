//! Runs a program, and counts what its instructions are spent on, by the marks in its ELF.
//!
//! OpenVM's interpreter is a table of functions, one for each instruction of the program, and a
//! loop that calls them. The functions tell a context of each row that they need of a chip. OpenVM
//! makes the functions for any context, but runs the loop only for its own ones. So the loop is
//! here, and the context counts.
#![expect(
    unsafe_code,
    reason = "OpenVM's functions read the data of an instruction by its address"
)]

use std::slice;

use myriad_engine::{Account, ExecuteError, Input, LABELS_MAX, Spent};
use openvm_circuit::{
    arch::{
        ExecuteFunc, ExecutionCtxTrait, ExecutionError, ExecutorInventory, InterpreterMeteredExecutor,
        MeteredExecutionCtxTrait, StaticProgramError, VmExecState, VmExecutionConfig, VmState,
        instructions::{LocalOpcode, SystemOpcode, exe::VmExe, program::DEFAULT_PC_STEP},
    },
    system::memory::{merkle::public_values::extract_public_values, online::GuestMemory},
};
use openvm_sdk::F;
use openvm_stark_backend::p3_field::PrimeField32;

use crate::{
    KeyCache, Program,
    execute::{explain, vm},
    program::{caught, marks::Mark},
    stdin::stdin,
};

/// The most marks that are open at once; a mark inside of that many counts for the innermost.
const OPEN_MAX: usize = 64;

/// Executes `program` on `input`, and counts by its marks.
///
/// `output` gives the text that the program has printed since the last call; errors quote it.
pub(crate) fn account(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    max_instructions: u64,
    output: &dyn Fn() -> String,
) -> Result<Account, ExecuteError> {
    // Errors quote only the text that this execution printed.
    output();
    let trapped = |reason: String| ExecuteError::Trapped {
        reason,
        output: output(),
    };
    let vm = vm(&keys.get(program.config())?.app)?;
    let tally = Tally::new(program, vm.build_metered_cost_ctx().widths, max_instructions);
    let inventory = VmExecutionConfig::<F>::create_executors(program.config().vm())
        .map_err(|e| trapped(e.to_string()))?;
    let exe = program.exe();
    // OpenVM panics at an access outside the VM's memory.
    let state = caught(|| {
        let code = Code::new(exe, &inventory, &vm.executor_idx_to_air_idx())?;
        let system = &program.config().vm().system.config;
        let state = VmState::initial(system, &exe.init_memory, exe.pc_start, stdin(input));
        let mut state = VmExecState::new(state, tally);
        code.run(&mut state);
        Ok::<_, StaticProgramError>(state)
    })
    .map_err(trapped)?
    .map_err(|e| trapped(e.to_string()))?;
    match state.exit_code {
        Ok(Some(0)) => {}
        Ok(Some(code)) => {
            return Err(ExecuteError::Failed {
                code,
                output: output(),
            });
        }
        Ok(None) => {
            return Err(ExecuteError::TooLong {
                max: max_instructions,
                actual: state.ctx.executed,
                output: output(),
            });
        }
        Err(e) => return Err(explain(e, output)),
    }
    let public_values = extract_public_values(
        program.config().public_value_bytes(),
        &state.vm_state.memory.memory,
    );
    let mut spent = state.ctx.spent.to_vec();
    let is_used = |spent: &Spent| *spent != Spent::default();
    spent.truncate(1 + spent.iter().rposition(is_used).unwrap_or(0));
    Ok(Account { spent, public_values })
}

/// The context of an execution: the account so far, and the label of the present work.
struct Tally {
    /// For each instruction of the program, the place of its first mark, from 1; 0 where it has
    /// none.
    firsts: Vec<u32>,
    base: u32,
    /// The marks, by address.
    marks: Vec<Mark>,
    /// Columns of each chip.
    widths: Vec<u64>,
    max: u64,
    executed: u64,
    /// The innermost label.
    label: u8,
    /// Whether this label covers everything that is called.
    whole: bool,
    /// The labels around it, and whether each is one for all that is called.
    around: Vec<(u8, bool)>,
    spent: Box<[Spent; LABELS_MAX]>,
}

impl Tally {
    fn new(program: &Program, widths: Vec<usize>, max: u64) -> Self {
        let code = &program.exe().program;
        let base = code.pc_base;
        let mut firsts = vec![0; code.instructions_and_debug_infos.len()];
        let marks = program.marks().to_vec();
        for (index, mark) in marks.iter().enumerate().rev() {
            // Marks of code that the linker left out are at 0.
            let place = mark.pc.checked_sub(base).map(|bytes| bytes / DEFAULT_PC_STEP);
            if let Some(first) = place.and_then(|place| firsts.get_mut(place as usize)) {
                *first = index as u32 + 1;
            }
        }
        Self {
            firsts,
            base,
            marks,
            widths: widths.into_iter().map(|width| width as u64).collect(),
            max,
            executed: 0,
            label: 0,
            whole: false,
            around: Vec::new(),
            spent: Box::new([Spent::default(); LABELS_MAX]),
        }
    }

    /// Goes by the marks of an address, whose first has this place.
    #[cold]
    fn pass(&mut self, pc: u32, first: u32) {
        for place in first as usize - 1..self.marks.len() {
            let mark = self.marks[place];
            if mark.pc != pc {
                break;
            }
            if mark.leave {
                self.leave(mark.label);
            } else {
                self.enter(mark);
            }
        }
    }

    /// A jump may reach an address from code to which the mark there does not belong: from the end
    /// of a loop to its start, which comes after the mark in the source and has the same address.
    fn enter(&mut self, mark: Mark) {
        if self.whole || self.label == mark.label || self.around.len() == OPEN_MAX {
            return;
        }
        self.around.push((self.label, self.whole));
        (self.label, self.whole) = (mark.label, mark.whole);
        self.spent[usize::from(mark.label)].times += 1;
    }

    /// Likewise, it may come from where nothing has begun.
    fn leave(&mut self, label: u8) {
        if self.label == label
            && let Some(around) = self.around.pop()
        {
            (self.label, self.whole) = around;
        }
    }
}

impl ExecutionCtxTrait for Tally {
    #[inline(always)]
    fn on_memory_operation(&mut self, _space: u32, _place: u32, _size: u32) {}

    /// Called before each instruction.
    #[inline(always)]
    fn should_suspend<V>(state: &mut VmExecState<V, GuestMemory, Self>) -> bool {
        let pc = state.vm_state.pc();
        let tally = &mut state.ctx;
        if tally.executed == tally.max {
            return true;
        }
        tally.executed += 1;
        let index = (pc.wrapping_sub(tally.base) / DEFAULT_PC_STEP) as usize;
        if let Some(&first @ 1..) = tally.firsts.get(index) {
            tally.pass(pc, first);
        }
        tally.spent[usize::from(tally.label)].instructions += 1;
        false
    }
}

impl MeteredExecutionCtxTrait for Tally {
    #[inline(always)]
    fn on_height_change(&mut self, chip: usize, rows: u32) {
        self.spent[usize::from(self.label)].cells += u64::from(rows) * self.widths[chip];
    }
}

type State = VmExecState<F, GuestMemory, Tally>;

/// A program as functions.
struct Code {
    base: u32,
    steps: Vec<Step>,
    /// The data that the functions read. Steps point into it.
    _data: Vec<Grain>,
}

struct Step {
    function: ExecuteFunc<F, Tally>,
    data: *const u8,
}

/// The alignment of an instruction's data, and a multiple of it.
type Grain = u128;

impl Code {
    fn new<E: InterpreterMeteredExecutor<F>>(
        exe: &VmExe<F>,
        inventory: &ExecutorInventory<E>,
        airs: &[usize],
    ) -> Result<Self, StaticProgramError> {
        let base = exe.program.pc_base;
        let instructions = &exe.program.instructions_and_debug_infos;
        let executor = |opcode| {
            let id = *inventory.instruction_lookup.get(&opcode)? as usize;
            Some((inventory.executors.get(id)?, airs[id]))
        };
        let sizes = instructions.iter().flatten().map(|(instruction, _)| {
            executor(instruction.opcode).map_or(size_of::<u32>(), |(e, _)| e.metered_pre_compute_size())
        });
        let grains = sizes.max().unwrap_or(0).div_ceil(size_of::<Grain>()).max(1);
        let mut data: Vec<Grain> = vec![0; instructions.len() * grains];
        let mut steps = Vec::with_capacity(instructions.len());
        for ((place, instruction), data) in (0..).zip(instructions).zip(data.chunks_exact_mut(grains)) {
            // SAFETY: any bytes are numbers, and the slice is as long as the grains.
            let data =
                unsafe { slice::from_raw_parts_mut(data.as_mut_ptr().cast::<u8>(), size_of_val(data)) };
            let pc = base.wrapping_add(place * DEFAULT_PC_STEP);
            let function: ExecuteFunc<F, Tally> = match instruction {
                None => unreachable,
                Some((instruction, _)) if instruction.opcode == SystemOpcode::TERMINATE.global_opcode() => {
                    data[..size_of::<u32>()].copy_from_slice(&instruction.c.as_canonical_u32().to_ne_bytes());
                    terminate
                }
                Some((instruction, _)) => {
                    let opcode = instruction.opcode;
                    let (executor, air) =
                        executor(opcode).ok_or(StaticProgramError::DisabledOperation { pc, opcode })?;
                    executor.metered_pre_compute(air, pc, instruction, data)?
                }
            };
            let data = data.as_ptr();
            steps.push(Step { function, data });
        }
        Ok(Self {
            base,
            steps,
            _data: data,
        })
    }

    /// Runs until the program ends, fails, or has executed as much as it may.
    fn run(&self, state: &mut State) {
        while matches!(state.exit_code, Ok(None)) && !Tally::should_suspend(state) {
            let pc = state.pc();
            let index = pc.wrapping_sub(self.base) / DEFAULT_PC_STEP;
            match self.steps.get(index as usize) {
                // SAFETY: the data is the one that was made for this function, and is where it was.
                Some(step) => unsafe { (step.function)(step.data, state) },
                None => state.exit_code = Err(ExecutionError::PcOutOfBounds(pc)),
            }
        }
    }
}

/// # Safety
/// The data begins with the exit code.
unsafe fn terminate(data: *const u8, state: &mut State) {
    // SAFETY: the data is aligned to more, and the caller knows its type.
    let code = unsafe { data.cast::<u32>().read() };
    state.exit_code = Ok(Some(code));
}

/// # Safety
/// None is needed.
unsafe fn unreachable(_data: *const u8, state: &mut State) {
    state.exit_code = Err(ExecutionError::Unreachable(state.pc()));
}

#[cfg(test)]
mod tests;
