//! Finds where every segment of a job truly starts and ends, by executing it.
//!
//! A valid segment proof shows that the program ran, but not on which input. The requester executes
//! the job itself and knows the state at every cut. So it can refuse at once a proof of another
//! execution.

use myriad_engine::{Boundary, Input, ProveError, Root, Segment};
use myriad_system::MemoryTree;
use openvm_circuit::{
    arch::{
        ExitCode, VmExecutor, VmState,
        instructions::{LocalOpcode, SystemOpcode, exe::VmExe},
        interpreter::get_pc_index,
    },
    system::memory::online::GuestMemory,
};
use openvm_sdk::F;
use openvm_sdk_config::SdkVmConfig;

use crate::{Program, program::caught, stdin::stdin, verify::root};

/// An execution that has come to the end of a segment, and goes on when there are more segments.
pub(crate) struct Walk {
    state: VmState<F, GuestMemory>,
    tree: MemoryTree,
    root: Root,
    /// Instructions, and segments, that it has executed.
    instructions: u64,
    segments: usize,
    ended: bool,
}

/// Executes `program` on `input`, stops where each of `segments` ends, and returns the boundary
/// that each proof must have.
///
/// `segments` are the first segments of a plan, or all of them, in order; or they follow those of
/// `walk`, which then goes on from there. It needs no keys, and takes the memory that the program
/// uses twice. What it has left is in `walk` afterwards; nothing if it fails.
///
/// # Errors
/// [`ProveError::Mismatch`] with the first segment that the execution does not have.
pub(crate) fn boundaries(
    program: &Program,
    input: &Input,
    segments: &[Segment],
    walk: &mut Option<Walk>,
) -> Result<Vec<Boundary>, ProveError> {
    let Some(Segment { index: first, .. }) = segments.first() else {
        return Ok(Vec::new());
    };
    let first = *first;
    let mut boundaries = Vec::with_capacity(segments.len());
    // An execution that begins again does not hold the memory of the one before.
    let before = walk.take().filter(|_| first > 0);
    // OpenVM panics at an access outside of the VM's memory.
    let walked = caught(|| follow(program, input, segments, before, &mut boundaries))
        .unwrap_or_else(Err)
        .map_err(|reason| ProveError::Mismatch {
            segment: first.saturating_add(boundaries.len() as u32),
            reason,
        });
    *walk = Some(walked?);
    Ok(boundaries)
}

fn follow(
    program: &Program,
    input: &Input,
    segments: &[Segment],
    before: Option<Walk>,
    boundaries: &mut Vec<Boundary>,
) -> Result<Walk, String> {
    let exe = program.exe();
    let vm = program.config().vm();
    let executor = VmExecutor::<F, SdkVmConfig>::new(vm.clone()).map_err(|e| e.to_string())?;
    let interpreter = executor.instance(exe).map_err(|e| e.to_string())?;
    let mut walk = match before {
        Some(walk) => walk,
        None => {
            let state = interpreter.create_initial_vm_state(stdin(input));
            let mut tree = MemoryTree::new(vm.system.config.memory_config.memory_dimensions());
            Walk {
                root: root(tree.update(&state.memory.memory)?),
                tree,
                state,
                instructions: 0,
                segments: 0,
                ended: false,
            }
        }
    };
    for segment in segments {
        walk.check_next(segment)?;
        let before_last = segment.num_insns.checked_sub(1).ok_or("it has no instructions")?;
        let initial_pc = walk.state.pc();
        let initial_root = walk.root;
        // OpenVM does not tell whether an execution of that many instructions has ended, but its
        // last instruction does.
        walk.state = interpreter
            .execute_from_state(walk.state, Some(before_last))
            .map_err(|e| e.to_string())?;
        if ends_at(exe, walk.state.pc()) != segment.last {
            let ends = if segment.last { "does not end" } else { "ends" };
            return Err(format!("the program {ends} in it"));
        }
        // An exit code other than 0 becomes an error here.
        walk.state = interpreter
            .execute_from_state(walk.state, Some(1))
            .map_err(|e| e.to_string())?;
        walk.root = root(walk.tree.update(&walk.state.memory.memory)?);
        walk.instructions += segment.num_insns;
        walk.segments += 1;
        walk.ended = segment.last;
        boundaries.push(Boundary {
            initial_pc,
            final_pc: walk.state.pc(),
            initial_root,
            final_root: walk.root,
            exit_code: segment.last.then_some(ExitCode::Success as u32),
        });
    }
    Ok(walk)
}

impl Walk {
    /// Whether it goes on with this segment.
    fn check_next(&self, segment: &Segment) -> Result<(), String> {
        if segment.index as usize != self.segments {
            return Err(format!(
                "it is segment {}, and {} were executed before it",
                segment.index, self.segments
            ));
        }
        if segment.instret_start != self.instructions {
            return Err(format!(
                "it starts at instruction {}, and the one before it ends at {}",
                segment.instret_start, self.instructions
            ));
        }
        if self.ended {
            return Err("the one before it is the end of the execution".into());
        }
        Ok(())
    }
}

/// Whether the instruction at `pc` ends the program.
fn ends_at(exe: &VmExe<F>, pc: u32) -> bool {
    let index = get_pc_index(pc).checked_sub(get_pc_index(exe.program.pc_base));
    let instruction = index.and_then(|index| exe.program.get_instruction_and_debug_info(index));
    instruction.is_some_and(|(instruction, _)| instruction.opcode == SystemOpcode::TERMINATE.global_opcode())
}
