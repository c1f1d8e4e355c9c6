//! The hooks for accelerated cryptography.
//!
//! Signatures are recovered in two places: for the senders and authorities of transactions, by
//! alloy-consensus, and in the precompile `ecrecover`, by revm. Without a hook both use the k256
//! crate. A zkVM guest [installs](install) one implementation for both, and with it those of the
//! other precompiles that it has.

use alloc::sync::Arc;
use alloy_consensus::crypto::{CryptoProvider, RecoveryError, install_default_provider};
use alloy_primitives::{Address, keccak256};

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

/// Makes all recovery in this process, and all precompiles, go through `crypto`. Has no effect after the first call, or
/// once the precompiles have run.
pub fn install<C: Recover + Crypto + Copy>(crypto: C) {
    // Both say only that there is one already.
    let _ = install_default_provider(Arc::new(Hook(crypto)));
    revm::precompile::install_crypto(crypto);
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

struct Hook<R>(R);

impl<R: Recover> CryptoProvider for Hook<R> {
    fn recover_signer_unchecked(
        &self,
        signature: &[u8; 65],
        digest: &[u8; 32],
    ) -> Result<Address, RecoveryError> {
        let (rs, recovery_id) = signature.split_first_chunk().ok_or_else(RecoveryError::new)?;
        let key = self
            .0
            .recover(rs, recovery_id[0], digest)
            .ok_or_else(RecoveryError::new)?;
        Ok(address(&key))
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
            let key = self.0.recover(signature, recovery_id, digest)?;
            (public_key[0] == 4 && key == public_key[1..]).then_some(key)
        });
        key.map(|key| address(&key)).ok_or_else(RecoveryError::new)
    }
}

fn address(key: &PublicKey) -> Address {
    Address::from_word(keccak256(key))
}
