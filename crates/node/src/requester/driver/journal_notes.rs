//! The leases that the journal has, and the changes that it has yet to be told.

use std::{collections::BTreeSet, sync::Arc};

use myriad_core::{Peer, TaskId};
use tokio::task::JoinHandle;

use crate::requester::backend::JobBackend;

/// The leases as the journal has them.
pub(super) struct JournalNotes {
    /// The leases that it has now, or will have when `writing` is done.
    leases: BTreeSet<(TaskId, Peer)>,
    writing: Option<JoinHandle<()>>,
}

impl JournalNotes {
    /// `leases` is what an earlier run has left.
    pub(super) fn new(leases: BTreeSet<(TaskId, Peer)>) -> Self {
        Self {
            leases,
            writing: None,
        }
    }

    /// Whether a note is being written: the next one waits for it.
    pub(super) fn is_writing(&self) -> bool {
        self.writing
            .as_ref()
            .is_some_and(|writing| !writing.is_finished())
    }

    /// Makes durable which peer works on which task `now`, beside everything else.
    pub(super) fn note<J: JobBackend>(&mut self, now: BTreeSet<(TaskId, Peer)>, backend: &Arc<J>) {
        let begun: Vec<_> = now.difference(&self.leases).copied().collect();
        let ended: Vec<_> = self.leases.difference(&now).copied().collect();
        if begun.is_empty() && ended.is_empty() {
            return;
        }
        self.leases = now;
        let backend = Arc::clone(backend);
        self.writing = Some(tokio::task::spawn_blocking(move || {
            backend.note_leases(&begun, &ended);
        }));
    }

    /// Waits until the last note is written.
    pub(super) async fn written(&mut self) {
        if let Some(writing) = self.writing.take() {
            // If the disk failed, that was said already.
            let _ = writing.await;
        }
    }
}
