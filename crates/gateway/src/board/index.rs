//! The jobs in their order, also by their states, so that a part of a list takes no longer when
//! there are many.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use myriad_api::JobState;
use myriad_core::JobId;

use super::Slot;

/// When a job was first submitted, and its id: the order of lists, backwards.
pub(super) type Key = (u64, JobId);

#[derive(Default)]
pub(super) struct Index {
    known: HashMap<JobId, Known>,
    order: BTreeSet<Key>,
    by_state: [BTreeSet<Key>; JobState::ALL.len()],
    /// The jobs that the service has in mind, or that somebody listens to.
    pub slots: HashMap<JobId, Arc<Slot>>,
    /// The jobs of `slots` that are over. The one that ended first comes first.
    pub over: VecDeque<JobId>,
    /// The count that the ring of a new slot begins at: above those of all slots that are gone, of
    /// which a client may still name an event.
    pub counted: u64,
}

struct Known {
    key: Key,
    state: JobState,
    resumable: bool,
}

impl Index {
    pub(super) fn set(&mut self, id: JobId, submitted_ms: u64, state: JobState, resumable: bool) {
        self.remove(id);
        let key = (submitted_ms, id);
        self.known.insert(
            id,
            Known {
                key,
                state,
                resumable,
            },
        );
        self.order.insert(key);
        self.by_state[state as usize].insert(key);
    }

    /// A job whose place is known has another state.
    pub(super) fn turn(&mut self, id: JobId, state: JobState) {
        if let Some(known) = self.known.get_mut(&id)
            && known.state != state
        {
            self.by_state[known.state as usize].remove(&known.key);
            self.by_state[state as usize].insert(known.key);
            known.state = state;
        }
    }

    pub(super) fn remove(&mut self, id: JobId) {
        if let Some(Known { key, state, .. }) = self.known.remove(&id) {
            self.order.remove(&key);
            self.by_state[state as usize].remove(&key);
        }
    }

    /// The keys before this one, the last of them first.
    pub(super) fn before(&self, state: Option<JobState>, before: Option<Key>, limit: usize) -> Vec<Key> {
        let keys = state.map_or(&self.order, |state| &self.by_state[state as usize]);
        let keys: Box<dyn Iterator<Item = &Key>> = match before {
            Some(before) => Box::new(keys.range(..before).rev()),
            None => Box::new(keys.iter().rev()),
        };
        keys.take(limit).copied().collect()
    }

    pub(super) fn counts(&self) -> [u64; JobState::ALL.len()] {
        JobState::ALL.map(|state| self.by_state[state as usize].len() as u64)
    }

    /// The jobs that are not over.
    pub(super) fn live(&self) -> Vec<JobId> {
        let live = JobState::ALL.into_iter().filter(|state| !state.is_over());
        live.flat_map(|state| &self.by_state[state as usize])
            .map(|(_, id)| *id)
            .collect()
    }

    pub(super) fn resumable(&self) -> Vec<JobId> {
        let interrupted = self.by_state[JobState::Interrupted as usize].iter();
        interrupted
            .map(|(_, id)| *id)
            .filter(|id| self.known.get(id).is_some_and(|known| known.resumable))
            .collect()
    }
}

/// The text of a key: a list's cursor.
pub(super) fn cursor_of((submitted_ms, id): Key) -> String {
    format!("{submitted_ms}-{id}")
}

pub(super) fn key_of(cursor: &str) -> Option<Key> {
    let (submitted_ms, id) = cursor.split_once('-')?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(id, &mut bytes).ok()?;
    let key = (submitted_ms.parse().ok()?, JobId(bytes));
    (cursor_of(key) == cursor).then_some(key)
}
