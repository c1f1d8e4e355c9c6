//! A prover that was changed, and whose proofs hold all the same.

use myriad_engine::{ProofOf, ProveError, Shown};
use myriad_openvm::changed_prover::{prove_suspended_with_43, say_43};
use openvm_sdk::DefaultStarkEngine;
use openvm_stark_backend::{StarkEngine, codec::Decode, proof::Proof};
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config as SC;

use super::*;

/// The circuit of a segment leaves open with which exit code a program goes on, and that of a leaf
/// does not.
#[test]
fn a_proof_that_holds_and_that_no_leaf_can_be_made_over_is_refused() {
    let job = job();
    let Job {
        program,
        keys,
        input,
        segments,
    } = &job;
    let verifier = Verifier::new(program, keys).unwrap();
    let suspended = &segments[0];
    let honest = job.segment(suspended, &verifier).unwrap();
    let hostile = prove_suspended_with_43(program, keys, input, suspended).unwrap();

    let stark = Proof::<SC>::decode(&mut hostile.as_slice()).unwrap();
    let key = devices::app_key(program, keys).unwrap().app_vm_pk.vm_pk.get_vk();
    let engine = DefaultStarkEngine::new(key.inner.params.clone());
    assert!(engine.verify(&key, &stark).is_ok(), "it holds");

    let segment = ProofOf::Segment { public_values: None };
    let Ok(Shown::Piece(boundary)) = verifier.verify(&segment, &honest) else {
        panic!("it is the proof of a segment");
    };
    assert_eq!(boundary.exit_code, None);
    verifier.statement().check_start(&boundary).unwrap();
    let refused = verifier.verify(&segment, &hostile).unwrap_err();
    assert!(
        matches!(&refused, VerifyError::Unusable { actual, required, .. } if actual == "43" && required == "42"),
        "{refused}"
    );
    // The child that made it does not hand it out either.
    let handed_out = probe::with(say_43, || job.segment(suspended, &verifier));
    let unsound = Failure::Prove(ProveError::Unsound {
        segment: 0,
        reason: refused.to_string(),
    });
    assert_eq!(handed_out, Err(unsound));

    // It looks as if the machine that makes the leaf were to blame.
    let over_hostile = job.node(Level::LEAF, &[hostile], &verifier);
    assert!(over_hostile.is_err(), "the leaf's circuit requires more");
    let leaf = job.node(Level::LEAF, &[honest], &verifier).unwrap();
    let shown = verifier.verify(&ProofOf::Node(Level::LEAF), &leaf);
    assert_eq!(shown, Ok(Shown::Piece(boundary)));
}
