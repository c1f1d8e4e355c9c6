//! The cryptography of the EVM by the VM's accelerators, as far as it has some for it.

use std::fmt;

use myriad_evm::crypto::{Crypto, PrecompileHalt, PublicKey, Recover, ecrecover};
use risc0_zkvm::sha::{Impl, Sha256};

use crate::recover::Recovery;

/// Everything that is called of the VM's cryptography.
#[derive(Clone, Copy)]
pub struct VmCrypto(&'static Recovery);

impl VmCrypto {
    pub fn new() -> Self {
        Self(Box::leak(Box::new(Recovery::new())))
    }
}

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

    fn sha256(&self, input: &[u8]) -> [u8; 32] {
        (*Impl::hash_bytes(input)).into()
    }
}
