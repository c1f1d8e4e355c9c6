//! A child hands out no node and no final proof that memory has spoilt.

use myriad_engine::AggregateError;
use myriad_openvm::probe::{Context, Key, Prove};
use myriad_swirl::SwirlError;
use openvm_stark_backend::{
    codec::{Decode, Encode},
    p3_field::PrimeCharacteristicRing,
    proof::Proof,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};

use super::*;

/// `leaf` is made over `children`, and `top` over the whole program, which ends in `last`.
pub fn is_not_handed_out(
    job: &Job,
    verifier: &Verifier,
    (leaf, children): (&[u8], &[Vec<u8>]),
    (top, last): (&[u8], &[u8]),
) {
    let node = |instead| probe::with(instead, || job.node(Level::LEAF, children, verifier));
    assert!(node(taking_the_place(leaf, false)).unwrap() == leaf);
    is_unsound(&node(taking_the_place(leaf, true)), "leaf (level 1)");

    // The top node is a final proof of another form.
    let level = Level::INTERNAL_RECURSIVE;
    let small = |instead| probe::with(instead, || job.final_proof(level, top, last, verifier));
    small(taking_the_place(top, false)).unwrap();
    is_unsound(&small(taking_the_place(top, true)), "the final proof");
    let fast = |top: &[u8]| devices::finish_fast_and_verify(level, top, last, verifier);
    fast(top).unwrap();
    is_unsound(&fast(&spoilt(top).encode_to_vec().unwrap()), "the final proof");
}

/// A probe that has this proof, whole or spoilt, in the place of what is proven.
fn taking_the_place(
    proof: &[u8],
    is_spoilt: bool,
) -> impl Fn(&Key, Context, Prove<'_>) -> Result<Proof<SC>, SwirlError> + use<> {
    let proof = if is_spoilt {
        spoilt(proof)
    } else {
        Proof::decode(&mut &*proof).unwrap()
    };
    move |_: &Key, _: Context, _: Prove<'_>| Ok(proof.clone())
}

fn spoilt(proof: &[u8]) -> Proof<SC> {
    let mut proof = Proof::<SC>::decode(&mut &*proof).unwrap();
    proof.common_main_commit[0] += F::ONE;
    proof
}

fn is_unsound(made: &Result<Vec<u8>, Failure>, of: &str) {
    match made {
        Err(Failure::Aggregate(AggregateError::Unsound { level, .. })) if level == of => {}
        Err(e) => panic!("{of}: {e}"),
        Ok(_) => panic!("{of}: it is handed out"),
    }
}
