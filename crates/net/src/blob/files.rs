//! The files of the store: their names, and how they get onto the disk. The store and fetches call
//! it; it knows nothing of quotas.
//!
//! ```text
//! DIR/ab/abcdef….blob      a blob, under its hash
//! DIR/partial/HASH.SIZE    a blob of SIZE bytes, as far as it has been fetched
//! DIR/partial/.half-…      a blob that is being written
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use myriad_core::Blob;

use super::{BlobRef, error::BlobError, index::Key};
use crate::durable::{make_dir, make_dir_below, sync_dir};

const PARTIAL: &str = "partial";
/// The beginning of the names of files that are being written.
const TEMPORARY_PREFIX: &str = ".half-";
/// The end of the names of blobs, so that a file of somebody's notes is not mistaken for one.
const BLOB_SUFFIX: &str = ".blob";
/// Bytes that are read at once where a file is hashed: enough for all of BLAKE3's lanes, and in the
/// cache.
const HASH_BUFFER_BYTES: usize = 128 << 10;

/// The places of things in a store's folder.
#[derive(Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    /// Whether the folder of the blobs that begin with a byte is on the disk.
    synced: [AtomicBool; 256],
}

/// A file that was found in the folder.
pub(super) struct Found {
    pub key: Key,
    pub bytes: u64,
    pub modified: std::time::SystemTime,
}

pub(super) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |reason| BlobError::Write { path, reason }
}

pub(super) fn read_error(path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |reason| BlobError::Read { path, reason }
}

impl Layout {
    /// Makes the folder if need be.
    pub(super) fn open(dir: &Path) -> Result<Self, BlobError> {
        let partial = dir.join(PARTIAL);
        make_dir(&partial).map_err(write_error(&partial))?;
        Ok(Self {
            dir: dir.to_owned(),
            synced: [const { AtomicBool::new(false) }; 256],
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn whole(&self, blob: &Blob) -> PathBuf {
        let name = hex::encode(blob.0);
        self.dir.join(&name[..2]).join(name + BLOB_SUFFIX)
    }

    pub(super) fn partial(&self, want: BlobRef) -> PathBuf {
        self.dir
            .join(PARTIAL)
            .join(format!("{}.{}", hex::encode(want.blob.0), want.bytes))
    }

    pub(super) fn path(&self, key: Key) -> PathBuf {
        match key {
            Key::Whole(blob) => self.whole(&blob),
            Key::Partial(want) => self.partial(want),
        }
    }

    /// Lists the files of the store in the folder. Files that are not ours are left alone.
    pub(super) fn scan(&self) -> Result<Vec<Found>, BlobError> {
        let mut found = Vec::new();
        for folder in list(&self.dir)? {
            let name = folder.file_name();
            let Some(name) = name.to_str() else { continue };
            if name != PARTIAL && name.len() != 2 {
                continue;
            }
            let path = folder.path();
            if !path.is_dir() {
                continue;
            }
            for file in list(&path)? {
                let file_name = file.file_name();
                let key = file_name.to_str().and_then(|file| {
                    if name == PARTIAL {
                        parse_partial(file)
                    } else {
                        parse_whole(name, file)
                    }
                });
                // Another process may remove it meanwhile.
                let (Some(key), Ok(meta)) = (key, file.metadata()) else {
                    continue;
                };
                if meta.is_file() {
                    found.push(Found {
                        key,
                        bytes: meta.len(),
                        modified: meta.modified().unwrap_or(std::time::UNIX_EPOCH),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Removes what processes that were killed have left half written.
    pub(super) fn remove_temporary(&self) -> Result<(), BlobError> {
        for file in list(&self.dir.join(PARTIAL))? {
            if file
                .file_name()
                .as_encoded_bytes()
                .starts_with(TEMPORARY_PREFIX.as_bytes())
            {
                let path = file.path();
                remove_unless_held(&path).map_err(write_error(&path))?;
            }
        }
        Ok(())
    }

    /// Writes a blob so that it is there whole or not at all, and stays.
    pub(super) fn write_whole(&self, blob: &Blob, bytes: &[u8]) -> Result<(), BlobError> {
        let path = self.whole(blob);
        let write = || -> io::Result<()> {
            let mut file = self.temporary()?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            let shard = self.make_shard(blob)?;
            file.persist(&path)?;
            sync_dir(&shard)
        };
        write().map_err(write_error(&path))
    }

    /// A new file, marked as in use for any other process that opens the folder.
    fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        loop {
            let mut builder = tempfile::Builder::new();
            builder.prefix(TEMPORARY_PREFIX);
            // A temporary file is for its owner alone; what becomes of this one is as readable as
            // the user wants new files to be.
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            let file = builder.tempfile_in(self.dir.join(PARTIAL))?;
            file.as_file().lock()?;
            // The file can have been swept away between being made and being locked.
            if file.path().exists() {
                return Ok(file);
            }
        }
    }

    /// Gives a file that has been fetched whole, and synced, the name of its blob.
    pub(super) fn promote(&self, want: BlobRef) -> Result<(), BlobError> {
        let path = self.whole(&want.blob);
        let rename = || -> io::Result<()> {
            let shard = self.make_shard(&want.blob)?;
            fs::rename(self.partial(want), &path)?;
            sync_dir(&shard)
        };
        rename().map_err(write_error(&path))
    }

    fn make_shard(&self, blob: &Blob) -> io::Result<PathBuf> {
        self.make_shard_with(blob, make_dir_below)
    }

    /// The folder of a blob, which is on the disk. It may be there and not be on it where another
    /// process has made it, so that it is looked after once.
    fn make_shard_with(
        &self,
        blob: &Blob,
        make: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        let shard = self.dir.join(&hex::encode(blob.0)[..2]);
        let synced = &self.synced[usize::from(blob.0[0])];
        if !synced.load(Ordering::Acquire) || !shard.is_dir() {
            make(&shard)?;
            synced.store(true, Ordering::Release);
        }
        Ok(shard)
    }

    /// Makes sure that the name of a blob that another process has written is durable too.
    pub(super) fn sync_name(&self, blob: &Blob) -> Result<(), BlobError> {
        let path = self.whole(blob);
        let shard = path.parent().expect("a blob is in a folder");
        sync_dir(shard)
            .and_then(|()| sync_dir(&self.dir))
            .map_err(write_error(&path))
    }
}

fn list(dir: &Path) -> Result<Vec<fs::DirEntry>, BlobError> {
    fs::read_dir(dir)
        .and_then(Iterator::collect)
        .map_err(read_error(dir))
}

fn parse_hash(hex: &str) -> Option<Blob> {
    let mut hash = [0; 32];
    hex::decode_to_slice(hex, &mut hash).ok()?;
    // Only the spelling that is looked for.
    (hex::encode(hash) == hex).then_some(Blob(hash))
}

fn parse_whole(folder: &str, file: &str) -> Option<Key> {
    let hex = file.strip_suffix(BLOB_SUFFIX)?;
    hex.starts_with(folder).then(|| parse_hash(hex))?.map(Key::Whole)
}

fn parse_partial(file: &str) -> Option<Key> {
    let (hex, size) = file.split_once('.')?;
    let bytes: u64 = size.parse().ok()?;
    (bytes.to_string() == size).then_some(())?;
    Some(Key::Partial(BlobRef {
        blob: parse_hash(hex)?,
        bytes,
    }))
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Removes a file that may not be there, unless a process is writing it. Says whether it is gone.
pub(super) fn remove_unless_held(path: &Path) -> io::Result<bool> {
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(e) => return Err(e),
    };
    match file.try_lock() {
        Ok(()) => remove(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// The hash of the rest of a file, and how long that is.
pub(super) fn hash(mut file: impl Read) -> io::Result<BlobRef> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
    }
    Ok(BlobRef {
        blob: Blob(*hasher.finalize().as_bytes()),
        bytes: hasher.count(),
    })
}

/// Whether `path` still names `file`.
pub(super) fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let named = match fs::metadata(path) {
        Ok(named) => named,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let meta = file.metadata()?;
        Ok((meta.dev(), meta.ino()) == (named.dev(), named.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, named);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_blob_is_synced_once_whoever_has_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let blob = Blob([0xab; 32]);
        let shard = dir.path().join("ab");
        // Another process has made it, and was killed.
        fs::create_dir(&shard).unwrap();
        let mut made = 0;
        let mut make = |blob: &Blob| {
            layout.make_shard_with(blob, |dir| {
                made += 1;
                make_dir_below(dir)
            })
        };
        assert_eq!(make(&blob).unwrap(), shard);
        assert_eq!(make(&blob).unwrap(), shard);
        // Somebody removes it while nothing is in it.
        fs::remove_dir(&shard).unwrap();
        assert_eq!(make(&blob).unwrap(), shard);
        assert!(shard.is_dir());
        make(&Blob([0xcd; 32])).unwrap();
        assert_eq!(made, 3);
        // A folder that was not synced is tried again.
        let other = Blob([0xef; 32]);
        let broken = |_: &Path| Err(io::Error::other("no disk"));
        assert!(layout.make_shard_with(&other, broken).is_err());
        assert!(layout.make_shard_with(&other, broken).is_err());
    }
}
