//! Commits to a program's instructions, which are the cached columns of OpenVM's program chip.

use std::{borrow::BorrowMut, sync::Arc};

use openvm_circuit::{
    arch::instructions::{
        LocalOpcode, SystemOpcode,
        instruction::Instruction,
        program::{DEFAULT_PC_STEP, Program},
    },
    system::program::ProgramExecutionCols,
};
use openvm_sdk::F;
use openvm_stark_backend::{
    p3_field::PrimeCharacteristicRing,
    p3_matrix::dense::RowMajorMatrix,
    prover::{CommittedTraceData, TraceCommitter},
};

use crate::backend::Backend;

/// The rows behind the last instruction end the program with this code.
const PADDING_EXIT_CODE: usize = 1;

/// Commits with `device` to the instructions of `program`.
///
/// OpenVM's `VirtualMachine::commit_program_on_device` does it with its own device alone.
///
/// # Errors
/// Says why the device cannot.
pub(crate) fn commit<D>(program: &Program<F>, device: &D) -> Result<CommittedTraceData<Backend>, String>
where
    D: TraceCommitter<Backend>,
{
    let trace = trace(program);
    let (commitment, data) = device.commit(&[&trace]).map_err(|e| format!("{e:?}"))?;
    Ok(CommittedTraceData {
        commitment,
        trace,
        data: Arc::new(data),
    })
}

/// A row for each instruction, and as many more as make their number a power of two.
fn trace(program: &Program<F>) -> RowMajorMatrix<F> {
    let width = size_of::<ProgramExecutionCols<u8>>();
    let instructions = program.enumerate_by_pc();
    let height = instructions.len().next_power_of_two();
    let padding = Instruction::from_usize(SystemOpcode::TERMINATE.global_opcode(), [0, 0, PADDING_EXIT_CODE]);
    let behind = (instructions.len()..height)
        .map(|index| (program.pc_base + index as u32 * DEFAULT_PC_STEP, padding.clone()));
    let all = instructions
        .into_iter()
        .map(|(pc, instruction, _)| (pc, instruction))
        .chain(behind);
    let mut values = F::zero_vec(height * width);
    for (row, (pc, instruction)) in values.chunks_exact_mut(width).zip(all) {
        let row: &mut ProgramExecutionCols<F> = row.borrow_mut();
        *row = ProgramExecutionCols {
            pc: F::from_u32(pc),
            opcode: instruction.opcode.to_field(),
            a: instruction.a,
            b: instruction.b,
            c: instruction.c,
            d: instruction.d,
            e: instruction.e,
            f: instruction.f,
            g: instruction.g,
        };
    }
    RowMajorMatrix::new(values, width)
}
