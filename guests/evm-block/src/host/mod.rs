//! The host's part of an operation: in the VM there is none to be seen, and in tests it is as free
//! as the VM leaves it.
//!
//! A result is right modulo the prime, and the host may give any representation of it that has
//! room. A comparison, and every other operation that asks for the least representation, has no
//! proof with another one. So the worst host gives the least representation of those results that
//! are asked for it, and another one of all others. [`worst`] has a formula computed by such a
//! host.

#[cfg(not(test))]
pub use vm::*;
#[cfg(test)]
pub use worst::{combine, equal, least, operate, product, small, whole, worst};

#[cfg(not(test))]
mod vm {
    #[cfg(feature = "precompiles")]
    pub use with_precompiles::{combine, equal, least, operate, product};

    use openvm_algebra_guest::IntMod;

    use crate::fields::{Secp256k1Coordinate, limbs};

    /// The limbs of a number that is less than the prime.
    ///
    /// Has no proof with another than the least representation.
    #[inline(always)]
    pub fn whole(number: &Secp256k1Coordinate) -> [u32; 8] {
        let limbs = *limbs(number);
        // Any other representation has only ones in the highest limb, as few numbers have.
        if limbs[7] == u32::MAX {
            number.assert_reduced();
        }
        limbs
    }

    /// The limbs of a number that is less than 2^224.
    ///
    /// Has no proof with another than the least representation: any other one has no room but in
    /// the highest limb.
    #[inline(always)]
    pub fn small(number: &Secp256k1Coordinate) -> [u32; 8] {
        let limbs = *limbs(number);
        assert!(limbs[7] == 0, "a number is not in its least representation");
        limbs
    }

    #[cfg(feature = "precompiles")]
    mod with_precompiles {
        use core::ops::Mul;

        use openvm_algebra_guest::IntMod;

        #[inline(always)]
        pub fn combine<F>(place: &mut F, a: &F, b: &F, operation: impl FnOnce(&mut F, &F, &F)) {
            operation(place, a, b);
        }

        #[inline(always)]
        pub fn operate<F>(result: &mut F, other: &F, operation: impl FnOnce(&mut F, &F)) {
            operation(result, other);
        }

        #[inline(always)]
        pub fn product<'a, F>(a: &'a F, b: &'a F) -> F
        where
            &'a F: Mul<Output = F>,
        {
            a * b
        }

        #[inline(always)]
        pub fn equal<F: PartialEq>(a: &F, b: &F) -> bool {
            a == b
        }

        /// Has no proof with another than the least representation.
        #[inline(always)]
        pub fn least<F: IntMod>(number: &F) {
            number.assert_reduced();
        }
    }
}

#[cfg(test)]
mod worst;
