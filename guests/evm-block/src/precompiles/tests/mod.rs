//! Each precompile against revm's, which computes in software: over points and numbers of every
//! kind, right and wrong.

mod bls12_381;
mod modexp;
mod p256;
mod product;

use myriad_evm::crypto::{Crypto, DefaultCrypto, PrecompileHalt};

use super::VmCrypto;
use crate::{host::worst, recover::VmRecover};

fn ours() -> VmCrypto {
    VmCrypto(VmRecover::new())
}

/// 32 bytes that look random.
fn scramble(seed: u64) -> [u8; 32] {
    alloy_primitives::keccak256(seed.to_le_bytes()).0
}

fn decode<const N: usize>(digits: &str) -> [u8; N] {
    let mut bytes = crate::field::hex(digits);
    bytes.reverse();
    bytes
}

/// 32 bytes in big endian, and so on for other lengths.
fn number<const N: usize>(value: u64) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[N - 8..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn plus<const N: usize>(mut bytes: [u8; N], last: i16) -> [u8; N] {
    let sum = i16::from(bytes[N - 1]) + last;
    bytes[N - 1] = sum.try_into().expect("no carry");
    bytes
}

/// The outcome is the same by a host that gives other representations than the least: all that it
/// can, and some by chance.
#[track_caller]
fn by_the_worst_host<T: PartialEq + core::fmt::Debug>(outcome: &T, call: impl Fn() -> T) {
    for seed in [0, 1] {
        let (by_worst, _) = worst(seed, &call);
        assert_eq!(*outcome, by_worst, "by the worst host, with the seed {seed}");
    }
}

/// The outcome by our implementation and by the default one, which must be equal, the error's cause
/// included.
#[track_caller]
fn agree<T: PartialEq + core::fmt::Debug>(
    call: impl Fn(&dyn Crypto) -> Result<T, PrecompileHalt>,
) -> Result<T, PrecompileHalt> {
    let outcome = call(&DefaultCrypto);
    assert_eq!(outcome, call(&ours()));
    by_the_worst_host(&outcome, || call(&ours()));
    outcome
}

#[test]
fn sha256_of_every_length_and_alignment() {
    let bytes: Vec<u8> = (0..32).flat_map(scramble).collect();
    for length in (0..=200).chain([511, 512, 1_000]) {
        for start in 0..4 {
            let bytes = &bytes[start..start + length];
            assert_eq!(
                ours().sha256(bytes),
                DefaultCrypto.sha256(bytes),
                "{length} {start}"
            );
        }
    }
}

mod bn254 {
    use super::*;

    const PRIME: &str = "30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47";
    const ORDER: &str = "30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001";

    fn generator() -> [u8; 64] {
        [number::<32>(1), number(2)].concat().try_into().unwrap()
    }

    fn negative(point: [u8; 64]) -> [u8; 64] {
        let minus_one: [u8; 32] = plus(decode(ORDER), -1);
        DefaultCrypto.bn254_g1_mul(&point, &minus_one).unwrap()
    }

    fn multiple(seed: u64) -> [u8; 64] {
        DefaultCrypto.bn254_g1_mul(&generator(), &scramble(seed)).unwrap()
    }

    /// Imaginary parts first.
    fn g2(digits: [&str; 4]) -> [u8; 128] {
        digits.map(decode::<32>).concat().try_into().unwrap()
    }

    fn g2_generator() -> [u8; 128] {
        g2([
            "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2",
            "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed",
            "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b",
            "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa",
        ])
    }

    /// A point on the twisted curve that is not of the group.
    fn outside_g2() -> [u8; 128] {
        g2([
            "0000000000000000000000000000000000000000000000000000000000000001",
            "0000000000000000000000000000000000000000000000000000000000000002",
            "2b76c179599bb92a963dac85546a005a777f7c13f6a7b75d5918b6b5808f5fde",
            "101f7278419308b95099eca02dcee0c5381f4d26d1d62313f057167f064101ce",
        ])
    }

    fn points() -> Vec<[u8; 64]> {
        let mut points: Vec<[u8; 64]> = (0..3).map(multiple).collect();
        points.extend([generator(), negative(generator()), negative(multiple(0)), [0; 64]]);
        // No points: off the curve, zero with something else, and coordinates that are not below
        // the prime.
        for (x, y) in [
            (number(1), number(3)),
            (number(0), number(1)),
            (number(1), number(0)),
            (decode(PRIME), number(0)),
            (number(0), decode(PRIME)),
            (plus(decode(PRIME), 1), number(2)),
            ([0xff; 32], [0xff; 32]),
            (plus(decode(PRIME), -1), plus(decode(PRIME), -1)),
        ] {
            points.push([x, y].concat().try_into().unwrap());
        }
        points
    }

    #[test]
    fn sums() {
        let mut valid = 0;
        for a in points() {
            for b in points() {
                valid += usize::from(agree(|crypto| crypto.bn254_g1_add(&a, &b)).is_ok());
            }
        }
        assert_eq!(valid, 7 * 7);
    }

    #[test]
    fn products() {
        let order = decode(ORDER);
        let mut scalars = vec![
            number(0),
            number(1),
            number(2),
            number(15),
            number(16),
            [0xff; 32],
        ];
        scalars.extend([order, plus(order, 1), plus(order, -1), scramble(7), scramble(8)]);
        for point in points() {
            for scalar in &scalars {
                let _ = agree(|crypto| crypto.bn254_g1_mul(&point, scalar));
            }
        }
    }

    #[track_caller]
    fn check(pairs: &[([u8; 64], [u8; 128])]) -> Result<bool, PrecompileHalt> {
        let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(p, q)| (&p[..], &q[..])).collect();
        agree(|crypto| crypto.bn254_pairing_check(&pairs))
    }

    #[test]
    fn pairings() {
        let (p, q) = (generator(), g2_generator());
        assert_eq!(check(&[]), Ok(true));
        assert_eq!(check(&[(p, q)]), Ok(false));
        assert_eq!(check(&[(p, q), (negative(p), q)]), Ok(true));
        assert_eq!(check(&[([0; 64], q), (p, [0; 128])]), Ok(true));
        assert_eq!(check(&[([0; 64], q), (p, q)]), Ok(false));
        for seed in 0..4 {
            let (a, b) = (multiple(seed), multiple(seed + 100));
            let sum = DefaultCrypto.bn254_g1_add(&a, &b).unwrap();
            assert_eq!(check(&[(a, q), (b, q), (negative(sum), q)]), Ok(true));
            assert_eq!(check(&[(a, q), (b, q), (sum, q)]), Ok(false));
        }
    }

    #[test]
    fn what_is_of_neither_group_is_refused() {
        let q = g2_generator();
        let error = PrecompileHalt::Bn254AffineGFailedToCreate;
        assert_eq!(check(&[(generator(), outside_g2())]), Err(error.clone()));
        assert_eq!(check(&[([0; 64], outside_g2())]), Err(error));
        for p in points() {
            let _ = check(&[(p, q)]);
        }
        for position in 0..4 {
            for value in [number(1), decode(PRIME), [0xff; 32]] {
                let mut q = q;
                q[32 * position..][..32].copy_from_slice(&value);
                assert!(check(&[(generator(), q)]).is_err());
            }
        }
    }
}
