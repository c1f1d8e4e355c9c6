//! What only proofs show: a program of two segments becomes a receipt that a stock verifier
//! accepts, and proofs that do not belong to it are refused.
//!
//! The engine runs as it does in a job, in a confined process of its own. With `--nocapture`, each
//! step says what it took. These tests need RISC Zero's kernels, and take minutes.

#[path = "../src/samples.rs"]
#[allow(dead_code, reason = "the unit tests have more programs")]
mod samples;

#[allow(dead_code, reason = "other tests use more of it")]
mod common;

use std::fmt::Display;

use common::worker;
use myriad_engine::{
    AggregateError, Boundary, FinalForm, Level, MemoryBudget, Plan, ProofOf, Segment, Shown, VerifyError,
    worker::{Failure, Usage, Worker, WorkerError},
};
use risc0_zkvm::{Digest, Receipt};

/// Segments of 2^15 rows fit it.
const SMALL: MemoryBudget = MemoryBudget::from_bytes(512 << 20);
/// What a process takes without a segment, in MiB: at least that of `src/memory.rs`, and less than
/// what a segment of 2^15 rows takes.
const PROCESS_MIB: u64 = 128;
/// A program of two such segments, with three cycles for each step.
const STEPS: u32 = 9_000;

fn told<T>(what: impl Display, (result, usage): (T, Usage)) -> T {
    println!(
        "{what}: {:.1} s, {:.1} s of cores, peak {} MiB, {} MiB expected",
        usage.wall.as_secs_f64(),
        usage.cpu.as_secs_f64(),
        usage.peak_bytes >> 20,
        usage.planned_bytes >> 20,
    );
    result
}

fn plan(worker: &mut Worker, memory: MemoryBudget) -> (Plan, Vec<Boundary>) {
    let plan = told("plan", worker.plan(memory, u64::MAX).unwrap());
    let boundaries = told("boundaries", worker.boundaries(&plan.segments).unwrap());
    (plan, boundaries)
}

fn segment_kind(plan: &Plan, segment: &Segment) -> ProofOf {
    ProofOf::Segment {
        public_values: segment.last.then(|| plan.public_values.clone()),
    }
}

fn piece(worker: &mut Worker, of: ProofOf, proof: &[u8]) -> Boundary {
    let (shown, _) = worker.verify(of, proof).unwrap();
    shown.piece().unwrap()
}

fn refused(worker: &mut Worker, of: ProofOf, proof: &[u8]) -> VerifyError {
    match worker.verify(of, proof) {
        Err(WorkerError::Failed(Failure::Verify(error))) => error,
        other => panic!("{other:?}"),
    }
}

fn child_refused(result: Result<(Vec<u8>, Usage), WorkerError>) -> (usize, String) {
    match result {
        Err(WorkerError::Failed(Failure::Aggregate(AggregateError::Child { child, reason }))) => {
            (child, reason)
        }
        other => panic!("{other:?}"),
    }
}

/// The proof with one bit changed, in the middle of it.
fn spoilt(proof: &[u8]) -> Vec<u8> {
    let mut spoilt = proof.to_vec();
    spoilt[proof.len() / 2] ^= 1;
    spoilt
}

#[test]
fn two_segments_become_a_receipt() {
    let elf = samples::elf();
    let mut prover = worker(&elf, STEPS);
    let (plan, boundaries) = plan(&mut prover, SMALL);
    let [first, last] = plan.segments.as_slice() else {
        panic!("{} segments", plan.segments.len());
    };
    // Somebody else verifies, who makes no proof.
    let mut verifier = worker(&elf, STEPS);
    let statement = verifier.prepare_verifier().unwrap();
    statement.check_start(&boundaries[0]).unwrap();

    let proofs = [first, last].map(|segment| {
        let what = format!("segment of {} cycles, {} cells", segment.num_insns, segment.cells);
        told(what, prover.prove(segment).unwrap())
    });
    for ((segment, proof), expected) in plan.segments.iter().zip(&proofs).zip(&boundaries) {
        println!("proof of {} bytes", proof.len());
        let shown = piece(&mut verifier, segment_kind(&plan, segment), proof);
        assert_eq!(shown.check_equals(expected), Ok(()));
    }
    segments_of_others_are_refused(&mut verifier, &plan, &boundaries, &proofs);

    let leaves = [0, 1].map(|at| {
        told(
            "lift",
            prover
                .aggregate(Level::LEAF, vec![proofs[at].as_slice()])
                .unwrap(),
        )
    });
    for (leaf, expected) in leaves.iter().zip(&boundaries) {
        println!("proof of {} bytes", leaf.len());
        assert_eq!(piece(&mut verifier, ProofOf::Node(Level::LEAF), leaf), *expected);
    }
    nodes_of_others_are_refused(&mut verifier, &leaves);

    let level = Level::INTERNAL_FOR_LEAF;
    let joined = told(
        "join",
        prover
            .aggregate(level, leaves.iter().map(Vec::as_slice).collect())
            .unwrap(),
    );
    let whole = Boundary::join(&boundaries[0], &boundaries[1]);
    assert_eq!(piece(&mut verifier, ProofOf::Node(level), &joined), whole);
    let top_level = Level::INTERNAL_RECURSIVE;
    let top = told(
        "a node over one",
        prover.aggregate(top_level, vec![joined.as_slice()]).unwrap(),
    );
    assert_ne!(top, joined);
    assert_eq!(piece(&mut verifier, ProofOf::Node(top_level), &top), whole);

    let finish = prover.finish(top_level, FinalForm::Small, top.as_slice(), proofs[1].as_slice());
    let file = told("final", finish.unwrap());
    println!("receipt of {} bytes", file.len());
    receipts_of_others_are_refused(&mut verifier, &file);
    let of = ProofOf::Final {
        public_values: Some(samples::JOURNAL.to_vec()),
    };
    let (shown, _) = verifier.verify(of, file.as_slice()).unwrap();
    assert!(matches!(shown, Shown::Whole(proof) if proof.public_values == samples::JOURNAL));
    let receipt: Receipt = bincode::deserialize(&file).unwrap();
    let image_id = Digest::new(statement.start_root.0);
    assert_eq!(statement.program_commitment, image_id.to_string());
    receipt.verify(image_id).unwrap();
    assert_eq!(receipt.journal.bytes, samples::JOURNAL);
}

fn segments_of_others_are_refused(
    verifier: &mut Worker,
    plan: &Plan,
    boundaries: &[Boundary],
    [first, last]: &[Vec<u8>; 2],
) {
    let of_first = || segment_kind(plan, &plan.segments[0]);
    let of_last = || segment_kind(plan, &plan.segments[1]);
    // A valid proof in another's place.
    assert!(matches!(
        refused(verifier, of_last(), first),
        VerifyError::PublicValues { .. }
    ));
    assert!(matches!(
        refused(verifier, of_first(), last),
        VerifyError::Boundary { .. }
    ));
    let shown = piece(verifier, of_first(), first);
    assert!(shown.check_equals(&boundaries[1]).is_err());
    // A valid proof of another input, which is as long.
    let mut other = worker(&samples::elf(), STEPS + 1);
    let (_, others) = self::plan(&mut other, SMALL);
    assert_eq!(others.len(), boundaries.len());
    assert!(shown.check_equals(&others[0]).is_err());
    // Other values than those that it commits to.
    let of_other_values = ProofOf::Segment {
        public_values: Some(b"other".to_vec()),
    };
    assert!(matches!(
        refused(verifier, of_other_values, last),
        VerifyError::PublicValues { .. }
    ));
    assert!(matches!(
        refused(verifier, of_first(), &spoilt(first)),
        VerifyError::Invalid { .. }
    ));
    let cut = &first[..first.len() / 2];
    assert!(matches!(
        refused(verifier, of_first(), cut),
        VerifyError::Malformed { .. }
    ));
}

fn nodes_of_others_are_refused(verifier: &mut Worker, leaves: &[Vec<u8>; 2]) {
    let of = || ProofOf::Node(Level::LEAF);
    assert!(matches!(
        refused(verifier, of(), &spoilt(&leaves[0])),
        VerifyError::Invalid { .. }
    ));
    let cut = &leaves[0][..1000];
    assert!(matches!(
        refused(verifier, of(), cut),
        VerifyError::Malformed { .. }
    ));
    let above = ProofOf::Node(Level::INTERNAL_FOR_LEAF);
    assert!(matches!(
        refused(verifier, above, &leaves[0]),
        VerifyError::OtherKeys { .. }
    ));
    // Pieces that do not follow each other: turned around, and the same one twice.
    for (one, other) in [(1, 0), (0, 0)] {
        let children = vec![leaves[one].as_slice(), leaves[other].as_slice()];
        let (child, reason) = child_refused(verifier.aggregate(Level::INTERNAL_FOR_LEAF, children));
        assert_eq!(child, 1, "{reason}");
    }
    let (child, _) =
        child_refused(verifier.aggregate(Level::INTERNAL_FOR_LEAF, vec![leaves[0].as_slice(), cut]));
    assert_eq!(child, 1);
}

fn receipts_of_others_are_refused(verifier: &mut Worker, file: &[u8]) {
    let of = || ProofOf::Final { public_values: None };
    assert!(matches!(
        refused(verifier, of(), &spoilt(file)),
        VerifyError::Invalid { .. }
    ));
    let cut = &file[..file.len() - 1];
    assert!(matches!(
        refused(verifier, of(), cut),
        VerifyError::Malformed { .. }
    ));
    let other_values = ProofOf::Final {
        public_values: Some(b"other".to_vec()),
    };
    assert!(matches!(
        refused(verifier, other_values, file),
        VerifyError::PublicValues { .. }
    ));
    // A journal that the proof does not commit to, of the same length.
    let journal = file
        .windows(samples::JOURNAL.len())
        .rposition(|window| window == samples::JOURNAL);
    let mut forged = file.to_vec();
    forged[journal.unwrap()] ^= 1;
    assert!(matches!(
        refused(verifier, of(), &forged),
        VerifyError::Invalid { .. }
    ));
    let mut other_program = worker(&samples::ending(0), 0);
    assert!(matches!(
        refused(&mut other_program, of(), file),
        VerifyError::OtherProgram { .. }
    ));
}

/// Says what segments take, for the numbers of `src/memory.rs`: of the rows that `MYRIAD_PO2` has,
/// as powers of two, or of 2^15 to 2^18.
#[test]
#[ignore = "it measures, and takes a quarter of an hour"]
fn what_segments_take() {
    let sizes = std::env::var("MYRIAD_PO2").unwrap_or_else(|_| "15 16 17 18".into());
    let elf = samples::elf();
    for po2 in sizes.split_whitespace() {
        let po2: u32 = po2.parse().unwrap();
        // Enough for one whole segment and some more, whatever the pages take.
        let mut prover = worker(&elf, 1 << (po2 - 1));
        let memory = MemoryBudget::from_bytes((PROCESS_MIB << 20) + (9 << 10 << po2));
        let (plan, _) = plan(&mut prover, memory);
        assert!(plan.segments.len() > 1, "2^{po2}");
        let segment = &plan.segments[0];
        assert_eq!(segment.details, [po2 as u8; 2]);
        let what = format!("segment of 2^{po2} rows, {} cycles", segment.num_insns);
        let proof = told(what, prover.prove(segment).unwrap());
        println!("proof of {} bytes", proof.len());
    }
}
