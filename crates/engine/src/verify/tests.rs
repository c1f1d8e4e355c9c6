//! A prover that was changed, and whose proofs hold all the same.

use std::{fs, path::PathBuf};

use openvm_sdk::{DefaultStarkEngine, prover::vm::new_local_prover};
use openvm_sdk_config::SdkVmCpuBuilder;

use super::*;
use crate::{
    Input, MemoryBudget, ProveError, Segment,
    aggregate::Aggregator,
    execute,
    modified::say_43,
    prove::SegmentProver,
    worker::{Failure, proven},
};

/// Instructions of the segment: the least that show what is to be shown.
const INSTRUCTIONS: u64 = 1000;

/// The keys, which are the same for all tests of the workspace and from one run to the next.
fn keys() -> KeyCache {
    let binary = std::env::current_exe().unwrap();
    // target/release/deps/myriad_engine-…
    let target: PathBuf = binary.ancestors().nth(3).unwrap().into();
    KeyCache::new(target.join("tmp/data/keys"))
}

/// The first instructions of the fibonacci guest, after which it goes on.
fn suspended() -> (Program, Input, Segment) {
    let elf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/elf/fibonacci.elf");
    let program = Program::load(&fs::read(elf).unwrap(), None).unwrap();
    keys().ensure(program.config()).unwrap();
    let input = Input::from_bytes(1000u64.to_le_bytes().to_vec()).unwrap();
    let budget = MemoryBudget::from_bytes(2 << 30);
    let plan = execute::plan(&program, &keys(), &input, budget, 1_000_000, &String::new).unwrap();
    let mut segment = plan.segments.into_iter().next().unwrap();
    assert!(segment.num_insns > INSTRUCTIONS);
    // There is room for more rows than it has.
    (segment.num_insns, segment.last) = (INSTRUCTIONS, false);
    (program, input, segment)
}

#[test]
fn the_commitment_to_a_program_is_that_of_openvm() {
    let (program, ..) = suspended();
    let verifier = Verifier::new(&program, &keys()).unwrap();
    let key = keys().get(program.config()).unwrap().app.app_vm_pk;
    let stock =
        new_local_prover::<DefaultStarkEngine, _>(SdkVmCpuBuilder, &key, program.exe().clone()).unwrap();
    assert_eq!(verifier.program_commit, *stock.program_commitment());
}

/// The circuit of a segment leaves open with which exit code a program goes on, and that of a leaf does not.
#[test]
fn a_proof_that_holds_and_that_no_leaf_can_be_made_over_is_refused() {
    let (program, input, segment) = suspended();
    let verifier = Verifier::new(&program, &keys()).unwrap();
    let mut prover: SegmentProver = SegmentProver::new(&program, &keys()).unwrap();
    let honest = prover.prove(&program, &input, &segment).unwrap();
    prover.tampering = Some(say_43);
    let hostile = prover.prove(&program, &input, &segment).unwrap();
    let handed_out = proven(&mut prover, &program, &input, &segment, || Ok(&verifier));
    drop(prover);

    let stark = SegmentProof::decode(&hostile).unwrap().stark;
    let engine = DefaultStarkEngine::new(verifier.app.inner.params.clone());
    assert!(engine.verify(&verifier.app, &stark).is_ok(), "it holds");

    let boundary = verifier.segment(&honest, None).unwrap();
    assert_eq!(
        (boundary.initial_pc, boundary.exit_code),
        (verifier.start_pc, None)
    );
    let refused = verifier.segment(&hostile, None).unwrap_err();
    assert!(
        matches!(&refused, VerifyError::Unusable { actual, required, .. } if actual == "43" && required == "42"),
        "{refused}"
    );

    assert_eq!(verifier.own_segment(&honest), Ok(boundary));
    // Nor does the child that made it hand it out.
    let unsound = Failure::Prove(ProveError::Unsound {
        segment: 0,
        reason: refused.to_string(),
    });
    assert_eq!(handed_out, Err(unsound));

    let aggregator: Aggregator = Aggregator::new(&program, &keys(), Circuit::Leaf).unwrap();
    let leaf = |child: Vec<u8>| aggregator.aggregate(Level::LEAF, &[child]);
    let over_honest = leaf(honest).unwrap();
    assert_eq!(verifier.node(Level::LEAF, &over_honest), Ok(boundary));
    // It looks as if whoever makes the leaf were to blame.
    let over_hostile = leaf(hostile).and_then(|leaf| {
        let verified = verifier.node(Level::LEAF, &leaf);
        verified.map_err(|e| crate::AggregateError::Failed {
            level: Level::LEAF.to_string(),
            reason: e.to_string(),
        })
    });
    assert!(over_hostile.is_err(), "the leaf's circuit requires more");
}
