//! Accepted proofs on disk, so that a job goes on where it stopped.
//!
//! ```text
//! DATA_DIR/jobs/JOB_ID/journal.redb    which tasks are done: TaskKey -> blob and boundary
//! DATA_DIR/blobs/                      the proofs themselves, by their hash; see myriad_net::blob
//! ```
//!
//! A proof is durable before the journal names it, and the journal's entry before anything counts on
//! it. An entry whose blob is missing or damaged is taken for missing, and its task is done again. The
//! journal is open in one process at a time, which makes it the lock of the job.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use myriad_core::JobId;
use myriad_engine::{Boundary, Input, Program};
use myriad_net::blob::{BlobError, BlobRef, BlobStore, Pin};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of the journal's tables. Raised when older builds would misread them.
const JOURNAL_VERSION: u32 = 1;
const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
const VERSION_KEY: &str = "version";
/// From [`TaskKey`] to postcard of [`Entry`].
const ACCEPTED: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("accepted");
/// A journal has some hundred bytes for each task.
const JOURNAL_CACHE_BYTES: usize = 8 << 20;
/// How the names of files begin that are being written.
const TEMPORARY_PREFIX: &str = ".half-";

/// Identifies a task of a job by what its proof covers, so that proofs are found again even where
/// another memory budget cuts the execution elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskKey(pub(crate) [u8; 32]);

/// A proof that has been verified, with what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub boundary: Boundary,
    pub proof: Vec<u8>,
}

/// What the journal says of a task that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub proof: BlobRef,
    pub boundary: Boundary,
}

/// The proofs of one job. It is locked for as long as this value lives.
pub struct Store {
    path: PathBuf,
    journal: Database,
    blobs: BlobStore,
    /// What the journal names must stay.
    pins: Mutex<Vec<Pin>>,
}

/// Why the disk did not serve.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot write {}: {reason}; nothing that was accepted is lost: free some space or name another folder with --data-dir or --out, and run the same command again", path.display())]
    Write { path: PathBuf, reason: io::Error },
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("a proof of the journal {} was there when the job began and is damaged or missing now; run the same command again, and it will be proven anew", path.display())]
    Vanished { path: PathBuf },
    #[error("another process is proving the same job (it holds {}); wait for it, and the same command will find its proofs", path.display())]
    Busy { path: PathBuf },
    #[error("the journal {} has version {found}, and this build reads {known}: use a build that is as new, or another --data-dir", path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("the journal {} is damaged ({reason}); move it away, and the job begins anew with the proofs that are still there", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("another prover is running on this data folder (it holds {}); name another one with --data-dir", path.display())]
    InUse { path: PathBuf },
    #[error("the disk does not serve: {reason}")]
    Disk { reason: String },
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// Identifies the request to prove `program` on `input`: the same program, configuration and input
/// have the same id.
pub fn job_id(program: &Program, input: &Input) -> JobId {
    let mut hasher = blake3::Hasher::new_derive_key("myriad job v1");
    hasher.update(&program.hash()).update(&input.hash());
    JobId(*hasher.finalize().as_bytes())
}

impl TaskKey {
    /// The proof of `num_insns` instructions from `instret_start` on.
    pub(crate) fn segment(instret_start: u64, num_insns: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("myriad segment task v1");
        hasher
            .update(&instret_start.to_le_bytes())
            .update(&num_insns.to_le_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// The proof that aggregates those of `children`.
    pub(crate) fn node(level: u8, children: impl Iterator<Item = TaskKey>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("myriad aggregation task v1");
        hasher.update(&[level]);
        children.for_each(|child| {
            hasher.update(&child.0);
        });
        Self(*hasher.finalize().as_bytes())
    }
}

/// The blobs of a data folder, whole or in part of other jobs, too.
///
/// # Errors
/// [`StoreError::Blobs`] where the folder does not serve.
pub fn open_blobs(data_dir: &Path, quota_bytes: u64) -> Result<BlobStore, StoreError> {
    Ok(BlobStore::open(&data_dir.join("blobs"), quota_bytes)?)
}

impl Store {
    /// Opens the journal of a job below `data_dir`, and locks it. `blobs` are those of the same folder.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process holds it; see [`StoreError`] for the rest.
    pub fn open(data_dir: &Path, job: JobId, blobs: BlobStore) -> Result<Self, StoreError> {
        let dir = data_dir.join("jobs").join(job.to_string());
        let path = dir.join("journal.redb");
        fs::create_dir_all(&dir).map_err(|reason| StoreError::Write {
            path: path.clone(),
            reason,
        })?;
        let journal = Database::builder()
            .set_cache_size(JOURNAL_CACHE_BYTES)
            .create(&path)
            .map_err(|e| match e {
                DatabaseError::DatabaseAlreadyOpen => StoreError::Busy { path: path.clone() },
                DatabaseError::Storage(e) => failed(&path, e),
                e => StoreError::Damaged {
                    path: path.clone(),
                    reason: e.to_string(),
                },
            })?;
        let store = Self {
            path,
            journal,
            blobs,
            pins: Mutex::default(),
        };
        store.check_version()?;
        Ok(store)
    }

    fn check_version(&self) -> Result<(), StoreError> {
        let found = self.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let found = meta.get(VERSION_KEY)?.map(|version| version.value());
            if found.is_none() {
                meta.insert(VERSION_KEY, JOURNAL_VERSION)?;
            }
            transaction.open_table(ACCEPTED)?;
            Ok(found.unwrap_or(JOURNAL_VERSION))
        })?;
        if found > JOURNAL_VERSION {
            return Err(StoreError::Newer {
                path: self.path.clone(),
                found,
                known: JOURNAL_VERSION,
            });
        }
        Ok(())
    }

    /// What `change` does is durable when this returns, or has not happened.
    fn write<T>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let write = || -> Result<T, redb::Error> {
            let transaction = self.journal.begin_write()?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        write().map_err(|e| failed(&self.path, e))
    }

    /// What is known of a task that is done, if its proof is still there. It stays there from now on.
    pub(crate) fn entry(&self, key: TaskKey) -> Result<Option<Entry>, StoreError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let transaction = self.journal.begin_read()?;
            let accepted = transaction.open_table(ACCEPTED)?;
            Ok(accepted.get(&key.0)?.map(|bytes| bytes.value().to_vec()))
        };
        let bytes = read().map_err(|e| failed(&self.path, e))?;
        let entry = bytes.and_then(|bytes| postcard::from_bytes::<Entry>(&bytes).ok());
        Ok(entry.filter(|entry| {
            self.pin(entry.proof);
            self.blobs.contains(&entry.proof.blob)
        }))
    }

    /// The accepted proof of a task, if there is a whole one.
    pub(crate) fn get(&self, key: TaskKey) -> Result<Option<Accepted>, StoreError> {
        let Some(Entry { proof, boundary }) = self.entry(key)? else {
            return Ok(None);
        };
        let proof = self.blobs.get(proof)?;
        Ok(proof.map(|proof| Accepted { boundary, proof }))
    }

    /// The error of a proof that was there when the job began and is not there any more.
    pub(crate) fn vanished(&self) -> StoreError {
        StoreError::Vanished {
            path: self.path.clone(),
        }
    }

    /// Keeps an accepted proof; when this returns, it survives a crash.
    pub(crate) fn put(&self, key: TaskKey, accepted: &Accepted) -> Result<BlobRef, StoreError> {
        let proof = self.blobs.put(&accepted.proof)?;
        self.accept(key, proof, accepted.boundary)?;
        Ok(proof)
    }

    /// Notes that a proof which is among the blobs is accepted; when this returns, it survives a crash.
    pub(crate) fn accept(&self, key: TaskKey, proof: BlobRef, boundary: Boundary) -> Result<(), StoreError> {
        self.pin(proof);
        let entry = postcard::to_stdvec(&Entry { proof, boundary }).map_err(|e| StoreError::Write {
            path: self.path.clone(),
            reason: io::Error::other(e),
        })?;
        self.write(|transaction| {
            transaction
                .open_table(ACCEPTED)?
                .insert(&key.0, entry.as_slice())?;
            Ok(())
        })
    }

    fn pin(&self, proof: BlobRef) {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.push(self.blobs.pin(&proof.blob));
    }
}

/// What the database says, in our words.
fn failed(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    let path = path.to_owned();
    match error.into() {
        redb::Error::Io(reason) => StoreError::Write { path, reason },
        redb::Error::Corrupted(reason) => StoreError::Damaged { path, reason },
        e => StoreError::Damaged {
            path,
            reason: e.to_string(),
        },
    }
}

/// Writes a file so that it is there whole or not at all, and stays. Its folder is made if need be.
pub(crate) fn write_durably(path: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX);
        // A temporary file is for its owner alone; what becomes of this one is as readable as the user
        // wants new files to be.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(dir)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|reason| StoreError::Write {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests;
