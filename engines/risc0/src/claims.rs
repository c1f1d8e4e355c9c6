//! What a segment, a receipt, or a node states of the execution.

use myriad_engine::{Boundary, Root, VerifyError};
use risc0_circuit_rv32im::{Rv32imV2Claim, TerminateState};
use risc0_zkvm::{Digest, ExitCode, MaybePruned, Output, ReceiptClaim, SystemState, sha::Digestible};

/// How a program of RISC Zero ends, in the low half of its first register: for good, or to go on
/// later (`risc0_zkvm_platform::syscall::halt`).
const TERMINATE: u16 = 0;
const PAUSE: u16 = 1;

/// The output of a program that reveals `journal`, and assumes nothing.
pub(crate) fn output(journal: Vec<u8>) -> Option<Output> {
    Some(Output {
        journal: MaybePruned::Value(journal),
        assumptions: MaybePruned::Pruned(Digest::ZERO),
    })
}

/// The digest of that output, as a claim has it.
pub(crate) fn output_digest(journal: &[u8]) -> Digest {
    MaybePruned::Value(output(journal.to_vec())).digest()
}

/// The exit code of a claim about a segment.
///
/// # Errors
/// A way to end that RISC Zero does not have.
pub(crate) fn exit_code(end: Option<TerminateState>) -> Result<ExitCode, String> {
    match end.map(|end| (end.a0.0, end.a0.1)) {
        None => Ok(ExitCode::SystemSplit),
        Some((code, TERMINATE)) => Ok(ExitCode::Halted(code.into())),
        Some((code, PAUSE)) => Ok(ExitCode::Paused(code.into())),
        Some((_, way)) => Err(format!(
            "the program ends in way {way}, which RISC Zero does not have"
        )),
    }
}

/// What a receipt of a segment says, from the claim that its proof has: the state after the end of
/// the program is zero. The output is as it stands there, by its digest.
///
/// # Errors
/// See [`exit_code`].
pub(crate) fn of_segment(claim: &Rv32imV2Claim) -> Result<ReceiptClaim, String> {
    let exit_code = exit_code(claim.terminate_state)?;
    let post = match exit_code {
        ExitCode::Halted(_) => Digest::ZERO,
        _ => claim.post_state,
    };
    let state = |merkle_root| MaybePruned::Value(SystemState { pc: 0, merkle_root });
    Ok(ReceiptClaim {
        pre: state(claim.pre_state),
        post: state(post),
        exit_code,
        input: MaybePruned::Pruned(claim.input),
        output: MaybePruned::Pruned(claim.output.unwrap_or_default()),
    })
}

/// The boundary of the piece that a claim is about.
///
/// Its roots are the digests of the states before and after, the first of which is the image id.
/// The state after the end of a program is zero whatever it has revealed, so the last root is a
/// digest of that state and of the output.
///
/// # Errors
/// A claim over which no node can be made that ends as a valid receipt: of a program that failed or
/// only paused, of one with an input digest, or of one that assumes other receipts.
pub(crate) fn boundary(claim: &ReceiptClaim) -> Result<Boundary, VerifyError> {
    let unusable = |what: &str, actual: String, required: &str| VerifyError::Unusable {
        what: what.into(),
        actual,
        required: required.into(),
    };
    let input = claim.input.digest();
    if input != Digest::ZERO {
        return Err(unusable("the input digest", input.to_string(), "zero"));
    }
    let (after, output) = (claim.post.digest(), claim.output.digest());
    let (final_root, exit_code) = match claim.exit_code {
        ExitCode::SystemSplit => {
            if output != Digest::ZERO {
                return Err(unusable("the output before the end", output.to_string(), "zero"));
            }
            (root(&after), None)
        }
        ExitCode::Halted(0) => {
            let mut hasher = blake3::Hasher::new_derive_key("myriad risc0 end v1");
            hasher.update(after.as_bytes()).update(output.as_bytes());
            (root(&Digest::from(*hasher.finalize().as_bytes())), Some(0))
        }
        ExitCode::Halted(code) => return Err(VerifyError::ExitCode { code }),
        other => {
            return Err(unusable(
                "the exit code",
                format!("{other:?}"),
                "Halted(0) or SystemSplit",
            ));
        }
    };
    Ok(Boundary {
        initial_pc: 0,
        final_pc: 0,
        initial_root: root(&claim.pre.digest()),
        final_root,
        exit_code,
    })
}

/// A digest as the rest of Myriad has it.
pub(crate) fn root(digest: &Digest) -> Root {
    Root(*digest.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(word: u32) -> MaybePruned<SystemState> {
        MaybePruned::Value(SystemState {
            pc: 0,
            merkle_root: Digest::new([word; 8]),
        })
    }

    fn ended(exit_code: ExitCode, journal: &[u8]) -> ReceiptClaim {
        ReceiptClaim {
            pre: state(1),
            post: state(0),
            exit_code,
            input: MaybePruned::Value(None),
            output: MaybePruned::Value(output(journal.to_vec())),
        }
    }

    #[test]
    fn the_end_depends_on_the_journal() {
        let boundary = |journal: &[u8]| boundary(&ended(ExitCode::Halted(0), journal)).unwrap();
        assert_eq!(boundary(b"one"), boundary(b"one"));
        assert_ne!(boundary(b"one").final_root, boundary(b"two").final_root);
        assert_eq!(boundary(b"one").exit_code, Some(0));
        // However the claim is opened.
        let mut pruned = ended(ExitCode::Halted(0), b"one");
        pruned.output = MaybePruned::Pruned(output_digest(b"one"));
        assert_eq!(super::boundary(&pruned).unwrap(), boundary(b"one"));
    }

    #[test]
    fn a_receipt_that_stock_verifiers_accept_ends_like_this() {
        let image_id = state(1).digest();
        let stock = ReceiptClaim::ok(image_id, b"one".to_vec());
        assert_eq!(stock.digest(), ended(ExitCode::Halted(0), b"one").digest());
        assert_eq!(boundary(&stock).unwrap().initial_root, root(&image_id));
    }

    #[test]
    fn what_cannot_end_as_a_receipt_is_refused() {
        let refused = |claim: &ReceiptClaim| boundary(claim).unwrap_err();
        let failed = refused(&ended(ExitCode::Halted(3), b""));
        assert_eq!(failed, VerifyError::ExitCode { code: 3 });
        let mut input = ended(ExitCode::Halted(0), b"");
        input.input = MaybePruned::Pruned(Digest::new([1; 8]));
        for claim in [
            ended(ExitCode::Paused(0), b""),
            ended(ExitCode::SystemSplit, b"early"),
            input,
        ] {
            assert!(
                matches!(refused(&claim), VerifyError::Unusable { .. }),
                "{claim:?}"
            );
        }
    }
}
