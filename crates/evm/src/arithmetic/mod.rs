//! The EVM's divisions and remainders on limbs of 32 bits, which are the words of the VM.
//!
//! revm's are ruint's, on limbs of 64 bits. The VM has no instructions for those: there a product
//! of two limbs takes some thirty instructions, and here two.

mod division;
mod long;

use alloy_primitives::U256;
use revm::primitives::OnceLock;

use division::divide;
pub use long::reduce;

/// A number of 256 bits, the lowest limb first.
pub type Limbs = [u32; 8];
/// The product of two, in the same order.
pub type Product = [u32; 16];

/// The function that multiplies in place of [`product`].
static MULTIPLY: OnceLock<fn(&Limbs, &Limbs) -> Product> = OnceLock::new();

/// Makes MULMOD multiply by `product`. Has no effect after the first call.
pub fn multiply_by(product: fn(&Limbs, &Limbs) -> Product) {
    // It says only that there is one already.
    let _ = MULTIPLY.set(product);
}

#[inline(always)]
const fn low(number: u64) -> u32 {
    number as u32
}

#[inline(always)]
const fn high(number: u64) -> u32 {
    (number >> 32) as u32
}

#[inline(always)]
const fn join(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

#[inline(always)]
fn limbs(number: &U256) -> Limbs {
    let limbs = number.as_limbs();
    core::array::from_fn(|i| (limbs[i / 2] >> (32 * (i % 2))) as u32)
}

#[inline(always)]
fn number(limbs: &Limbs) -> U256 {
    U256::from_limbs(core::array::from_fn(|i| join(limbs[2 * i + 1], limbs[2 * i])))
}

/// The exponent, if the number is a power of two.
#[inline(always)]
fn exponent_of_two(number: &U256) -> Option<usize> {
    let limbs = limbs(number);
    // Most numbers are none by their lowest limb.
    if limbs[0] & limbs[0].wrapping_sub(1) != 0 {
        return None;
    }
    let at = limbs.iter().rposition(|&limb| limb != 0)?;
    let is_power = limbs[at].is_power_of_two() && limbs[..at].iter().all(|&limb| limb == 0);
    is_power.then(|| 32 * at + limbs[at].trailing_zeros() as usize)
}

/// DIV.
pub(crate) fn quotient(a: &U256, b: &U256) -> U256 {
    if b.is_zero() {
        return U256::ZERO;
    }
    if let Some(exponent) = exponent_of_two(b) {
        return *a >> exponent;
    }
    let mut quotient = limbs(a);
    divide(&mut quotient, &limbs(b));
    number(&quotient)
}

/// MOD.
pub(crate) fn remainder(a: &U256, b: &U256) -> U256 {
    if b.is_zero() {
        return U256::ZERO;
    }
    if exponent_of_two(b).is_some() {
        return *a & b.wrapping_sub(U256::ONE);
    }
    number(&divide(&mut limbs(a), &limbs(b)))
}

/// The number without its sign, and whether it is negative.
fn magnitude(a: &U256) -> (U256, bool) {
    let is_negative = a.bit(255);
    (if is_negative { a.wrapping_neg() } else { *a }, is_negative)
}

/// SDIV: towards zero.
pub(crate) fn signed_quotient(a: &U256, b: &U256) -> U256 {
    let ((a, a_is_negative), (b, b_is_negative)) = (magnitude(a), magnitude(b));
    let quotient = quotient(&a, &b);
    match a_is_negative == b_is_negative {
        true => quotient,
        false => quotient.wrapping_neg(),
    }
}

/// SMOD: with the sign of the first.
pub(crate) fn signed_remainder(a: &U256, b: &U256) -> U256 {
    let (a, is_negative) = magnitude(a);
    let remainder = remainder(&a, &magnitude(b).0);
    match is_negative {
        true => remainder.wrapping_neg(),
        false => remainder,
    }
}

/// ADDMOD.
pub(crate) fn sum_remainder(a: &U256, b: &U256, modulus: &U256) -> U256 {
    if modulus.is_zero() {
        return U256::ZERO;
    }
    let top = |number: &U256| number.as_limbs()[3];
    if top(modulus) != 0 && top(a) <= top(modulus) && top(b) <= top(modulus) {
        // Both are less than twice the modulus, and ruint needs no division.
        return a.add_mod(*b, *modulus);
    }
    let (sum, carry) = a.overflowing_add(*b);
    let sum = limbs(&sum);
    let mut numerator = [0; 9];
    numerator[..8].copy_from_slice(&sum);
    numerator[8] = u32::from(carry);
    number(&divide(&mut numerator, &limbs(modulus)))
}

/// MULMOD.
pub(crate) fn product_remainder(a: &U256, b: &U256, modulus: &U256) -> U256 {
    if modulus.is_zero() {
        return U256::ZERO;
    }
    let multiply = MULTIPLY.get().copied().unwrap_or(product);
    let mut product = multiply(&limbs(a), &limbs(b));
    if *modulus == U256::MAX {
        // 2^256 is 1 modulo this: contracts ask for it, to get at the upper half.
        let [lower, upper] = [0, 8].map(|from| core::array::from_fn(|i| product[from + i]));
        let (sum, carry) = number(&lower).overflowing_add(number(&upper));
        let sum = sum.wrapping_add(U256::from(carry));
        return if sum == U256::MAX { U256::ZERO } else { sum };
    }
    number(&divide(&mut product, &limbs(modulus)))
}

fn product(a: &Limbs, b: &Limbs) -> Product {
    let mut product = [0; 16];
    // The limbs of the product above those that are final, which stay in registers.
    let mut window = [0u32; 8];
    for (digit, place) in b.iter().zip(&mut product) {
        let mut carry = 0;
        for (i, &limb) in a.iter().enumerate() {
            let sum = u64::from(limb) * u64::from(*digit) + u64::from(window[i]) + u64::from(carry);
            carry = high(sum);
            match i {
                0 => *place = low(sum),
                _ => window[i - 1] = low(sum),
            }
        }
        window[7] = carry;
    }
    product[8..].copy_from_slice(&window);
    product
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Uint;
    use proptest::prelude::*;
    use revm::interpreter::instructions::i256::{i256_div, i256_mod};

    use super::*;

    type Wide = Uint<2048, 32>;

    /// Numbers of every length, with limbs that are often zero, one, or all ones.
    fn numbers() -> impl Strategy<Value = U256> {
        let limb = prop_oneof![
            Just(0),
            Just(1),
            Just(u32::MAX),
            Just(1 << 31),
            Just(u32::MAX - 1),
            any::<u32>()
        ];
        let shift = prop_oneof![Just(0), 0..32usize];
        (proptest::array::uniform8(limb), 0..=8usize, shift).prop_map(|(mut limbs, length, shift)| {
            limbs[length..].fill(0);
            number(&limbs) >> shift
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 20_000,
            max_global_rejects: 200_000,
            ..ProptestConfig::default()
        })]

        #[test]
        fn two_numbers(a in numbers(), b in numbers()) {
            let (expected, rest) = if b.is_zero() { Default::default() } else { a.div_rem(b) };
            prop_assert_eq!(quotient(&a, &b), expected);
            prop_assert_eq!(remainder(&a, &b), rest);
            prop_assert_eq!(signed_quotient(&a, &b), i256_div(a, b));
            prop_assert_eq!(signed_remainder(&a, &b), i256_mod(a, b));
        }

        #[test]
        fn three_numbers(a in numbers(), b in numbers(), modulus in numbers()) {
            prop_assert_eq!(sum_remainder(&a, &b, &modulus), a.add_mod(b, modulus));
            prop_assert_eq!(product_remainder(&a, &b, &modulus), a.mul_mod(b, modulus));
        }

        /// A quotient and a remainder that are as they should be.
        #[test]
        fn quotients_of_every_kind(a in numbers(), b in numbers(), rest in numbers()) {
            prop_assume!(!b.is_zero());
            let rest = rest % b;
            let product = a.widening_mul::<256, 4, 512, 8>(b) + Uint::<512, 8>::from(rest);
            let limbs = product.as_limbs();
            let mut numerator = core::array::from_fn::<_, 16, _>(|i| (limbs[i / 2] >> (32 * (i % 2))) as u32);
            let remainder = divide(&mut numerator, &super::limbs(&b));
            prop_assert_eq!(number(&remainder), rest);
            let (lower, upper) = numerator.split_at(8);
            prop_assert_eq!(lower, super::limbs(&a));
            prop_assert!(upper.iter().all(|limb| *limb == 0));
        }

        #[test]
        fn long_numbers(a in proptest::array::uniform7(numbers()), b in proptest::array::uniform3(numbers())) {
            let wide = |numbers: &[U256]| {
                let limbs: Vec<u64> = numbers.iter().flat_map(|number| *number.as_limbs()).collect();
                Wide::from_limbs_slice(&limbs)
            };
            let flat = |numbers: &[U256]| -> Vec<u32> { numbers.iter().flat_map(super::limbs).collect() };
            let mut modulus = flat(&b);
            while modulus.last() == Some(&0) {
                modulus.pop();
            }
            prop_assume!(!modulus.is_empty());
            let mut rest = flat(&a);
            reduce(&mut rest, &modulus);
            prop_assert!(rest.len() <= modulus.len());
            let expected = wide(&a) % wide(&b);
            rest.resize(64, 0);
            let expected: Vec<u32> = expected.as_limbs().iter().flat_map(|limb| [low(*limb), high(*limb)]).collect();
            prop_assert_eq!(rest, expected);
        }
    }

    /// The cases that random numbers seldom come to.
    #[test]
    fn numbers_at_the_bounds() {
        let mut edges = vec![
            U256::ZERO,
            U256::ONE,
            U256::from(2),
            U256::MAX,
            U256::MAX - U256::ONE,
        ];
        for exponent in [
            31, 32, 33, 63, 64, 65, 95, 96, 127, 128, 129, 160, 192, 224, 254, 255,
        ] {
            let power: U256 = U256::ONE << exponent;
            edges.extend([power - U256::ONE, power, power + U256::ONE, power.wrapping_neg()]);
        }
        for a in &edges {
            for b in &edges {
                let (expected, rest) = if b.is_zero() {
                    Default::default()
                } else {
                    a.div_rem(*b)
                };
                assert_eq!(quotient(a, b), expected, "{a:x} {b:x}");
                assert_eq!(remainder(a, b), rest, "{a:x} {b:x}");
                let signed_expected = i256_div(*a, *b);
                assert_eq!(signed_quotient(a, b), signed_expected, "{a:x} {b:x}");
                for modulus in &edges {
                    assert_eq!(
                        sum_remainder(a, b, modulus),
                        a.add_mod(*b, *modulus),
                        "{a:x} {b:x} {modulus:x}"
                    );
                    assert_eq!(
                        product_remainder(a, b, modulus),
                        a.mul_mod(*b, *modulus),
                        "{a:x} {b:x} {modulus:x}"
                    );
                }
            }
        }
    }
}
