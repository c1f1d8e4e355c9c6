//! A prover that was changed, and whose proofs hold all the same.

use myriad_engine::{
    AggregateError, ProofOf, ProveError, Shown, VerifyError, changed_prover::say_43, worker::Failure,
};
use openvm_stark_backend::codec::Decode;

use super::*;

/// The circuit of a segment leaves open with which exit code a program goes on, and that of a leaf
/// does not.
#[test]
fn a_proof_that_holds_and_that_no_leaf_can_be_made_over_is_refused() {
    // Which device proves makes no difference here, and OpenVM's takes several times as long.
    OURS_ALONE.set(true);
    let Job {
        program,
        keys,
        input,
        segments,
    } = job();
    let verifier = Verifier::new(&program, &keys).unwrap();
    let [suspended, _] = segments.as_slice() else {
        panic!("there are two segments");
    };
    let prove = || devices::prove_segment::<Both>(&program, &keys, &input, suspended);
    let honest = prove().unwrap();
    CHANGE.set(Some(say_43));
    let hostile = prove().unwrap();
    let handed_out = devices::prove_and_verify::<Both>(&program, &keys, &input, suspended, &verifier);
    CHANGE.set(None);

    let stark = Proof::<SC>::decode(&mut hostile.as_slice()).unwrap();
    let key = devices::app_key(&program, &keys)
        .unwrap()
        .app_vm_pk
        .vm_pk
        .get_vk();
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
    let unsound = Failure::Prove(ProveError::Unsound {
        segment: 0,
        reason: refused.to_string(),
    });
    assert_eq!(handed_out, Err(unsound));

    let leaf = |child: &[u8]| devices::aggregate::<Both>(&program, &keys, Level::LEAF, &[child.to_vec()]);
    let leaf_holds = |leaf: &[u8]| verifier.verify(&ProofOf::Node(Level::LEAF), leaf);
    assert_eq!(leaf_holds(&leaf(&honest).unwrap()), Ok(Shown::Piece(boundary)));
    // It looks as if the machine that makes the leaf were to blame.
    let over_hostile = leaf(&hostile).and_then(|leaf| {
        leaf_holds(&leaf).map_err(|e| AggregateError::Failed {
            level: Level::LEAF.to_string(),
            reason: e.to_string(),
        })
    });
    assert!(over_hostile.is_err(), "the leaf's circuit requires more");
}
