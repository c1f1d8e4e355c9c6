//! The bytes of proofs, and what makes them count.
//!
//! A segment's proof is a `SegmentReceipt`, and a node's is its level and a `SuccinctReceipt` whose
//! output is a digest. The final file is a `Receipt`. All are encoded by bincode with integers of
//! fixed length, as RISC Zero's own tools do.

use bincode::Options;
use myriad_engine::{
    Boundary, FinalProof, Level, PUBLIC_VALUES_BYTES_MAX, ProofOf, Shown, VerifyError, quoted,
};
use risc0_circuit_rv32im::{RV32IM_SEAL_VERSION, Rv32imV2Claim};
use risc0_zkvm::{
    Digest, ExitCode, InnerReceipt, MaybePruned, Receipt, ReceiptClaim, SegmentReceipt,
    SegmentReceiptVerifierParameters, SuccinctReceipt, SuccinctReceiptVerifierParameters, VerifierContext,
    sha::Digestible,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{claims, memory};

/// The most bytes of a segment's proof without the values that the program reveals. Seals of 2^15
/// rows have 209 KB, and each doubling adds some.
const SEGMENT_BYTES_MAX: usize = 512 << 10;
/// The most bytes of a node's proof. All seals of recursion have 223 KB.
const NODE_BYTES_MAX: usize = 512 << 10;
/// The rows of every recursion proof, as a power of two.
const RECURSION_PO2: u32 = risc0_zkvm::recursion::RECURSION_PO2 as u32;
/// Words before the rows in the seal of a segment: its version, and its globals (`OUTPUT_SIZE` of
/// `CIRCUIT_INFO`).
const SEGMENT_GLOBALS: usize = 1 + 90;
/// Where the seal of a segment has its globals, after its version (`LAYOUT_GLOBAL` of the circuit):
/// the half words of the output memory, those of the proof-of-verifiable-work nonce, and those of
/// the registers of the end.
const OUTPUT: std::ops::Range<usize> = 1 + 17..1 + 33;
const POVW_NONCE: std::ops::Range<usize> = 1 + 33..1 + 49;
const END_REGISTERS: std::ops::Range<usize> = 1 + 86..1 + 90;
/// Words before the rows in the seal of a recursion proof: two digests of 16 half words.
const RECURSION_GLOBALS: usize = 32;
/// Hashes from a recursion program to the root of those that are allowed.
const CONTROL_DEPTH: usize = 8;
/// The hash that everything is proven with: nothing can be joined with another one.
const HASH: &str = "poseidon2";
/// How bincode starts a receipt with a succinct proof. Others are not decoded: a composite one may
/// have others in it to any depth.
const SUCCINCT: [u8; 4] = 1_u32.to_le_bytes();

/// A receipt of a piece.
pub(crate) type Node = SuccinctReceipt<ReceiptClaim>;

/// What RISC Zero's verifiers have to know. It does not follow from the environment, and takes no
/// fake receipt.
pub(crate) fn context() -> VerifierContext {
    VerifierContext::empty()
        .with_suites(VerifierContext::default_hash_suites())
        .with_segment_verifier_parameters(SegmentReceiptVerifierParameters::default())
        .with_succinct_verifier_parameters(SuccinctReceiptVerifierParameters::default())
}

/// Verifies a proof of the program with this image id, and says what it shows.
pub(crate) fn verify(image_id: &Digest, of: &ProofOf, proof: &[u8]) -> Result<Shown, VerifyError> {
    Ok(match of {
        ProofOf::Segment { public_values } => Shown::Piece(segment(proof, public_values.as_deref())?.1),
        ProofOf::Node(level) => Shown::Piece(node(*level, proof)?.1),
        ProofOf::Final { public_values } => {
            let shown = receipt(image_id, proof)?;
            if let Some(expected) = public_values {
                same_values(&shown.public_values, expected)?;
            }
            Shown::Whole(shown)
        }
    })
}

/// The receipt of a segment, verified, and its boundary. The last one's reveals `public_values`.
pub(crate) fn segment(
    proof: &[u8],
    public_values: Option<&[u8]>,
) -> Result<(SegmentReceipt, Boundary), VerifyError> {
    let receipt = decoded_segment(proof)?;
    let boundary = claims::boundary(&receipt.claim)?;
    if let Some(expected) = public_values {
        if receipt.claim.output.digest() != claims::output_digest(expected) {
            let actual = journal(&receipt).map_or_else(|| "none".into(), |values| shown(&values));
            return Err(VerifyError::PublicValues {
                actual,
                expected: shown(expected),
            });
        }
        if journal(&receipt).is_none() {
            return Err(VerifyError::Malformed {
                reason: "the public values are not in it".into(),
            });
        }
    } else if let Some(code) = boundary.exit_code {
        return Err(VerifyError::boundary("the exit code", code, "none"));
    }
    caught(|| receipt.verify_integrity_with_context(&context()))?;
    check_can_be_lifted(&receipt)?;
    check_form(
        proof,
        &encode_segment(&receipt.seal, public_values).map_err(|e| malformed(&e))?,
    )?;
    Ok((receipt, boundary))
}

/// Checks the globals of a segment's seal that its claim does not have. A maker can set them to
/// what no lift or join takes, and the segment still verifies.
fn check_can_be_lifted(receipt: &SegmentReceipt) -> Result<(), VerifyError> {
    let zero = |what: &str, words: std::ops::Range<usize>| {
        let words = receipt.seal.get(words).ok_or_else(cut_off)?;
        match words.iter().find(|&&word| word != 0) {
            None => Ok(()),
            Some(word) => Err(VerifyError::Unusable {
                what: what.into(),
                actual: format!("one with the word {word:#x}"),
                required: "zero".into(),
            }),
        }
    };
    // The circuit does not bound its words, and a lift has them below 2^16.
    zero("the nonce of verifiable work", POVW_NONCE)?;
    if receipt.claim.exit_code == ExitCode::SystemSplit {
        // A lift states the output wherever the segment ends, and a join takes none before the end.
        zero("the output memory before the end", OUTPUT)?;
        zero("the registers of the end, before it", END_REGISTERS)?;
    }
    Ok(())
}

/// The receipt of a segment, whose seal has the shape that verifiers and lifts rely on.
pub(crate) fn decoded_segment(proof: &[u8]) -> Result<SegmentReceipt, VerifyError> {
    const MAX: usize = SEGMENT_BYTES_MAX + PUBLIC_VALUES_BYTES_MAX;
    let receipt: SegmentReceipt = decode("a segment", proof, MAX)?;
    check_build(
        &receipt.hashfn,
        &receipt.verifier_parameters,
        SegmentReceiptVerifierParameters::default().digest(),
    )?;
    if receipt.seal.first() != Some(&RV32IM_SEAL_VERSION) {
        return Err(VerifyError::Version {
            actual: format!("a circuit with seals of version {:?}", receipt.seal.first()),
            expected: format!("version {RV32IM_SEAL_VERSION}"),
        });
    }
    let rows = *receipt.seal.get(SEGMENT_GLOBALS).ok_or_else(cut_off)?;
    if !memory::SEGMENT_PO2.contains(&rows) {
        return Err(VerifyError::Unusable {
            what: "the number of rows".into(),
            actual: format!("2^{rows}"),
            required: format!(
                "2^{} to 2^{}",
                memory::SEGMENT_PO2.start(),
                memory::SEGMENT_PO2.end()
            ),
        });
    }
    Ok(receipt)
}

/// The values that a segment's receipt reveals, if it has them.
pub(crate) fn journal(receipt: &SegmentReceipt) -> Option<Vec<u8>> {
    let output = receipt.claim.output.as_value().ok()?.as_ref()?;
    output.journal.as_value().ok().cloned()
}

/// The receipt of a node on `level`, verified, and its boundary.
pub(crate) fn node(level: Level, proof: &[u8]) -> Result<(Node, Boundary), VerifyError> {
    let (&actual, body) = proof.split_first().ok_or_else(cut_off)?;
    if actual != level.number() {
        return Err(VerifyError::OtherKeys {
            reason: format!("it is of level {actual}, and not of {level}"),
        });
    }
    let receipt: Node = decode("a node", body, NODE_BYTES_MAX)?;
    check_recursion(&receipt)?;
    let claim = receipt.claim.as_value().map_err(|_| closed())?;
    check_opened(claim)?;
    let boundary = claims::boundary(claim)?;
    caught(|| receipt.verify_integrity_with_context(&context()))?;
    check_form(
        proof,
        &encode_node(level, receipt.clone()).map_err(|e| malformed(&e))?,
    )?;
    Ok((receipt, boundary))
}

/// Checks that a claim has the two states, which a join reads, and its output only by its digest.
fn check_opened(claim: &ReceiptClaim) -> Result<(), VerifyError> {
    let opened = claim.pre.as_value().is_ok() && claim.post.as_value().is_ok();
    if !opened || claim.output.as_value().is_ok() {
        return Err(closed());
    }
    Ok(())
}

/// Verifies the file of a final proof.
fn receipt(image_id: &Digest, file: &[u8]) -> Result<FinalProof, VerifyError> {
    if file.get(..SUCCINCT.len()).is_some_and(|start| start != SUCCINCT) {
        return Err(VerifyError::Malformed {
            reason: "it is not a RISC Zero receipt with a succinct proof, encoded by bincode".into(),
        });
    }
    const MAX: usize = NODE_BYTES_MAX + PUBLIC_VALUES_BYTES_MAX;
    let receipt: Receipt = decode("a final proof", file, MAX)?;
    let proof = receipt.inner.succinct().map_err(|e| malformed(&e))?;
    check_recursion(proof)?;
    if receipt.journal.bytes.len() > PUBLIC_VALUES_BYTES_MAX {
        return Err(VerifyError::TooLarge {
            what: "the public values".into(),
            actual: receipt.journal.bytes.len(),
            max: PUBLIC_VALUES_BYTES_MAX,
        });
    }
    let claim = proof.claim.as_value().map_err(|_| closed())?;
    check_opened(claim)?;
    let actual = claim.pre.digest();
    if actual != *image_id {
        return Err(VerifyError::OtherProgram {
            actual: actual.to_string(),
            expected: image_id.to_string(),
        });
    }
    claims::boundary(claim)?;
    caught(|| receipt.verify_with_context(&context(), *image_id))?;
    let form = encode_receipt(proof.clone(), receipt.journal.bytes.clone()).map_err(|e| malformed(&e))?;
    check_form(file, &form)?;
    Ok(FinalProof {
        public_values: receipt.journal.bytes,
    })
}

/// A `SegmentReceipt`, which RISC Zero lets nobody else make: this has the same bytes.
#[derive(Serialize)]
struct Sealed<'a> {
    seal: &'a [u32],
    index: u32,
    hashfn: &'static str,
    verifier_parameters: Digest,
    claim: ReceiptClaim,
}

/// The bytes of a segment's proof: they follow from its seal, and from what the last one reveals.
pub(crate) fn encode_segment(seal: &[u32], public_values: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let sealed = Rv32imV2Claim::decode(seal).map_err(|e| format!("{e:#}"))?;
    let mut claim = claims::of_segment(&sealed)?;
    if let Some(values) = public_values {
        claim.output = MaybePruned::Value(claims::output(values.to_vec()));
    }
    encode(&Sealed {
        seal,
        // It is in no claim, so all have the same.
        index: 0,
        hashfn: HASH,
        verifier_parameters: SegmentReceiptVerifierParameters::default().digest(),
        claim,
    })
}

/// The bytes of a node's proof.
pub(crate) fn encode_node(level: Level, receipt: Node) -> Result<Vec<u8>, String> {
    let mut bytes = vec![level.number()];
    bytes.extend(encode(&shortest(receipt))?);
    Ok(bytes)
}

/// The file of a final proof.
pub(crate) fn encode_receipt(node: Node, journal: Vec<u8>) -> Result<Vec<u8>, String> {
    encode(&Receipt::new(InnerReceipt::Succinct(shortest(node)), journal))
}

/// The receipt of a piece, which says only by their digests what it takes and reveals.
fn shortest(mut receipt: Node) -> Node {
    if let MaybePruned::Value(claim) = &mut receipt.claim {
        claim.output = MaybePruned::Pruned(claim.output.digest());
        claim.input = MaybePruned::Pruned(claim.input.digest());
    }
    receipt
}

/// Checks that the bytes of a proof are those that this engine gives it. Otherwise one proof would
/// have many hashes, and a peer that hands it on could choose among them.
fn check_form(proof: &[u8], expected: &[u8]) -> Result<(), VerifyError> {
    if proof != expected {
        return Err(VerifyError::Malformed {
            reason:
                "it holds, but its bytes are not those that this engine writes for it; encode it as that \
                     does"
                    .into(),
        });
    }
    Ok(())
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, String> {
    bincode::serialize(value).map_err(|e| e.to_string())
}

fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8], max: usize) -> Result<T, VerifyError> {
    if bytes.len() > max {
        return Err(VerifyError::TooLarge {
            what: what.into(),
            actual: bytes.len(),
            max,
        });
    }
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(max as u64)
        .deserialize(bytes)
        .map_err(|e| malformed(&e))
}

/// Checks that a proof is of this build's circuits.
fn check_build(hash: &str, parameters: &Digest, expected: Digest) -> Result<(), VerifyError> {
    if hash != HASH {
        return Err(VerifyError::Unusable {
            what: "the hash function".into(),
            actual: quoted(hash),
            required: HASH.into(),
        });
    }
    if *parameters != expected {
        return Err(VerifyError::Version {
            actual: format!("RISC Zero's verifier {parameters}"),
            expected: expected.to_string(),
        });
    }
    Ok(())
}

/// Checks the shape of a recursion proof, which verifiers and joins rely on.
fn check_recursion(receipt: &Node) -> Result<(), VerifyError> {
    check_build(
        &receipt.hashfn,
        &receipt.verifier_parameters,
        SuccinctReceiptVerifierParameters::default().digest(),
    )?;
    let rows = *receipt.seal.get(RECURSION_GLOBALS).ok_or_else(cut_off)?;
    if rows != RECURSION_PO2 {
        return Err(VerifyError::Unusable {
            what: "the number of rows".into(),
            actual: format!("2^{rows}"),
            required: format!("2^{RECURSION_PO2}"),
        });
    }
    let depth = receipt.control_inclusion_proof.digests.len();
    let index = receipt.control_inclusion_proof.index;
    if depth != CONTROL_DEPTH || index >> CONTROL_DEPTH != 0 {
        return Err(VerifyError::Unusable {
            what: "the place of its recursion program".into(),
            actual: format!("{index} at depth {depth}"),
            required: format!("one at depth {CONTROL_DEPTH}"),
        });
    }
    Ok(())
}

/// Runs RISC Zero's verifier, which may panic where a stranger's bytes are none that it expects.
pub(crate) fn caught<E: std::fmt::Display>(
    verify: impl FnOnce() -> Result<(), E>,
) -> Result<(), VerifyError> {
    let verified = std::panic::catch_unwind(std::panic::AssertUnwindSafe(verify));
    let reason = match verified {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => quoted(&error.to_string()),
        Err(_) => "it makes the verifier panic".into(),
    };
    Err(VerifyError::Invalid { reason })
}

fn same_values(actual: &[u8], expected: &[u8]) -> Result<(), VerifyError> {
    if actual != expected {
        return Err(VerifyError::PublicValues {
            actual: shown(actual),
            expected: shown(expected),
        });
    }
    Ok(())
}

fn shown(values: &[u8]) -> String {
    quoted(&format!("0x{}", hex::encode(values)))
}

fn malformed(reason: &impl ToString) -> VerifyError {
    VerifyError::Malformed {
        reason: quoted(&reason.to_string()),
    }
}

fn cut_off() -> VerifyError {
    VerifyError::Malformed {
        reason: "it is cut off".into(),
    }
}

fn closed() -> VerifyError {
    VerifyError::Malformed {
        reason: "its claim does not have the states before and after, and the digest of the output".into(),
    }
}

#[cfg(test)]
mod tests;
