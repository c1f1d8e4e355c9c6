//! The fields of the VM: numbers modulo primes, and complex numbers over some of them, in the order
//! of the VM configuration.

use openvm_algebra_guest::moduli_macros;
#[cfg(feature = "precompiles")]
use openvm_algebra_guest::{IntMod, complex_macros};

moduli_macros::moduli_declare! {
    Secp256k1Coordinate { modulus = "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F" },
    Secp256k1Scalar { modulus = "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141" },
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
