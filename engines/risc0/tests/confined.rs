//! The binary as its callers start it: its arguments, and all that it does confined without a
//! proof. The kernel would end it at a call that is not on the list.

#[path = "../src/samples.rs"]
#[allow(dead_code, reason = "the unit tests have more programs")]
mod samples;

#[allow(dead_code, reason = "other tests use more of it")]
mod common;

use common::{config, peak_bytes, worker};
use myriad_engine::{
    ExecuteError, Filling, FinalForm, Input, Level, MemoryBudget, ProofOf, VerifyError,
    worker::{Failure, Worker, WorkerConfig, WorkerError},
};

const MEMORY: MemoryBudget = MemoryBudget::from_bytes(1 << 30);

#[test]
fn a_child_executes_cuts_and_verifies() {
    let mut worker = worker(&samples::elf(), 40_000);
    worker.execute(1000).unwrap();
    let mut told = Vec::new();
    let (plan, _) = worker
        .plan_streamed(MEMORY, u64::MAX, 0, &mut |segments| told.extend(segments))
        .unwrap();
    assert_eq!(told, plan.segments);
    let (boundaries, _) = worker.boundaries(&plan.segments).unwrap();
    worker
        .prepare_verifier()
        .unwrap()
        .check_start(&boundaries[0])
        .unwrap();
    let refused = worker.verify(ProofOf::Node(Level::LEAF), &b"\x01none"[..]);
    assert!(
        matches!(
            refused,
            Err(WorkerError::Failed(Failure::Verify(
                VerifyError::Malformed { .. }
            )))
        ),
        "{refused:?}"
    );
}

/// RISC Zero's loader takes several bytes for each one of the program's memory. The smallest task
/// of a child is said to take as much, at least.
#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "without optimization, hashing the program takes minutes"
)]
fn loading_a_large_program_takes_no_more_than_is_said() {
    let mut elf = samples::elf();
    // The size in memory of its segment, which is zero behind what is in the file.
    let size = 32_u32 << 20;
    elf[52 + 20..52 + 24].copy_from_slice(&size.to_le_bytes());
    let mut worker = Worker::spawn(&config()).unwrap();
    let input = Input::from_bytes(vec![1; 4 << 20]).unwrap();
    let loaded = worker.load(elf.as_slice(), None, input).unwrap();
    let (seen, said) = (peak_bytes(&worker), loaded.final_peak_bytes(FinalForm::Fast, 2));
    println!("{} MiB, and {} MiB said", seen >> 20, said >> 20);
    assert!(seen <= said, "{seen} bytes, and {said} said");
    assert!(
        seen > u64::from(size) * 4,
        "{seen} bytes: the loader takes less than it did"
    );
}

/// The caller checks what a child tells of, and would call it broken.
#[test]
fn an_execution_that_is_too_long_is_no_plan() {
    let mut worker = worker(&samples::elf(), 40_000);
    let (plan, _) = worker.plan(MEMORY, u64::MAX).unwrap();
    let exactly = worker.plan(MEMORY, plan.instructions).unwrap().0;
    assert_eq!(exactly, plan);
    for max in [0, 1, plan.segments[0].num_insns, plan.instructions - 1] {
        let refused = worker.plan_streamed(MEMORY, max, 0, &mut |_| {});
        assert!(
            matches!(
                refused,
                Err(WorkerError::Failed(Failure::Execute(
                    ExecuteError::TooLong { .. }
                )))
            ),
            "{max}: {refused:?}"
        );
    }
}

#[test]
fn a_child_that_makes_keys_makes_a_file_of_nothing() {
    let keys = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys");
    let name = keys.to_str().unwrap().to_owned();
    let mut maker = Worker::spawn_for_keys(&WorkerConfig {
        args: vec!["--keys".into(), name],
        keys,
        ..config()
    })
    .unwrap();
    maker.make_keys(None, Filling::Missing).unwrap();
}

#[test]
fn a_caller_of_another_build_is_refused() {
    let mut other = config();
    other.engine.id.fingerprint = [1; 32];
    let mut worker = Worker::spawn(&other).unwrap();
    let error = worker.prepare_verifier().unwrap_err().to_string();
    assert!(error.contains("different builds"), "{error}");
}
