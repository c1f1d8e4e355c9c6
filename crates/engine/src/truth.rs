//! Finds where every segment of a job truly starts and ends, by executing it.
//!
//! A valid segment proof shows that the program ran, but not on which input. The requester executes
//! the job itself and knows the state at every cut. So it can refuse at once a proof of another
//! execution.

use myriad_system::MemoryTree;
use openvm_circuit::arch::{
    ExitCode, VmExecutor,
    instructions::{LocalOpcode, SystemOpcode, exe::VmExe},
    interpreter::get_pc_index,
};
use openvm_sdk::F;
use openvm_sdk_config::SdkVmConfig;

use crate::{Boundary, Input, Program, Segment, error::ProveError, program::caught};

/// Executes `program` on `input`, stops where each of `segments` ends, and returns the boundary
/// that each proof must have.
///
/// `segments` are the first segments of a plan, or all of them, in order. It needs no keys, and
/// takes the memory that the program uses twice.
///
/// # Errors
/// [`ProveError::Mismatch`] with the first segment that the execution does not have.
pub(crate) fn boundaries(
    program: &Program,
    input: &Input,
    segments: &[Segment],
) -> Result<Vec<Boundary>, ProveError> {
    let mut boundaries = Vec::with_capacity(segments.len());
    // OpenVM panics at an access outside of the VM's memory.
    caught(|| follow(program, input, segments, &mut boundaries))
        .unwrap_or_else(Err)
        .map_err(|reason| ProveError::Mismatch {
            segment: boundaries.len() as u32,
            reason,
        })?;
    Ok(boundaries)
}

fn follow(
    program: &Program,
    input: &Input,
    segments: &[Segment],
    boundaries: &mut Vec<Boundary>,
) -> Result<(), String> {
    let exe = program.exe();
    let vm = program.config().vm();
    let executor = VmExecutor::<F, SdkVmConfig>::new(vm.clone()).map_err(|e| e.to_string())?;
    let interpreter = executor.instance(exe).map_err(|e| e.to_string())?;
    let mut state = interpreter.create_initial_vm_state(input.to_stdin());

    let mut tree = MemoryTree::new(vm.system.config.memory_config.memory_dimensions());
    let mut root = tree.update(&state.memory.memory)?.into();
    let mut executed = 0;
    for (index, segment) in segments.iter().enumerate() {
        if segment.instret_start != executed {
            return Err(format!(
                "it starts at instruction {}, and the one before it ends at {executed}",
                segment.instret_start
            ));
        }
        if segment.last && index + 1 != segments.len() {
            return Err(format!(
                "it is the end of the execution, and one of {} segments",
                segments.len()
            ));
        }
        let before_last = segment.num_insns.checked_sub(1).ok_or("it has no instructions")?;
        let initial_pc = state.pc();
        let initial_root = root;
        // OpenVM does not tell whether an execution of that many instructions has ended, but its
        // last instruction does.
        state = interpreter
            .execute_from_state(state, Some(before_last))
            .map_err(|e| e.to_string())?;
        if ends_at(exe, state.pc()) != segment.last {
            let ends = if segment.last { "does not end" } else { "ends" };
            return Err(format!("the program {ends} in it"));
        }
        // An exit code other than 0 becomes an error here.
        state = interpreter
            .execute_from_state(state, Some(1))
            .map_err(|e| e.to_string())?;
        root = tree.update(&state.memory.memory)?.into();
        executed += segment.num_insns;
        boundaries.push(Boundary {
            initial_pc,
            final_pc: state.pc(),
            initial_root,
            final_root: root,
            exit_code: segment.last.then_some(ExitCode::Success as u32),
        });
    }
    Ok(())
}

/// Whether the instruction at `pc` ends the program.
fn ends_at(exe: &VmExe<F>, pc: u32) -> bool {
    let index = get_pc_index(pc).checked_sub(get_pc_index(exe.program.pc_base));
    let instruction = index.and_then(|index| exe.program.get_instruction_and_debug_info(index));
    instruction.is_some_and(|(instruction, _)| instruction.opcode == SystemOpcode::TERMINATE.global_opcode())
}
