//! The hooks for accelerated cryptography.
//!
//! Signatures are recovered in two places: for the senders and authorities of transactions, by
//! alloy-consensus, and in the precompile `ecrecover`, by revm. Without a hook both use the k256
//! crate. A zkVM guest [installs](install) one implementation for both, and with it those of the
//! other precompiles that it has.

use alloc::{sync::Arc, vec::Vec};
use alloy_consensus::crypto::{CryptoProvider, RecoveryError, install_default_provider};
use alloy_primitives::{Address, keccak256};

use crate::accounting::{Kind, WHOLE, scope};

pub use revm::precompile::{Crypto, DefaultCrypto, PrecompileHalt};

/// Coordinates of a point of secp256k1: x and y, 32 bytes each, big endian.
pub type PublicKey = [u8; 64];

/// Recovery of the public key from an ECDSA signature on secp256k1.
pub trait Recover: Send + Sync + 'static {
    /// The public key that made a signature (r and s, 32 bytes each, big endian) of a digest.
    /// `recovery_id` is 0 or 1: whether the y coordinate of the signature's point is odd. The x
    /// coordinate is always `r` itself, as in all of Ethereum.
    ///
    /// `None` if r or s is not between 1 and the order of the curve, no point has this x
    /// coordinate, or the key would be the point at infinity. An `s` in the upper half of the
    /// order is valid here.
    fn recover(&self, signature: &[u8; 64], recovery_id: u8, digest: &[u8; 32]) -> Option<PublicKey>;
}

/// Makes all recovery in this process, and all precompiles, go through `crypto`. Has no effect
/// after the first call, or once the precompiles have run.
pub fn install<C: Recover + Crypto + Copy>(crypto: C) {
    // Both say only that there is one already.
    let _ = install_default_provider(Arc::new(Hook(crypto)));
    revm::precompile::install_crypto(Marked(crypto));
}

/// The precompile `ecrecover` by a means of recovery: the address in the last 20 of 32 bytes.
///
/// # Errors
/// [`PrecompileHalt::Secp256k1RecoverFailed`] if there is no key.
pub fn ecrecover<R: Recover>(
    recover: &R,
    signature: &[u8; 64],
    recovery_id: u8,
    digest: &[u8; 32],
) -> Result<[u8; 32], PrecompileHalt> {
    let key = recover.recover(signature, recovery_id, digest);
    let key = key.ok_or(PrecompileHalt::Secp256k1RecoverFailed)?;
    Ok(address(&key).into_word().0)
}

const SIGNATURES: u32 = Kind::Signatures as u32 | WHOLE;

struct Hook<R>(R);

impl<R: Recover> CryptoProvider for Hook<R> {
    fn recover_signer_unchecked(
        &self,
        signature: &[u8; 65],
        digest: &[u8; 32],
    ) -> Result<Address, RecoveryError> {
        let (rs, recovery_id) = signature.split_first_chunk().ok_or_else(RecoveryError::new)?;
        let key = scope::<SIGNATURES, _>(|| self.0.recover(rs, recovery_id[0], digest));
        Ok(address(&key.ok_or_else(RecoveryError::new)?))
    }

    fn verify_and_compute_signer_unchecked(
        &self,
        public_key: &[u8; 65],
        signature: &[u8; 64],
        digest: &[u8; 32],
    ) -> Result<Address, RecoveryError> {
        // A signature is valid for a key if and only if one of the two keys that can be recovered
        // from it is that key.
        let key = [0, 1].into_iter().find_map(|recovery_id| {
            let key = scope::<SIGNATURES, _>(|| self.0.recover(signature, recovery_id, digest))?;
            (public_key[0] == 4 && key == public_key[1..]).then_some(key)
        });
        key.map(|key| address(&key)).ok_or_else(RecoveryError::new)
    }
}

fn address(key: &PublicKey) -> Address {
    Address::from_word(keccak256(key))
}

type G1 = ([u8; 48], [u8; 48]);
type G2 = ([u8; 48], [u8; 48], [u8; 48], [u8; 48]);

/// Each precompile in a scope of its kind.
#[derive(Debug)]
struct Marked<C>(C);

macro_rules! marked {
    ($($kind:ident: fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl<C: Crypto> Crypto for Marked<C> {
            $(
                fn $name(&self, $($argument: $type),*) -> $result {
                    scope::<{ Kind::$kind as u32 | WHOLE }, _>(|| self.0.$name($($argument),*))
                }
            )*
        }
    };
}

marked! {
    Sha256: fn sha256(input: &[u8]) -> [u8; 32];
    Ripemd160: fn ripemd160(input: &[u8]) -> [u8; 32];
    Bn254Add: fn bn254_g1_add(a: &[u8], b: &[u8]) -> Result<[u8; 64], PrecompileHalt>;
    Bn254Mul: fn bn254_g1_mul(point: &[u8], scalar: &[u8]) -> Result<[u8; 64], PrecompileHalt>;
    Bn254Pairing: fn bn254_pairing_check(pairs: &[(&[u8], &[u8])]) -> Result<bool, PrecompileHalt>;
    Ecrecover: fn secp256k1_ecrecover(signature: &[u8; 64], recovery_id: u8, digest: &[u8; 32]) -> Result<[u8; 32], PrecompileHalt>;
    Modexp: fn modexp(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Result<Vec<u8>, PrecompileHalt>;
    Blake2f: fn blake2_compress(rounds: u32, h: &mut [u64; 8], m: &[u64; 16], t: &[u64; 2], last: bool) -> ();
    P256: fn secp256r1_verify_signature(digest: &[u8; 32], signature: &[u8; 64], key: &[u8; 64]) -> bool;
    PointEvaluation: fn verify_kzg_proof(z: &[u8; 32], y: &[u8; 32], commitment: &[u8; 48], proof: &[u8; 48]) -> Result<(), PrecompileHalt>;
    Bls12G1Add: fn bls12_381_g1_add(a: G1, b: G1) -> Result<[u8; 96], PrecompileHalt>;
    Bls12G1Msm: fn bls12_381_g1_msm(terms: &mut dyn Iterator<Item = Result<(G1, [u8; 32]), PrecompileHalt>>) -> Result<[u8; 96], PrecompileHalt>;
    Bls12G2Add: fn bls12_381_g2_add(a: G2, b: G2) -> Result<[u8; 192], PrecompileHalt>;
    Bls12G2Msm: fn bls12_381_g2_msm(terms: &mut dyn Iterator<Item = Result<(G2, [u8; 32]), PrecompileHalt>>) -> Result<[u8; 192], PrecompileHalt>;
    Bls12Pairing: fn bls12_381_pairing_check(pairs: &[(G1, G2)]) -> Result<bool, PrecompileHalt>;
    Bls12MapToG1: fn bls12_381_fp_to_g1(number: &[u8; 48]) -> Result<[u8; 96], PrecompileHalt>;
    Bls12MapToG2: fn bls12_381_fp2_to_g2(number: ([u8; 48], [u8; 48])) -> Result<[u8; 192], PrecompileHalt>;
}
