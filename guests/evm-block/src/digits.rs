//! Numbers of any size as digits, which the VM's instructions for secp256k1's coordinates multiply
//! and add.
//!
//! A digit has 96 bits. The product of two, and a sum of fewer than 2^31 of those, is less than
//! 2^224 and so less than the prime. Reducing it modulo the prime does not change it. So one
//! instruction does the work of a hundred with products of 32 bits.

use alloc::vec::Vec;

use openvm_algebra_guest::IntMod;

use crate::{
    fields::{Secp256k1Coordinate, limbs},
    host,
};

/// Where a digit is, or a sum of products of digits.
pub type Place = Secp256k1Coordinate;

/// Limbs of a digit.
pub const DIGIT_LIMBS: usize = 3;

/// The limbs that are carried to a sum: those of a sum without its lowest digit.
type Carry = [u32; 4];

/// Must be called before anything else here.
pub fn set_up() {
    <Place as IntMod>::set_up_once();
}

#[inline(always)]
fn write(place: &mut Place, [a, b, c]: [u32; DIGIT_LIMBS]) {
    write_half(place, [a, b, c, 0]);
}

/// Writes the lower half of a place whose upper half is zero.
#[inline(always)]
pub fn write_low(place: &mut Place, low: [u32; 4]) {
    // SAFETY: a place has as many bytes, and is aligned to all of them.
    let limbs: &mut [u32; 8] = unsafe { &mut *core::ptr::from_mut(place).cast() };
    limbs[..4].copy_from_slice(&low);
}

#[inline(always)]
pub fn write_half(place: &mut Place, [a, b, c, d]: [u32; 4]) {
    // SAFETY: a place has as many bytes, and is aligned to all of them.
    let limbs: &mut [u32; 8] = unsafe { &mut *core::ptr::from_mut(place).cast() };
    *limbs = [a, b, c, d, 0, 0, 0, 0];
}

#[cfg(target_os = "zkvm")]
mod vm {
    use openvm_algebra_guest::{MODULAR_ARITHMETIC_FUNCT3, ModArithBaseFunct7, OPCODE};

    use super::Place;

    // secp256k1's prime is the first of the VM configuration.
    const MULTIPLY: u8 = ModArithBaseFunct7::MulMod as u8;
    const ADD: u8 = ModArithBaseFunct7::AddMod as u8;

    #[inline(always)]
    pub fn write_product(place: &mut Place, a: &Place, b: &Place) {
        let place = core::ptr::from_mut(place);
        let [a, b] = [a, b].map(core::ptr::from_ref);
        openvm::platform::custom_insn_r!(
            opcode = OPCODE,
            funct3 = MODULAR_ARITHMETIC_FUNCT3,
            funct7 = MULTIPLY,
            rd = In place,
            rs1 = In a,
            rs2 = In b
        );
    }

    #[inline(always)]
    pub fn add(place: &mut Place, term: &Place) {
        let place = core::ptr::from_mut(place);
        let term = core::ptr::from_ref(term);
        openvm::platform::custom_insn_r!(
            opcode = OPCODE,
            funct3 = MODULAR_ARITHMETIC_FUNCT3,
            funct7 = ADD,
            rd = In place,
            rs1 = In place,
            rs2 = In term
        );
    }
}
#[cfg(target_os = "zkvm")]
pub use vm::{add, write_product};

/// Outside the VM, for tests.
#[cfg(not(target_os = "zkvm"))]
pub fn write_product(place: &mut Place, a: &Place, b: &Place) {
    host::combine(place, a, b, |place, a, b| *place = a * b);
}

/// Outside the VM, for tests.
#[cfg(not(target_os = "zkvm"))]
pub fn add(place: &mut Place, term: &Place) {
    host::operate(place, term, |place, term| *place += term);
}

/// A number as this many digits, which it has room in.
pub fn digits(number: &[u32], count: usize) -> Vec<Place> {
    let mut digits = zeros(count);
    write_digits(number, &mut digits);
    digits
}

/// Writes the digits of a number, and zeros after them.
pub fn write_digits(number: &[u32], digits: &mut [Place]) {
    for (i, digit) in digits.iter_mut().enumerate() {
        let limb = |j: usize| number.get(DIGIT_LIMBS * i + j).copied().unwrap_or(0);
        write(digit, [limb(0), limb(1), limb(2)]);
    }
}

pub fn zeros(count: usize) -> Vec<Place> {
    alloc::vec![Place::ZERO; count]
}

/// Writes the sums of products of digits, by the sums of their places.
pub fn write_products(sums: &mut [Place], a: &[Place], b: &[Place], term: &mut Place) {
    // Numbers of 256 bits have a code of their own, without loops.
    if sums.len() == 6 && a.len() == 3 && b.len() == 3 {
        write_all_products(&mut sums[..6], &a[..3], &b[..3], term);
    } else {
        write_all_products(sums, a, b, term);
    }
}

#[inline(always)]
fn write_all_products(sums: &mut [Place], a: &[Place], b: &[Place], term: &mut Place) {
    for (at, sum) in sums.iter_mut().enumerate() {
        // Digits of `b` from the first one that has a partner in `a`.
        let from = (at + 1).saturating_sub(a.len());
        let mut pairs = b[from..b.len().min(at + 1).max(from)]
            .iter()
            .zip(a[..a.len().min(at + 1 - from)].iter().rev());
        match pairs.next() {
            Some((b, a)) => write_product(sum, a, b),
            None => write(sum, [0; DIGIT_LIMBS]),
        }
        for (b, a) in pairs {
            write_product(term, a, b);
            add(sum, term);
        }
    }
}

/// The limbs of a sum and what is carried to it.
#[inline(always)]
fn total(sum: &Place, carry: Carry) -> [u32; 7] {
    let [a, b, c, d, e, f, g, _] = host::small(sum);
    let mut total = [a, b, c, d, e, f, g];
    add_limbs(&mut total, carry);
    total
}

/// A sum that has room.
#[inline(always)]
fn add_limbs<const N: usize>(number: &mut [u32; 7], other: [u32; N]) {
    let mut carry = 0;
    for (i, limb) in number.iter_mut().enumerate() {
        let other = if i < N { other[i] } else { 0 };
        let sum = u64::from(*limb) + u64::from(other) + u64::from(carry);
        *limb = sum as u32;
        carry = (sum >> 32) as u32;
    }
}

/// The lowest digit of sums, and what is left of them.
#[inline(always)]
fn split([a, b, c, rest @ ..]: [u32; 7]) -> ([u32; DIGIT_LIMBS], Carry) {
    ([a, b, c], rest)
}

/// Makes digits of sums. The part that does not fit is carried to the next one. The last one has
/// room.
#[inline(always)]
pub fn normalize(sums: &[Place], mut carry: Carry, number: &mut [Place]) {
    for (sum, place) in sums.iter().zip(number) {
        let digit;
        (digit, carry) = split(total(sum, carry));
        write(place, digit);
    }
}

/// Limbs of digits.
pub fn to_limbs(digits: &[Place]) -> Vec<u32> {
    let mut all = Vec::with_capacity(DIGIT_LIMBS * digits.len());
    for digit in digits {
        all.extend_from_slice(&limbs(digit)[..DIGIT_LIMBS]);
    }
    all
}

/// A modulus's digits, and places to compute in.
pub struct Clearing {
    pub modulus: Vec<Place>,
    /// The negative inverse of the lowest digit, modulo a digit.
    pub inverse: Place,
    pub lowest: Place,
    pub factor: Place,
    pub term: Place,
}

/// Adds such a multiple of a modulus to sums that the lowest half becomes zero, and makes digits of
/// the rest.
pub fn clear(sums: &mut [Place], clearing: &mut Clearing, number: &mut [Place]) {
    let Clearing {
        modulus,
        inverse,
        lowest,
        factor,
        term,
    } = clearing;
    let places = [lowest, factor, term];
    // Numbers of 256 bits have a code of their own, without loops.
    if sums.len() == 6 && modulus.len() == 3 && number.len() == 3 {
        clear_all(&mut sums[..6], &modulus[..3], inverse, places, &mut number[..3]);
    } else {
        clear_all(sums, modulus, inverse, places, number);
    }
}

#[inline(always)]
fn clear_all(
    sums: &mut [Place],
    modulus: &[Place],
    inverse: &Place,
    places: [&mut Place; 3],
    number: &mut [Place],
) {
    let [lowest, factor, term] = places;
    let mut carry = [0; 4];
    for at in 0..modulus.len() {
        let (sum, sums) = sums[at..]
            .split_first_mut()
            .expect("there are twice as many sums");
        let mut all = total(sum, carry);
        write(lowest, split(all).0);
        write_product(term, lowest, inverse);
        let [a, b, c, ..] = host::small(term);
        write(factor, [a, b, c]);
        write_product(term, factor, &modulus[0]);
        add_limbs(&mut all, host::small(term));
        for (sum, digit) in sums.iter_mut().zip(&modulus[1..]) {
            write_product(term, factor, digit);
            add(sum, term);
        }
        carry = split(all).1;
    }
    normalize(&sums[modulus.len()..], carry, number);
}
