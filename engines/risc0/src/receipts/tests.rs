//! Checks of proofs on seals that are made by hand: no verifier would accept these.

use super::*;

/// A receipt whose seal has only its version.
fn made(exit_code: ExitCode) -> SegmentReceipt {
    let mut seal = vec![0; SEGMENT_GLOBALS + 1];
    (seal[0], seal[SEGMENT_GLOBALS]) = (RV32IM_SEAL_VERSION, 16);
    let mut claim = ReceiptClaim::ok(Digest::ZERO, Vec::new());
    claim.exit_code = exit_code;
    let parameters = SegmentReceiptVerifierParameters::default().digest();
    decoded_segment(&encode(&(seal, 0_u32, HASH, parameters, claim)).unwrap()).unwrap()
}

#[test]
fn a_segment_that_no_lift_takes_is_refused() {
    let nonce = 34..50;
    // Output, then the registers of the end.
    let before_the_end = (18..34).chain(87..91);
    for exit_code in [ExitCode::SystemSplit, ExitCode::Halted(0)] {
        let mut receipt = made(exit_code);
        assert_eq!(check_can_be_lifted(&receipt), Ok(()));
        for at in 1..SEGMENT_GLOBALS {
            receipt.seal[at] = 1 << 16;
            let required = nonce.contains(&at)
                || (exit_code == ExitCode::SystemSplit && before_the_end.clone().any(|word| word == at));
            let checked = check_can_be_lifted(&receipt);
            assert_eq!(
                checked.is_err(),
                required,
                "{exit_code:?}, word {at}: {checked:?}"
            );
            receipt.seal[at] = 0;
        }
    }
}

/// The positions are those of the circuit's own decoder.
#[test]
fn the_globals_are_where_the_circuit_has_them() {
    let mut seal = made(ExitCode::Halted(0)).seal;
    // A word has an element in Montgomery form.
    let one = 0x0fff_fffe;
    seal[POVW_NONCE.start] = one;
    let nonce = risc0_circuit_rv32im::decode_povw_nonce(&seal).unwrap();
    assert_eq!(nonce.to_u16s()[0], 1);
    seal[POVW_NONCE.start] = 0;
    seal[POVW_NONCE.end - 1] = one;
    let nonce = risc0_circuit_rv32im::decode_povw_nonce(&seal).unwrap();
    assert_eq!(nonce.to_u16s()[15], 1);
    // It terminates, so that its output is decoded.
    seal[OUTPUT.start - 1] = one;
    seal[OUTPUT.start] = one;
    seal[END_REGISTERS.start] = one;
    let claim = risc0_circuit_rv32im::Rv32imV2Claim::decode(&seal).unwrap();
    assert_eq!(claim.output.unwrap().as_words()[0], 1);
    assert_eq!(claim.terminate_state.unwrap().a0.0, 1);
}

#[test]
fn a_segment_has_one_encoding() {
    let last = made(ExitCode::Halted(0)).seal;
    for (is_terminate, values) in [(0x0fff_fffe, Some(&b"values"[..])), (0, None)] {
        let mut seal = last.clone();
        seal[OUTPUT.start - 1] = is_terminate;
        let proof = encode_segment(&seal, values).unwrap();
        let receipt = decoded_segment(&proof).unwrap();
        assert_eq!(journal(&receipt).as_deref(), values);
        let check = |receipt: &SegmentReceipt| {
            let bytes = encode(receipt).unwrap();
            check_form(&bytes, &encode_segment(&receipt.seal, values).unwrap())
        };
        assert_eq!(check(&receipt), Ok(()));
        let refused = |change: &dyn Fn(&mut SegmentReceipt)| {
            let mut other = receipt.clone();
            change(&mut other);
            assert!(
                matches!(check(&other), Err(VerifyError::Malformed { .. })),
                "{other:?}"
            );
        };
        refused(&|other| other.index = 1);
        // The same claims, opened in other ways.
        refused(&|other| other.claim.input = MaybePruned::Value(None));
        refused(&|other| other.claim.pre = MaybePruned::Pruned(other.claim.pre.digest()));
        refused(&|other| {
            other.claim.output = match values {
                Some(_) => MaybePruned::Pruned(other.claim.output.digest()),
                None => MaybePruned::Value(None),
            };
        });
    }
}
