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

/// Of budgets that nobody may ask for, some are enough all the same; the others are refused with what is needed.
#[test]
fn budgets_below_half_a_gib_are_kept_or_refused() {
    let binary = std::env::current_exe().unwrap();
    // target/release/deps/myriad_engine-…
    let target = binary.ancestors().nth(3).unwrap();
    let keys = KeyCache::new(target.join("tmp/data/keys"));
    let elf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/elf/fibonacci.elf");
    let program = Program::load(&std::fs::read(elf).unwrap(), None).unwrap();
    keys.ensure(program.config()).unwrap();
    let input = Input::from_bytes(50_000u64.to_le_bytes().to_vec()).unwrap();
    let (mut kept, mut refused) = (0, 0);
    for mib in [0, 1, 64, 128, 256, 384, 500] {
        let budget = MemoryBudget::from_bytes(mib << 20);
        match plan(&program, &keys, &input, budget, 10_000_000, &String::new) {
            Ok(plan) => {
                assert!(
                    plan.peak_bytes() <= budget.bytes(),
                    "{mib} MiB: {}",
                    plan.peak_bytes()
                );
                assert!(plan.segments.last().unwrap().last);
                kept += 1;
            }
            Err(ExecuteError::BudgetTooSmall { budget: said, needed }) => {
                assert_eq!(said, budget.bytes());
                assert!(needed > said, "{mib} MiB: {needed} bytes are needed");
                refused += 1;
            }
            Err(other) => panic!("{mib} MiB: {other}"),
        }
    }
    assert!(kept >= 2 && refused >= 3, "{kept} kept, {refused} refused");
}
