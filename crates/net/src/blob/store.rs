//! Blobs on disk, under a quota. The node puts and gets blobs; [`super::fetch()`] and
//! [`super::serve()`] write and read here too.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use myriad_core::Blob;
use tokio::sync::Mutex as AsyncMutex;

use super::{
    BLOB_BYTES_MAX, BlobRef,
    error::BlobError,
    files::{self, Layout, read_error, write_error},
    index::{Index, Key},
    trees::{HashTree, Trees},
};

/// Room is made for this many bytes at a time where a blob comes in piece by piece.
const FILL_BYTES: u64 = 1 << 20;

/// A folder of blobs, each in a file named by its hash. Cheap to clone; clones share everything.
///
/// Its methods wait for the disk. Two processes may use one folder: neither reads nor writes
/// anything half-made of the other's. Each counts the quota over the files that it has seen, and
/// may evict a blob that only the other has pinned.
#[derive(Clone, Debug)]
pub struct BlobStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    index: Mutex<Index>,
    trees: Trees,
}

/// Keeps a blob from being evicted for as long as it lives.
#[derive(Debug)]
#[must_use = "a blob is pinned only as long as this is held"]
pub struct Pin {
    store: BlobStore,
    blob: Blob,
}

/// A claim to room within the quota, for a file that is not there yet.
#[derive(Debug)]
pub(super) struct Room {
    store: BlobStore,
    /// The size that the file will have.
    claimed: u64,
    /// The bytes of it that may be written.
    filled: u64,
}

impl BlobStore {
    /// Opens the folder `dir`, which is made if need be, to hold at most `quota_bytes` of blobs.
    /// Files that are there count, and are evicted when a put or a fetch needs room. None is
    /// evicted here, before anyone could have pinned it.
    ///
    /// # Errors
    /// [`BlobError::Write`] or [`BlobError::Read`] where the folder cannot be used.
    pub fn open(dir: &Path, quota_bytes: u64) -> Result<Self, BlobError> {
        let layout = Layout::open(dir)?;
        layout.remove_temporary()?;
        let mut found = layout.scan()?;
        found.sort_by_key(|file| file.modified);
        let mut index = Index::new(quota_bytes);
        for file in found {
            index.found(file.key, file.bytes);
        }
        Ok(Self(Arc::new(Inner {
            layout,
            index: Mutex::new(index),
            trees: Trees::default(),
        })))
    }

    /// Keeps `bytes`; when this returns, they survive a crash. Does nothing if they are there
    /// already.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] over [`BLOB_BYTES_MAX`]; [`BlobError::Quota`] if no room can be
    /// made; [`BlobError::Write`] if the disk fails or is full, which leaves nothing behind.
    pub fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        let size = bytes.len() as u64;
        if size > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge {
                bytes: size,
                allowed: BLOB_BYTES_MAX,
            });
        }
        let blob_ref = BlobRef::of(bytes);
        let blob = blob_ref.blob;
        let _pin = self.pin(&blob);
        // A file that was there before is read, not trusted: the caller counts on it from now on.
        if self.checked(&blob)? == Some(size) {
            self.0.layout.sync_name(&blob)?;
            return Ok(blob_ref);
        }
        // The fetched part of it is of no use any more.
        let mut index = self.index();
        for key in index.files_of(blob) {
            if matches!(key, Key::Partial(_)) {
                self.evict(&mut index, key)?;
            }
        }
        drop(index);
        let mut room = self.claim(size)?;
        room.fill_to(size)?;
        self.0.layout.write_whole(&blob, bytes)?;
        self.arrived(blob_ref, room);
        Ok(blob_ref)
    }

    /// The bytes of a blob, checked against its hash, if it is there and of that size. A damaged
    /// file is removed and counts as missing.
    ///
    /// # Errors
    /// [`BlobError::Read`] if the disk fails.
    pub fn get(&self, want: BlobRef) -> Result<Option<Vec<u8>>, BlobError> {
        let BlobRef { blob, bytes: size } = want;
        match self.locate(&blob)? {
            Some(found) if found == size && size <= BLOB_BYTES_MAX => {}
            Some(_) => {
                self.checked(&blob)?;
                return Ok(None);
            }
            None => return Ok(None),
        }
        let path = self.0.layout.whole(&blob);
        let Some(file) = open_if_there(&path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(size as usize);
        // One more than there should be, to see that there are not more.
        file.take(size + 1)
            .read_to_end(&mut bytes)
            .map_err(read_error(&path))?;
        if BlobRef::of(&bytes) != want {
            self.remove_damaged(&blob)?;
            return Ok(None);
        }
        self.index().used(blob);
        Ok(Some(bytes))
    }

    /// The file of a blob, if it is there and of that size. Its bytes may be damaged.
    pub(super) fn open_whole(&self, want: BlobRef) -> Result<Option<File>, BlobError> {
        if self.locate(&want.blob)? != Some(want.bytes) {
            return Ok(None);
        }
        let file = open_if_there(&self.0.layout.whole(&want.blob))?;
        self.index().used(want.blob);
        Ok(file)
    }

    /// Whether a blob is there. It may be damaged, which only reading it finds out.
    pub fn contains(&self, blob: &Blob) -> bool {
        self.locate(blob).is_ok_and(|found| found.is_some())
    }

    /// The blobs that are there, those used last first, `count_max` at most.
    pub fn held(&self, count_max: usize) -> Vec<Blob> {
        self.index().held(count_max)
    }

    /// Blobs that were there and are not any more, found since the last call: their files were
    /// damaged, or somebody has removed them. Blobs that this store itself evicted or removed are
    /// not among them.
    pub fn take_lost(&self) -> Vec<Blob> {
        self.index().take_lost()
    }

    /// The bytes of the blobs that are there, whole or partly, or that room has been made for.
    pub fn used_bytes(&self) -> u64 {
        self.index().used_bytes()
    }

    /// The folder of the blobs.
    pub fn dir(&self) -> &Path {
        self.0.layout.dir()
    }

    /// The most bytes of blobs that it may hold.
    pub fn quota_bytes(&self) -> u64 {
        self.index().quota_bytes()
    }

    /// Sets the most bytes that it may hold from now on. The excess is evicted, but for pinned
    /// blobs.
    ///
    /// # Errors
    /// [`BlobError::Write`] if the disk fails.
    pub fn set_quota(&self, quota_bytes: u64) -> Result<(), BlobError> {
        let mut index = self.index();
        index.set_quota(quota_bytes);
        for key in index.excess() {
            self.evict(&mut index, key)?;
        }
        Ok(())
    }

    /// The bytes that can be put or fetched now, if everything goes that is not pinned.
    pub fn room_bytes(&self) -> u64 {
        self.index().room_bytes()
    }

    /// Keeps a blob from being evicted until the guard is dropped, whether it is there already or
    /// not.
    pub fn pin(&self, blob: &Blob) -> Pin {
        let mut index = self.index();
        index.pin(*blob);
        index.set_released(*blob, false);
        Pin {
            store: self.clone(),
            blob: *blob,
        }
    }

    /// A blob is not needed any more: when room is needed, it goes before others. Pinning or
    /// putting it again takes this back.
    pub fn release(&self, blob: &Blob) {
        self.index().set_released(*blob, true);
    }

    /// Removes a blob, pinned or not, and its fetched part unless a fetch is under way.
    ///
    /// # Errors
    /// [`BlobError::Write`] if the disk fails.
    pub fn remove(&self, blob: &Blob) -> Result<(), BlobError> {
        self.locate(blob)?;
        let mut index = self.index();
        for key in index.files_of(*blob) {
            self.evict(&mut index, key)?;
        }
        Ok(())
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // No invariant of it is broken midway.
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock that fetches of `blob` take turns by.
    pub(super) fn fetch_lock(&self, blob: Blob) -> Arc<AsyncMutex<()>> {
        self.index().fetch_lock(blob)
    }

    /// The length of a blob's file, if it is there. The index is brought up to date: another
    /// process may have written or removed the file.
    fn locate(&self, blob: &Blob) -> Result<Option<u64>, BlobError> {
        let path = self.0.layout.whole(blob);
        let key = Key::Whole(*blob);
        match fs::metadata(&path) {
            Ok(meta) => {
                self.index().found(key, meta.len());
                Ok(Some(meta.len()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.index().lost(*blob);
                Ok(None)
            }
            Err(e) => Err(read_error(&path)(e)),
        }
    }

    /// The length of a blob, if it is there and has the hash that its name says. A damaged one is
    /// removed.
    pub(super) fn checked(&self, blob: &Blob) -> Result<Option<u64>, BlobError> {
        if self.locate(blob)?.is_none() {
            return Ok(None);
        }
        let path = self.0.layout.whole(blob);
        let Some(file) = open_if_there(&path)? else {
            return Ok(None);
        };
        let actual = files::hash(file.take(BLOB_BYTES_MAX + 1)).map_err(read_error(&path))?;
        if actual.blob != *blob {
            self.remove_damaged(blob)?;
            return Ok(None);
        }
        Ok(Some(actual.bytes))
    }

    /// The size of a blob, if the file that is there has the size `bytes`, or otherwise is
    /// undamaged. A fetch asks this before it asks a peer.
    pub(super) fn present(&self, want: BlobRef) -> Result<Option<u64>, BlobError> {
        let found = self.locate(&want.blob)?;
        if found == Some(want.bytes) {
            let mut index = self.index();
            index.used(want.blob);
            index.set_released(want.blob, false);
            return Ok(found);
        }
        self.checked(&want.blob)
    }

    /// A blob to be served: its file, its size and its hash tree. A damaged one is removed.
    pub(super) fn open_to_serve(&self, blob: &Blob) -> Result<Option<(File, Arc<HashTree>)>, BlobError> {
        let Some(size) = self.locate(blob)? else {
            return Ok(None);
        };
        let path = self.0.layout.whole(blob);
        let Some(file) = open_if_there(&path)? else {
            return Ok(None);
        };
        self.index().used(*blob);
        let blob_ref = BlobRef {
            blob: *blob,
            bytes: size,
        };
        match self.0.trees.of(blob_ref, &file).map_err(read_error(&path))? {
            Some(tree) => Ok(Some((file, tree))),
            None => {
                self.remove_damaged(blob)?;
                Ok(None)
            }
        }
    }

    pub(super) fn remove_damaged(&self, blob: &Blob) -> Result<(), BlobError> {
        let mut index = self.index();
        index.lost(*blob);
        self.evict(&mut index, Key::Whole(*blob))
    }

    /// Removes a file and forgets it. The index stays locked, so that no file is pinned while it is
    /// removed.
    fn evict(&self, index: &mut Index, key: Key) -> Result<(), BlobError> {
        let path = self.0.layout.path(key);
        match key {
            Key::Whole(_) => files::remove(&path),
            // A partial file that another process is fetching just now is that one's to count.
            Key::Partial(_) => files::remove_unless_held(&path).map(drop),
        }
        .map_err(write_error(&path))?;
        index.gone(key);
        Ok(())
    }

    /// Claims room for a file of `bytes`.
    pub(super) fn claim(&self, bytes: u64) -> Result<Room, BlobError> {
        self.index().claim(bytes)?;
        Ok(Room {
            store: self.clone(),
            claimed: bytes,
            filled: 0,
        })
    }

    /// A whole file is in place that there was room for.
    pub(super) fn arrived(&self, blob_ref: BlobRef, room: Room) {
        drop(room);
        let mut index = self.index();
        index.found(Key::Whole(blob_ref.blob), blob_ref.bytes);
        index.used(blob_ref.blob);
    }

    /// A partial file is being fetched again, and counted by the room for the whole of it.
    pub(super) fn resumed(&self, want: BlobRef) {
        self.index().gone(Key::Partial(want));
    }

    /// A partial file stays, with this many bytes.
    pub(super) fn interrupted(&self, want: BlobRef, bytes: u64) {
        self.index().found(Key::Partial(want), bytes);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.index().unpin(self.blob);
    }
}

impl Room {
    /// Makes room for the first `bytes` of the file, by evicting others if need be.
    pub(super) fn fill_to(&mut self, bytes: u64) -> Result<(), BlobError> {
        debug_assert!(bytes <= self.claimed);
        if bytes > self.filled {
            let more = (bytes - self.filled).max(FILL_BYTES.min(self.claimed - self.filled));
            let mut index = self.store.index();
            for key in index.make_room(more)? {
                self.store.evict(&mut index, key)?;
            }
            index.fill(more);
            self.filled += more;
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.store.index().unclaim(self.claimed, self.filled);
    }
}

fn open_if_there(path: &Path) -> Result<Option<File>, BlobError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(read_error(path)(e)),
    }
}
