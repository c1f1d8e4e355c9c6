//! Products of 256 bits.

use alloy_primitives::{U256, keccak256};
use myriad_evm::arithmetic::{Limbs, Product};

use crate::{host::worst, product::product};

fn limbs(number: U256) -> Limbs {
    core::array::from_fn(|i| (number.as_limbs()[i / 2] >> (32 * (i % 2))) as u32)
}

fn check(a: U256, b: U256) {
    let expected = a.widening_mul::<256, 4, 512, 8>(b);
    let expected: Product = core::array::from_fn(|i| (expected.as_limbs()[i / 2] >> (32 * (i % 2))) as u32);
    let call = || product(&limbs(a), &limbs(b));
    assert_eq!(call(), expected, "{a:x} {b:x}");
    for seed in [0, 1] {
        assert_eq!(worst(seed, call).0, expected, "{a:x} {b:x} by the worst host");
    }
}

#[test]
fn products_are_whole() {
    let one = U256::ONE;
    let mut numbers = vec![U256::ZERO, one, U256::from(977), U256::MAX, U256::MAX - one];
    for exponent in [31, 32, 33, 96, 127, 128, 129, 255usize] {
        let power: U256 = one << exponent;
        numbers.extend([power - one, power, power + one, power.wrapping_neg()]);
    }
    numbers.extend((0..20u8).map(|i| U256::from_be_bytes(keccak256([i]).0)));
    for a in &numbers {
        for b in &numbers {
            check(*a, *b);
        }
    }
}
