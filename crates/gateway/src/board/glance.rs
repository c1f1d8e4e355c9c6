//! What the board says without the disk, and without waiting.

use myriad_api::{EventId, Job};
use myriad_core::JobId;

use super::{Board, Inner};

impl Board {
    /// A job that is in mind. None: ask [`Board::job`], which may take as long as the disk does.
    pub fn job_in_mind(&self, id: JobId) -> Option<Job> {
        self.glance(id, |inner| Some(inner.live.as_ref()?.document(id)))
    }

    /// The last event of a job that is in mind: until the next one, its tasks are the same.
    pub fn last_event(&self, id: JobId) -> Option<EventId> {
        self.glance(id, |inner| {
            inner.live.as_ref().map(|_| EventId {
                start: self.0.start,
                count: inner.ring.last(),
            })
        })
    }

    /// None where the job's lock is held: its holder may be writing to the disk.
    fn glance<T>(&self, id: JobId, of: impl FnOnce(&Inner) -> Option<T>) -> Option<T> {
        let slot = self.slot_if_any(id)?;
        let inner = slot.inner.try_lock().ok()?;
        of(&inner)
    }
}
