//! Powers modulo numbers of at most 126 bits: all of a number is one digit.
//!
//! A price of MODEXP goes by words of 64 bits, so that a product of small numbers costs little gas.
//! It takes three products here, and a dozen words that are read and written.

use alloc::vec::Vec;

use myriad_evm::arithmetic::reduce;
use openvm_algebra_guest::IntMod as _;

use super::{LIMB_BITS, Modulus, trim};
use crate::{
    digits::{Place, add, write_low, write_product},
    host,
};

/// Limbs of a number.
const LIMBS: usize = 4;
/// Twice as many, and the bit of a sum, are less than the prime has.
pub(super) const BITS_MAX: usize = 126;

/// `base`, which is less than `modulus`, to the power of `exponent`, which does not begin with a
/// zero.
pub(super) fn power(base: &[u32], exponent: &[u8], modulus: &[u32]) -> Vec<u32> {
    let modulus = wide(modulus);
    let zeros = modulus.trailing_zeros();
    let odd = modulus >> zeros;
    let mut power = 0;
    let mut montgomery = None;
    if odd > 1 {
        let mut base = base.to_vec();
        reduce(&mut base, &limbs_of(odd));
        let odd = montgomery.insert(Montgomery::new(odd));
        power = wide(&odd.power(&base, exponent));
    }
    if zeros > 0 {
        // By the Chinese remainder theorem: modulo the power of two, and modulo what is left.
        let other = wide(&Binary::new().power(base, exponent));
        let inverse = montgomery.map_or(1, |odd| odd.inverse.wrapping_neg());
        let factor = other.wrapping_sub(power).wrapping_mul(inverse) & ((1 << zeros) - 1);
        power += odd * factor;
    }
    limbs_of(power)
}

fn wide(limbs: &[u32]) -> u128 {
    let limbs = limbs.iter().enumerate();
    limbs.fold(0, |number, (i, &limb)| {
        number | u128::from(limb) << (LIMB_BITS * i)
    })
}

fn limbs(number: u128) -> [u32; LIMBS] {
    core::array::from_fn(|i| (number >> (LIMB_BITS * i)) as u32)
}

/// The limbs of a number, without zeros at the top.
fn limbs_of(number: u128) -> Vec<u32> {
    let mut limbs = limbs(number).to_vec();
    trim(&mut limbs);
    limbs
}

fn place(number: u128) -> Place {
    let mut place = Place::ZERO;
    write_low(&mut place, limbs(number));
    place
}

/// An odd modulus m. A number is multiplied as its product with R, which is 2^128; it is less than
/// twice the modulus.
struct Montgomery {
    modulus: Place,
    number: u128,
    /// The negative inverse of the modulus, modulo R.
    inverse: u128,
    inverse_place: Place,
    /// A number less than R.
    low: Place,
    product: Place,
    term: Place,
}

impl Montgomery {
    fn new(modulus: u128) -> Self {
        // Right in 5 bits, and each round in twice as many.
        let mut inverse = modulus.wrapping_mul(3) ^ 2;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2u128.wrapping_sub(modulus.wrapping_mul(inverse)));
        }
        let inverse = inverse.wrapping_neg();
        let [low, product, term] = [Place::ZERO; 3];
        Self {
            modulus: place(modulus),
            number: modulus,
            inverse,
            inverse_place: place(inverse),
            low,
            product,
            term,
        }
    }

    /// `(product + f·m) / R` with a factor f less than R. The product of two numbers is less than
    /// 4m² and so less than 2^254, as is f·m: their sum is less than the prime, and what is given
    /// less than `4m² / R + m`, which is at most 2m.
    #[inline(always)]
    fn give(&mut self, number: &mut Place) {
        let [a, b, c, d, ..] = host::whole(&self.product);
        write_low(&mut self.low, [a, b, c, d]);
        write_product(&mut self.term, &self.low, &self.inverse_place);
        let [a, b, c, d, ..] = host::whole(&self.term);
        write_low(&mut self.low, [a, b, c, d]);
        write_product(&mut self.term, &self.low, &self.modulus);
        add(&mut self.product, &self.term);
        let [.., a, b, c, d] = host::whole(&self.product);
        write_low(number, [a, b, c, d]);
    }
}

impl Modulus for Montgomery {
    type Number = Place;

    fn enter(&mut self, number: &[u32]) -> Place {
        let mut shifted = alloc::vec![0; LIMBS];
        shifted.extend_from_slice(number);
        reduce(&mut shifted, &limbs_of(self.number));
        place(wide(&shifted))
    }

    fn leave(&mut self, mut number: Place) -> Vec<u32> {
        self.multiply(&mut number, &place(1));
        let [a, b, c, d, ..] = host::whole(&number);
        let number = wide(&[a, b, c, d]);
        // It is at most the modulus.
        limbs_of(if number == self.number { 0 } else { number })
    }

    #[inline(always)]
    fn multiply(&mut self, number: &mut Place, factor: &Place) {
        write_product(&mut self.product, number, factor);
        self.give(number);
    }

    #[inline(always)]
    fn square(&mut self, number: &mut Place) {
        write_product(&mut self.product, number, number);
        self.give(number);
    }
}

/// The modulus 2^128, of which a less power of two takes the lowest bits.
struct Binary {
    product: Place,
}

impl Binary {
    fn new() -> Self {
        Self { product: Place::ZERO }
    }

    /// The product of two numbers of 128 bits is less than the prime.
    #[inline(always)]
    fn give(&self, number: &mut Place) {
        let [a, b, c, d, ..] = host::whole(&self.product);
        write_low(number, [a, b, c, d]);
    }
}

impl Modulus for Binary {
    type Number = Place;

    fn enter(&mut self, number: &[u32]) -> Place {
        place(wide(number))
    }

    fn leave(&mut self, number: Place) -> Vec<u32> {
        let [a, b, c, d, ..] = host::whole(&number);
        limbs_of(wide(&[a, b, c, d]))
    }

    #[inline(always)]
    fn multiply(&mut self, number: &mut Place, factor: &Place) {
        write_product(&mut self.product, number, factor);
        self.give(number);
    }

    #[inline(always)]
    fn square(&mut self, number: &mut Place) {
        write_product(&mut self.product, number, number);
        self.give(number);
    }
}
