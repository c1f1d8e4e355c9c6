//! Each proof must meet all requirements of the circuits above, besides being valid.

use myriad_engine::{Level, VerifyError};
use myriad_openvm::{
    Verifier,
    devices::{set_interactions_max, usable_node, usable_segment},
};
use openvm_circuit::arch::{BOUNDARY_AIR_ID, CONNECTOR_AIR_ID, MERKLE_AIR_ID, PROGRAM_AIR_ID};
use openvm_stark_backend::{codec::Decode, p3_field::PrimeCharacteristicRing, proof::Proof};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use openvm_verify_stark_host::pvs::{
    CONSTRAINT_EVAL_AIR_ID, CONSTRAINT_EVAL_CACHED_INDEX, DEF_PVS_AIR_ID, VERIFIER_PVS_AIR_ID, VM_PVS_AIR_ID,
    VerifierBasePvs,
};

fn changed(proof: &Proof<SC>, change: impl FnOnce(&mut Proof<SC>)) -> Proof<SC> {
    let mut proof = proof.clone();
    change(&mut proof);
    proof
}

/// Changes proofs that hold, one value at a time, and looks whether they are still good for the
/// next stage. The segment is one that does not end the program.
pub fn are_checked(mut verifier: Verifier, segment: &[u8], nodes: &[(Level, &[u8])]) {
    let stark = Proof::<SC>::decode(&mut &*segment).unwrap();
    usable_segment(&verifier, stark.clone()).unwrap();
    for air in [PROGRAM_AIR_ID, CONNECTOR_AIR_ID, BOUNDARY_AIR_ID, MERKLE_AIR_ID] {
        let without = changed(&stark, |proof| proof.trace_vdata[air] = None);
        is_unusable(usable_segment(&verifier, without), "the trace of");
    }
    for (level, bytes) in nodes {
        let stark = Proof::<SC>::decode(&mut &**bytes).unwrap();
        usable_node(&verifier, *level, &stark).unwrap();
        has_what_a_node_has(&verifier, *level, &stark);
        is_made_with_these_keys(&verifier, *level, &stark);
    }

    // A circuit that could count none.
    set_interactions_max(&mut verifier, 1);
    let interactions = "the number of interactions";
    is_unusable(verifier.segment(segment, None), interactions);
    for (level, bytes) in nodes {
        is_unusable(verifier.node(*level, bytes), interactions);
    }
}

fn has_what_a_node_has(verifier: &Verifier, level: Level, stark: &Proof<SC>) {
    let judged = |change: fn(&mut Proof<SC>)| usable_node(verifier, level, &changed(stark, change));
    let is_there = "the trace of";
    is_unusable(
        judged(|proof| proof.trace_vdata[VERIFIER_PVS_AIR_ID] = None),
        is_there,
    );
    is_unusable(judged(|proof| proof.trace_vdata[VM_PVS_AIR_ID] = None), is_there);
    is_unusable(
        judged(|proof| proof.trace_vdata[CONSTRAINT_EVAL_AIR_ID] = None),
        is_there,
    );
    is_unusable(
        judged(|proof| proof.public_values[VM_PVS_AIR_ID].push(F::ZERO)),
        "the number of the VM's public values",
    );
    is_unusable(
        judged(|proof| proof.public_values[VERIFIER_PVS_AIR_ID].push(F::ZERO)),
        "the number of the verifier's public values",
    );
    is_unusable(
        judged(|proof| proof.public_values[DEF_PVS_AIR_ID].push(F::ZERO)),
        "the number of the deferral's public values",
    );
}

/// Each value by which a node says what it was made over counts.
fn is_made_with_these_keys(verifier: &Verifier, level: Level, stark: &Proof<SC>) {
    let refused = |proof: &Proof<SC>, what: &str| {
        let judged = usable_node(verifier, level, proof);
        assert!(
            matches!(judged, Err(VerifyError::OtherKeys { .. })),
            "{level}, {what}: {judged:?}"
        );
    };
    for value in 0..VerifierBasePvs::<u8>::width() {
        let proof = changed(stark, |proof| {
            proof.public_values[VERIFIER_PVS_AIR_ID][value] += F::ONE;
        });
        refused(&proof, &format!("public value {value} of the verifier"));
    }
    let proof = changed(stark, |proof| {
        let trace = proof.trace_vdata[CONSTRAINT_EVAL_AIR_ID].as_mut().unwrap();
        trace.cached_commitments[CONSTRAINT_EVAL_CACHED_INDEX][0] += F::ONE;
    });
    refused(&proof, "the constraints that it evaluated");
}

fn is_unusable<T: std::fmt::Debug>(judged: Result<T, VerifyError>, why: &str) {
    match judged {
        Err(VerifyError::Unusable { what, .. }) if what.starts_with(why) => {}
        judged => panic!("{why}: {judged:?}"),
    }
}
