//! The proofs of a job, from what a peer claims to what is durable.
//!
//! ```text
//!  claim ─▶ Claimed ─ begin_check ─▶ Checking ─ settle ─▶ Accepted ─ persist ─▶ Persisting ─ durable ─▶ Durable
//!              │                         │
//!              └─ superseded, forgotten  └─ refused, or too late
//! ```
//!
//! Several peers may claim the same task, so a claim has a record of its own until it is accepted.
//! From then on the record is that of its task.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use myriad_core::{Blob, Peer, TaskId};
use myriad_net::{blob::BlobRef, wire::Spent};

/// All proofs of a job; `F` is what the examination of a proof has found.
pub(super) struct Proofs<F> {
    /// Claims without a result yet, in the order in which they were made.
    claims: BTreeMap<ClaimNumber, Claim>,
    next: ClaimNumber,
    /// The accepted proof of each task.
    accepted: HashMap<TaskId, Accepted<F>>,
    /// The blobs of these.
    blobs: HashSet<Blob>,
    /// Accepted proofs that the disk has lost.
    lost: BTreeSet<Blob>,
}

/// Tells apart two claims that say the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClaimNumber(u64);

/// A peer's claim: the blob of its proof, and what the proof took.
struct Claim {
    peer: Peer,
    task: TaskId,
    proof: BlobRef,
    spent: Spent,
    /// It is being examined; before that, it waits.
    checking: bool,
}

struct Accepted<F> {
    proof: BlobRef,
    spent: Spent,
    stage: Stage<F>,
}

/// The state of an accepted proof.
enum Stage<F> {
    Accepted(F),
    Persisting,
    Durable,
}

/// The record of a proof that the journal had before.
fn durable<F>(proof: BlobRef) -> Accepted<F> {
    Accepted {
        proof,
        spent: Spent::default(),
        stage: Stage::Durable,
    }
}

/// A claim that is to be examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub claim: ClaimNumber,
    pub proof: BlobRef,
}

impl<F> Proofs<F> {
    /// `done` are the proofs that an earlier run has left in the journal.
    pub(super) fn new(done: HashMap<TaskId, BlobRef>) -> Self {
        let mut proofs = Self {
            claims: BTreeMap::new(),
            next: ClaimNumber::default(),
            blobs: HashSet::new(),
            accepted: HashMap::new(),
            lost: BTreeSet::new(),
        };
        proofs.restore(done);
        proofs
    }

    /// An earlier run has left these proofs in the journal, of tasks that the job has just got.
    pub(super) fn restore(&mut self, done: impl IntoIterator<Item = (TaskId, BlobRef)>) {
        for (task, proof) in done {
            self.blobs.insert(proof.blob);
            self.accepted.insert(task, durable(proof));
        }
    }

    /// A peer says that it has a proof. Its earlier claim of the same task is superseded, unless it
    /// is being examined.
    pub(super) fn claim(&mut self, peer: Peer, task: TaskId, proof: BlobRef, spent: Spent) {
        self.claims
            .retain(|_, claim| claim.checking || (claim.peer, claim.task) != (peer, task));
        let claim = Claim {
            peer,
            task,
            proof,
            spent,
            checking: false,
        };
        self.claims.insert(self.next, claim);
        self.next.0 += 1;
    }

    /// The claim that is to be examined now. None if the peer names another proof by now; that one
    /// is not examined either.
    pub(super) fn begin_check(&mut self, peer: Peer, task: TaskId, proof: Blob) -> Option<Check> {
        let mut claims = self.claims.iter_mut();
        let waits = |claim: &Claim| !claim.checking && (claim.peer, claim.task) == (peer, task);
        let (&number, claim) = claims.find(|(_, claim)| waits(claim))?;
        if claim.proof.blob != proof {
            self.claims.remove(&number);
            return None;
        }
        claim.checking = true;
        Some(Check {
            claim: number,
            proof: claim.proof,
        })
    }

    /// A check has ended: with the finding, if its proof is accepted.
    pub(super) fn settle(&mut self, claim: ClaimNumber, finding: Option<F>) {
        let Some(Claim {
            task, proof, spent, ..
        }) = self.claims.remove(&claim)
        else {
            return;
        };
        if let Some(finding) = finding {
            self.accept(task, proof, spent, finding);
        }
    }

    /// The proof of a task is accepted: one that a peer claimed, or that was made here.
    pub(super) fn accept(&mut self, task: TaskId, proof: BlobRef, spent: Spent, finding: F) {
        let stage = Stage::Accepted(finding);
        self.accepted.insert(task, Accepted { proof, spent, stage });
        self.blobs.insert(proof.blob);
    }

    /// The record of a task's accepted proof that is to be made durable. It is given only once.
    pub(super) fn persist(&mut self, task: TaskId) -> Option<(BlobRef, F)> {
        let accepted = self.accepted.get_mut(&task)?;
        match std::mem::replace(&mut accepted.stage, Stage::Persisting) {
            Stage::Accepted(finding) => Some((accepted.proof, finding)),
            stage => {
                accepted.stage = stage;
                None
            }
        }
    }

    /// The journal has the proof of a task: from now on others may count on it.
    pub(super) fn durable(&mut self, task: TaskId, proof: Blob) {
        if let Some(accepted) = self.accepted.get_mut(&task)
            && accepted.proof.blob == proof
            && matches!(accepted.stage, Stage::Persisting)
        {
            accepted.stage = Stage::Durable;
        }
    }

    /// The durable proof of a task, and what it took.
    pub(super) fn proof(&self, task: TaskId) -> Option<(BlobRef, Spent)> {
        let accepted = self.accepted.get(&task)?;
        matches!(accepted.stage, Stage::Durable).then_some((accepted.proof, accepted.spent))
    }

    /// Whether a blob is an accepted proof, durable or not.
    pub(super) fn has(&self, blob: Blob) -> bool {
        self.blobs.contains(&blob)
    }

    /// Whether there is a claim of this blob without a result yet.
    pub(super) fn is_claimed(&self, blob: Blob) -> bool {
        self.claims.values().any(|claim| claim.proof.blob == blob)
    }

    /// Forgets claims that will not be examined: those that were refused, or whose tasks others
    /// have done. Otherwise each identity would leave one behind.
    pub(super) fn forget_claims(&mut self, is_awaited: impl Fn(Peer, TaskId) -> bool) {
        self.claims
            .retain(|_, claim| claim.checking || is_awaited(claim.peer, claim.task));
    }

    /// The disk has lost these blobs.
    pub(super) fn note_lost(&mut self, blobs: impl IntoIterator<Item = Blob>) {
        let accepted = &self.blobs;
        self.lost
            .extend(blobs.into_iter().filter(|blob| accepted.contains(blob)));
    }

    /// Accepted proofs that the disk has lost.
    pub(super) fn lost(&self) -> Vec<(TaskId, Blob)> {
        if self.lost.is_empty() {
            return Vec::new();
        }
        self.accepted
            .iter()
            .map(|(&task, accepted)| (task, accepted.proof.blob))
            .filter(|(_, blob)| self.lost.contains(blob))
            .collect()
    }

    /// A proof does not belong to the job any more.
    pub(super) fn let_go(&mut self, task: TaskId, proof: Blob) {
        self.accepted.remove(&task);
        self.blobs.remove(&proof);
        self.lost.remove(&proof);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer = Peer([1; 32]);
    const OTHER: Peer = Peer([2; 32]);
    const TASK: TaskId = TaskId::Segment(3);

    fn proofs() -> Proofs<&'static str> {
        Proofs::new(HashMap::new())
    }

    fn proof(byte: u8) -> BlobRef {
        BlobRef {
            blob: Blob([byte; 32]),
            bytes: u64::from(byte),
        }
    }

    fn spent(cpu_ms: u64) -> Spent {
        Spent {
            cpu_ms,
            ..Spent::default()
        }
    }

    #[test]
    fn a_later_claim_supersedes_one_that_nobody_has_looked_at() {
        let mut proofs = proofs();
        proofs.claim(PEER, TASK, proof(1), spent(1));
        proofs.claim(PEER, TASK, proof(2), spent(2));
        proofs.claim(OTHER, TASK, proof(3), spent(3));
        assert!(!proofs.is_claimed(Blob([1; 32])) && proofs.is_claimed(Blob([2; 32])));
        let check = proofs.begin_check(PEER, TASK, Blob([2; 32])).unwrap();
        assert_eq!(check.proof, proof(2));
        assert_eq!(
            proofs.begin_check(PEER, TASK, Blob([2; 32])),
            None,
            "it is being examined already"
        );
        // One that is examined stays beside a later one.
        proofs.claim(PEER, TASK, proof(4), spent(4));
        assert!(proofs.is_claimed(Blob([2; 32])) && proofs.is_claimed(Blob([4; 32])));
        proofs.settle(check.claim, Some("two"));
        assert!(!proofs.is_claimed(Blob([2; 32])) && proofs.is_claimed(Blob([4; 32])));
        assert!(proofs.has(Blob([2; 32])));
    }

    #[test]
    fn a_claim_of_another_proof_than_the_one_that_was_asked_for_is_not_examined() {
        let mut proofs = proofs();
        proofs.claim(PEER, TASK, proof(1), spent(1));
        assert_eq!(proofs.begin_check(PEER, TASK, Blob([9; 32])), None);
        assert_eq!(proofs.begin_check(PEER, TASK, Blob([1; 32])), None, "it is gone");
        assert!(!proofs.is_claimed(Blob([1; 32])));
    }

    #[test]
    fn a_check_that_ends_after_another_was_accepted_changes_nothing() {
        let mut proofs = proofs();
        for (peer, byte) in [(PEER, 1), (OTHER, 2)] {
            proofs.claim(peer, TASK, proof(byte), spent(byte.into()));
        }
        let first = proofs.begin_check(PEER, TASK, Blob([1; 32])).unwrap();
        let second = proofs.begin_check(OTHER, TASK, Blob([2; 32])).unwrap();
        proofs.settle(second.claim, Some("second"));
        // The state machine awaits it no more, and so there is no finding.
        assert!(
            proofs.is_claimed(Blob([1; 32])),
            "its blob must not be removed yet"
        );
        proofs.settle(first.claim, None);
        assert!(!proofs.is_claimed(Blob([1; 32])) && !proofs.has(Blob([1; 32])));
        assert_eq!(proofs.persist(TASK), Some((proof(2), "second")));
        proofs.durable(TASK, Blob([2; 32]));
        assert_eq!(proofs.proof(TASK), Some((proof(2), spent(2))));
        proofs.settle(first.claim, Some("again"));
        assert_eq!(proofs.proof(TASK), Some((proof(2), spent(2))), "it was settled");
    }

    #[test]
    fn nothing_counts_on_a_proof_before_it_is_durable() {
        let mut proofs = proofs();
        proofs.claim(PEER, TASK, proof(1), spent(1));
        let check = proofs.begin_check(PEER, TASK, Blob([1; 32])).unwrap();
        assert_eq!(proofs.persist(TASK), None, "it is not accepted");
        proofs.settle(check.claim, Some("one"));
        assert!(proofs.has(Blob([1; 32])));
        proofs.durable(TASK, Blob([1; 32]));
        assert_eq!(proofs.proof(TASK), None, "nobody has written it");
        assert_eq!(proofs.persist(TASK), Some((proof(1), "one")));
        assert_eq!(proofs.persist(TASK), None, "it is written once");
        assert_eq!(proofs.proof(TASK), None);
        proofs.durable(TASK, Blob([2; 32]));
        assert_eq!(proofs.proof(TASK), None, "another one was written");
        proofs.durable(TASK, Blob([1; 32]));
        assert_eq!(proofs.proof(TASK), Some((proof(1), spent(1))));

        proofs.let_go(TASK, Blob([1; 32]));
        assert_eq!(proofs.proof(TASK), None);
        assert!(!proofs.has(Blob([1; 32])));
        let restored: Proofs<()> = Proofs::new(HashMap::from([(TASK, proof(1))]));
        assert_eq!(restored.proof(TASK), Some((proof(1), Spent::default())));
    }

    #[test]
    fn what_the_disk_has_lost_is_told_until_it_is_let_go() {
        let mut proofs: Proofs<()> = Proofs::new(HashMap::from([(TASK, proof(1))]));
        proofs.note_lost([Blob([1; 32]), Blob([9; 32])]);
        assert_eq!(proofs.lost(), [(TASK, Blob([1; 32]))]);
        assert_eq!(
            proofs.lost(),
            [(TASK, Blob([1; 32]))],
            "it may not be the time yet"
        );
        proofs.let_go(TASK, Blob([1; 32]));
        // A proof that is made again is the same, and on the disk.
        proofs.accept(TASK, proof(1), spent(1), ());
        assert!(proofs.lost().is_empty());
    }

    #[test]
    fn only_claims_stay_that_somebody_will_look_at() {
        let mut proofs = proofs();
        for index in 0..1000u32 {
            let mut peer = [0; 32];
            peer[..4].copy_from_slice(&index.to_be_bytes());
            proofs.claim(Peer(peer), TaskId::Segment(index % 7), proof(9), spent(1));
        }
        proofs.claim(PEER, TASK, proof(1), spent(1));
        proofs.claim(OTHER, TASK, proof(2), spent(1));
        let check = proofs.begin_check(OTHER, TASK, Blob([2; 32])).unwrap();
        proofs.forget_claims(|peer, task| (peer, task) == (PEER, TASK));
        assert_eq!(proofs.claims.len(), 2, "one that waits, and one that is examined");
        assert!(!proofs.is_claimed(Blob([9; 32])));
        proofs.settle(check.claim, None);
        assert!(proofs.is_claimed(Blob([1; 32])) && !proofs.is_claimed(Blob([2; 32])));
    }
}
