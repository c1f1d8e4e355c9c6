//! What a program may touch while it is metered.

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
