//! What a requester knows of a job's plan and of its truth, both of which may come piece by piece
//! while the job is being proven.

use std::{
    ops::Range,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    thread,
};

use myriad_core::TaskId;
use myriad_engine::{Boundary, Segment};
use tokio::sync::watch;

use crate::{
    RunError,
    job::{Outset, Prepared},
};

/// The plan of a job, as far as it is known.
#[derive(Clone)]
pub(super) enum Stage {
    /// The first segments, and what is known without a plan.
    Growing(Vec<Segment>, Box<Outset>),
    Planned(Arc<Prepared>),
    /// The job is over.
    Over,
}

/// What can be said about proofs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    /// Proofs can be verified.
    verifies: bool,
    /// The plan is there.
    planned: bool,
    /// The number of segments, from the first one on, whose true boundaries are known.
    covered: usize,
    /// Whether the truth about all tasks is known.
    all: bool,
    /// The reason for which nothing more will be known.
    never: Option<String>,
}

impl Coverage {
    /// Notes that nothing more will be known; the first reason stays.
    fn end(&mut self, reason: String) {
        self.never.get_or_insert(reason);
    }
}

/// The knowledge of a job. The planner, and the child that finds the truth, add to it.
pub(super) struct Knowledge {
    stage: RwLock<Stage>,
    truth: RwLock<Vec<Boundary>>,
    known: watch::Sender<Coverage>,
}

impl Knowledge {
    pub(super) fn new(stage: Stage) -> Arc<Self> {
        let known = Coverage {
            planned: matches!(stage, Stage::Planned(_)),
            ..Coverage::default()
        };
        Arc::new(Self {
            stage: RwLock::new(stage),
            truth: RwLock::default(),
            known: watch::channel(known).0,
        })
    }

    pub(super) fn stage(&self) -> RwLockReadGuard<'_, Stage> {
        self.stage.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Further segments are cut.
    pub(super) fn grow(&self, more: &[Segment]) {
        let mut stage = self.stage.write().unwrap_or_else(PoisonError::into_inner);
        if let Stage::Growing(segments, _) = &mut *stage {
            segments.extend_from_slice(more);
        }
    }

    /// The plan is there.
    pub(super) fn settle(&self, prepared: Prepared) {
        let mut stage = self.stage.write().unwrap_or_else(PoisonError::into_inner);
        if let Stage::Growing(..) = *stage {
            *stage = Stage::Planned(Arc::new(prepared));
            drop(stage);
            self.known.send_modify(|known| known.planned = true);
        }
    }

    /// The job is over: gives it back, if it had a plan.
    ///
    /// # Panics
    /// If somebody still works with the plan.
    pub(super) fn end(&self) -> Option<Prepared> {
        let mut stage = self.stage.write().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Planned(prepared) => {
                let prepared = Arc::try_unwrap(prepared).ok();
                Some(prepared.expect("those that work with the plan have ended"))
            }
            Stage::Growing(..) | Stage::Over => None,
        }
    }

    /// How many segments are known, and whether they are all. The last one shows public values,
    /// which nobody knows before the plan is there. None if the job is over.
    pub(super) fn first_count(&self) -> Option<(usize, bool)> {
        match &*self.stage() {
            Stage::Growing(segments, _) => {
                let last = segments.last().is_some_and(|segment| segment.last);
                Some((segments.len() - usize::from(last), false))
            }
            Stage::Planned(prepared) => Some((prepared.plan.segments.len(), true)),
            Stage::Over => None,
        }
    }

    /// The segments from one to before another, as far as they are known.
    pub(super) fn segments(&self, range: Range<usize>) -> Vec<Segment> {
        let stage = self.stage();
        let segments = match &*stage {
            Stage::Growing(segments, _) => segments.as_slice(),
            Stage::Planned(prepared) => &prepared.plan.segments,
            Stage::Over => &[],
        };
        let range = range.start.min(segments.len())..range.end.min(segments.len());
        segments[range].to_vec()
    }

    /// The true boundaries of the segments from `first` on. Whether they are the same as those that
    /// were known before.
    pub(super) fn learn(&self, first: usize, boundaries: &[Boundary]) -> bool {
        let mut truth = self.truth.write().unwrap_or_else(PoisonError::into_inner);
        let again = boundaries.len().min(truth.len().saturating_sub(first));
        let (again, new) = boundaries.split_at(again);
        if truth.get(first..first + again.len()) != Some(again) {
            drop(truth);
            self.never("two executions of the program gave different boundaries, as on a machine with bad memory: run the same command again, or on another machine".into());
            return false;
        }
        truth.extend_from_slice(new);
        let covered = truth.len();
        drop(truth);
        self.known.send_modify(|known| known.covered = covered);
        true
    }

    /// The true boundaries, as far as they are known.
    pub(super) fn truth(&self) -> Vec<Boundary> {
        self.truth.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The truth about all segments of the plan is known.
    pub(super) fn complete(&self) {
        self.known.send_modify(|known| known.all = true);
    }

    /// Notes that nothing more will be known, for this reason.
    pub(super) fn never(&self, reason: String) {
        self.known.send_modify(|known| known.end(reason));
    }

    /// Finds out whether proofs can be verified, beside everything else.
    pub(super) fn watch_verifier(self: &Arc<Self>) {
        let verifying = match &*self.stage() {
            Stage::Growing(_, outset) => outset.verifying.clone(),
            Stage::Planned(prepared) => prepared.verifying.clone(),
            Stage::Over => return,
        };
        let known = self.known.clone();
        thread::spawn(move || match verifying.statement() {
            Ok(_) => known.send_modify(|known| known.verifies = true),
            Err(e) => known.send_modify(|known| known.end(e.to_string())),
        });
    }

    /// Waits until proofs of all tasks can be verified and judged.
    pub(super) async fn wait_for_all(&self) -> Result<(), RunError> {
        self.wait(|known| known.verifies && known.all).await
    }

    /// Waits until a proof of a task can be verified. The last segment's shows public values, which
    /// the plan says.
    pub(super) async fn wait_to_verify(&self, task: TaskId) -> Result<(), RunError> {
        let is_known = match task {
            TaskId::Segment(index) => {
                let index = index as usize;
                let of_plan = self.segments(index..index + 1);
                of_plan.first().is_some_and(|segment| !segment.last)
            }
            TaskId::Node(_) | TaskId::Final => false,
        };
        self.wait(|known| known.verifies && (is_known || known.planned))
            .await
    }

    /// Waits until a proof of a task can be judged.
    pub(super) async fn wait_to_judge(&self, task: TaskId) -> Result<(), RunError> {
        self.wait(|known| match task {
            TaskId::Segment(index) => known.all || (index as usize) < known.covered,
            TaskId::Node(_) | TaskId::Final => known.all,
        })
        .await
    }

    async fn wait(&self, covers: impl Fn(&Coverage) -> bool) -> Result<(), RunError> {
        let mut known = self.known.subscribe();
        let settled = known.wait_for(|known| covers(known) || known.never.is_some());
        let known = settled.await.expect("its sender is here").clone();
        // What was known before stays true.
        if covers(&known) {
            return Ok(());
        }
        let reason = known.never.unwrap_or_default();
        Err(RunError::Truth { reason })
    }

    /// The true boundary of the segments from one to another.
    pub(super) fn boundary(&self, first: usize, last: usize) -> Option<Boundary> {
        let truth = self.truth.read().unwrap_or_else(PoisonError::into_inner);
        Some(Boundary::join(truth.get(first)?, truth.get(last)?))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use futures::FutureExt;
    use myriad_core::{Arities, Tree};
    use myriad_engine::FinalForm;

    use super::*;

    fn boundary(pc: u8) -> Boundary {
        let mut bytes = [0; 2 + 2 * 8 + 1];
        bytes[0] = pc;
        postcard::from_bytes(&bytes).unwrap()
    }

    /// A job of two segments whose plan is there.
    fn knowledge(dir: &std::path::Path) -> Arc<Knowledge> {
        let arities = Arities {
            leaf: 2,
            internal_for_leaf: 2,
            internal_recursive: 2,
        };
        let prepared = Prepared::without_program(dir, Tree::new(2, arities), FinalForm::Small);
        Knowledge::new(Stage::Planned(Arc::new(prepared)))
    }

    /// What is known by now; none if that is waited for.
    fn now(waiting: impl Future<Output = Result<(), RunError>>) -> Option<bool> {
        waiting.now_or_never().map(|known| known.is_ok())
    }

    #[test]
    fn what_was_known_stays_true_when_there_will_be_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let knowledge = knowledge(dir.path());
        let judged = |task| now(knowledge.wait_to_judge(task));
        let (first, second) = (TaskId::Segment(0), TaskId::Segment(1));
        assert_eq!(judged(first), None);
        assert!(knowledge.learn(0, &[boundary(1)]));
        assert_eq!((judged(first), judged(second)), (Some(true), None));
        assert_eq!(now(knowledge.wait_for_all()), None);
        knowledge.never("it was given up".into());
        assert_eq!((judged(first), judged(second)), (Some(true), Some(false)));
        assert_eq!(now(knowledge.wait_for_all()), Some(false));
        assert_eq!(
            now(knowledge.wait_to_verify(first)),
            Some(false),
            "nobody knew that it can be"
        );
    }

    #[test]
    fn an_execution_that_begins_again_has_to_show_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let knowledge = knowledge(dir.path());
        assert!(knowledge.learn(0, &[boundary(1)]));
        assert!(knowledge.learn(0, &[boundary(1), boundary(2)]));
        assert_eq!(knowledge.truth(), [boundary(1), boundary(2)]);
        assert!(!knowledge.learn(1, &[boundary(3)]));
        assert_eq!(knowledge.truth(), [boundary(1), boundary(2)]);
        assert_eq!(now(knowledge.wait_to_judge(TaskId::Final)), Some(false));
    }
}
