//! Jobs that are gone from the disk: `myriad jobs gc` has removed them, or they left no record.

use myriad_api::JobState;
use myriad_core::JobId;

use super::{Board, lock};

impl Board {
    /// The jobs that are known, those that were submitted last first.
    pub(crate) fn ids(&self) -> Vec<JobId> {
        let keys = lock(&self.0.index).before(None, None, usize::MAX);
        keys.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether the board has a job in mind: then the disk is not all there is of it.
    pub(crate) fn is_in_mind(&self, id: JobId) -> bool {
        let slot = self.slot_if_any(id);
        slot.is_some_and(|slot| lock(&slot.inner).live.is_some())
    }

    /// Whether a job that has no record is noted as one that failed.
    pub(crate) fn has_failed(&self, id: JobId) -> bool {
        self.0
            .history
            .job(id)
            .is_some_and(|job| job.state == JobState::Failed)
    }

    /// Forgets a job that is not in mind and has no record, with the note on it.
    pub(crate) fn forget(&self, id: JobId) {
        self.0.history.forget(id);
        lock(&self.0.index).remove(id);
    }
}
