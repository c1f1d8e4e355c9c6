//! The operations of the fields, which the precompiles are written in.
//!
//! Three things that the VM's instructions leave to the guest:
//!
//! - A result is right modulo the prime, but nothing forces the host to give its least
//!   representation. [`Coordinate::write`] and [`is_odd`] do: with another one there is no proof.
//!   Comparisons do so of themselves. Every element that is read as an integer goes through one of
//!   the two: bytes for others, a sign, and an element that becomes one of another field.
//! - The host could choose the quotient of a division by zero: [`Field::div`] is not for that.
//! - A number from outside is below the prime only if that was looked at: [`Coordinate::read`]
//!   does.

use openvm_algebra_guest::{DivAssignUnsafe, IntMod};

use crate::{
    fields::{Bls12Fp, Bls12Fp2, Bn254Fp, Bn254Fp2, InPlace, P256Coordinate, P256Scalar},
    host,
};

/// A field, by operations that write into a place.
///
/// The VM's instructions take three addresses. The result of a function is copied, since its
/// address has gone to an instruction. Copying an element takes ten times as many instructions as
/// multiplying it.
pub trait Field: Clone + Sized + 'static {
    fn zero() -> &'static Self;
    fn one() -> &'static Self;
    fn set_sum(&mut self, a: &Self, b: &Self);
    fn set_difference(&mut self, a: &Self, b: &Self);
    fn set_product(&mut self, a: &Self, b: &Self);
    fn add_assign(&mut self, other: &Self);
    fn sub_assign(&mut self, other: &Self);
    fn mul_assign(&mut self, other: &Self);
    /// Divides by anything but zero.
    fn div_assign(&mut self, other: &Self);
    /// Has no proof with another than the least representation of either.
    fn equals(&self, other: &Self) -> bool;

    /// An element to be written over.
    fn place() -> Self {
        Self::zero().clone()
    }

    fn add(&self, other: &Self) -> Self {
        let mut sum = Self::place();
        sum.set_sum(self, other);
        sum
    }

    fn sub(&self, other: &Self) -> Self {
        let mut difference = Self::place();
        difference.set_difference(self, other);
        difference
    }

    fn mul(&self, other: &Self) -> Self {
        let mut product = Self::place();
        product.set_product(self, other);
        product
    }

    /// The quotient by anything but zero.
    fn div(&self, other: &Self) -> Self {
        let mut quotient = self.clone();
        quotient.div_assign(other);
        quotient
    }

    fn square_assign(&mut self) {
        let copy = self.clone();
        self.mul_assign(&copy);
    }

    fn is_zero(&self) -> bool {
        self.equals(Self::zero())
    }

    fn neg(&self) -> Self {
        Self::zero().sub(self)
    }

    fn double(&self) -> Self {
        self.add(self)
    }

    fn triple(&self) -> Self {
        self.double().add(self)
    }

    fn square(&self) -> Self {
        self.mul(self)
    }

    /// Raises to the power of a number in big endian.
    fn power(&self, exponent: &[u8]) -> Self {
        const WINDOW: usize = 16;
        let mut powers = alloc::vec::Vec::with_capacity(WINDOW);
        powers.push(Self::one().clone());
        for i in 1..WINDOW {
            powers.push(self.mul(&powers[i - 1]));
        }
        let mut result = Self::one().clone();
        for digit in exponent.iter().flat_map(|byte| [byte >> 4, byte & 0xf]) {
            for _ in 0..4 {
                result.square_assign();
            }
            if digit != 0 {
                result.mul_assign(&powers[usize::from(digit)]);
            }
        }
        result
    }
}

/// A field of numbers modulo a prime, which come from outside and go there in big endian.
pub trait Coordinate: Field {
    /// `None` for a number that is not below the prime. `bytes` are as many as the prime has.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// `bytes` are as many as the prime has.
    fn write(&self, bytes: &mut [u8]);
}

/// A field of complex numbers.
pub trait Complex: Field {
    type Base: Field;

    fn scale(&self, factor: &Self::Base) -> Self;
    fn conjugate(&self) -> Self;
}

/// Whether the least representation is odd.
pub fn is_odd<F: IntMod>(number: &F) -> bool {
    host::least(number);
    number.as_le_bytes()[0] & 1 == 1
}

macro_rules! operations {
    () => {
        #[inline(always)]
        fn zero() -> &'static Self {
            static ZERO: Number = Number::ZERO;
            &ZERO
        }

        #[inline(always)]
        fn one() -> &'static Self {
            static ONE: Number = Number::ONE;
            &ONE
        }

        #[inline(always)]
        fn add_assign(&mut self, other: &Self) {
            host::operate(self, other, |a, b| *a += b);
        }

        #[inline(always)]
        fn sub_assign(&mut self, other: &Self) {
            host::operate(self, other, |a, b| *a -= b);
        }

        #[inline(always)]
        fn mul_assign(&mut self, other: &Self) {
            host::operate(self, other, |a, b| *a *= b);
        }

        #[inline(always)]
        fn div_assign(&mut self, other: &Self) {
            host::operate(self, other, |a, b| a.div_assign_unsafe(b));
        }

        #[inline(always)]
        fn equals(&self, other: &Self) -> bool {
            host::equal(self, other)
        }

        #[inline(always)]
        fn set_sum(&mut self, a: &Self, b: &Self) {
            host::combine(self, a, b, Self::write_sum);
        }

        #[inline(always)]
        fn set_difference(&mut self, a: &Self, b: &Self) {
            host::combine(self, a, b, Self::write_difference);
        }

        #[inline(always)]
        fn set_product(&mut self, a: &Self, b: &Self) {
            host::combine(self, a, b, Self::write_product);
        }
    };
}

macro_rules! prime_fields {
    ($($name:ident)*) => {$(
        const _: () = {
            type Number = $name;

            impl Field for Number {
                operations!();
            }

            impl Coordinate for Number {
                fn read(bytes: &[u8]) -> Option<Self> {
                    Self::from_be_bytes(bytes)
                }

                fn write(&self, bytes: &mut [u8]) {
                    host::least(self);
                    for (byte, limb) in bytes.iter_mut().zip(self.as_le_bytes().iter().rev()) {
                        *byte = *limb;
                    }
                }
            }
        };
    )*};
}

macro_rules! complex_fields {
    ($($name:ident of $base:ident)*) => {$(
        const _: () = {
            type Number = $name;

            impl Field for Number {
                operations!();
            }

            impl Complex for Number {
                type Base = $base;

                #[inline(always)]
                fn scale(&self, factor: &$base) -> Self {
                    Self::new(host::product(&self.c0, factor), host::product(&self.c1, factor))
                }

                #[inline(always)]
                fn conjugate(&self) -> Self {
                    Self::new(self.c0.clone(), Field::neg(&self.c1))
                }
            }
        };
    )*};
}

prime_fields!(Bn254Fp Bls12Fp P256Coordinate P256Scalar);
complex_fields!(Bn254Fp2 of Bn254Fp Bls12Fp2 of Bls12Fp);

/// Bytes in little endian of a number in hexadecimal, of twice as many digits.
pub const fn hex<const BYTES: usize>(digits: &str) -> [u8; BYTES] {
    const fn value(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("no digit"),
        }
    }
    let digits = digits.as_bytes();
    assert!(digits.len() == 2 * BYTES);
    let mut bytes = [0; BYTES];
    let mut i = 0;
    while i < BYTES {
        let at = 2 * (BYTES - 1 - i);
        bytes[i] = value(digits[at]) << 4 | value(digits[at + 1]);
        i += 1;
    }
    bytes
}
