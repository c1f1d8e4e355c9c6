//! The features of Osaka, for the blocks of [`features`](super::features()).

use alloy_primitives::{Bytes, U256, hex};

/// Most gas of a transaction (EIP-7825).
pub(super) const TX_GAS_MAX: u64 = 1 << 24;

/// A signature on P-256 as its precompile takes it: hash, r, s, and the key's x and y. From the
/// test vectors of RIP-7212.
const P256_SIGNATURE: [u8; 160] = hex!(
    "4cee90eb86eaa050036147a12d49004b6b9c72bd725d39d4785011fe190f0b4d"
    "a73bd4903f0ce3b639bbbf6e8e80d16931ff4bcf5993d58468e8fb19086e8cac"
    "36dbcd03009df8c59286b162af3bd7fcc0450c9aa81be5d10d312af6c66b1d60"
    "4aebd3099c618202fcfe16ae7770b0c49ab5eadf74b754204a3bb6060e44eff3"
    "7618b065f9832de4ca6ca971a7a1adc826d0f7c00181a5fb2ddf79ae00b4e10e"
);

/// Bytes of the lengths that a MODEXP begins with.
const LENGTHS_BYTES: usize = 96;
/// Bytes of each number of the smaller MODEXP.
const NUMBER_BYTES: usize = 64;

/// Gas that the contract gives to each precompile.
const CALL_GAS: u64 = 1 << 20;

/// Keeps CLZ of 1 and of 0 in slots 1 and 2. Slots 3 to 10 have the result and the gas of four
/// calls: a signature on P-256 that holds, and one that does not; MODEXP with numbers of 64 bytes,
/// and with one of 1,025, which is one byte too many. The result of a failed call is 0, and of any
/// other 1 more than twice what the call returned. It takes [`input`].
pub(super) fn contract() -> String {
    let signature = P256_SIGNATURE.len();
    let modexp = LENGTHS_BYTES + 3 * NUMBER_BYTES;
    let call = |slot: usize, address: u64, from: usize, length: usize| {
        let gas = slot + 1;
        // The data are behind a byte that is left out, so that no offset is 0, whose push would be
        // cheaper.
        let from = from + 1;
        format!(
            "PUSH 0 PUSH 0x1000 MSTORE
             GAS PUSH 32 PUSH 0x1000 PUSH {length} PUSH {from} PUSH {address} PUSH {CALL_GAS} STATICCALL GAS
             SWAP1 PUSH 0x1000 MLOAD PUSH 1 SHL ADD PUSH {slot} SSTORE
             SWAP1 SUB PUSH {gas} SSTORE"
        )
    };
    [
        "CALLDATASIZE PUSH 0 PUSH 1 CALLDATACOPY PUSH 1 CLZ PUSH 1 SSTORE PUSH 0 CLZ PUSH 2 SSTORE"
            .to_owned(),
        call(3, 0x100, 0, signature),
        call(5, 0x100, 1, signature),
        call(7, 5, signature, modexp),
        call(9, 5, signature + modexp, LENGTHS_BYTES),
        "STOP".to_owned(),
    ]
    .join(" ")
}

/// A signature on P-256, a MODEXP of three numbers of 64 bytes each, and the lengths alone of one
/// with a base of 1,025 bytes.
pub(super) fn input() -> Bytes {
    let lengths = |lengths: [usize; 3]| {
        lengths
            .map(|length| U256::from(length).to_be_bytes::<32>())
            .concat()
    };
    let modexp = [lengths([NUMBER_BYTES; 3]), vec![0xff; 3 * NUMBER_BYTES]].concat();
    [P256_SIGNATURE.as_slice(), &modexp, &lengths([1_025, 1, 1])]
        .concat()
        .into()
}

#[cfg(test)]
#[path = "osaka_tests.rs"]
mod tests;
