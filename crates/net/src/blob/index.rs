//! The index of a store: the size of each file, whether it is needed, and which file goes first
//! when room is needed. It does no I/O.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use myriad_core::Blob;
use tokio::sync::Mutex as AsyncMutex;

use super::{BlobRef, error::BlobError};

/// Lost blobs that nobody has asked for yet. It is more than a job has proofs, each of which is
/// lost once.
const LOST_MAX: usize = 1 << 16;

/// A file of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Whole(Blob),
    /// A partial blob that no process is fetching now.
    Partial(BlobRef),
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    /// When it was used last, by [`Index::clock`].
    last_used: u64,
    /// Whether it was said to be needed no longer.
    released: bool,
}

#[derive(Debug)]
pub(super) struct Index {
    quota_bytes: u64,
    /// Counts uses, to put them in order. It is not a time.
    clock: u64,
    files: HashMap<Key, Entry>,
    /// The sum of the sizes in `files`.
    files_bytes: u64,
    /// Bytes of the files that are being written and are not in `files` yet.
    claimed_bytes: u64,
    /// The part of them for which room has been made.
    filled_bytes: u64,
    /// The number of pins of each blob. The blob need not be there yet.
    pins: HashMap<Blob, usize>,
    /// The fetch of each blob: one runs at a time, and the others wait here.
    fetches: HashMap<Blob, Weak<AsyncMutex<()>>>,
    /// Blobs that were there and are not any more, without this store's doing.
    lost: Vec<Blob>,
}

impl Key {
    pub(super) fn blob(&self) -> Blob {
        match self {
            Self::Whole(blob) => *blob,
            Self::Partial(want) => want.blob,
        }
    }
}

impl Index {
    pub(super) fn new(quota_bytes: u64) -> Self {
        Self {
            quota_bytes,
            clock: 0,
            files: HashMap::new(),
            files_bytes: 0,
            claimed_bytes: 0,
            filled_bytes: 0,
            pins: HashMap::new(),
            fetches: HashMap::new(),
            lost: Vec::new(),
        }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.files_bytes + self.filled_bytes
    }

    /// A file exists, new or as before.
    pub(super) fn found(&mut self, key: Key, bytes: u64) {
        match self.files.get_mut(&key) {
            Some(entry) => {
                self.files_bytes = self.files_bytes - entry.bytes + bytes;
                entry.bytes = bytes;
            }
            None => {
                self.clock += 1;
                self.files_bytes += bytes;
                let entry = Entry {
                    bytes,
                    last_used: self.clock,
                    released: false,
                };
                self.files.insert(key, entry);
            }
        }
    }

    /// A file is gone.
    pub(super) fn gone(&mut self, key: Key) {
        if let Some(entry) = self.files.remove(&key) {
            self.files_bytes -= entry.bytes;
        }
    }

    /// The file of a blob is damaged, or not there, and this store has not removed it.
    pub(super) fn lost(&mut self, blob: Blob) {
        if self.files.contains_key(&Key::Whole(blob)) {
            self.gone(Key::Whole(blob));
            // Some callers ask often, and others never do.
            if self.lost.len() < LOST_MAX {
                self.lost.push(blob);
            }
        }
    }

    pub(super) fn take_lost(&mut self) -> Vec<Blob> {
        std::mem::take(&mut self.lost)
    }

    pub(super) fn quota_bytes(&self) -> u64 {
        self.quota_bytes
    }

    pub(super) fn set_quota(&mut self, quota_bytes: u64) {
        self.quota_bytes = quota_bytes;
    }

    /// Bytes that nothing else is kept or claimed for that must stay.
    pub(super) fn room_bytes(&self) -> u64 {
        let evictable: u64 = self.evictable().map(|(_, entry)| entry.bytes).sum();
        let needed = self.files_bytes - evictable + self.claimed_bytes;
        self.quota_bytes.saturating_sub(needed)
    }

    /// The files that have to go so that no more is used than allowed, as far as that is possible.
    pub(super) fn excess(&self) -> Vec<Key> {
        let excess = self.used_bytes().saturating_sub(self.quota_bytes);
        let evictable: u64 = self.evictable().map(|(_, entry)| entry.bytes).sum();
        self.evicted_for(excess.min(evictable))
    }

    /// A blob was read.
    pub(super) fn used(&mut self, blob: Blob) {
        self.clock += 1;
        if let Some(entry) = self.files.get_mut(&Key::Whole(blob)) {
            entry.last_used = self.clock;
        }
    }

    /// A blob is needed, or not any more.
    pub(super) fn set_released(&mut self, blob: Blob, released: bool) {
        for (key, entry) in &mut self.files {
            if key.blob() == blob {
                entry.released = released;
            }
        }
    }

    /// The files that hold `blob` or parts of it.
    pub(super) fn files_of(&self, blob: Blob) -> Vec<Key> {
        self.files
            .keys()
            .copied()
            .filter(|key| key.blob() == blob)
            .collect()
    }

    /// Whole blobs, those used last first.
    pub(super) fn held(&self, count_max: usize) -> Vec<Blob> {
        let mut held: Vec<_> = self
            .files
            .iter()
            .filter_map(|(key, entry)| match key {
                Key::Whole(blob) => Some((entry.last_used, *blob)),
                Key::Partial(_) => None,
            })
            .collect();
        held.sort_unstable_by_key(|(last_used, _)| std::cmp::Reverse(*last_used));
        held.truncate(count_max);
        held.into_iter().map(|(_, blob)| blob).collect()
    }

    pub(super) fn pin(&mut self, blob: Blob) {
        *self.pins.entry(blob).or_default() += 1;
    }

    pub(super) fn unpin(&mut self, blob: Blob) {
        let count = self.pins.get_mut(&blob).expect("it was pinned");
        *count -= 1;
        if *count == 0 {
            self.pins.remove(&blob);
        }
    }

    /// Claims room for a file of `needed` bytes. Nothing goes yet: a stranger's announcement is not
    /// a reason to drop anything.
    ///
    /// # Errors
    /// [`BlobError::Quota`] if room could not be made for all that is claimed.
    pub(super) fn claim(&mut self, needed: u64) -> Result<(), BlobError> {
        let allowed = self.quota_bytes;
        let evictable: u64 = self.evictable().map(|(_, entry)| entry.bytes).sum();
        let used = self.files_bytes - evictable + self.claimed_bytes;
        if used.saturating_add(needed) > allowed {
            return Err(BlobError::Quota {
                needed,
                used,
                allowed,
            });
        }
        self.claimed_bytes += needed;
        Ok(())
    }

    /// The files that have to go before `bytes` of a claim are written: released ones first, then
    /// those that were not used for longest.
    ///
    /// # Errors
    /// [`BlobError::Quota`] if that is not enough, because more was pinned since the claim.
    pub(super) fn make_room(&self, bytes: u64) -> Result<Vec<Key>, BlobError> {
        let allowed = self.quota_bytes;
        let used = self.used_bytes();
        let excess = used.saturating_add(bytes).saturating_sub(allowed);
        let evictable: u64 = self.evictable().map(|(_, entry)| entry.bytes).sum();
        if excess > evictable {
            return Err(BlobError::Quota {
                needed: bytes,
                used,
                allowed,
            });
        }
        Ok(self.evicted_for(excess))
    }

    /// The files that go to gain this many bytes.
    fn evicted_for(&self, bytes: u64) -> Vec<Key> {
        let mut evictable: Vec<_> = self.evictable().collect();
        evictable.sort_unstable_by_key(|(_, entry)| (!entry.released, entry.last_used));
        let mut gained = 0;
        let mut evicted = Vec::new();
        for (key, entry) in evictable {
            if gained >= bytes {
                break;
            }
            gained += entry.bytes;
            evicted.push(*key);
        }
        evicted
    }

    fn evictable(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.files
            .iter()
            .filter(|(key, _)| !self.pins.contains_key(&key.blob()))
    }

    /// Room was made for `bytes` of a claim.
    pub(super) fn fill(&mut self, bytes: u64) {
        self.filled_bytes += bytes;
        debug_assert!(self.filled_bytes <= self.claimed_bytes);
    }

    /// Takes back a claim of `claimed` bytes, of which room was made for `filled`.
    pub(super) fn unclaim(&mut self, claimed: u64, filled: u64) {
        self.claimed_bytes -= claimed;
        self.filled_bytes -= filled;
    }

    /// The lock that fetches of `blob` take turns by.
    pub(super) fn fetch_lock(&mut self, blob: Blob) -> Arc<AsyncMutex<()>> {
        self.fetches.retain(|_, lock| lock.strong_count() > 0);
        let entry = self.fetches.entry(blob).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let lock = Arc::new(AsyncMutex::new(()));
            *entry = Arc::downgrade(&lock);
            lock
        })
    }
}
