//! What stands behind the driver in earnest: the engine's verifier, the truth, and the store.

use std::sync::{Arc, OnceLock};

use myriad_core::{Peer, Standing, TaskId};
use myriad_engine::{Boundary, VerifyError, worker::Worker};
use myriad_net::blob::BlobRef;
use tokio::sync::watch;

use super::Backend;
use crate::{
    RunError, StoreError,
    job::{Prepared, check_final, level},
    peers::Peers,
};

/// The true boundary of each segment, or why it is not known.
type Truth = Result<Vec<Boundary>, String>;

pub struct Real {
    prepared: Prepared,
    peers: Peers,
    truth: Arc<OnceLock<Truth>>,
    known: watch::Receiver<bool>,
}

impl Real {
    /// Also gives what finds the truth out, to be called where it may block.
    pub(super) fn new(
        prepared: Prepared,
        peers: Peers,
        mut planner: Worker,
    ) -> (Self, impl FnOnce() + Send + 'static) {
        let truth: Arc<OnceLock<Truth>> = Arc::default();
        let (tell, known) = watch::channel(false);
        let segments = prepared.plan.segments.clone();
        let find = {
            let truth = Arc::clone(&truth);
            move || {
                let found = planner.boundaries(&segments);
                // The child has done all that it is needed for, and its memory is wanted elsewhere.
                drop(planner);
                let found = found.map(|(boundaries, _)| boundaries).map_err(|e| e.to_string());
                truth.get_or_init(|| found);
                // If nobody waits, the job is over.
                let _ = tell.send(true);
            }
        };
        let real = Self {
            prepared,
            peers,
            truth,
            known,
        };
        (real, find)
    }

    pub(super) fn into_prepared(self) -> Prepared {
        self.prepared
    }

    /// The true boundary of what a task covers.
    fn expected(&self, truth: &[Boundary], task: TaskId) -> Boundary {
        let tree = &self.prepared.tree;
        let segments = tree.covered(task);
        let (first, last) = (*segments.start() as usize, *segments.end() as usize);
        Boundary::join(&truth[first], &truth[last])
    }
}

impl Backend for Real {
    type Said = Boundary;

    async fn ready(&self) -> Result<(), RunError> {
        let mut known = self.known.clone();
        // An error means that it was told, and who tells is gone.
        let _ = known.wait_for(|known| *known).await;
        match self.truth.get() {
            Some(Ok(_)) => Ok(()),
            Some(Err(reason)) => Err(RunError::Truth {
                reason: reason.clone(),
            }),
            None => Err(RunError::Truth {
                reason: "the execution was given up".into(),
            }),
        }
    }

    fn segment(&self, index: u32) -> Vec<u8> {
        postcard::to_stdvec(&self.prepared.plan.segments[index as usize]).expect("a segment is plain data")
    }

    fn examine(&self, task: TaskId, proof: &[u8]) -> Result<Boundary, String> {
        let Some(Ok(truth)) = self.truth.get() else {
            unreachable!("nothing is examined before it is ready");
        };
        let Prepared { verifier, plan, .. } = &self.prepared;
        let expected = self.expected(truth, task);
        let check = || -> Result<(), VerifyError> {
            match task {
                TaskId::Segment(index) => {
                    let last = plan.segments[index as usize].last;
                    let public_values = last.then_some(plan.public_values.as_slice());
                    verifier.segment(proof, public_values)?.check_equals(&expected)
                }
                TaskId::Node(node) => verifier.node(level(node.level), proof)?.check_equals(&expected),
                TaskId::Final => check_final(verifier, plan, proof),
            }
        };
        check().map(|()| expected).map_err(|e| e.to_string())
    }

    fn persist(&self, task: TaskId, proof: BlobRef, said: Boundary) -> Result<(), StoreError> {
        self.prepared.store.accept(self.prepared.keys[&task], proof, said)
    }

    fn standings(&self) -> Vec<(Peer, Standing)> {
        self.peers.load()
    }

    fn remember(&self, standings: &[(Peer, Standing)]) {
        self.peers.save(standings);
    }
}
