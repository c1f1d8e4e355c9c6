//! Division of numbers of limbs by numbers of up to eight, digit by digit.
//!
//! Knuth's algorithm D, with the reciprocals of Möller and Granlund, "Improved division by
//! invariant integers", so that a digit of a quotient takes a few products and no division.

use core::mem;

use super::{Limbs, high, join, low};

/// A number whose highest bit is set, and what divides by its two highest limbs.
struct Divisor<const N: usize> {
    limbs: [u32; N],
    top: u64,
    reciprocal: u32,
}

/// Divides a number of at most `M` limbs by another one, which is not zero: `numerator` becomes the
/// quotient. Gives the remainder.
pub(super) fn divide<const M: usize>(numerator: &mut [u32; M], divisor: &Limbs) -> Limbs {
    let in_divisor = significant(divisor);
    let in_numerator = significant(numerator);
    let numerator = &mut numerator[..in_numerator];
    if in_numerator < in_divisor {
        let mut remainder = [0; 8];
        remainder[..in_numerator].copy_from_slice(numerator);
        numerator.fill(0);
        return remainder;
    }
    match in_divisor {
        1 => by_limb(numerator, divisor[0]),
        2 => by_limbs::<2>(numerator, divisor),
        3 => by_limbs::<3>(numerator, divisor),
        4 => by_limbs::<4>(numerator, divisor),
        5 => by_limbs::<5>(numerator, divisor),
        6 => by_limbs::<6>(numerator, divisor),
        7 => by_limbs::<7>(numerator, divisor),
        _ => by_limbs::<8>(numerator, divisor),
    }
}

/// How many limbs are left without the zeros at the top.
fn significant(limbs: &[u32]) -> usize {
    let mut count = limbs.len();
    while count > 0 && limbs[count - 1] == 0 {
        count -= 1;
    }
    count
}

/// The upper limb of two, of which both are shifted to the left, by less than a limb.
#[inline(always)]
pub(super) fn shifted(upper: u32, lower: u32, shift: u32) -> u32 {
    upper.wrapping_shl(shift) | (lower >> 1).wrapping_shr(31 - shift)
}

fn by_limb(numerator: &mut [u32], divisor: u32) -> Limbs {
    let mut remainder;
    if let [digit] = numerator {
        (*digit, remainder) = (*digit / divisor, *digit % divisor);
    } else {
        let shift = divisor.leading_zeros();
        let divisor = divisor << shift;
        let reciprocal = reciprocal_of_one(divisor);
        remainder = shifted(0, numerator[numerator.len() - 1], shift);
        for i in (0..numerator.len()).rev() {
            let lower = if i > 0 { numerator[i - 1] } else { 0 };
            let next = shifted(numerator[i], lower, shift);
            (numerator[i], remainder) = two_by_one(join(remainder, next), divisor, reciprocal);
        }
        remainder >>= shift;
    }
    let mut limbs = [0; 8];
    limbs[0] = remainder;
    limbs
}

/// The divisor has `N` limbs, and the numerator at least as many.
fn by_limbs<const N: usize>(numerator: &mut [u32], divisor: &Limbs) -> Limbs {
    let shift = divisor[N - 1].leading_zeros();
    let divisor = Divisor::<N>::new(divisor, shift);
    // All digits of the shifted numerator but the last ones: less than the divisor, since the first
    // of them is only what the shift has pushed out.
    let last = numerator.len() - N;
    let upper = &numerator[last..];
    let mut remainder: [u32; N] = core::array::from_fn(|i| match i + 1 {
        above if above == N => shifted(0, upper[i], shift),
        above => shifted(upper[above], upper[i], shift),
    });
    for i in (0..=last).rev() {
        let lower = if i > 0 { numerator[i - 1] } else { 0 };
        let next = shifted(numerator[i], lower, shift);
        numerator[i] = divisor.digit(&mut remainder, next);
    }
    numerator[last + 1..].fill(0);
    let mut limbs = [0; 8];
    for (i, place) in limbs.iter_mut().enumerate().take(N) {
        let upper = if i + 1 < N { remainder[i + 1] } else { 0 };
        *place = remainder[i] >> shift | (upper << 1).wrapping_shl(31 - shift);
    }
    limbs
}

impl<const N: usize> Divisor<N> {
    /// The lower limbs are as many as the number has.
    fn new(limbs: &Limbs, shift: u32) -> Self {
        let limbs: [u32; N] = core::array::from_fn(|i| {
            let lower = if i > 0 { limbs[i - 1] } else { 0 };
            shifted(limbs[i], lower, shift)
        });
        let top = join(limbs[N - 1], limbs[N - 2]);
        Self {
            limbs,
            top,
            reciprocal: reciprocal_of_two(top),
        }
    }

    /// The next digit of a quotient: `(remainder, next) / divisor`, where the remainder is less
    /// than the divisor and becomes the next one.
    #[inline(always)]
    fn digit(&self, remainder: &mut [u32; N], next: u32) -> u32 {
        let top = join(remainder[N - 1], remainder[N - 2]);
        if top == self.top {
            return self.greatest_digit(remainder, next);
        }
        let third = if N > 2 { remainder[N - 3] } else { next };
        let (mut digit, rest) = three_by_two(top, third, self.top, self.reciprocal);
        let mut carry = 0;
        let mut above = next;
        for (place, &limb) in remainder.iter_mut().zip(&self.limbs).take(N - 2) {
            let product = u64::from(digit) * u64::from(limb) + u64::from(carry);
            let (difference, is_less) = above.overflowing_sub(low(product));
            carry = high(product) + u32::from(is_less);
            above = mem::replace(place, difference);
        }
        let (rest, is_less) = rest.overflowing_sub(u64::from(carry));
        remainder[N - 2] = low(rest);
        remainder[N - 1] = high(rest);
        if is_less {
            digit -= 1;
            self.add_to(remainder);
        }
        digit
    }

    /// Where the two highest limbs are the divisor's, the digit is the greatest that there is: not
    /// with two limbs, since the remainder is less.
    #[cold]
    fn greatest_digit(&self, remainder: &mut [u32; N], next: u32) -> u32 {
        let mut carry = 0;
        let mut above = next;
        for (place, limb) in remainder.iter_mut().zip(self.limbs) {
            let product = u64::from(u32::MAX) * u64::from(limb) + u64::from(carry);
            let (difference, is_less) = above.overflowing_sub(low(product));
            carry = high(product) + u32::from(is_less);
            above = mem::replace(place, difference);
        }
        u32::MAX
    }

    /// Adds the divisor to a remainder that is negative.
    #[cold]
    fn add_to(&self, remainder: &mut [u32; N]) {
        let mut carry = 0;
        for (place, limb) in remainder.iter_mut().zip(self.limbs) {
            let sum = u64::from(*place) + u64::from(limb) + u64::from(carry);
            *place = low(sum);
            carry = high(sum);
        }
    }
}

/// `(2^64 - 1) / divisor - 2^32`, of a divisor whose highest bit is set.
///
/// Computes by halves of a limb, since the VM has no instruction for the quotient.
pub(super) fn reciprocal_of_one(divisor: u32) -> u32 {
    const HALF: u32 = 0xffff;
    let (upper, lower) = (divisor >> 16, divisor & HALF);
    let half = |number: u32| {
        let (mut digit, mut rest) = (number / upper, number % upper);
        while digit > HALF || digit * lower > (rest << 16 | HALF) {
            digit -= 1;
            rest += upper;
            if rest > HALF {
                break;
            }
        }
        digit
    };
    // 2^64 - 1 less 2^32 divisors has the digits !divisor and 2^32 - 1.
    let number = !divisor;
    let first = half(number);
    let rest = (number << 16 | HALF).wrapping_sub(first.wrapping_mul(divisor));
    first << 16 | half(rest)
}

/// `(2^96 - 1) / divisor - 2^32`, of a divisor whose highest bit is set.
pub(super) fn reciprocal_of_two(divisor: u64) -> u32 {
    let (upper, lower) = (high(divisor), low(divisor));
    let mut reciprocal = reciprocal_of_one(upper);
    let (mut rest, is_over) = upper.wrapping_mul(reciprocal).overflowing_add(lower);
    if is_over {
        reciprocal = reciprocal.wrapping_sub(1);
        if rest >= upper {
            reciprocal = reciprocal.wrapping_sub(1);
            rest -= upper;
        }
        rest = rest.wrapping_sub(upper);
    }
    let product = u64::from(reciprocal) * u64::from(lower);
    let (rest, is_over) = rest.overflowing_add(high(product));
    if is_over {
        reciprocal = reciprocal.wrapping_sub(1);
        if join(rest, low(product)) >= divisor {
            reciprocal = reciprocal.wrapping_sub(1);
        }
    }
    reciprocal
}

/// Quotient and remainder of two limbs by one, where the upper limb is less than the divisor.
#[inline(always)]
pub(super) fn two_by_one(number: u64, divisor: u32, reciprocal: u32) -> (u32, u32) {
    let estimate = (u64::from(reciprocal) * u64::from(high(number))).wrapping_add(number);
    let mut quotient = high(estimate).wrapping_add(1);
    let mut rest = low(number).wrapping_sub(quotient.wrapping_mul(divisor));
    if rest > low(estimate) {
        quotient = quotient.wrapping_sub(1);
        rest = rest.wrapping_add(divisor);
    }
    if rest >= divisor {
        quotient = quotient.wrapping_add(1);
        rest -= divisor;
    }
    (quotient, rest)
}

/// Quotient and remainder of three limbs by two, where the two upper limbs are less than the
/// divisor.
#[inline(always)]
pub(super) fn three_by_two(upper: u64, lowest: u32, divisor: u64, reciprocal: u32) -> (u32, u64) {
    let estimate = (u64::from(reciprocal) * u64::from(high(upper))).wrapping_add(upper);
    let mut quotient = high(estimate);
    let rest = low(upper).wrapping_sub(quotient.wrapping_mul(high(divisor)));
    let product = u64::from(low(divisor)) * u64::from(quotient);
    let mut rest = join(rest, lowest).wrapping_sub(product).wrapping_sub(divisor);
    quotient = quotient.wrapping_add(1);
    if high(rest) >= low(estimate) {
        quotient = quotient.wrapping_sub(1);
        rest = rest.wrapping_add(divisor);
    }
    if rest >= divisor {
        quotient = quotient.wrapping_add(1);
        rest -= divisor;
    }
    (quotient, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [u32; 8] = [
        1 << 31,
        (1 << 31) + 1,
        0x8000_ffff,
        0x8001_0000,
        0xfffe_ffff,
        0xffff_0000,
        u32::MAX - 1,
        u32::MAX,
    ];

    #[test]
    fn reciprocals_are_what_they_say() {
        let mut number = 1u32;
        let random = core::iter::repeat_with(|| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            number
        });
        let lows: Vec<u32> = random.take(2_000).chain(EDGES).chain([0, 1]).collect();
        for upper in lows.iter().map(|low| low | 1 << 31) {
            let expected = u64::MAX / u64::from(upper) - (1 << 32);
            assert_eq!(u64::from(reciprocal_of_one(upper)), expected, "{upper:x}");
            for &lower in &lows[lows.len() - 40..] {
                let divisor = join(upper, lower);
                let expected = ((1u128 << 96) - 1) / u128::from(divisor) - (1 << 32);
                assert_eq!(u128::from(reciprocal_of_two(divisor)), expected, "{divisor:x}");
            }
        }
    }
}
