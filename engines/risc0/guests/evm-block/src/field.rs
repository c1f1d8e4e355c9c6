//! Arithmetic modulo a prime of 256 bits, by the VM's accelerator for large integers.
//!
//! A result that the accelerator proves is right modulo the prime, and the host chooses its
//! representation. Each function here has no proof unless the result is less than the modulus, so
//! that equal numbers have equal limbs.

/// A number of 256 bits, the lowest limb first.
pub type Limbs = [u32; 8];

/// The modulus of the coordinates: 2^256 - 2^32 - 977 (SEC 2, section 2.4.1).
pub const PRIME: Limbs = [
    0xffff_fc2f,
    0xffff_fffe,
    0xffff_ffff,
    0xffff_ffff,
    0xffff_ffff,
    0xffff_ffff,
    0xffff_ffff,
    0xffff_ffff,
];
/// The order of the group (SEC 2, section 2.4.1): the modulus of the scalars.
pub const ORDER: Limbs = [
    0xd036_4141,
    0xbfd2_5e8c,
    0xaf48_a03b,
    0xbaae_dce6,
    0xffff_fffe,
    0xffff_ffff,
    0xffff_ffff,
    0xffff_ffff,
];

pub const ZERO: Limbs = [0; 8];

pub fn from_be_bytes(bytes: &[u8; 32]) -> Limbs {
    let (words, _) = bytes.as_chunks();
    core::array::from_fn(|i| u32::from_be_bytes(words[7 - i]))
}

pub fn write_be_bytes(number: &Limbs, bytes: &mut [u8; 32]) {
    let (words, _) = bytes.as_chunks_mut();
    for (word, limb) in words.iter_mut().rev().zip(number) {
        *word = limb.to_be_bytes();
    }
}

pub fn is_less(a: &Limbs, b: &Limbs) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// `a - b`, of which the former is not less.
pub fn difference(a: &Limbs, b: &Limbs) -> Limbs {
    let mut borrow = false;
    core::array::from_fn(|i| {
        let (limb, first) = a[i].overflowing_sub(b[i]);
        let (limb, second) = limb.overflowing_sub(borrow.into());
        borrow = first || second;
        limb
    })
}

/// The negative of a number below the modulus.
pub fn negative(number: &Limbs, modulus: &Limbs) -> Limbs {
    if *number == ZERO {
        return ZERO;
    }
    difference(modulus, number)
}

pub use operations::{inverse, product, sum};

#[cfg(target_os = "zkvm")]
mod operations {
    use risc0_bigint2::field;

    use super::{Limbs, ZERO};

    #[inline(always)]
    pub fn product(a: &Limbs, b: &Limbs, modulus: &Limbs) -> Limbs {
        let mut result = ZERO;
        field::modmul_256(a, b, modulus, &mut result);
        result
    }

    #[inline(always)]
    pub fn sum(a: &Limbs, b: &Limbs, modulus: &Limbs) -> Limbs {
        let mut result = ZERO;
        field::modadd_256(a, b, modulus, &mut result);
        result
    }

    /// The inverse of a number that is not zero, modulo a prime.
    #[inline(always)]
    pub fn inverse(number: &Limbs, modulus: &Limbs) -> Limbs {
        let mut result = ZERO;
        field::modinv_256(number, modulus, &mut result);
        result
    }
}

/// Outside the VM, for tests.
#[cfg(not(target_os = "zkvm"))]
mod operations {
    use alloy_primitives::U256;

    use super::Limbs;

    fn number(limbs: &Limbs) -> U256 {
        limbs
            .iter()
            .rev()
            .fold(U256::ZERO, |number, &limb| number << 32 | U256::from(limb))
    }

    fn limbs(number: U256) -> Limbs {
        let bytes: [u8; 32] = number.to_be_bytes();
        super::from_be_bytes(&bytes)
    }

    pub fn product(a: &Limbs, b: &Limbs, modulus: &Limbs) -> Limbs {
        limbs(number(a).mul_mod(number(b), number(modulus)))
    }

    pub fn sum(a: &Limbs, b: &Limbs, modulus: &Limbs) -> Limbs {
        limbs(number(a).add_mod(number(b), number(modulus)))
    }

    /// # Panics
    /// The number is zero: the accelerator has no proof then.
    pub fn inverse(number: &Limbs, modulus: &Limbs) -> Limbs {
        let inverse = self::number(number).inv_mod(self::number(modulus));
        limbs(inverse.expect("zero has no inverse"))
    }
}
