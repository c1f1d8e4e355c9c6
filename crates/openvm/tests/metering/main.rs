//! The memory that a program may touch while it is metered, budgets that are very small, and the
//! counts of [`accounting`].
//!
//! These are no unit tests: they take OpenVM's virtual machine as the engine has it compiled, and a
//! binary of unit tests would compile it once more.

mod accounting;
#[path = "../support/marked.rs"]
mod marked;

use std::{fs, path::Path};

use myriad_engine::{ExecuteError, Input, KeyError, MemoryBudget};
use myriad_openvm::{
    KeyCache, Program, VmConfig,
    devices::{self, metered_ctx},
};
use openvm_circuit::arch::{
    execution_mode::metered::ctx::DEFAULT_PAGE_BITS,
    instructions::{LocalOpcode, exe::VmExe, instruction::Instruction, program::Program as Code},
};
use openvm_rv32im_transpiler::Rv32LoadStoreOpcode;
use openvm_sdk::F;

/// `log2` of the bytes of a page, as OpenVM marks them.
const PAGE_BITS: u32 = DEFAULT_PAGE_BITS as u32;

/// The keys, which are the same for all tests of the workspace and from one run to the next.
fn keys_of(program: &Program) -> KeyCache {
    let keys = KeyCache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("data/keys"));
    keys.ensure(program.config()).unwrap();
    keys
}

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
    let keys = keys_of(&program);
    let ctx = metered_ctx(&program, &keys).unwrap();
    // The marks are in words of 64 bits.
    let marks = 64 * (1 + format!("{:?}", ctx.memory_ctx.page_indices).matches(',').count() as u64);
    assert!(marks > u64::from(u32::MAX >> PAGE_BITS), "{marks}");

    let input = Input::from_bytes(Vec::new()).unwrap();
    let budget = MemoryBudget::from_bytes(4 << 30);
    let error = devices::plan(&program, &keys, &input, budget, 1000).unwrap_err();
    assert!(
        error.to_string().contains("out of bounds: start=4294967292"),
        "{error}"
    );
}

/// Some budgets below the smallest that a user may set are enough all the same. The refusal of the
/// others says how much is needed.
#[test]
fn budgets_below_half_a_gib_are_kept_or_refused() {
    let elf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/elf/fibonacci.elf");
    let program = Program::load(&fs::read(elf).unwrap(), None).unwrap();
    let keys = keys_of(&program);
    let input = Input::from_bytes(50_000u64.to_le_bytes().to_vec()).unwrap();
    let (mut kept, mut refused) = (0, 0);
    for mib in [0, 1, 64, 128, 256, 384, 500] {
        let budget = MemoryBudget::from_bytes(mib << 20);
        match devices::plan(&program, &keys, &input, budget, 10_000_000) {
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

#[test]
fn a_folder_of_keys_that_cannot_be_made_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let keys = KeyCache::new(file.path().join("below"));
    let error = keys.ensure(&VmConfig::riscv32()).unwrap_err();
    assert!(matches!(error, KeyError::Io { .. }), "{error}");
}
