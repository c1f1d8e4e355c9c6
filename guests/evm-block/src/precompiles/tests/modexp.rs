//! MODEXP.

use super::*;

#[track_caller]
fn check(base: &[u8], exponent: &[u8], modulus: &[u8]) {
    let padded = |call: &dyn Crypto| {
        let result = call.modexp(base, exponent, modulus)?;
        // revm pads it.
        let zeros = result.iter().take_while(|&&byte| byte == 0).count();
        Ok(result[zeros..].to_vec())
    };
    agree(padded).unwrap();
}

/// This many bytes that look random.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let words = (0..count.div_ceil(32) as u64).flat_map(|i| scramble(seed << 32 | i));
    words.take(count).collect()
}

/// Zeros, ones and the rest of a number.
fn edges(count: usize) -> Vec<Vec<u8>> {
    let with = |first: u8, middle: u8, last: u8| {
        let mut bytes = vec![middle; count];
        bytes[0] = first;
        bytes[count - 1] = last;
        bytes
    };
    vec![
        with(0, 0, 0),
        with(0, 0, 1),
        with(0, 0, 2),
        with(1, 0, 0),
        with(0x80, 0, 1),
        with(0xff, 0xff, 0xff),
        with(0xff, 0xff, 0xfe),
        with(0, 0xff, 0xff),
    ]
}

#[test]
fn numbers_of_every_length() {
    for count in [1, 4, 5, 11, 12, 13, 24, 32, 36, 48, 61] {
        let seed = 10 * count as u64;
        let mut modulus = bytes(seed, count);
        for last in [0, 1] {
            modulus[count - 1] = modulus[count - 1] & !1 | last;
            for exponent in [bytes(seed + 1, 1), bytes(seed + 2, 2)] {
                check(&bytes(seed + 3, count), &exponent, &modulus);
                check(&bytes(seed + 4, 2 * count + 1), &exponent, &modulus);
                check(&bytes(seed + 5, count.div_ceil(2)), &exponent, &modulus);
            }
        }
    }
}

#[test]
fn exponents_of_every_window() {
    for count in [1, 2, 3, 4, 10, 11, 32, 40, 41] {
        let modulus = bytes(7, 20);
        check(&bytes(8, 20), &bytes(count as u64, count), &modulus);
        check(&bytes(9, 20), &vec![0xff; count], &modulus);
        let mut last = vec![0; count];
        last[count - 1] = 1;
        check(&bytes(10, 20), &last, &modulus);
        check(&bytes(11, 20), &vec![0; count], &modulus);
    }
    check(&[], &[], &[]);
    check(&[1], &[], &[1]);
    check(&[], &[0], &[5]);
    check(&[], &[3], &[5]);
    check(&[], &[3], &[]);
}

#[test]
fn numbers_at_the_bounds() {
    for count in [1, 4, 12, 13, 32] {
        for base in edges(count) {
            for modulus in edges(count) {
                for exponent in [&[1][..], &[2], &[0x13]] {
                    check(&base, exponent, &modulus);
                }
            }
        }
    }
}

/// Each digit, and each limb of it, has its turn to be zero or all ones.
#[test]
fn digits_at_the_bounds() {
    for limbs in 0..1 << 6 {
        let number = |value: u32| -> Vec<u8> {
            let limb = |i| if limbs >> i & 1 == 1 { u32::MAX } else { value };
            (0..6).flat_map(|i| u32::to_be_bytes(limb(i))).collect()
        };
        for (base, modulus) in [(0, 1), (1, 0), (0, 0x8000_0001), (7, 2)] {
            check(&number(base), &[3], &number(modulus));
            check(&number(base), &[0xff], &number(modulus));
        }
    }
}

/// A number of at most 126 bits is one digit, odd or even.
#[test]
fn small_moduli_of_every_length() {
    for bits in (1..20).chain([31, 32, 33, 63, 64, 65, 95, 96, 97, 120, 125, 126, 127, 128]) {
        let random = u128::from_be_bytes(bytes(bits, 16).try_into().unwrap());
        let modulus = random >> (128 - bits) | 1 << (bits - 1);
        let greatest = u128::MAX >> (128 - bits);
        for zeros in [0, 1, 2, bits / 2, bits - 1] {
            for modulus in [modulus, greatest] {
                let modulus = (modulus >> zeros | 1) << zeros;
                let base = &bytes(bits + 500, 16);
                check(base, &bytes(bits + 900, 1), &modulus.to_be_bytes());
                check(
                    &(modulus - 1).to_be_bytes(),
                    &[1, 0x80, 0xff],
                    &modulus.to_be_bytes(),
                );
                check(&u128::MAX.to_be_bytes(), &[2], &modulus.to_be_bytes());
                check(&(1u128 << zeros).to_be_bytes(), &[0x80], &modulus.to_be_bytes());
            }
        }
    }
}
