//! The file that a blob is fetched into. Called by [`super::fetch()`] alone.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    path::PathBuf,
};

use tokio::sync::OwnedMutexGuard;

use super::{
    BlobRef, GROUP_BYTES,
    error::BlobError,
    files::{self, read_error, write_error},
    store::{BlobStore, Pin, Room},
};

/// The checked beginning of a blob. Room for the whole is claimed, and no other process writes it.
/// When it is dropped, it stays as it is for the next fetch.
pub(super) struct Partial {
    store: BlobStore,
    want: BlobRef,
    path: PathBuf,
    /// Locked against other processes.
    file: File,
    /// The bytes of the blob that are there: whole groups, or all.
    bytes: u64,
    room: Option<Room>,
    /// Whether the file has become the blob's, or is removed.
    is_gone: bool,
    _pin: Pin,
    /// Held against other fetches of this process.
    _turn: OwnedMutexGuard<()>,
}

/// The state that a fetch starts from.
pub(super) enum Opened {
    /// The blob is there, with this many bytes.
    Present(u64),
    Partial(Partial),
}

impl Partial {
    /// Opens what there is of a blob, and claims room for the rest.
    ///
    /// # Errors
    /// [`BlobError::Busy`] while another process has it, and those of the disk and the quota.
    pub(super) fn open(
        store: &BlobStore,
        want: BlobRef,
        turn: OwnedMutexGuard<()>,
    ) -> Result<Opened, BlobError> {
        let pin = store.pin(&want.blob);
        let path = store.layout().partial(want);
        let file = loop {
            if let Some(bytes) = store.present(want)? {
                return Ok(Opened::Present(bytes));
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(write_error(&path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(BlobError::Busy { path }),
                Err(TryLockError::Error(reason)) => return Err(write_error(&path)(reason)),
            }
            // Another process may have finished or removed the file before it was locked.
            if files::is_named(&file, &path).map_err(read_error(&path))? {
                break file;
            }
        };
        let found = file.metadata().map_err(read_error(&path))?.len();
        store.resumed(want);
        let mut partial = Self {
            store: store.clone(),
            want,
            path,
            file,
            bytes: whole_groups(found, want.bytes),
            room: None,
            is_gone: false,
            _pin: pin,
            _turn: turn,
        };
        partial.truncate().map_err(write_error(&partial.path))?;
        let mut room = store.claim(want.bytes)?;
        room.fill_to(partial.bytes)?;
        partial.room = Some(room);
        Ok(Opened::Partial(partial))
    }

    /// The bytes of the blob that are there.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a group that has been checked.
    pub(super) fn append(&mut self, group: &[u8]) -> Result<(), BlobError> {
        let bytes = self.bytes + group.len() as u64;
        let room = self.room.as_mut().expect("an open file has its room");
        room.fill_to(bytes)?;
        match self.file.write_all(group) {
            Ok(()) => {
                self.bytes = bytes;
                Ok(())
            }
            Err(reason) => {
                let error = write_error(&self.path)(reason);
                // An owner that makes space on a full disk needs this space too.
                if error.is_disk_full() || self.truncate().is_err() {
                    self.discard();
                }
                Err(error)
            }
        }
    }

    /// Checks the whole file, what earlier fetches or another run left included, and makes it the
    /// blob's, durably.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] if the disk did not keep the bytes that were written; the file is
    /// gone then.
    pub(super) fn finish(mut self) -> Result<(), BlobError> {
        let actual = self
            .file
            .seek(SeekFrom::Start(0))
            .and_then(|_| files::hash(&self.file))
            .map_err(read_error(&self.path))?;
        if actual != self.want {
            self.discard();
            return Err(BlobError::Damaged {
                path: self.path.clone(),
            });
        }
        if let Err(reason) = self.file.sync_all() {
            // The content of the file on the disk is not known now.
            self.discard();
            return Err(write_error(&self.path)(reason));
        }
        self.store.layout().promote(self.want)?;
        self.is_gone = true;
        let room = self.room.take().expect("an open file has its room");
        self.store.arrived(self.want, room);
        Ok(())
    }

    /// Cuts the file to the part that is known to be whole, and goes on there.
    fn truncate(&mut self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes)).map(drop)
    }

    fn discard(&mut self) {
        // A file that cannot be removed is counted when the folder is opened again.
        self.is_gone = files::remove(&self.path).is_ok();
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_gone && self.bytes == 0 {
            self.discard();
        }
        self.room = None;
        if !self.is_gone {
            self.store.interrupted(self.want, self.bytes);
        }
    }
}

/// The bytes that count of a file of `found` bytes: a group that was cut by a crash does not.
fn whole_groups(found: u64, bytes: u64) -> u64 {
    if found == bytes {
        bytes
    } else if found < bytes {
        found - found % GROUP_BYTES
    } else {
        0
    }
}
