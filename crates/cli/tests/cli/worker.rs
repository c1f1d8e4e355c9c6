//! The engine child: when its machine has too little for it, and what it says without proving.

use std::fs;

use myriad_engine::{
    Boundary, ExecuteError, Input, KeyCache, MemoryBudget, Program, ProveError, Verifier,
    worker::{Failure, WorkerError},
};
use myriad_evm::host::BlockFile;

use crate::common::{DONE, data_dir, engine_child, guest, run};

/// Enough to start with, and far less than any segment takes.
const DATA_BYTES_MAX: u64 = 700 << 20;

#[test]
fn a_child_without_memory_is_reported_and_not_waited_for() {
    let start = |more: &[&str]| {
        let mut worker = engine_child(&data_dir().join("keys"), more);
        let image = fs::read(guest("fibonacci")).unwrap();
        let input = Input::from_bytes(1000u32.to_le_bytes().to_vec()).unwrap();
        worker.load(image, None, input).unwrap();
        worker
    };
    let (plan, _) = start(&[])
        .plan(MemoryBudget::from_bytes(4 << 30), 1_000_000)
        .unwrap();
    let mut worker = start(&["--data-bytes-max", &DATA_BYTES_MAX.to_string()]);
    match worker.prove(&plan.segments[0]) {
        Err(WorkerError::Died(death)) => assert!(death.out_of_memory, "{death}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a segment was proven in {DATA_BYTES_MAX} bytes"),
    }
    // Whoever asks a dead child gets an answer too.
    assert!(worker.prove(&plan.segments[0]).is_err());
}

/// That these are the boundaries of true proofs is tested where a program is proven.
#[test]
fn the_boundaries_of_a_block_chain_from_the_programs_start_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample.json");
    let file = path.to_str().unwrap();
    run(["block", "sample", "--txs", "1", "--seed", "1", "--out", file]).exits(DONE);
    let input = BlockFile::read(&path).unwrap().to_input().unwrap().encode();

    let image = fs::read(guest("evm-block")).unwrap();
    let toml = fs::read_to_string(guest("evm-block").replace(".elf", ".openvm.toml")).unwrap();
    let program = Program::load(&image, Some(&toml)).unwrap();
    let keys = data_dir().join("keys");
    let mut worker = engine_child(&keys, &[]);
    worker
        .load(image, Some(toml), Input::from_bytes(input).unwrap())
        .unwrap();
    let (plan, _) = worker.plan(MemoryBudget::from_bytes(2 << 30), u64::MAX).unwrap();
    let (boundaries, _) = worker.boundaries(&plan.segments).unwrap();

    assert!(plan.segments.len() > 1);
    assert_eq!(boundaries.len(), plan.segments.len());
    let verifier = Verifier::new(&program, &KeyCache::new(keys)).unwrap();
    verifier.check_start(&boundaries[0]).unwrap();
    for pair in boundaries.windows(2) {
        pair[0].check_next(&pair[1]).unwrap();
        assert_ne!(pair[0].final_root, pair[0].initial_root);
    }
    let whole = Boundary::join(&boundaries[0], &boundaries[boundaries.len() - 1]);
    assert_eq!(whole.exit_code, Some(0));

    // Segments that the execution does not have are named.
    let mut segments = plan.segments;
    segments[1].instret_start += 1;
    let refused = worker.boundaries(&segments);
    let expected = |error| {
        matches!(
            error,
            WorkerError::Failed(Failure::Prove(ProveError::Mismatch { segment: 1, .. }))
        )
    };
    assert!(refused.is_err_and(expected));
}

/// As a prover's does from block to block: what it has ready for their program it keeps.
#[test]
fn a_child_proves_for_one_input_after_another() {
    let image = fs::read(guest("fibonacci")).unwrap();
    let program = Program::load(&image, None).unwrap();
    let keys = data_dir().join("keys");
    let verifier = Verifier::new(&program, &KeyCache::new(&keys)).unwrap();
    let mut planner = engine_child(&keys, &[]);
    let mut prover = engine_child(&keys, &[]);
    let ends = [1000u32, 1001].map(|rounds| {
        let input = Input::from_bytes(rounds.to_le_bytes().to_vec()).unwrap();
        for child in [&mut planner, &mut prover] {
            child.load(image.clone(), None, input.clone()).unwrap();
        }
        let (plan, _) = planner
            .plan(MemoryBudget::from_bytes(2 << 30), 1_000_000)
            .unwrap();
        let (boundaries, _) = planner.boundaries(&plan.segments).unwrap();
        let (proof, _) = prover.prove(&plan.segments[0]).unwrap();
        let proven = verifier.segment(&proof, Some(&plan.public_values)).unwrap();
        proven.check_equals(&boundaries[0]).unwrap();
        proven.final_root
    });
    assert_ne!(ends[0], ends[1]);
}

#[test]
fn executing_alone_ends_where_it_is_told_or_where_the_program_does() {
    let mut worker = engine_child(&data_dir().join("keys"), &[]);
    let mut load = |behaviour: u8| {
        let image = fs::read(guest("misbehave")).unwrap();
        let input = Input::from_bytes(vec![behaviour]).unwrap();
        worker.load(image, None, input).unwrap();
        worker.execute(5_000_000)
    };
    // An endless loop, of which so much is executed; and an exit code that is not 0.
    assert!(load(3).is_ok());
    assert!(matches!(
        load(2),
        Err(WorkerError::Failed(Failure::Execute(ExecuteError::Failed {
            code: 42,
            ..
        })))
    ));
}
