//! MODEXP (EIP-198) by the VM's instructions for modular arithmetic: Montgomery's method on digits
//! of 96 bits, and long division where the modulus is even.

use alloc::vec::Vec;

use myriad_evm::arithmetic::reduce;
use openvm_algebra_guest::IntMod as _;

use crate::digits::{
    Clearing, DIGIT_LIMBS, Place, clear, digits, normalize, set_up, to_limbs, write_digits, write_products,
    zeros,
};

mod small;

const LIMB_BYTES: usize = 4;
const LIMB_BITS: usize = 32;
const DIGIT_BITS: usize = DIGIT_LIMBS * LIMB_BITS;

/// `base` to the power of `exponent`, modulo `modulus`: all in big endian. Zeros at the beginning
/// of the result are left out.
pub fn power(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
    let modulus = from_bytes(modulus);
    let Some(&lowest) = modulus.first() else {
        return Vec::new();
    };
    let zeros = exponent.iter().take_while(|&&byte| byte == 0).count();
    let exponent = &exponent[zeros..];
    if exponent.is_empty() {
        let is_one = modulus == [1];
        return if is_one { Vec::new() } else { alloc::vec![1] };
    }
    set_up();
    let mut base = from_bytes(base);
    reduce(&mut base, &modulus);
    let power = match lowest % 2 {
        _ if bits(&modulus) <= small::BITS_MAX => small::power(&base, exponent, &modulus),
        1 => Odd::new(&modulus).power(&base, exponent),
        _ => Even::new(&modulus).power(&base, exponent),
    };
    to_bytes(&power)
}

/// Limbs without zeros at the top.
fn from_bytes(bytes: &[u8]) -> Vec<u32> {
    let mut limbs: Vec<u32> = bytes
        .rchunks(LIMB_BYTES)
        .map(|chunk| chunk.iter().fold(0, |limb, byte| limb << 8 | u32::from(*byte)))
        .collect();
    trim(&mut limbs);
    limbs
}

fn trim(limbs: &mut Vec<u32>) {
    while limbs.last() == Some(&0) {
        limbs.pop();
    }
}

/// The length in bits of a number without zeros at the top.
fn bits(limbs: &[u32]) -> usize {
    let zeros = limbs.last().map_or(0, |top| top.leading_zeros() as usize);
    LIMB_BITS * limbs.len() - zeros
}

fn to_bytes(limbs: &[u32]) -> Vec<u8> {
    let bytes = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes());
    bytes.skip_while(|&byte| byte == 0).collect()
}

/// A modulus that powers are computed by.
trait Modulus {
    /// A number in the form that is multiplied.
    type Number: Clone;

    fn enter(&mut self, number: &[u32]) -> Self::Number;
    fn leave(&mut self, number: Self::Number) -> Vec<u32>;
    fn multiply(&mut self, number: &mut Self::Number, factor: &Self::Number);
    fn square(&mut self, number: &mut Self::Number);

    /// Computes by windows of the exponent, which does not begin with a zero.
    fn power(&mut self, base: &[u32], exponent: &[u8]) -> Vec<u32> {
        let bits = 8 * exponent.len() - exponent[0].leading_zeros() as usize;
        let width = match bits {
            0..=8 => 1,
            9..=24 => 2,
            25..=80 => 3,
            81..=320 => 4,
            _ => 5,
        };
        let window = |from: usize| {
            let bit = |at: usize| match exponent.len().checked_sub(at / 8 + 1) {
                Some(place) => usize::from(exponent[place] >> (at % 8) & 1),
                None => 0,
            };
            (from..from + width)
                .rev()
                .fold(0, |window, at| window << 1 | bit(at))
        };
        // The powers by 1 to the greatest window.
        let mut powers = alloc::vec![self.enter(base)];
        for i in 1..(1 << width) - 1 {
            let mut next = powers[i - 1].clone();
            self.multiply(&mut next, &powers[0]);
            powers.push(next);
        }
        let windows = bits.div_ceil(width);
        let mut result = powers[window((windows - 1) * width) - 1].clone();
        for at in (0..windows - 1).rev() {
            for _ in 0..width {
                self.square(&mut result);
            }
            let window = window(at * width);
            if window > 0 {
                self.multiply(&mut result, &powers[window - 1]);
            }
        }
        self.leave(result)
    }
}

/// An odd modulus. A number is multiplied as its product with `R`, a power of two that is more than
/// four times the modulus; it is less than twice the modulus.
struct Odd<'a> {
    modulus: &'a [u32],
    /// `R²` modulo the modulus.
    square: Vec<Place>,
    clearing: Clearing,
    sums: Vec<Place>,
}

impl<'a> Odd<'a> {
    fn new(modulus: &'a [u32]) -> Self {
        let count = (bits(modulus) + 2).div_ceil(DIGIT_BITS);
        let mut square = alloc::vec![0; 2 * count * DIGIT_LIMBS + 1];
        square[2 * count * DIGIT_LIMBS] = 1;
        reduce(&mut square, modulus);
        Self {
            modulus,
            square: digits(&square, count),
            clearing: Clearing {
                modulus: digits(modulus, count),
                inverse: negative_inverse(modulus),
                lowest: Place::ZERO,
                factor: Place::ZERO,
                term: Place::ZERO,
            },
            sums: zeros(2 * count),
        }
    }
}

/// The negative inverse of the lowest digit of an odd number, modulo a digit.
fn negative_inverse(number: &[u32]) -> Place {
    let lowest = number[0];
    // Right in 5 bits, and each round in twice as many.
    let mut inverse = lowest.wrapping_mul(3) ^ 2;
    for _ in 0..3 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(lowest.wrapping_mul(inverse)));
    }
    let limb = |i: usize| u128::from(number.get(i).copied().unwrap_or(0)) << (LIMB_BITS * i);
    let number = limb(0) | limb(1) | limb(2);
    let mut inverse = u128::from(inverse);
    for _ in 0..2 {
        inverse = inverse.wrapping_mul(2u128.wrapping_sub(number.wrapping_mul(inverse)));
    }
    let negative = inverse.wrapping_neg();
    let limbs: [u32; DIGIT_LIMBS] = core::array::from_fn(|i| (negative >> (LIMB_BITS * i)) as u32);
    let mut place = digits(&limbs, 1);
    place.swap_remove(0)
}

impl Odd<'_> {
    /// `(sums + f·m) / R` with a factor f less than R: of a product of two numbers, less than
    /// `4m² / R + m`.
    fn give(&mut self, number: &mut [Place]) {
        clear(&mut self.sums, &mut self.clearing, number);
    }
}

impl Modulus for Odd<'_> {
    type Number = Vec<Place>;

    fn enter(&mut self, number: &[u32]) -> Vec<Place> {
        let mut number = digits(number, self.square.len());
        write_products(&mut self.sums, &number, &self.square, &mut self.clearing.term);
        self.give(&mut number);
        number
    }

    fn leave(&mut self, mut number: Vec<Place>) -> Vec<u32> {
        let one = digits(&[1], number.len());
        self.multiply(&mut number, &one);
        let mut limbs = to_limbs(&number);
        // It is at most the modulus.
        trim(&mut limbs);
        if limbs == self.modulus {
            limbs.clear();
        }
        limbs
    }

    fn multiply(&mut self, number: &mut Vec<Place>, factor: &Vec<Place>) {
        write_products(&mut self.sums, number, factor, &mut self.clearing.term);
        self.give(number);
    }

    fn square(&mut self, number: &mut Vec<Place>) {
        write_products(&mut self.sums, number, number, &mut self.clearing.term);
        self.give(number);
    }
}

/// An even modulus.
struct Even<'a> {
    modulus: &'a [u32],
    sums: Vec<Place>,
    product: Vec<Place>,
    term: Place,
}

impl<'a> Even<'a> {
    fn new(modulus: &'a [u32]) -> Self {
        let count = modulus.len().div_ceil(DIGIT_LIMBS);
        Self {
            modulus,
            sums: zeros(2 * count),
            product: zeros(2 * count),
            term: Place::ZERO,
        }
    }
}

impl Even<'_> {
    /// Gives the sums, reduced by the modulus.
    fn give(&mut self, number: &mut [Place]) {
        normalize(&self.sums, [0; 4], &mut self.product);
        let mut product = to_limbs(&self.product);
        trim(&mut product);
        reduce(&mut product, self.modulus);
        write_digits(&product, number);
    }
}

impl Modulus for Even<'_> {
    type Number = Vec<Place>;

    fn enter(&mut self, number: &[u32]) -> Vec<Place> {
        digits(number, self.sums.len() / 2)
    }

    fn leave(&mut self, number: Vec<Place>) -> Vec<u32> {
        to_limbs(&number)
    }

    fn multiply(&mut self, number: &mut Vec<Place>, factor: &Vec<Place>) {
        write_products(&mut self.sums, number, factor, &mut self.term);
        self.give(number);
    }

    fn square(&mut self, number: &mut Vec<Place>) {
        write_products(&mut self.sums, number, number, &mut self.term);
        self.give(number);
    }
}
