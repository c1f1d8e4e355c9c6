//! Receipts: a requester signs one when it has accepted a proof, so that the prover can show that
//! it made the proof.

use libp2p::identity::ed25519;
use myriad_core::{Blob, Peer, TaskRef};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;

/// Signed bytes begin with this, so that a signature means nothing else.
const DOMAIN: &[u8] = b"myriad receipt v1";
/// The length of an Ed25519 signature.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// States that a prover did a task, as its requester sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub requester: Peer,
    pub prover: Peer,
    pub task: TaskRef,
    /// The proof that was accepted.
    pub proof: Blob,
    /// The instructions of a segment; 0 for any other task.
    pub instructions: u64,
    /// The time that the task is reckoned to take on the reference machine, in milliseconds.
    pub work_ms: u64,
    /// When it was accepted, in seconds since 1970.
    pub accepted: u64,
}

/// A receipt with the requester's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    pub receipt: Receipt,
    /// Ed25519, of the domain and the receipt's postcard.
    pub signature: Vec<u8>,
}

impl Receipt {
    fn signed_bytes(&self) -> Vec<u8> {
        let receipt = postcard::to_stdvec(self).expect("a receipt is plain data");
        [DOMAIN, receipt.as_slice()].concat()
    }

    /// Signs it as its requester.
    ///
    /// # Panics
    /// If the identity is not the requester's.
    pub(crate) fn sign(self, identity: &Identity) -> SignedReceipt {
        assert_eq!(identity.peer(), self.requester, "nobody signs for others");
        let signature = identity.keypair.sign(&self.signed_bytes());
        SignedReceipt {
            signature: signature.expect("Ed25519 signs whatever it is given"),
            receipt: self,
        }
    }
}

impl SignedReceipt {
    /// Whether its requester has signed it.
    pub fn is_genuine(&self) -> bool {
        let key = ed25519::PublicKey::try_from_bytes(&self.receipt.requester.0);
        self.signature.len() == SIGNATURE_BYTES
            && key.is_ok_and(|key| key.verify(&self.receipt.signed_bytes(), &self.signature))
    }
}

#[cfg(test)]
mod tests {
    use myriad_core::{JobId, TaskId};

    use super::*;

    fn receipt(requester: Peer) -> Receipt {
        Receipt {
            requester,
            prover: Peer([0xbb; 32]),
            task: TaskRef {
                job: JobId([0xaa; 32]),
                task: TaskId::Segment(3),
            },
            proof: Blob([0xcc; 32]),
            instructions: 655_000,
            work_ms: 27_000,
            accepted: 1_700_000_000,
        }
    }

    #[test]
    fn what_was_signed_is_genuine_and_nothing_else() {
        let [identity, other] = [Identity::ephemeral(), Identity::ephemeral()];
        let signed = receipt(identity.peer()).sign(&identity);
        assert!(signed.is_genuine());
        let mut more = signed.clone();
        more.receipt.instructions += 1;
        assert!(!more.is_genuine());
        let mut by_other = signed.clone();
        by_other.receipt.requester = other.peer();
        assert!(!by_other.is_genuine());
        for at in 0..SIGNATURE_BYTES {
            let mut changed = signed.clone();
            changed.signature[at] ^= 1;
            assert!(!changed.is_genuine(), "byte {at}");
        }
        let mut short = signed;
        short.signature.pop();
        assert!(!short.is_genuine());
    }

    /// `docs/PROTOCOL.md` has the same.
    #[test]
    fn what_is_signed_is_as_documented() {
        let bytes = receipt(Peer([0xdd; 32])).signed_bytes();
        let (domain, rest) = bytes.split_at(DOMAIN.len());
        assert_eq!(domain, b"myriad receipt v1");
        let [aa, bb, cc, dd] = ["aa", "bb", "cc", "dd"].map(|byte| byte.repeat(32));
        assert_eq!(
            hex::encode(rest),
            format!("{dd}{bb}{aa}0003{cc}98fd27f8d20180e2cfaa06")
        );
    }
}
