//! Bytes that would take all memory if they were believed, made by hand, for each kind of proof.

use openvm_stark_backend::{
    codec::Encode,
    p3_field::PrimeCharacteristicRing,
    proof::{BatchConstraintProof, GkrLayerClaims, GkrProof, StackingProof, TraceVData, WhirProof},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::*;
use crate::{final_proof, prove::SegmentProof};

/// A proof of nothing: every list is empty, up to where the test goes on.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn words(mut self, words: &[u32]) -> Self {
        self.0.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// Layout and the commitment to the traces.
    fn start() -> Self {
        Self::default().words(&[LAYOUT as u32]).zeros(DIGEST)
    }

    /// No chips, no layers, no constraints: up to the rounds of the sum-check.
    fn up_to_rounds() -> Self {
        Self::start()
            .words(&[0, 0])
            .zeros(FIELD + EXTENSION)
            .words(&[0, 0, 0])
    }

    /// [`Self::up_to_rounds`], then no rounds, nothing stacked, and one round of WHIR that folds
    /// `folding` times: up to the number of commitments.
    fn up_to_commits(folding: u32) -> Self {
        Self::up_to_rounds()
            .words(&[0])
            .words(&[0, 0, 0])
            .zeros(FIELD)
            .words(&[folding])
            .zeros(folding as usize * 2 * EXTENSION)
            .words(&[0])
            .zeros((folding as usize + 1) * FIELD)
    }
}

/// The refusals of these bytes by each kind of proof: a node, a segment, a final proof.
fn refusals(bytes: &[u8]) -> [String; 3] {
    let json = serde_json::json!({
        "version": format!("v{}", openvm_sdk::OPENVM_VERSION),
        "proof": hex::encode(bytes),
        "user_pvs_proof": "",
    });
    [
        decode(bytes).unwrap_err(),
        SegmentProof::decode(bytes).err().unwrap(),
        final_proof::decode(json.to_string().as_bytes())
            .unwrap_err()
            .to_string(),
    ]
}

/// Each of these proofs takes from half a GiB to all memory without the walk, and the last does not
/// end.
#[test]
fn lists_of_nothing_are_not_made() {
    const MANY: u32 = u32::MAX;
    let chips = 1 << 24;
    for (what, bytes) in [
        // 2^32 lists of 24 bytes, for 84 bytes.
        (
            "rounds without coefficients",
            Bytes::up_to_rounds().words(&[MANY, 0]),
        ),
        // 2^24 chips of 32 bytes each, for a bit each.
        (
            "chips without traces",
            Bytes::start().words(&[chips]).zeros(chips as usize / 8),
        ),
        (
            "commitments without queries",
            Bytes::up_to_commits(4).words(&[MANY, 0]),
        ),
        // Queries, path lengths, columns.
        (
            "rows without columns",
            Bytes::up_to_commits(4).words(&[1, MANY, 0, 0]),
        ),
        (
            "a few of each",
            Bytes::up_to_commits(4).words(&[2, 1 << 20, 0, 0, 0]),
        ),
    ] {
        for refusal in refusals(&bytes.0) {
            assert!(refusal.contains("lists"), "{what}: {refusal}");
        }
    }
    // 2^63 rows without columns, for the one query of the one commitment.
    for refusal in refusals(&Bytes::up_to_commits(63).words(&[1, 1, 0, 0]).0) {
        assert!(refusal.contains("fold 63 times"), "{refusal}");
    }
}

/// Counted bytes are checked for before room is made for them.
#[test]
fn counts_of_what_is_not_there_are_refused() {
    for bytes in [
        // Commitments of a chip that is there, after its height; public values of a chip; layers.
        Bytes::start().words(&[1]).byte(1).words(&[7, u32::MAX]),
        Bytes::start().words(&[0, 1, u32::MAX]),
        Bytes::start()
            .words(&[0, 0])
            .zeros(FIELD + EXTENSION)
            .words(&[u32::MAX]),
        Bytes::up_to_rounds().words(&[1, u32::MAX]),
        // Columns, and the length of paths.
        Bytes::up_to_commits(4).words(&[1, 1, 0, u32::MAX]),
        Bytes::up_to_commits(4).words(&[1, 1, u32::MAX, 0]),
    ] {
        for refusal in refusals(&bytes.0) {
            assert!(refusal.contains("are left"), "{refusal}");
        }
    }
}

/// A proof that proves nothing, with something in each of its lists, and no two counts alike where
/// they may differ.
fn full() -> Proof<SC> {
    let digest = [F::ONE; 8];
    let extension = EF::from(F::TWO);
    let (folding, queries, depth) = (2, 3, 5);
    let widths = [1, 4];
    let rounds = 2;
    let row = |width: usize| vec![F::ONE; width];
    let commit = |width| vec![vec![row(width); 1 << folding]; queries];
    let trace = |commitments: usize| {
        Some(TraceVData {
            log_height: 7,
            cached_commitments: vec![digest; commitments],
        })
    };
    Proof {
        common_main_commit: digest,
        // More than a byte of chips.
        trace_vdata: [vec![None; 8], vec![trace(2), None, trace(0)]].concat(),
        public_values: vec![row(2), Vec::new(), row(5)],
        gkr_proof: GkrProof {
            logup_pow_witness: F::ONE,
            q0_claim: extension,
            claims_per_layer: (0..4)
                .map(|_| GkrLayerClaims {
                    p_xi_0: extension,
                    p_xi_1: extension,
                    q_xi_0: extension,
                    q_xi_1: extension,
                })
                .collect(),
            sumcheck_polys: (1..4).map(|round| vec![[extension; 3]; round]).collect(),
        },
        batch_constraint_proof: BatchConstraintProof {
            numerator_term_per_air: vec![extension; 2],
            denominator_term_per_air: vec![extension; 2],
            univariate_round_coeffs: vec![extension; 6],
            sumcheck_round_polys: vec![vec![extension; 4]; 3],
            column_openings: vec![vec![vec![extension; 9], vec![extension; 2]], vec![Vec::new()]],
        },
        stacking_proof: StackingProof {
            univariate_round_coeffs: vec![extension; 3],
            sumcheck_round_polys: vec![[extension; 2]; 4],
            stacking_openings: vec![vec![extension; 2], vec![extension; 1]],
        },
        whir_proof: WhirProof {
            mu_pow_witness: F::ONE,
            whir_sumcheck_polys: vec![[extension; 2]; rounds * folding],
            codeword_commits: vec![digest; rounds - 1],
            ood_values: vec![extension; rounds - 1],
            folding_pow_witnesses: row(rounds * folding),
            query_phase_pow_witnesses: row(rounds),
            initial_round_opened_rows: widths.map(commit).into(),
            initial_round_merkle_proofs: vec![vec![vec![digest; depth]; queries]; widths.len()],
            codeword_opened_values: vec![vec![vec![extension; 1 << folding]; 2]; rounds - 1],
            codeword_merkle_proofs: vec![vec![vec![digest; depth - 1]; 2]; rounds - 1],
            final_poly: vec![extension; 8],
        },
    }
}

#[test]
fn a_proof_is_walked_to_its_end() {
    let proof = full();
    let bytes = proof.encode_to_vec().unwrap();
    assert_eq!(decode(&bytes), Ok(proof));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(decode(&longer), Err("1 bytes follow its end".into()));
    // Read one after the other, as a segment proof is.
    let mut rest = longer.as_slice();
    assert!(decode_first(&mut rest).is_ok());
    assert_eq!(rest, [0]);
}

#[test]
fn no_count_that_is_changed_takes_all_memory() {
    let bytes = full().encode_to_vec().unwrap();
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "{end} bytes");
    }
    for place in 0..bytes.len() - WORD {
        for word in [0, 1, 1 << 16, 1 << 24, u32::MAX] {
            let mut changed = bytes.clone();
            changed[place..place + WORD].copy_from_slice(&u32::to_le_bytes(word));
            // Some of these are proofs too. The test is that decoding ends, and soon.
            let _ = decode(&changed);
        }
    }
}
