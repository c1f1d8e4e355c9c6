//! BLS12-381 and blobs.

use super::*;
use crate::{
    bls12_381::{G1Coordinates, G2Coordinates, for_tests},
    field::Coordinate,
};

const PRIME: &str =
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
const ORDER: &str = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";

fn g1(bytes: [u8; 96]) -> G1Coordinates {
    let (x, y) = bytes.split_at(48);
    (x.try_into().unwrap(), y.try_into().unwrap())
}

fn g2(bytes: [u8; 192]) -> G2Coordinates {
    let mut parts = bytes.chunks_exact(48).map(|part| part.try_into().unwrap());
    core::array::from_fn::<_, 4, _>(|_| parts.next().unwrap()).into()
}

/// 48 bytes that look random, and are a number below the prime.
fn below_prime(seed: u64) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..32].copy_from_slice(&scramble(seed));
    bytes[32..].copy_from_slice(&scramble(seed + 1_000_000)[..16]);
    bytes[0] &= 0x0f;
    bytes
}

fn of_g1(seed: u64) -> G1Coordinates {
    g1(DefaultCrypto.bls12_381_fp_to_g1(&below_prime(seed)).unwrap())
}

fn of_g2(seed: u64) -> G2Coordinates {
    let number = (below_prime(seed), below_prime(seed + 1));
    g2(DefaultCrypto.bls12_381_fp2_to_g2(number).unwrap())
}

fn times_g1(point: G1Coordinates, scalar: [u8; 32]) -> G1Coordinates {
    g1(DefaultCrypto
        .bls12_381_g1_msm(&mut [Ok((point, scalar))].into_iter())
        .unwrap())
}

fn times_g2(point: G2Coordinates, scalar: [u8; 32]) -> G2Coordinates {
    g2(DefaultCrypto
        .bls12_381_g2_msm(&mut [Ok((point, scalar))].into_iter())
        .unwrap())
}

fn minus_one() -> [u8; 32] {
    plus(decode(ORDER), -1)
}

/// The order less 10.
fn minus_ten() -> [u8; 32] {
    decode("73eda753299d7d483339d80809a1d80553bda402fffe5bfefffffffefffffff7")
}

const NO_G1: G1Coordinates = ([0; 48], [0; 48]);
const NO_G2: G2Coordinates = ([0; 48], [0; 48], [0; 48], [0; 48]);

fn g1_points() -> Vec<G1Coordinates> {
    let (a, b) = (of_g1(1), of_g1(2));
    let mut points = vec![a, b, times_g1(a, minus_one()), NO_G1];
    points.extend((1..4).map(|seed| g1(for_tests::on_g1_curve(&below_prime(seed)))));
    let prime: [u8; 48] = decode(PRIME);
    points.extend([
        (a.0, b.1),
        (number(0), number(1)),
        (number(0), number(2)),
        (prime, number(0)),
    ]);
    points.extend([(a.0, prime), (plus(prime, 1), plus(prime, 1)), ([0xff; 48], a.1)]);
    points
}

fn g2_points() -> Vec<G2Coordinates> {
    let (a, b) = (of_g2(1), of_g2(2));
    let mut points = vec![a, b, times_g2(a, minus_one()), NO_G2];
    points.extend((1..4).map(|seed| g2(for_tests::on_g2_curve(&below_prime(seed)))));
    let prime: [u8; 48] = decode(PRIME);
    points.extend([(a.0, b.1, a.2, a.3), (number(0), number(0), number(0), number(1))]);
    points.extend([
        (prime, number(0), number(0), number(0)),
        (a.0, a.1, a.2, [0xff; 48]),
    ]);
    points
}

#[test]
fn sums() {
    let mut valid = 0;
    for a in g1_points() {
        for b in g1_points() {
            valid += usize::from(agree(|crypto| crypto.bls12_381_g1_add(a, b)).is_ok());
        }
    }
    // One of the strange ones is a point, too: (0, 2).
    assert_eq!(valid, 8 * 8);
    valid = 0;
    for a in g2_points() {
        for b in g2_points() {
            valid += usize::from(agree(|crypto| crypto.bls12_381_g2_add(a, b)).is_ok());
        }
    }
    assert_eq!(valid, 7 * 7);
}

/// How many products there are of these points and scalars. What is no point is refused whatever
/// the scalar is: the first two are enough to see it.
fn valid_products<P: Copy>(points: Vec<P>, is_valid: impl Fn(P, [u8; 32]) -> bool) -> usize {
    let order = decode(ORDER);
    let scalars = [
        number(0),
        scramble(1),
        number(1),
        order,
        plus(order, 1),
        minus_one(),
        [0xff; 32],
    ];
    let valid = |point| {
        let first = scalars[..2]
            .iter()
            .filter(|scalar| is_valid(point, **scalar))
            .count();
        assert!(first == 0 || first == 2, "one scalar of two is refused");
        let others = if first == 0 { &[] } else { &scalars[2..] };
        assert!(others.iter().all(|scalar| is_valid(point, *scalar)));
        first + others.len()
    };
    points.into_iter().map(valid).sum()
}

#[test]
fn products() {
    let valid = valid_products(g1_points(), |point, scalar| {
        agree(|crypto| crypto.bls12_381_g1_msm(&mut [Ok((point, scalar))].into_iter())).is_ok()
    });
    assert_eq!(valid, 4 * 7);
    let valid = valid_products(g2_points(), |point, scalar| {
        agree(|crypto| crypto.bls12_381_g2_msm(&mut [Ok((point, scalar))].into_iter())).is_ok()
    });
    assert_eq!(valid, 4 * 7);
}

#[test]
fn sums_of_products() {
    for count in [0, 2, 3, 9] {
        let terms: Vec<_> = (0..count)
            .map(|seed| Ok((of_g1(seed % 7), scramble(seed))))
            .collect();
        agree(|crypto| crypto.bls12_381_g1_msm(&mut terms.clone().into_iter())).unwrap();
        let terms: Vec<_> = (0..count)
            .map(|seed| Ok((of_g2(seed % 7), scramble(seed))))
            .collect();
        agree(|crypto| crypto.bls12_381_g2_msm(&mut terms.clone().into_iter())).unwrap();
    }
    // Equal points, opposite ones, none, and an error on the way.
    let (p, q) = (of_g1(1), of_g2(1));
    let terms = vec![
        Ok((p, number(5))),
        Ok((p, number(5))),
        Ok((NO_G1, number(1))),
        Ok((p, minus_ten())),
    ];
    assert_eq!(
        agree(|crypto| crypto.bls12_381_g1_msm(&mut terms.clone().into_iter())),
        Ok([0; 96])
    );
    let terms = vec![
        Ok((q, number(5))),
        Ok((NO_G2, number(1))),
        Err(PrecompileHalt::Bls12381FpPaddingInvalid),
    ];
    agree(|crypto| crypto.bls12_381_g2_msm(&mut terms.clone().into_iter())).unwrap_err();
}

#[test]
fn pairings() {
    let check =
        |pairs: &[(G1Coordinates, G2Coordinates)]| agree(|crypto| crypto.bls12_381_pairing_check(pairs));
    for seed in 0..2 {
        let (p, q, scalar) = (of_g1(seed), of_g2(seed), scramble(seed));
        assert_eq!(check(&[(p, q)]), Ok(false));
        assert_eq!(check(&[(p, q), (times_g1(p, minus_one()), q)]), Ok(true));
        let (left, right) = (times_g1(p, scalar), times_g2(q, scalar));
        let right = times_g2(right, minus_one());
        assert_eq!(check(&[(left, q), (NO_G1, q), (p, right), (p, NO_G2)]), Ok(true));
        assert_eq!(check(&[(left, q), (p, q), (p, right)]), Ok(false));
    }
    assert_eq!(check(&[(NO_G1, of_g2(1))]), Ok(true));
    assert_eq!(check(&[]), Ok(true));
    let mut valid = 0;
    for p in g1_points() {
        valid += usize::from(check(&[(p, NO_G2)]).is_ok());
    }
    for q in g2_points() {
        valid += usize::from(check(&[(NO_G1, q)]).is_ok());
    }
    assert_eq!(valid, 4 + 4);
}

#[test]
fn maps() {
    let prime: [u8; 48] = decode(PRIME);
    let ordinary = (0..8).map(below_prime);
    let strange = [
        number(0),
        number(1),
        number(2),
        plus(prime, -1),
        prime,
        plus(prime, 1),
        [0xff; 48],
    ];
    for a in ordinary.clone().chain(strange) {
        let _ = agree(|crypto| crypto.bls12_381_fp_to_g1(&a));
    }
    let pairs = ordinary.clone().zip(ordinary.skip(3));
    for pair in pairs.chain(strange.into_iter().flat_map(|a| strange.map(|b| (a, b)))) {
        let _ = agree(|crypto| crypto.bls12_381_fp2_to_g2(pair));
    }
}

/// The proof of <https://github.com/ethereum/c-kzg-4844>,
/// `verify_kzg_proof_case_correct_proof_4_4`.
fn proof() -> ([u8; 32], [u8; 32], [u8; 48], [u8; 48]) {
    (
        minus_one(),
        decode("1522a4a7f34e1ea350ae07c29c96c7e79655aa926122e95fe69fcbd932ca49e9"),
        decode(
            "8f59a8d2a1a625a17f3fea0fe5eb8c896db3764f3185481bc22f91b4aaffcca25f26936857bc3a7c2539ea8ec3a952b7",
        ),
        decode(
            "a62ad71d14c5719385c0686f1871430475bf3a00f0aa3f7b8dd99a9abc2160744faf0070725e00b60ad9a026a15b1a8c",
        ),
    )
}

#[test]
fn point_evaluations() {
    let check = |z: &[u8; 32], y: &[u8; 32], commitment: &[u8; 48], proof: &[u8; 48]| {
        agree(|crypto| crypto.verify_kzg_proof(z, y, commitment, proof)).is_ok()
    };
    let (z, y, commitment, proof) = proof();
    assert!(check(&z, &y, &commitment, &proof));
    assert!(!check(&plus(z, 1), &y, &commitment, &proof)); // the order, which is no number of the field
    assert!(!check(&number(0), &y, &commitment, &proof));
    assert!(!check(&z, &plus(y, 1), &commitment, &proof));
    assert!(!check(&z, &decode(ORDER), &commitment, &proof));
    assert!(!check(&z, &y, &proof, &commitment));

    // Constant polynomials, of which the proof is the point at infinity; that of 0 is it, too.
    let infinity = plus(number::<48>(0), 0).map(|byte| byte);
    let infinity = [&[0xc0], &infinity[1..]].concat().try_into().unwrap();
    assert!(check(
        &scramble(1).map(|byte| byte & 0x3f),
        &number(0),
        &infinity,
        &infinity
    ));
    assert!(!check(&number(0), &number(1), &infinity, &infinity));
    let generator = decode(
        "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
    );
    assert!(check(&number(9), &number(1), &generator, &infinity));
    assert!(!check(&number(9), &number(2), &generator, &infinity));

    // Each flag, and what is no point.
    let mut accepted = 0;
    for flags in 0..8u8 {
        for bytes in [commitment, generator, infinity, [0; 48]] {
            let mut bytes: [u8; 48] = bytes;
            bytes[0] = bytes[0] & 0x1f | flags << 5;
            accepted += usize::from(check(&z, &y, &bytes, &proof));
            accepted += usize::from(check(&z, &y, &commitment, &bytes));
            accepted += usize::from(check(&z, &number(1), &bytes, &infinity));
        }
    }
    assert_eq!(accepted, 2);
    for seed in 0..4 {
        let mut bytes = below_prime(seed);
        bytes[0] |= 0x80;
        assert!(!check(&z, &y, &bytes, &proof));
    }
    let mut prime: [u8; 48] = decode(PRIME);
    prime[0] |= 0x80;
    assert!(!check(&z, &y, &prime, &proof));
}

#[test]
fn coordinates_come_back() {
    for seed in 0..4 {
        let bytes = below_prime(seed);
        let mut written = [0; 48];
        crate::fields::Bls12Fp::read(&bytes).unwrap().write(&mut written);
        assert_eq!(written, bytes);
    }
}
