//! A requester's side of the pretence: it knows each right proof by its hash.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use myriad_core::{Blob, JobId, NodeId, Peer, Standing, TaskId, Tree};
use myriad_net::{SignedReceipt, blob::BlobRef};
use myriad_node::{
    Objection, RunError, StoreError,
    requester::{Attempt, JobBackend, PeerBackend},
};
use tokio::sync::watch;

use super::pretence::{POISON, no_proof, node_proof, poison, pretend, segment_proof};

/// Instructions of each pretended segment.
pub const SEGMENT_INSTRUCTIONS: u64 = 1000;

/// A requester's side of the same pretence.
pub struct Ledger {
    job: JobId,
    expected: HashMap<TaskId, [u8; 32]>,
    pub accepted: Arc<Mutex<BTreeMap<TaskId, usize>>>,
    leases: Journal,
    kept: Kept,
    /// The number of segments whose truth is known so far; without it, the truth about all tasks is
    /// known.
    truth: Option<watch::Receiver<u32>>,
}

pub type Held = (TaskId, Peer);
/// The leases of a requester's journal.
pub type Journal = Arc<Mutex<BTreeSet<Held>>>;
/// The accepted proofs of a requester's journal.
pub type Kept = Arc<Mutex<HashMap<TaskId, BlobRef>>>;
/// Receipts that could not be given.
pub type Owed = Arc<Mutex<Vec<SignedReceipt>>>;

impl Ledger {
    pub fn new(job: JobId, tree: &Tree, leases: Journal, kept: Kept) -> Self {
        let mut proofs: HashMap<TaskId, Vec<u8>> = HashMap::new();
        let mut expected = HashMap::new();
        for task in tree.tasks() {
            let children: Vec<Vec<u8>> = tree.children(task).map(|child| proofs[&child].clone()).collect();
            let proof = match task {
                TaskId::Segment(index) => segment_proof(&description(job, index)),
                TaskId::Node(NodeId { level, .. }) => {
                    // A task whose parent is made needs no proof any more.
                    tree.children(task)
                        .filter(|child| *child != TaskId::Segment(tree.segments() - 1))
                        .for_each(|child| drop(proofs.remove(&child)));
                    node_proof(level, &children)
                }
                TaskId::Final => {
                    let last = &proofs[&TaskId::Segment(tree.segments() - 1)];
                    pretend(&[b"final", &children[0], last])
                }
            };
            expected.insert(task, *blake3::hash(&proof).as_bytes());
            proofs.insert(task, proof);
        }
        Self {
            job,
            expected,
            accepted: Arc::default(),
            leases,
            kept,
            truth: None,
        }
    }

    pub fn with_truth(self, truth: watch::Receiver<u32>) -> Self {
        Self {
            truth: Some(truth),
            ..self
        }
    }
}

fn description(job: JobId, index: u32) -> Vec<u8> {
    [job.0.as_slice(), &index.to_le_bytes()].concat()
}

impl JobBackend for Ledger {
    /// Whether it is the proof of its task.
    type Shown = bool;
    type Finding = ();

    async fn ready(&self) -> Result<(), RunError> {
        Ok(())
    }

    async fn verifiable(&self, _: TaskId) -> Result<(), RunError> {
        Ok(())
    }

    async fn judgeable(&self, task: TaskId) -> Result<(), RunError> {
        if let (Some(truth), TaskId::Segment(index)) = (&self.truth, task) {
            // A test that is over needs no truth.
            let _ = truth.clone().wait_for(|known| index < *known).await;
        }
        Ok(())
    }

    fn instructions(&self, task: TaskId) -> u64 {
        u64::from(matches!(task, TaskId::Segment(_))) * SEGMENT_INSTRUCTIONS
    }

    fn segment(&self, index: u32) -> Vec<u8> {
        description(self.job, index)
    }

    fn verify(&self, task: TaskId, proof: &[u8]) -> Result<bool, Objection> {
        if proof == no_proof() {
            return Err(Objection::Invalid("it is no proof".into()));
        }
        let is_poison = |index| proof == poison(&description(self.job, index));
        let is_expected = *blake3::hash(proof).as_bytes() == self.expected[&task];
        Ok(is_expected || matches!(task, TaskId::Segment(index) if is_poison(index)))
    }

    fn judge(&self, _: TaskId, is_right: bool) -> Result<(), Objection> {
        let other = || Objection::Invalid("it is the proof of something else".into());
        is_right.then_some(()).ok_or_else(other)
    }

    fn persist(&self, task: TaskId, proof: BlobRef, (): ()) -> Result<(), StoreError> {
        self.kept.lock().unwrap().insert(task, proof);
        *self.accepted.lock().unwrap().entry(task).or_default() += 1;
        Ok(())
    }

    fn attempt(&self, task: TaskId, inputs: &[(TaskId, Vec<u8>)]) -> Attempt<()> {
        if let Some((child, _)) = inputs.iter().find(|(_, proof)| proof.starts_with(POISON)) {
            let reason = "no node can be made over it".into();
            return Attempt::Refuted {
                child: *child,
                reason,
            };
        }
        match task {
            TaskId::Node(node) => {
                let children: Vec<_> = inputs.iter().map(|(_, proof)| proof.clone()).collect();
                let proof = node_proof(node.level, &children);
                Attempt::Made { proof, finding: () }
            }
            TaskId::Final => Attempt::Made {
                proof: pretend(&[b"final", &inputs[0].1, &inputs[1].1]),
                finding: (),
            },
            TaskId::Segment(_) => Attempt::Unable("it is no node".into()),
        }
    }

    fn stop(&self) {}

    fn forget(&self, task: TaskId, _: Blob) -> Result<(), StoreError> {
        self.accepted.lock().unwrap().remove(&task);
        self.kept.lock().unwrap().remove(&task);
        Ok(())
    }

    fn note_leases(&self, begun: &[Held], ended: &[Held]) {
        let mut leases = self.leases.lock().unwrap();
        leases.retain(|held| !ended.contains(held));
        leases.extend(begun);
    }
}

/// A requester that remembers nothing of peers but what it owes them.
pub struct Debts(pub Owed);

impl PeerBackend for Debts {
    fn standings(&self) -> Vec<(Peer, Standing)> {
        Vec::new()
    }

    fn remember(&self, _: &[(Peer, Standing)]) {}

    fn owed(&self) -> Vec<SignedReceipt> {
        self.0.lock().unwrap().clone()
    }

    fn settle(&self, owed: &[SignedReceipt], paid: &[SignedReceipt]) {
        let mut all = self.0.lock().unwrap();
        all.extend_from_slice(owed);
        all.retain(|signed| !paid.contains(signed));
    }
}
