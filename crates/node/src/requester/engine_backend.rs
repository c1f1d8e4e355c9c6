//! The backend of a real job: engine children that execute, verify and prove, and the store.

use std::sync::{Arc, Weak};

use myriad_core::{Blob, TaskId};
use myriad_engine::{Boundary, FINAL_PROOF_BYTES_MAX, FinalForm, ProofOf, Segment};
use myriad_net::blob::BlobRef;

use super::{
    Attempt, JobBackend,
    knowledge::{Knowledge, Stage},
    own_worker::{Allowance, Make, OwnWorker},
};
use crate::{
    RunError, Store, StoreError,
    group::LimitedWorker,
    job::{Prepared, level},
    store::{Held, TaskKey},
    verifier_pool::Objection,
};

/// The most bytes of the proof of a top node that becomes the final proof as it is: the file has it
/// in hex. An honest one has some 300 kB. A padded one would leave no room for the rest.
const FAST_TOP_BYTES_MAX: usize = FINAL_PROOF_BYTES_MAX / 2 - (64 << 10);

/// The true boundaries of the segments.
pub(super) enum Truth {
    /// An earlier run has found them.
    Known(Vec<Boundary>),
    /// This child can find them, with the job loaded.
    Unknown(Box<LimitedWorker>),
}

/// A job whose proofs engine children examine, and whose journal keeps those that are accepted.
pub(super) struct EngineBackend {
    knowledge: Arc<Knowledge>,
    own_worker: OwnWorker,
}

impl EngineBackend {
    pub(super) fn new(knowledge: Arc<Knowledge>, own_worker: OwnWorker) -> Self {
        Self {
            knowledge,
            own_worker,
        }
    }

    /// The job, which has come to its end.
    pub(super) fn into_prepared(self) -> Prepared {
        let prepared = self.knowledge.end();
        prepared.expect("no job is done before its plan is there")
    }

    fn planned(&self) -> Option<Arc<Prepared>> {
        match &*self.knowledge.stage() {
            Stage::Planned(prepared) => Some(Arc::clone(prepared)),
            Stage::Growing(..) | Stage::Over => None,
        }
    }

    fn store(&self) -> Arc<Store> {
        match &*self.knowledge.stage() {
            Stage::Planned(prepared) => Arc::clone(&prepared.store),
            Stage::Growing(_, outset) => Arc::clone(&outset.store),
            Stage::Over => unreachable!("nothing is kept after the end"),
        }
    }

    /// What a segment is, and under which key its proof is stored.
    fn of_segment<T>(&self, index: u32, read: impl FnOnce(&Segment) -> T) -> T {
        let stage = self.knowledge.stage();
        let segments = match &*stage {
            Stage::Planned(prepared) => prepared.plan.segments.as_slice(),
            Stage::Growing(segments, _) => segments,
            Stage::Over => &[],
        };
        read(&segments[index as usize])
    }

    fn key(&self, task: TaskId) -> TaskKey {
        match (task, self.planned()) {
            (_, Some(prepared)) => prepared.keys[&task],
            (TaskId::Segment(index), None) => self.of_segment(index, |segment| {
                TaskKey::segment(segment.instret_start, segment.num_insns)
            }),
            _ => unreachable!("a plan that grows has only segments"),
        }
    }

    /// The true boundary of what a task covers; none if it is not known.
    fn expected(&self, task: TaskId) -> Option<Boundary> {
        let (first, last) = match (task, self.planned()) {
            (TaskId::Segment(index), _) => (index, index),
            (_, Some(prepared)) => prepared.tree.covered(task).into_inner(),
            (_, None) => return None,
        };
        self.knowledge.boundary(first as usize, last as usize)
    }

    /// Compares the boundary that a proof of a task shows with the true one.
    fn examine(&self, task: TaskId, proof: &[u8]) -> Result<Boundary, Objection> {
        self.judge(task, self.verify(task, proof)?)
    }
}

/// Finds out what is true of a job whose plan is there, and notes it for the next run. Blocks.
pub(super) fn find_out(truth: Truth, knowledge: &Weak<Knowledge>) {
    let known = || knowledge.upgrade();
    // A job that is given up must not stay locked until this ends.
    let Some(segments) = known().map(|known| known.segments(0..usize::MAX)) else {
        return;
    };
    let boundaries = match truth {
        Truth::Known(boundaries) => Ok(boundaries),
        Truth::Unknown(mut child) => {
            let found = child.within(|child| child.boundaries(&segments));
            // The child is not needed any more, and its memory is wanted elsewhere.
            drop(child);
            found.map(|(boundaries, _)| boundaries).map_err(|e| e.to_string())
        }
    };
    let Some(known) = known() else {
        return;
    };
    match boundaries {
        Ok(boundaries) => {
            if known.learn(0, &boundaries) {
                keep_truth(&known);
            }
        }
        Err(reason) => known.never(reason),
    }
}

/// All is known that is true, and the journal has it for the next run.
pub(super) fn keep_truth(knowledge: &Knowledge) {
    let store = match &*knowledge.stage() {
        Stage::Planned(prepared) => Arc::clone(&prepared.store),
        Stage::Growing(..) | Stage::Over => return,
    };
    let truth = knowledge.truth();
    if store.truth().ok().flatten().as_ref() != Some(&truth)
        && let Err(e) = store.set_truth(&truth)
    {
        tracing::warn!("the next run will have to find out again where segments begin and end: {e}");
    }
    drop(store);
    knowledge.complete();
}

impl JobBackend for EngineBackend {
    type Shown = Option<Boundary>;
    type Finding = Boundary;

    async fn ready(&self) -> Result<(), RunError> {
        self.knowledge.wait_for_all().await
    }

    async fn verifiable(&self, task: TaskId) -> Result<(), RunError> {
        self.knowledge.wait_to_verify(task).await
    }

    async fn judgeable(&self, task: TaskId) -> Result<(), RunError> {
        self.knowledge.wait_to_judge(task).await
    }

    fn instructions(&self, task: TaskId) -> u64 {
        match task {
            TaskId::Segment(index) => self.of_segment(index, |segment| segment.num_insns),
            TaskId::Node(_) | TaskId::Final => 0,
        }
    }

    fn segment(&self, index: u32) -> Vec<u8> {
        self.of_segment(index, |segment| {
            postcard::to_stdvec(segment).expect("a segment is plain data")
        })
    }

    fn verify(&self, task: TaskId, proof: &[u8]) -> Result<Option<Boundary>, Objection> {
        if let Some(prepared) = self.planned() {
            let is_top = task == TaskId::Node(prepared.tree.top());
            if prepared.final_form == FinalForm::Fast && is_top && proof.len() > FAST_TOP_BYTES_MAX {
                return Err(Objection::Invalid(format!(
                    "the proof of the top node has {} bytes, and {FAST_TOP_BYTES_MAX} are allowed where it becomes the final proof",
                    proof.len()
                )));
            }
            return prepared.verify(task, proof);
        }
        let verifying = match &*self.knowledge.stage() {
            Stage::Growing(_, outset) => outset.verifying.clone(),
            Stage::Planned(prepared) => prepared.verifying.clone(),
            Stage::Over => unreachable!("nothing is verified after the end"),
        };
        // The last segment's is verified when the plan is there.
        let of = ProofOf::Segment { public_values: None };
        Ok(verifying.verify(&of, proof)?.piece())
    }

    fn judge(&self, task: TaskId, shown: Option<Boundary>) -> Result<Boundary, Objection> {
        let Some(expected) = self.expected(task) else {
            unreachable!("nothing is judged before it is known what is true");
        };
        if let Some(boundary) = shown {
            let equals = boundary.check_equals(&expected);
            equals.map_err(|e| Objection::Invalid(e.to_string()))?;
        } else if task != TaskId::Final {
            let reason = "the child that verified it does not say which piece it covers";
            return Err(Objection::Unable(reason.into()));
        }
        Ok(expected)
    }

    fn persist(&self, task: TaskId, proof: BlobRef, finding: Boundary) -> Result<(), StoreError> {
        self.store().accept(self.key(task), proof, finding)
    }

    fn attempt(&self, task: TaskId, inputs: &[(TaskId, Vec<u8>)]) -> Attempt<Boundary> {
        let Some(prepared) = self.planned() else {
            return Attempt::Unable("the plan is not there yet".into());
        };
        let Prepared {
            tree,
            costs,
            final_form,
            ..
        } = &*prepared;
        let make = match task {
            TaskId::Segment(_) => return Attempt::Unable("a segment is made of no proofs".into()),
            TaskId::Node(node) => Make::Node(level(node.level)),
            TaskId::Final => Make::Final(level(tree.top().level), *final_form),
        };
        let allowance = Allowance::of(costs[tree.place(task)]);
        let examine = |proof: &[u8]| self.examine(task, proof).map_err(|e| e.to_string());
        if let (Make::Final(_, FinalForm::Fast), [(_, top), (_, last)]) = (make, inputs)
            && let Ok(proof) = prepared.verifying.finish(level(tree.top().level), top, last)
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
        self.store().forget(self.key(task), proof)
    }

    fn note_leases(&self, begun: &[Held], ended: &[Held]) {
        if let Err(e) = self.store().note_leases(begun, ended) {
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
        let task = task(&prepared.tree);
        let knowledge = Knowledge::new(Stage::Planned(Arc::new(prepared)));
        assert!(knowledge.learn(0, &vec![boundary; SEGMENTS as usize]));
        let backend = EngineBackend::new(knowledge, own_worker);
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
