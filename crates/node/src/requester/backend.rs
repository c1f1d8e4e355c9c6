//! The two interfaces that the driver works through: to the job that is to be proven, and to what
//! is remembered of peers.

use std::future::Future;

use myriad_core::{Blob, Kind, Peer, Standing, TaskId};
use myriad_engine::worker::Usage;
use myriad_net::{SignedReceipt, blob::BlobRef};

use crate::{RunError, StoreError, peers::Peers, verifier_pool::Objection};

/// The job as the driver sees it: what its tasks are, whether a proof is valid, and where accepted
/// proofs go.
pub trait JobBackend: Send + Sync + 'static {
    /// The statement of a valid proof, which may be of something else.
    type Shown: Send + 'static;
    /// The statement that examining a proof has found.
    type Finding: Send + 'static;

    /// Waits until proofs of all tasks can be verified and judged.
    fn ready(&self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Waits until a proof of this task can be verified.
    fn verifiable(&self, task: TaskId) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Waits until a verified proof of this task can be judged: until it is known what is true.
    fn judgeable(&self, task: TaskId) -> impl Future<Output = Result<(), RunError>> + Send;

    /// The instructions of a segment; 0 for other tasks.
    fn instructions(&self, task: TaskId) -> u64;

    /// The description of a segment, as the engine of a prover takes it.
    fn segment(&self, index: u32) -> Vec<u8>;

    /// Whether `proof` is a valid proof of such a task, and what it shows. Blocks.
    ///
    /// # Errors
    /// See [`Objection`].
    fn verify(&self, task: TaskId, proof: &[u8]) -> Result<Self::Shown, Objection>;

    /// Whether that is what the proof of this very task shows.
    ///
    /// # Errors
    /// See [`Objection`].
    fn judge(&self, task: TaskId, shown: Self::Shown) -> Result<Self::Finding, Objection>;

    /// Makes durable that a proof, which is among the blobs, is accepted. Blocks.
    ///
    /// # Errors
    /// If the disk fails.
    fn persist(&self, task: TaskId, proof: BlobRef, finding: Self::Finding) -> Result<(), StoreError>;

    /// Makes a node or the final proof on this machine; `inputs` are the proofs that it is made
    /// from, in order. Blocks until it is done.
    fn attempt(&self, task: TaskId, inputs: &[(TaskId, Vec<u8>)]) -> Attempt<Self::Finding>;

    /// Ends an attempt that is under way: the job is over.
    fn stop(&self);

    /// Makes durable that an accepted proof does not count any more. Blocks.
    ///
    /// # Errors
    /// If the disk fails.
    fn forget(&self, task: TaskId, proof: Blob) -> Result<(), StoreError>;

    /// Notes durably which peer works on which task now, as changes to the last note. Blocks. Only
    /// one thing depends on it: if this process dies, tasks that are under way are not given to
    /// others.
    fn note_leases(&self, begun: &[(TaskId, Peer)], ended: &[(TaskId, Peer)]);
}

/// A requester's memory of peers, and its debts to them, from one job to the next.
pub trait PeerBackend: Send + Sync + 'static {
    /// The standings of peers from earlier jobs.
    fn standings(&self) -> Vec<(Peer, Standing)>;

    /// Keeps what this job has shown. Blocks.
    fn remember(&self, standings: &[(Peer, Standing)]);

    /// Receipts of earlier jobs whose provers were away.
    fn owed(&self) -> Vec<SignedReceipt>;

    /// Keeps receipts that did not arrive, and forgets those that did. Blocks.
    fn settle(&self, owed: &[SignedReceipt], paid: &[SignedReceipt]);
}

impl PeerBackend for Peers {
    fn standings(&self) -> Vec<(Peer, Standing)> {
        self.load()
    }

    fn remember(&self, standings: &[(Peer, Standing)]) {
        self.save(standings);
    }

    fn owed(&self) -> Vec<SignedReceipt> {
        self.owed()
    }

    fn settle(&self, owed: &[SignedReceipt], paid: &[SignedReceipt]) {
        self.settle(owed, paid);
    }
}

/// The result of doing a task on this machine.
#[derive(Debug)]
pub enum Attempt<F> {
    /// Its proof, and what the proof says. It was examined like any other.
    Made { proof: Vec<u8>, finding: F },
    /// No node can be made over the proof of this child alone.
    Refuted { child: TaskId, reason: String },
    /// The process dies over the proof of this child, which may be this machine's fault.
    Doubted { child: TaskId, reason: String },
    /// Nothing was found out.
    Unable(String),
}

/// The results that are left when the final proof is durable.
pub struct Ended<J> {
    pub backend: J,
    /// The cost of the tasks: the time as this requester saw it, and memory and CPU time as the
    /// provers stated them.
    pub usages: Vec<(Kind, Usage)>,
}
