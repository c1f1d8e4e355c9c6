//! The fields of the VM: numbers modulo primes, and complex numbers over some of them, in the order
//! of the VM configuration.

use openvm_algebra_guest::moduli_macros;
#[cfg(feature = "precompiles")]
use openvm_algebra_guest::{IntMod, complex_macros};

/// Operations whose result is written to its place. An instruction takes three addresses. A result
/// that a function returns instead is copied, which takes ten times as many instructions.
#[cfg(feature = "precompiles")]
pub trait InPlace {
    fn write_sum(&mut self, a: &Self, b: &Self);
    fn write_difference(&mut self, a: &Self, b: &Self);
    fn write_product(&mut self, a: &Self, b: &Self);
}

moduli_macros::moduli_declare! {
    Secp256k1Coordinate { modulus = "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F" },
    Secp256k1Scalar { modulus = "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141" },
}

/// The limbs of a number, the lowest first.
#[inline(always)]
pub fn limbs(number: &Secp256k1Coordinate) -> &[u32; 8] {
    // SAFETY: a number has as many bytes, and is aligned to all of them.
    unsafe { &*core::ptr::from_ref(number).cast() }
}

#[cfg(feature = "precompiles")]
moduli_macros::moduli_declare! {
    Bn254Fp { modulus = "0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47" },
    Bls12Fp { modulus = "0x1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab" },
    P256Coordinate { modulus = "0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff" },
    P256Scalar { modulus = "0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551" },
}

#[cfg(feature = "precompiles")]
complex_macros::complex_declare! {
    Bn254Fp2 { mod_type = Bn254Fp },
    Bls12Fp2 { mod_type = Bls12Fp },
}

// In the order of the VM configuration, which gives the moduli, and the fields over them, their
// numbers.
#[cfg(not(feature = "precompiles"))]
moduli_macros::moduli_init! {
    "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F",
    "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141",
}
#[cfg(feature = "precompiles")]
moduli_macros::moduli_init! {
    "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F",
    "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141",
    "0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47",
    "0x1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    "0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    "0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
}
#[cfg(feature = "precompiles")]
complex_macros::complex_init! {
    "Bn254Fp2" { mod_idx = 2 },
    "Bls12Fp2" { mod_idx = 3 },
}

#[cfg(feature = "precompiles")]
macro_rules! in_place {
    ($($number:ident)*; $($complex:ident: $sum:ident, $difference:ident;)*) => {
        $(
            impl InPlace for $number {
                #[inline(always)]
                fn write_sum(&mut self, a: &Self, b: &Self) {
                    // SAFETY: the place is there to be written to.
                    unsafe { a.add_refs_impl::<true>(b, self) }
                }

                #[inline(always)]
                fn write_difference(&mut self, a: &Self, b: &Self) {
                    // SAFETY: the place is there to be written to.
                    unsafe { a.sub_refs_impl(b, self) }
                }

                #[inline(always)]
                fn write_product(&mut self, a: &Self, b: &Self) {
                    // SAFETY: the place is there to be written to.
                    unsafe { a.mul_refs_impl(b, self) }
                }
            }
        )*
        $(
            impl InPlace for $complex {
                #[cfg(target_os = "zkvm")]
                #[inline(always)]
                fn write_sum(&mut self, a: &Self, b: &Self) {
                    Self::set_up_once();
                    let [a, b] = [a, b].map(|number| core::ptr::from_ref(number) as usize);
                    // SAFETY: the setup is done; two places are read and one is written.
                    unsafe { $sum(core::ptr::from_mut(self) as usize, a, b) }
                }

                #[cfg(target_os = "zkvm")]
                #[inline(always)]
                fn write_difference(&mut self, a: &Self, b: &Self) {
                    Self::set_up_once();
                    let [a, b] = [a, b].map(|number| core::ptr::from_ref(number) as usize);
                    // SAFETY: the setup is done; two places are read and one is written.
                    unsafe { $difference(core::ptr::from_mut(self) as usize, a, b) }
                }

                #[cfg(not(target_os = "zkvm"))]
                fn write_sum(&mut self, a: &Self, b: &Self) {
                    *self = a.add_refs_impl(b);
                }

                #[cfg(not(target_os = "zkvm"))]
                fn write_difference(&mut self, a: &Self, b: &Self) {
                    *self = a.sub_refs_impl(b);
                }

                #[inline(always)]
                fn write_product(&mut self, a: &Self, b: &Self) {
                    // SAFETY: the place is there to be written to.
                    unsafe { a.mul_refs_impl(b, self) }
                }
            }
        )*
    };
}

#[cfg(feature = "precompiles")]
in_place! {
    Bn254Fp Bls12Fp P256Coordinate P256Scalar;
    Bn254Fp2: complex_add_extern_func_Bn254Fp2, complex_sub_extern_func_Bn254Fp2;
    Bls12Fp2: complex_add_extern_func_Bls12Fp2, complex_sub_extern_func_Bls12Fp2;
}
