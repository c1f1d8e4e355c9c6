//! The requirements that the circuits above put on a proof, beyond its validity.
//!
//! A proof is made to be aggregated. A proof that verifies, but over which no node can be made,
//! would stop the job for ever. The peer that tried would look like a liar, since its node does not
//! verify. So a proof is accepted only if the circuit of the next stage accepts it.
//!
//! These are all constraints that the leaf, the internal and the final stage put on the values that
//! a child shows, with their sources in OpenVM 2.0.2 (`C` is
//! `openvm-continuations/src/circuit/inner`, `R` is `openvm-recursion-circuit/src`, `H` is
//! `openvm-verify-stark-host/src/lib.rs`, `B` is `openvm-stark-backend/src/verifier`):
//!
//! | of the child | the stage above requires | source | required here by |
//! |---|---|---|---|
//! | `is_terminate` | 0 or 1 | `C/vm_pvs/air.rs` | [`ending`] |
//! | `exit_code` where the program ends | 0 | `C/vm_pvs/air.rs`, `H` | [`ending`] |
//! | `exit_code` where it does not | 42; the segment's own circuit leaves it open (`openvm-circuit/src/system/connector`) | `C/vm_pvs/air.rs` | [`ending`] |
//! | `is_terminate` of all but the last child | 0 | `C/vm_pvs/air.rs` | equality with the true [`Boundary`](crate::Boundary) |
//! | pc and memory root at both ends | those of the neighbours | `C/vm_pvs/air.rs` | the same |
//! | program, connector, boundary, memory tree | have traces | `openvm-circuit/src/arch/config.rs`, `C/vm_pvs/trace.rs` | [`present`] |
//! | `program_commit`, of a segment its cached trace | the same of all children | `C/vm_pvs/air.rs` | equality with this program's |
//! | the two tables of public values, and the constraints, of a node | have traces | `C/vm_pvs/trace.rs`, `C/verifier/trace.rs` | [`present`] |
//! | `internal_flag` | 0 of a leaf, 1 of an internal-for-leaf node, 2 above | `C/verifier/air.rs` | `Verifier::check_lineage` |
//! | `recursion_depth` | 0 below internal-recursive nodes, then 1, 2, …, below 256 | `C/verifier/air.rs`, `H` | the same, and [`Level::MAX`](crate::Level::MAX) |
//! | commitments to the keys of the stages below | those keys' | `C/verifier/air.rs`, `H` | `Verifier::check_lineage` |
//! | commitments to its own key and those above | unset: its own circuit leaves them open | `C/verifier/air.rs` | the same |
//! | the cached trace of the constraints that it evaluated | that of the key of the stage below | `C/verifier/air.rs`, `H` | the same |
//! | what belongs to deferral | is not there: keys are made without | `C/mod.rs`, `H` | [`present`]; for the final proof `H` |
//! | public values and cached traces | as many as the key says, none without a trace | `R/proof_shape`, `B/proof_shape.rs` | `B` |
//! | required chips | have traces | `R/proof_shape/proof_shape/air.rs` | `B` |
//! | chips with fixed columns | have their key's height | `R/proof_shape/proof_shape/air.rs` | `B/mod.rs` |
//! | rows of a chip | no more than the stacked height, so under 2^32 | `R/proof_shape/proof_shape/air.rs`, `R/stacking/eq_bits` | `B/proof_shape.rs` |
//! | interactions of all rows, lifted to 2^l_skip | below `max_interaction_count` | `R/proof_shape/proof_shape/air.rs` | [`interactions`] |
//! | stacked columns | no more than `w_stack`, the most that the next prover commits to | `B/proof_shape.rs` | `B` |
//! | rounds, openings, paths, proofs of work | as many, and as deep, as the key says | `R/{gkr,batch_constraint,stacking,whir}` | `B/proof_shape.rs`, `B/whir.rs` |
//!
//! Trace generation above asserts nothing else about a child.

use openvm_circuit::{
    arch::{BOUNDARY_AIR_ID, CONNECTOR_AIR_ID, ExitCode, MERKLE_AIR_ID, PROGRAM_AIR_ID},
    system::connector::DEFAULT_SUSPEND_EXIT_CODE,
};
use openvm_sdk::{F, SC};
use openvm_stark_backend::{keygen::types::MultiStarkVerifyingKey, p3_field::PrimeField32, proof::Proof};
use openvm_verify_stark_host::pvs::{
    CONSTRAINT_EVAL_AIR_ID, DEF_PVS_AIR_ID, VERIFIER_PVS_AIR_ID, VM_PVS_AIR_ID, VerifierBasePvs, VmPvs,
};

use super::Verifier;
use myriad_engine::VerifyError;

/// The chips that every segment proof has a trace of.
pub(super) const OF_SEGMENTS: [(&str, usize); 4] = [
    ("program", PROGRAM_AIR_ID),
    ("connector", CONNECTOR_AIR_ID),
    ("boundary", BOUNDARY_AIR_ID),
    ("memory tree", MERKLE_AIR_ID),
];

/// The chips that every node has a trace of.
const OF_NODES: [(&str, usize); 3] = [
    ("verifier's public values", VERIFIER_PVS_AIR_ID),
    ("VM's public values", VM_PVS_AIR_ID),
    ("constraints", CONSTRAINT_EVAL_AIR_ID),
];

fn unusable(what: &str, actual: impl ToString, required: impl ToString) -> VerifyError {
    VerifyError::Unusable {
        what: what.into(),
        actual: actual.to_string(),
        required: required.to_string(),
    }
}

/// The exit code where the program ends, and none where it does not.
///
/// # Errors
/// [`VerifyError::ExitCode`] if the program ended with another code than 0, and
/// [`VerifyError::Unusable`] if a piece that goes on does not say so in the one way that the
/// circuits above know.
pub(super) fn ending(is_terminate: F, code: F) -> Result<Option<u32>, VerifyError> {
    let code = code.as_canonical_u32();
    match is_terminate.as_canonical_u32() {
        1 if code == ExitCode::Success as u32 => Ok(Some(code)),
        1 => Err(VerifyError::ExitCode { code }),
        0 if code == DEFAULT_SUSPEND_EXIT_CODE => Ok(None),
        0 => Err(unusable(
            "the exit code of a piece that does not end the program",
            code,
            DEFAULT_SUSPEND_EXIT_CODE,
        )),
        flag => Err(unusable("whether the program ends", flag, "0 or 1")),
    }
}

/// Checks that the chips have traces whose public values the stage above reads.
///
/// # Errors
/// [`VerifyError::Unusable`]
pub(super) fn present(proof: &Proof<SC>, chips: &[(&str, usize)]) -> Result<(), VerifyError> {
    for (name, air) in chips {
        if proof.trace_vdata.get(*air).and_then(Option::as_ref).is_none() {
            return Err(unusable(
                &format!("the trace of the {name} chip"),
                "missing",
                "there",
            ));
        }
    }
    Ok(())
}

/// Checks that the chips of a node have traces whose public values the stage above reads, and that
/// the node has nothing of deferral.
///
/// # Errors
/// [`VerifyError::Unusable`]
pub(super) fn node_present(proof: &Proof<SC>) -> Result<(), VerifyError> {
    present(proof, &OF_NODES)?;
    for (what, air, required) in [
        (
            "the number of the verifier's public values",
            VERIFIER_PVS_AIR_ID,
            VerifierBasePvs::<u8>::width(),
        ),
        (
            "the number of the VM's public values",
            VM_PVS_AIR_ID,
            VmPvs::<u8>::width(),
        ),
        ("the number of the deferral's public values", DEF_PVS_AIR_ID, 0),
    ] {
        let actual = proof.public_values.get(air).map_or(0, Vec::len);
        if actual != required {
            return Err(unusable(what, actual, required));
        }
    }
    Ok(())
}

/// Checks that the chips have no more interactions than the circuit above can count.
///
/// The host's verifier enforces this through the key's constraints on heights, of which it keeps
/// those that imply the others. The circuit above has only this one, and it is cheap to be sure.
///
/// # Errors
/// [`VerifyError::Unusable`]
pub(super) fn interactions(vk: &MultiStarkVerifyingKey<SC>, proof: &Proof<SC>) -> Result<(), VerifyError> {
    let params = &vk.inner.params;
    let chips = vk.inner.per_air.iter().zip(&proof.trace_vdata);
    let total = chips.fold(0u64, |total, (chip, trace)| {
        let of_chip = trace.as_ref().map_or(0, |trace| {
            let lifted = 1u64
                .checked_shl(trace.log_height.max(params.l_skip) as u32)
                .unwrap_or(u64::MAX);
            lifted.saturating_mul(chip.num_interactions() as u64)
        });
        total.saturating_add(of_chip)
    });
    let max = u64::from(params.logup.max_interaction_count);
    if total >= max {
        return Err(unusable(
            "the number of interactions",
            total,
            format!("under {max}"),
        ));
    }
    Ok(())
}

impl Verifier {
    /// Takes the circuits above for ones that can count fewer interactions than this: tests show
    /// that they are counted.
    pub(crate) fn set_interactions_max(&mut self, max: u32) {
        for vk in [
            &mut self.app,
            &mut self.leaf,
            &mut self.internal_for_leaf,
            &mut self.final_proof.mvk,
        ] {
            vk.inner.params.logup.max_interaction_count = max;
        }
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::p3_field::PrimeCharacteristicRing;

    use super::*;

    #[test]
    fn a_piece_ends_in_the_ways_that_the_circuits_above_know_and_in_no_other() {
        let ending = |flag, code| ending(F::from_u32(flag), F::from_u32(code));
        assert_eq!(ending(1, 0), Ok(Some(0)));
        assert_eq!(ending(0, 42), Ok(None));
        for code in [1, 42, 43] {
            assert_eq!(ending(1, code), Err(VerifyError::ExitCode { code }));
        }
        for (flag, code) in [(0, 0), (0, 41), (0, 43), (2, 0), (2, 42), (F::ORDER_U32 - 1, 42)] {
            assert!(
                matches!(ending(flag, code), Err(VerifyError::Unusable { .. })),
                "{flag}, {code}"
            );
        }
    }
}
