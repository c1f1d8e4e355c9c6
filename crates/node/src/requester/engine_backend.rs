//! The backend of a real job: engine children that execute, verify and prove, and the store.

use std::sync::{Arc, OnceLock, Weak};

use myriad_core::{Blob, TaskId};
use myriad_engine::{Boundary, FINAL_PROOF_BYTES_MAX, FinalForm, Segment};
use myriad_net::blob::BlobRef;
use tokio::sync::watch;

use super::{
    Attempt, JobBackend,
    own_worker::{Allowance, Make, OwnWorker},
};
use crate::{
    RunError, Store, StoreError,
    group::LimitedWorker,
    job::{Prepared, level},
    store::Held,
    verifier_pool::Objection,
};

/// Most bytes of the proof of a top node that becomes the final proof as it is: the file has it in
/// hex. An honest one has some 300 kB. A padded one would leave no room for the rest.
const FAST_TOP_BYTES_MAX: usize = FINAL_PROOF_BYTES_MAX / 2 - (64 << 10);

/// The true boundaries of the segments.
pub(super) enum Truth {
    /// An earlier run has found them.
    Known(Vec<Boundary>),
    /// This child can find them, with the job loaded.
    Unknown(LimitedWorker),
}

/// The true boundary of each segment, or the reason for which it is not known.
type Found = Result<Vec<Boundary>, String>;

/// A job whose proofs engine children examine, and whose journal keeps those that are accepted.
pub(super) struct EngineBackend {
    prepared: Prepared,
    truth: Arc<OnceLock<Found>>,
    known: watch::Receiver<bool>,
    own_worker: OwnWorker,
}

impl EngineBackend {
    /// Also returns a function that finds the truth. It has to be called where it may block.
    pub(super) fn new(
        prepared: Prepared,
        truth: Truth,
        own_worker: OwnWorker,
    ) -> (Self, impl FnOnce() + Send + 'static) {
        let found: Arc<OnceLock<Found>> = Arc::default();
        let (known_sender, known) = watch::channel(false);
        let segments = prepared.plan.segments.clone();
        // A job that is given up must not stay locked until this ends.
        let store = Arc::downgrade(&prepared.store);
        let find = {
            let (found, verifying) = (Arc::clone(&found), prepared.verifying.clone());
            move || {
                let boundaries = match truth {
                    Truth::Known(boundaries) => Ok(boundaries),
                    Truth::Unknown(planner) => find_out(planner, &segments, &store),
                };
                // Nothing can be judged without it, either.
                let ready = verifying.statement().map(|_| ()).map_err(|e| e.to_string());
                found.get_or_init(|| boundaries.and_then(|boundaries| ready.map(|()| boundaries)));
                // If nobody waits, the job is over.
                let _ = known_sender.send(true);
            }
        };
        let backend = Self {
            prepared,
            truth: found,
            known,
            own_worker,
        };
        (backend, find)
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

/// Executes the job once more, and notes what it shows for the next run.
fn find_out(mut planner: LimitedWorker, segments: &[Segment], store: &Weak<Store>) -> Found {
    let boundaries = planner.within(|child| child.boundaries(segments));
    // The child is not needed any more, and its memory is wanted elsewhere.
    drop(planner);
    let (boundaries, _) = boundaries.map_err(|e| e.to_string())?;
    if let Some(store) = store.upgrade()
        && let Err(e) = store.set_truth(&boundaries)
    {
        tracing::warn!("the next run will have to find out again where segments begin and end: {e}");
    }
    Ok(boundaries)
}

impl JobBackend for EngineBackend {
    type Finding = Boundary;

    async fn ready(&self) -> Result<(), RunError> {
        let mut known = self.known.clone();
        // An error means that the value was sent, and that the sender is gone.
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

    fn instructions(&self, task: TaskId) -> u64 {
        match task {
            TaskId::Segment(index) => self.prepared.plan.segments[index as usize].num_insns,
            TaskId::Node(_) | TaskId::Final => 0,
        }
    }

    fn segment(&self, index: u32) -> Vec<u8> {
        postcard::to_stdvec(&self.prepared.plan.segments[index as usize]).expect("a segment is plain data")
    }

    fn examine(&self, task: TaskId, proof: &[u8]) -> Result<Boundary, Objection> {
        let Some(Ok(truth)) = self.truth.get() else {
            unreachable!("nothing is examined before it is ready");
        };
        let top_of_fast =
            self.prepared.final_form == FinalForm::Fast && task == TaskId::Node(self.prepared.tree.top());
        if top_of_fast && proof.len() > FAST_TOP_BYTES_MAX {
            return Err(Objection::Invalid(format!(
                "the proof of the top node has {} bytes, and {FAST_TOP_BYTES_MAX} are allowed where it becomes the final proof",
                proof.len()
            )));
        }
        let expected = self.expected(truth, task);
        if let Some(boundary) = self.prepared.verify(task, proof)? {
            let equals = boundary.check_equals(&expected);
            equals.map_err(|e| Objection::Invalid(e.to_string()))?;
        } else if task != TaskId::Final {
            let reason = "the child that verified it does not say which piece it covers";
            return Err(Objection::Unable(reason.into()));
        }
        Ok(expected)
    }

    fn persist(&self, task: TaskId, proof: BlobRef, finding: Boundary) -> Result<(), StoreError> {
        self.prepared
            .store
            .accept(self.prepared.keys[&task], proof, finding)
    }

    fn attempt(&self, task: TaskId, inputs: &[(TaskId, Vec<u8>)]) -> Attempt<Boundary> {
        let Prepared {
            tree,
            costs,
            final_form,
            ..
        } = &self.prepared;
        let make = match task {
            TaskId::Segment(_) => return Attempt::Unable("a segment is made of no proofs".into()),
            TaskId::Node(node) => Make::Node(level(node.level)),
            TaskId::Final => Make::Final(level(tree.top().level), *final_form),
        };
        let allowance = Allowance::of(costs[tree.place(task)]);
        let examine = |proof: &[u8]| self.examine(task, proof).map_err(|e| e.to_string());
        if let (Make::Final(_, FinalForm::Fast), [(_, top), (_, last)]) = (make, inputs)
            && let Ok(proof) = self.prepared.verifying.finish(level(tree.top().level), top, last)
            && let Ok(finding) = examine(&proof)
        {
            return Attempt::Made { proof, finding };
        }
        // If that fails, this finds out which proof is the cause.
        self.own_worker.attempt(allowance, make, inputs, examine)
    }

    fn stop(&self) {
        self.own_worker.stop();
    }

    fn forget(&self, task: TaskId, proof: Blob) -> Result<(), StoreError> {
        self.prepared.store.forget(self.prepared.keys[&task], proof)
    }

    fn note_leases(&self, begun: &[Held], ended: &[Held]) {
        if let Err(e) = self.prepared.store.note_leases(begun, ended) {
            tracing::warn!("after a crash, provers at work now would not be waited for: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use myriad_core::{Arities, NodeId, Tree};

    use super::*;

    const SEGMENTS: u32 = 4;
    /// The objection to a proof of so many bytes, where nothing can be verified.
    fn examined(form: FinalForm, task: impl Fn(&Tree) -> TaskId, bytes: usize) -> Objection {
        let dir = tempfile::tempdir().unwrap();
        let arities = Arities {
            leaf: 2,
            internal_for_leaf: 2,
            internal_recursive: 2,
        };
        let prepared = Prepared::without_program(dir.path(), Tree::new(SEGMENTS, arities), form);
        let own_worker = OwnWorker::new(Arc::clone(&prepared.program));
        // Two counters, two roots of eight words, and no exit code.
        let boundary: Boundary = postcard::from_bytes(&[0; 2 + 2 * 8 + 1]).unwrap();
        let backend = EngineBackend {
            truth: Arc::new(OnceLock::from(Ok(vec![boundary; SEGMENTS as usize]))),
            known: watch::channel(true).1,
            own_worker,
            prepared,
        };
        let task = task(&backend.prepared.tree);
        backend.examine(task, &vec![0; bytes]).unwrap_err()
    }

    /// A valid proof may be padded, and the file of the final proof has that of the top node in
    /// hex: it would be longer than verifiers allow.
    #[test]
    fn a_top_node_that_would_make_the_final_proof_too_long_is_refused() {
        let top = |tree: &Tree| TaskId::Node(tree.top());
        let found = examined(FinalForm::Fast, top, FAST_TOP_BYTES_MAX + 1);
        assert!(
            matches!(&found, Objection::Invalid(reason) if reason.contains("becomes the final proof")),
            "{found:?}"
        );
        // The rest of the file needs this much.
        const { assert!(FINAL_PROOF_BYTES_MAX - 2 * FAST_TOP_BYTES_MAX >= 128 << 10) };
        let leaf = |_: &Tree| TaskId::Node(NodeId { level: 1, index: 0 });
        for (form, task, bytes) in [
            (
                FinalForm::Fast,
                &top as &dyn Fn(&Tree) -> TaskId,
                FAST_TOP_BYTES_MAX,
            ),
            (FinalForm::Fast, &leaf, FAST_TOP_BYTES_MAX + 1),
            (FinalForm::Small, &top, FAST_TOP_BYTES_MAX + 1),
        ] {
            // It is looked at.
            let found = examined(form, task, bytes);
            assert!(matches!(&found, Objection::Unable(_)), "{form:?}: {found:?}");
        }
    }
}
