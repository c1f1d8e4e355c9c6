//! What peers say that their proofs are, until somebody looks.

use std::collections::HashMap;

use myriad_core::{Blob, Peer, TaskRef};
use myriad_net::{blob::BlobRef, wire::Spent};

/// What each peer says that its proof of a task is, and took.
#[derive(Default)]
pub(super) struct Claims(HashMap<(Peer, TaskRef), (BlobRef, Spent)>);

impl Claims {
    /// A later claim takes the place of an earlier one.
    pub(super) fn note(&mut self, peer: Peer, task: TaskRef, proof: BlobRef, spent: Spent) {
        self.0.insert((peer, task), (proof, spent));
    }

    /// The claim, which is looked at now, if it is of this proof.
    pub(super) fn take(&mut self, peer: Peer, task: TaskRef, proof: Blob) -> Option<(BlobRef, Spent)> {
        self.0
            .remove(&(peer, task))
            .filter(|(claim, _)| claim.blob == proof)
    }

    /// Whether somebody says that it has this blob.
    pub(super) fn name(&self, proof: Blob) -> bool {
        self.0.values().any(|(claim, _)| claim.blob == proof)
    }

    /// Forgets those that nobody will look at: claims that were refused, or whose tasks were done by others. Without that each
    /// identity would leave one behind.
    pub(super) fn keep(&mut self, is_awaited: impl Fn(Peer, TaskRef) -> bool) {
        self.0.retain(|&(peer, task), _| is_awaited(peer, task));
    }
}

#[cfg(test)]
mod tests {
    use myriad_core::{JobId, TaskId};

    use super::*;

    #[test]
    fn only_claims_stay_that_somebody_will_look_at() {
        let task = |index| TaskRef {
            job: JobId([1; 32]),
            task: TaskId::Segment(index),
        };
        let proof = |byte| BlobRef {
            blob: Blob([byte; 32]),
            bytes: 1,
        };
        let mut claims = Claims::default();
        for index in 0..10_000u32 {
            let mut peer = [0; 32];
            peer[..4].copy_from_slice(&index.to_be_bytes());
            claims.note(Peer(peer), task(index % 7), proof(9), Spent::default());
        }
        let waiting = Peer([1; 32]);
        claims.note(waiting, task(3), proof(1), Spent::default());
        claims.note(waiting, task(3), proof(2), Spent::default());
        claims.keep(|peer, of| (peer, of) == (waiting, task(3)));
        assert_eq!(claims.0.len(), 1);
        assert!(claims.name(Blob([2; 32])) && !claims.name(Blob([9; 32])));
        assert_eq!(
            claims.take(waiting, task(3), Blob([1; 32])),
            None,
            "it said another one"
        );
        assert_eq!(claims.take(waiting, task(3), Blob([2; 32])), None, "it was taken");
    }
}
