//! P-256.

use ::p256::{
    AffinePoint, ProjectivePoint, Scalar, U256,
    ecdsa::{Signature, SigningKey, VerifyingKey, signature::hazmat::PrehashSigner},
    elliptic_curve::{ops::Reduce, point::DecompressPoint, subtle::Choice},
};

use super::*;

const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const PRIME: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";

#[track_caller]
fn check(digest: &[u8; 32], signature: &[u8; 64], key: &[u8; 64]) -> bool {
    let verdict = DefaultCrypto.secp256r1_verify_signature(digest, signature, key);
    let ours = || ours().secp256r1_verify_signature(digest, signature, key);
    assert_eq!(ours(), verdict);
    by_the_worst_host(&verdict, ours);
    verdict
}

fn signed(seed: u64) -> ([u8; 32], [u8; 64], [u8; 64]) {
    let secret = SigningKey::from_slice(&scramble(seed)).unwrap();
    let digest = scramble(seed + 1_000);
    let signature: Signature = secret.sign_prehash(&digest).unwrap();
    let key = secret.verifying_key().to_encoded_point(false);
    (
        digest,
        signature.to_bytes().into(),
        key.as_bytes()[1..].try_into().unwrap(),
    )
}

#[test]
fn signatures() {
    for seed in 0..12 {
        let (digest, signature, key) = signed(seed);
        assert!(check(&digest, &signature, &key));
        for bit in [0, 255, 256, 300, 511] {
            let flip = |mut bytes: [u8; 64]| {
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            };
            assert!(!check(&digest, &flip(signature), &key));
            assert!(!check(&digest, &signature, &flip(key)));
        }
        assert!(!check(&scramble(seed), &signature, &key));
    }
}

#[test]
fn numbers_at_the_bounds() {
    let (digest, signature, key) = signed(1);
    let order = decode(ORDER);
    let prime = decode(PRIME);
    let numbers: [[u8; 32]; 6] = [
        number(0),
        number(1),
        plus(order, -1),
        order,
        plus(order, 1),
        [0xff; 32],
    ];
    for r in numbers.into_iter().chain([signature[..32].try_into().unwrap()]) {
        for s in numbers.into_iter().chain([signature[32..].try_into().unwrap()]) {
            let signature = [r, s].concat().try_into().unwrap();
            for digest in [digest, number(0), order, [0xff; 32]] {
                check(&digest, &signature, &key);
            }
        }
    }
    for coordinate in [number(0), number(1), prime, plus(prime, -1), [0xff; 32]] {
        for position in [0, 32] {
            let mut key = key;
            key[position..position + 32].copy_from_slice(&coordinate);
            assert!(!check(&digest, &signature, &key));
        }
    }
    assert!(!check(&digest, &signature, &[0; 64]));
}

/// A key of which the sum is the point at infinity, and ones of which it is a point added to itself
/// or to its negative.
#[test]
fn sums_of_equal_and_opposite_points() {
    let secret = SigningKey::from_slice(&number::<32>(1)).unwrap();
    let generator: [u8; 64] = secret.verifying_key().to_encoded_point(false).as_bytes()[1..]
        .try_into()
        .unwrap();
    let order: [u8; 32] = decode(ORDER);
    for value in [1, 2, 77] {
        let r: [u8; 32] = number(value);
        let s = number(5);
        let signature = [r, s].concat().try_into().unwrap();
        // z = -r: z·G + r·G is the point at infinity; z = r: twice the same.
        let minus_r = plus(order, -i16::try_from(value).unwrap());
        assert!(!check(&minus_r, &signature, &generator));
        check(&r, &signature, &generator);
    }
}

/// `r` is compared with a coordinate modulo the order, which is less than the prime. Here the
/// coordinate is at least the order. It is less than 2^256 - p, so that it has a second
/// representation below 2^256. `r` follows from that second representation, which is not valid.
#[test]
fn a_coordinate_is_compared_modulo_the_order() {
    let digest = scramble(3);
    let s: [u8; 32] = number(7);
    let scalar = |bytes: [u8; 32]| <Scalar as Reduce<U256>>::reduce_bytes(&bytes.into());
    // The key for which a signature's point is the one with this coordinate.
    let verdict = |coordinate: [u8; 32], r: Scalar| {
        let point: Option<AffinePoint> = AffinePoint::decompress(&coordinate.into(), Choice::from(0)).into();
        let sum = ProjectivePoint::from(point?) * scalar(s) - ProjectivePoint::GENERATOR * scalar(digest);
        let key = VerifyingKey::from_affine((sum * r.invert().unwrap()).to_affine()).unwrap();
        let key = key.to_encoded_point(false).as_bytes()[1..].try_into().unwrap();
        let signature = [<[u8; 32]>::from(r.to_bytes()), s].concat().try_into().unwrap();
        Some(check(&digest, &signature, &key))
    };
    let first = |verdicts: &dyn Fn(i16) -> Option<bool>| (1..100).find_map(verdicts).unwrap();
    let (order, prime): ([u8; 32], [u8; 32]) = (decode(ORDER), decode(PRIME));
    assert!(first(&|above| {
        let coordinate = plus(order, above);
        verdict(coordinate, scalar(coordinate))
    }));
    assert!(first(&|small| {
        let coordinate = number(small as u64);
        verdict(coordinate, scalar(coordinate))
    }));
    assert!(!first(&|small| {
        let second = scalar(prime) + scalar(number(small as u64));
        verdict(number(small as u64), second)
    }));
}
