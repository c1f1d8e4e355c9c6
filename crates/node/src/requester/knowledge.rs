//! What a requester knows of a job's plan and of its truth, both of which may come piece by piece
//! while the job is being proven.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use myriad_engine::{Boundary, Segment};
use tokio::sync::watch;

use crate::job::{Outset, Prepared};

/// The plan of a job, as far as it is known.
#[derive(Clone)]
pub(super) enum Stage {
    /// The first segments, and what is known without a plan.
    Growing(Vec<Segment>, Outset),
    Planned(Arc<Prepared>),
    /// The job is over.
    Over,
}

/// Of how much it is known what is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Of so many segments, from the first one on.
    First(usize),
    All,
    /// It cannot be found out.
    Never(String),
}

/// What is known of a job. Whoever plans it, and whoever finds out what is true, add to it.
pub(super) struct Knowledge {
    stage: RwLock<Stage>,
    truth: RwLock<Vec<Boundary>>,
    known: watch::Sender<Known>,
}

impl Knowledge {
    pub(super) fn new(stage: Stage) -> Arc<Self> {
        Arc::new(Self {
            stage: RwLock::new(stage),
            truth: RwLock::default(),
            known: watch::channel(Known::First(0)).0,
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

    /// So many of the first segments.
    pub(super) fn first_segments(&self, count: usize) -> Vec<Segment> {
        let stage = self.stage();
        let segments = match &*stage {
            Stage::Growing(segments, _) => segments.as_slice(),
            Stage::Planned(prepared) => &prepared.plan.segments,
            Stage::Over => &[],
        };
        segments.iter().take(count).cloned().collect()
    }

    /// The true boundaries of the first segments, or of all.
    pub(super) fn learn(&self, boundaries: Vec<Boundary>, all: bool) {
        let mut truth = self.truth.write().unwrap_or_else(PoisonError::into_inner);
        if !boundaries.starts_with(&truth) {
            drop(truth);
            return self.never("two executions of the program were not the same".into());
        }
        let count = boundaries.len();
        *truth = boundaries;
        drop(truth);
        self.known
            .send_replace(if all { Known::All } else { Known::First(count) });
    }

    pub(super) fn never(&self, reason: String) {
        self.known.send_replace(Known::Never(reason));
    }

    pub(super) fn known(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// The true boundary of the segments from one to another.
    pub(super) fn boundary(&self, first: usize, last: usize) -> Option<Boundary> {
        let truth = self.truth.read().unwrap_or_else(PoisonError::into_inner);
        Some(Boundary::join(truth.get(first)?, truth.get(last)?))
    }
}
