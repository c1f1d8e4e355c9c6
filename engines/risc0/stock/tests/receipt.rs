//! A receipt that Myriad's engine for RISC Zero has made is valid for a release of RISC Zero.
//!
//! `tests/demo.risc0.receipt` proves the program and the input of `myriad demo --engine risc0`.
//! Whoever changes the form of receipts makes it anew, with `IMAGE_ID` from `myriad verify`.

use hex::FromHex;
use risc0_zkvm::Digest;
use stock_risc0::journal;

const RECEIPT: &[u8] = include_bytes!("demo.risc0.receipt");
const IMAGE_ID: &str = "a40595ff80c5be069cae65fa1e3a615f0b5c0d004a1393db47049e1c88836dab";
/// The 8,000th number of Fibonacci modulo 2^64, padded with zeros.
const JOURNAL: &str = "401f000000000000458225fafc1acfaf00000000000000000000000000000000";

fn image_id() -> Digest {
    Digest::from_hex(IMAGE_ID).unwrap()
}

#[test]
fn a_release_accepts_the_receipt() {
    assert_eq!(hex::encode(journal(RECEIPT, image_id()).unwrap()), JOURNAL);
}

#[test]
fn a_release_refuses_it_for_another_program_or_journal() {
    let mut other = image_id();
    other.as_mut_bytes()[0] ^= 1;
    assert!(journal(RECEIPT, other).is_err());
    let revealed = hex::decode(JOURNAL).unwrap();
    let place = RECEIPT
        .windows(revealed.len())
        .rposition(|window| window == revealed)
        .unwrap();
    let mut forged = RECEIPT.to_vec();
    forged[place] ^= 1;
    assert!(journal(&forged, image_id()).is_err());
}
