//! The final proof in OpenVM's own file format, which `cargo openvm verify stark` reads.

use myriad_engine::{AggregateError, FINAL_PROOF_BYTES_MAX, VerifyError, quoted};
use openvm_sdk::{SC, types::VersionedVmStarkProof};
use openvm_stark_backend::proof::Proof;
use openvm_verify_stark_host::VmStarkProof;

use crate::{
    proof_bytes,
    prove::{PublicValuesProof, SegmentProof},
};

/// The final proof of [`FinalForm::Fast`]: the proof of the tree's top node, with the public values
/// that the proof of the program's last segment shows. Nobody has verified it yet.
///
/// # Errors
/// [`AggregateError::Failed`] for proofs of another kind.
pub(crate) fn of_top(top: &[u8], last_segment: &[u8]) -> Result<Vec<u8>, AggregateError> {
    let failed = |reason: String| AggregateError::Failed {
        level: "the final proof".into(),
        reason,
    };
    let (top, public_values) = decode_parts(top, last_segment).map_err(failed)?;
    encode(top, public_values).map_err(failed)
}

/// The parts of a final proof: the proof of the top node, and the statement of the last segment's
/// proof about the public values.
pub(crate) fn decode_parts(
    top: &[u8],
    last_segment: &[u8],
) -> Result<(Proof<SC>, PublicValuesProof), String> {
    let public_values = SegmentProof::decode(last_segment)?
        .public_values
        .ok_or("the last segment's proof shows no public values")?;
    Ok((proof_bytes::decode(top)?, public_values))
}

/// The file of a final proof: pretty-printed JSON, as OpenVM writes it.
pub(crate) fn encode(inner: Proof<SC>, public_values: PublicValuesProof) -> Result<Vec<u8>, String> {
    let proof = VmStarkProof {
        inner,
        user_pvs_proof: public_values,
        deferral_merkle_proofs: None,
    };
    let versioned = VersionedVmStarkProof::new(proof).map_err(|e| e.to_string())?;
    serde_json::to_vec_pretty(&versioned).map_err(|e| e.to_string())
}

/// Reads the file of a final proof. It accepts only the very bytes that [`encode`] writes.
/// Otherwise there would be many files for one proof, and a flipped bit (`a` to `A`) could go
/// unnoticed.
pub(crate) fn decode(bytes: &[u8]) -> Result<VmStarkProof, VerifyError> {
    // The reason may quote a text of the file.
    let malformed = |reason: String| VerifyError::Malformed {
        reason: quoted(&reason),
    };
    if bytes.len() > FINAL_PROOF_BYTES_MAX {
        return Err(VerifyError::TooLarge {
            what: "a final proof".into(),
            actual: bytes.len(),
            max: FINAL_PROOF_BYTES_MAX,
        });
    }
    let versioned: VersionedVmStarkProof = serde_json::from_slice(bytes)
        .map_err(|e| malformed(format!("it is not the JSON of a proof: {e}")))?;
    let expected = format!("v{}", openvm_sdk::OPENVM_VERSION);
    if versioned.version != expected {
        return Err(VerifyError::Version {
            actual: format!("OpenVM {}", quoted(&versioned.version)),
            expected: format!("OpenVM {expected}"),
        });
    }
    if versioned.deferral_merkle_proofs.is_some() {
        return Err(malformed(
            "it has proofs of the extension `deferral`, which this engine does not prove".into(),
        ));
    }
    let mut public_values = versioned.user_pvs_proof.as_slice();
    let proof = VmStarkProof {
        inner: proof_bytes::decode(&versioned.proof).map_err(malformed)?,
        user_pvs_proof: PublicValuesProof::decode::<SC, _>(&mut public_values)
            .map_err(|e| malformed(e.to_string()))?,
        deferral_merkle_proofs: None,
    };
    let again = VersionedVmStarkProof::new(proof.clone()).map_err(|e| malformed(e.to_string()))?;
    let again = serde_json::to_vec_pretty(&again).map_err(|e| malformed(e.to_string()))?;
    if again != bytes {
        return Err(malformed(
            "it is not written in the one form that OpenVM writes".into(),
        ));
    }
    Ok(proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a longer error, the caller of the child that verifies would not learn whose fault it
    /// is.
    #[test]
    fn a_long_text_in_a_false_proof_makes_no_long_error() {
        let long = "x".repeat(100 << 10);
        let of_version =
            |version: &str| format!(r#"{{"version": "{version}", "proof": "00", "user_pvs_proof": "00"}}"#);
        let refused = |file: &str| decode(file.as_bytes()).err().unwrap();
        let error = refused(&of_version(&long));
        assert!(matches!(error, VerifyError::Version { .. }), "{error}");
        assert!(error.to_string().len() < 2000, "{}", error.to_string().len());
        // Serde quotes a text where it expects something else.
        let error = refused(&format!("{long:?}"));
        assert!(matches!(error, VerifyError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains("bytes in all"), "{error}");
        assert!(error.to_string().len() < 2000, "{}", error.to_string().len());
    }
}
