//! Inputs of precompiles that make them do all of their work.

use alloy_primitives::{B256, hex, keccak256};

/// A hash and a made-up signer's signature.
pub(super) fn ecrecover() -> Vec<u8> {
    let x = hex!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    [
        scramble(1),
        B256::with_last_byte(27),
        x.into(),
        scramble(2) & !B256::repeat_byte(0x80),
    ]
    .concat()
}

fn scramble(seed: u8) -> B256 {
    keccak256([seed])
}

/// This many bytes that look random. The first is not 0 and the last is odd.
fn bytes(count: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=count / 32)
        .flat_map(|i| scramble(i as u8).0)
        .take(count)
        .collect();
    if let [first, .., last] = &mut bytes[..] {
        *first |= 0x40;
        *last |= 1;
    }
    bytes
}

pub(super) fn modexp(base: usize, exponent_bits: usize, modulus: usize) -> Vec<u8> {
    let exponent = exponent_bits.div_ceil(8);
    let length = |length: usize| B256::left_padding_from(&(length as u64).to_be_bytes());
    let mut exponent_bytes = bytes(exponent);
    // The first byte has as many bits as are left, all of them ones: of the others half are.
    exponent_bytes[0] = u8::MAX >> (8 * exponent - exponent_bits);
    [
        length(base).to_vec(),
        length(exponent).to_vec(),
        length(modulus).to_vec(),
        bytes(base),
        exponent_bytes,
        bytes(modulus),
    ]
    .concat()
}

/// An input of MODEXP with a modulus that is even.
pub(super) fn even_modexp(base: usize, exponent_bits: usize, modulus: usize) -> Vec<u8> {
    let mut input = modexp(base, exponent_bits, modulus);
    if let Some(last) = input.last_mut() {
        *last &= !1;
    }
    input
}

/// An input with a state and a message that look random, and 128 as the number of hashed bytes.
pub(super) fn blake2f(rounds: u32) -> Vec<u8> {
    [
        &rounds.to_be_bytes()[..],
        &bytes(64 + 128),
        &128u64.to_le_bytes(),
        &[0; 8],
        &[1],
    ]
    .concat()
}

/// A commitment and a proof, from <https://github.com/ethereum/c-kzg-4844>:
/// `verify_kzg_proof_case_correct_proof_4_4`.
pub(super) fn kzg() -> Vec<u8> {
    [
        &hex!("01e798154708fe7789429634053cbf9f99b619f9f084048927333fce637f549b")[..],
        &hex!("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000"),
        &hex!("1522a4a7f34e1ea350ae07c29c96c7e79655aa926122e95fe69fcbd932ca49e9"),
        &hex!(
            "8f59a8d2a1a625a17f3fea0fe5eb8c896db3764f3185481bc22f91b4aaffcca25f26936857bc3a7c2539ea8ec3a952b7"
        ),
        &hex!(
            "a62ad71d14c5719385c0686f1871430475bf3a00f0aa3f7b8dd99a9abc2160744faf0070725e00b60ad9a026a15b1a8c"
        ),
    ]
    .concat()
}

/// A hash, a signature and a key, from <https://github.com/daimo-eth/p256-verifier>.
pub(super) fn p256() -> Vec<u8> {
    hex!(
        "4cee90eb86eaa050036147a12d49004b6b9c72bd725d39d4785011fe190f0b4d"
        "a73bd4903f0ce3b639bbbf6e8e80d16931ff4bcf5993d58468e8fb19086e8cac"
        "36dbcd03009df8c59286b162af3bd7fcc0450c9aa81be5d10d312af6c66b1d60"
        "4aebd3099c618202fcfe16ae7770b0c49ab5eadf74b754204a3bb6060e44eff3"
        "7618b065f9832de4ca6ca971a7a1adc826d0f7c00181a5fb2ddf79ae00b4e10e"
    )
    .to_vec()
}

pub(super) mod bn254 {
    use super::*;

    const G1: [[u8; 32]; 2] = [
        hex!("0000000000000000000000000000000000000000000000000000000000000001"),
        hex!("0000000000000000000000000000000000000000000000000000000000000002"),
    ];
    const TWICE_G1: [[u8; 32]; 2] = [
        hex!("030644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd3"),
        hex!("15ed738c0e0a7c92e7845f96b2ae9c0a68a6a449e3538fc7ff3ebf7a5a18a2c4"),
    ];
    const G2: [[u8; 32]; 4] = [
        hex!("198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2"),
        hex!("1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"),
        hex!("090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b"),
        hex!("12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"),
    ];

    pub(in super::super) fn sum() -> Vec<u8> {
        [G1, TWICE_G1].concat().concat()
    }

    pub(in super::super) fn product() -> Vec<u8> {
        [G1.concat(), scramble(1).to_vec()].concat()
    }

    pub(in super::super) fn pairs(count: usize) -> Vec<u8> {
        [G1.concat(), G2.concat()].concat().repeat(count)
    }
}

pub(super) mod bls12_381 {
    use super::*;

    /// 16 zeros stand before each coordinate.
    const G1: [[u8; 48]; 2] = [
        hex!(
            "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
        ),
        hex!(
            "08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1"
        ),
    ];
    const G2: [[u8; 48]; 4] = [
        hex!(
            "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
        ),
        hex!(
            "13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        ),
        hex!(
            "0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801"
        ),
        hex!(
            "0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be"
        ),
    ];

    fn padded(numbers: &[[u8; 48]]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| [&[0; 16], &number[..]].concat())
            .collect()
    }

    pub(in super::super) fn g1_sum() -> Vec<u8> {
        padded(&G1).repeat(2)
    }

    pub(in super::super) fn g2_sum() -> Vec<u8> {
        padded(&G2).repeat(2)
    }

    fn terms(point: &[[u8; 48]], count: usize) -> Vec<u8> {
        let term = |i: usize| [padded(point), scramble(i as u8).to_vec()].concat();
        (0..count).flat_map(term).collect()
    }

    pub(in super::super) fn g1_terms(count: usize) -> Vec<u8> {
        terms(&G1, count)
    }

    pub(in super::super) fn g2_terms(count: usize) -> Vec<u8> {
        terms(&G2, count)
    }

    pub(in super::super) fn pairs(count: usize) -> Vec<u8> {
        [padded(&G1), padded(&G2)].concat().repeat(count)
    }

    pub(in super::super) fn number() -> Vec<u8> {
        padded(&G1[..1])
    }

    pub(in super::super) fn complex_number() -> Vec<u8> {
        padded(&G1)
    }
}
