//! The precompiles of the EVM by the VM's instructions, as far as it has some for them.

use alloc::vec::Vec;
use core::fmt;

use myriad_evm::crypto::{Crypto, PrecompileHalt, PublicKey, Recover, ecrecover};

#[cfg(feature = "precompiles")]
use crate::{bls12_381, bn254, p256, sha256};
use crate::{modexp, recover::VmRecover};

#[cfg(all(test, feature = "precompiles"))]
mod tests;

/// Everything that is called of the VM's cryptography.
#[derive(Clone, Copy)]
pub struct VmCrypto(pub VmRecover);

impl fmt::Debug for VmCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VmCrypto")
    }
}

impl Recover for VmCrypto {
    fn recover(&self, signature: &[u8; 64], recovery_id: u8, digest: &[u8; 32]) -> Option<PublicKey> {
        self.0.recover(signature, recovery_id, digest)
    }
}

impl Crypto for VmCrypto {
    fn secp256k1_ecrecover(
        &self,
        signature: &[u8; 64],
        recovery_id: u8,
        digest: &[u8; 32],
    ) -> Result<[u8; 32], PrecompileHalt> {
        ecrecover(self, signature, recovery_id, digest)
    }

    fn modexp(&self, base: &[u8], exponent: &[u8], modulus: &[u8]) -> Result<Vec<u8>, PrecompileHalt> {
        Ok(modexp::power(base, exponent, modulus))
    }

    #[cfg(feature = "precompiles")]
    fn sha256(&self, input: &[u8]) -> [u8; 32] {
        sha256::hash(input)
    }

    #[cfg(feature = "precompiles")]
    fn bn254_g1_add(&self, a: &[u8], b: &[u8]) -> Result<[u8; 64], PrecompileHalt> {
        bn254::add(a, b)
    }

    #[cfg(feature = "precompiles")]
    fn bn254_g1_mul(&self, point: &[u8], scalar: &[u8]) -> Result<[u8; 64], PrecompileHalt> {
        bn254::mul(point, scalar)
    }

    #[cfg(feature = "precompiles")]
    fn bn254_pairing_check(&self, pairs: &[(&[u8], &[u8])]) -> Result<bool, PrecompileHalt> {
        bn254::pairing_check(pairs)
    }

    #[cfg(feature = "precompiles")]
    fn secp256r1_verify_signature(&self, digest: &[u8; 32], signature: &[u8; 64], key: &[u8; 64]) -> bool {
        p256::verify(digest, signature, key)
    }

    #[cfg(feature = "precompiles")]
    fn verify_kzg_proof(
        &self,
        z: &[u8; 32],
        y: &[u8; 32],
        commitment: &[u8; 48],
        proof: &[u8; 48],
    ) -> Result<(), PrecompileHalt> {
        bls12_381::verify_kzg_proof(z, y, commitment, proof)
            .then_some(())
            .ok_or(PrecompileHalt::BlobVerifyKzgProofFailed)
    }

    #[cfg(feature = "precompiles")]
    fn bls12_381_g1_add(
        &self,
        a: bls12_381::G1Coordinates,
        b: bls12_381::G1Coordinates,
    ) -> Result<[u8; 96], PrecompileHalt> {
        bls12_381::g1_add(&a, &b)
    }

    #[cfg(feature = "precompiles")]
    fn bls12_381_g1_msm(
        &self,
        terms: &mut dyn Iterator<Item = Result<(bls12_381::G1Coordinates, [u8; 32]), PrecompileHalt>>,
    ) -> Result<[u8; 96], PrecompileHalt> {
        bls12_381::g1_msm(terms)
    }

    #[cfg(feature = "precompiles")]
    fn bls12_381_g2_add(
        &self,
        a: bls12_381::G2Coordinates,
        b: bls12_381::G2Coordinates,
    ) -> Result<[u8; 192], PrecompileHalt> {
        bls12_381::g2_add(&a, &b)
    }

    #[cfg(feature = "precompiles")]
    fn bls12_381_g2_msm(
        &self,
        terms: &mut dyn Iterator<Item = Result<(bls12_381::G2Coordinates, [u8; 32]), PrecompileHalt>>,
    ) -> Result<[u8; 192], PrecompileHalt> {
        bls12_381::g2_msm(terms)
    }

    #[cfg(feature = "precompiles")]
    fn bls12_381_pairing_check(
        &self,
        pairs: &[(bls12_381::G1Coordinates, bls12_381::G2Coordinates)],
    ) -> Result<bool, PrecompileHalt> {
        bls12_381::pairing_check(pairs)
    }

    #[cfg(feature = "precompiles")]
    fn bls12_381_fp_to_g1(&self, number: &[u8; 48]) -> Result<[u8; 96], PrecompileHalt> {
        bls12_381::map_to_g1(number)
    }

    #[cfg(feature = "precompiles")]
    fn bls12_381_fp2_to_g2(&self, (c0, c1): ([u8; 48], [u8; 48])) -> Result<[u8; 192], PrecompileHalt> {
        bls12_381::map_to_g2(&c0, &c1)
    }
}
