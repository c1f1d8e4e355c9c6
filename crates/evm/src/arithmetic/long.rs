//! The remainder of numbers of any size.

use alloc::vec::Vec;

use super::{
    division::{reciprocal_of_one, reciprocal_of_two, shifted, three_by_two, two_by_one},
    high, join, low,
};

/// Limbs that are computed with at once, so that a loop over many takes few instructions of its
/// own.
const AT_ONCE: usize = 8;

/// Makes a number its remainder by a modulus, whose highest limb is not zero. Both have their
/// lowest limb first. The remainder has at most as many limbs as the modulus, and may have zeros
/// at its top.
///
/// # Panics
/// If there is no modulus.
pub fn reduce(number: &mut Vec<u32>, modulus: &[u32]) {
    let count = modulus.len();
    assert!(count > 0 && modulus[count - 1] > 0, "a number is reduced by none");
    if number.len() < count {
        return;
    }
    let shift = modulus[count - 1].leading_zeros();
    let modulus = shift_up(modulus, shift);
    number.push(0);
    *number = shift_up(number, shift);
    match modulus[..] {
        [divisor] => {
            let reciprocal = reciprocal_of_one(divisor);
            // The bits that the shift has pushed out are less than the divisor.
            let mut remainder = 0;
            for &limb in number.iter().rev() {
                remainder = two_by_one(join(remainder, limb), divisor, reciprocal).1;
            }
            number[0] = remainder;
        }
        _ => divide_long(number, &modulus),
    }
    number.truncate(count);
    let mut above = 0u32;
    for place in number.iter_mut().rev() {
        let limb = *place;
        *place = limb >> shift | (above << 1).wrapping_shl(31 - shift);
        above = limb;
    }
}

/// To the left by less than a limb; what is pushed out is lost.
fn shift_up(limbs: &[u32], shift: u32) -> Vec<u32> {
    let below = core::iter::once(&0).chain(limbs);
    let pairs = limbs.iter().zip(below);
    pairs.map(|(&limb, &below)| shifted(limb, below, shift)).collect()
}

/// Leaves the remainder in the lowest limbs. The modulus has at least two, with its highest bit
/// set, and the number's highest limb is less than the modulus's.
fn divide_long(number: &mut [u32], modulus: &[u32]) {
    let count = modulus.len();
    let top = join(modulus[count - 1], modulus[count - 2]);
    let reciprocal = reciprocal_of_two(top);
    for from in (0..number.len() - count).rev() {
        let (window, above) = number[from..].split_at_mut(count);
        let highest = &mut above[0];
        let upper = join(*highest, window[count - 1]);
        // The remainder before was less than the modulus, so that it is at most equal.
        let digit = match upper == top {
            true => u32::MAX,
            false => three_by_two(upper, window[count - 2], top, reciprocal).0,
        };
        let carry = subtract_product(window, modulus, digit);
        // The estimate is at most 1 too great.
        if *highest < carry {
            add(window, modulus);
        }
        *highest = 0;
    }
}

#[inline(always)]
fn subtract_step(place: &mut u32, limb: u32, digit: u32, carry: u32) -> u32 {
    let product = u64::from(digit) * u64::from(limb) + u64::from(carry);
    let (difference, is_less) = place.overflowing_sub(low(product));
    *place = difference;
    high(product) + u32::from(is_less)
}

/// Subtracts a number times a digit from another of the same length. Gives what is to be subtracted
/// above.
fn subtract_product(from: &mut [u32], number: &[u32], digit: u32) -> u32 {
    let mut carry = 0;
    let (many_from, few_from) = from.as_chunks_mut::<AT_ONCE>();
    let (many, few) = number.as_chunks::<AT_ONCE>();
    for (places, limbs) in many_from.iter_mut().zip(many) {
        for (place, &limb) in places.iter_mut().zip(limbs) {
            carry = subtract_step(place, limb, digit, carry);
        }
    }
    for (place, &limb) in few_from.iter_mut().zip(few) {
        carry = subtract_step(place, limb, digit, carry);
    }
    carry
}

#[cold]
fn add(to: &mut [u32], number: &[u32]) {
    let mut carry = 0;
    for (place, &limb) in to.iter_mut().zip(number) {
        let sum = u64::from(*place) + u64::from(limb) + u64::from(carry);
        *place = low(sum);
        carry = high(sum);
    }
}
