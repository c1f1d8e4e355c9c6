//! Engines whose binaries are apart, and what others know of them without asking.
//!
//! The greeting of a peer, the children of a prover and the names of files need the facts of an
//! engine before a child of it is started, and where there is none at all. So they are here, and
//! the engine's own binary takes them from here, too. Its tests check that they are true of the
//! crates that it is built with.

use myriad_core::EngineId;

use crate::EngineFacts;

/// The root of the control ids of all recursion programs that a stock RISC Zero 3.0 accepts:
/// `risc0_circuit_recursion::control_id::ALLOWED_CONTROL_ROOT`. Other circuits have another one.
pub const RISC0_CONTROL_ROOT: &str = "a54dc85ac99f851c92d7c96d7318af41dbe7c0194edfcc37eb4d422a998c1f56";

/// The version of the bytes in which RISC Zero's worker puts proofs of segments and nodes. It rises
/// with every change of them, and of what their boundaries say.
pub const RISC0_PROOF_ENCODING: u8 = 1;

/// RISC Zero, whose worker is `engines/risc0`. It has no keys: builds with equal circuits and an
/// equal encoding of proofs understand each other.
pub fn risc0() -> EngineFacts {
    let mut hasher = blake3::Hasher::new_derive_key("myriad engine risc0 v1");
    hasher
        .update(RISC0_CONTROL_ROOT.as_bytes())
        .update(&[RISC0_PROOF_ENCODING]);
    EngineFacts {
        id: EngineId {
            name: "risc0".parse().expect("it is a name"),
            fingerprint: *hasher.finalize().as_bytes(),
        },
        proof_ending: "risc0.receipt",
        baseline_ending: None,
        // Less than the 240 MiB that its own model has for the smallest segment; the input is there
        // twice while it is decoded.
        segment_base_bytes: 160 << 20,
        segment_bytes_per_input_byte: 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A build with another fingerprint does not exchange proofs with those before it.
    #[test]
    fn the_fingerprint_changes_only_on_purpose() {
        let id = risc0().id;
        assert_eq!(id.name.to_string(), "risc0");
        let expected = "526dc4f0d5fccf4799bdb13020039eec99e50a92297878ca3e5bf1cb28fbbeb5";
        assert_eq!(hex::encode(id.fingerprint), expected);
    }
}
