//! The journal of a job on disk, so that the job continues where it stopped.
//!
//! ```text
//! DATA_DIR/jobs/JOB_ID/journal.redb    accepted   which tasks are done: TaskKey -> blob and boundary
//!                                      planned    how the execution was cut, and what is true of its segments
//!                                      leases     which peer held which task
//! DATA_DIR/jobs/JOB_ID/others          the blobs that were there before, and were not of the job; see others
//! DATA_DIR/jobs/lock                   shared by all that work on a job; see crate::records
//! DATA_DIR/jobs/cleaning               of the process that removes jobs; shared by those that begin one, for so long
//! DATA_DIR/blobs/                      the proofs themselves, by their hash; see myriad_net::blob
//! ```
//!
//! A proof is durable before the journal names it, and the journal's entry before anything counts
//! on it. An entry whose blob is missing or damaged counts as missing, and its task is done again.
//! The journal is open in one process at a time, which makes it the lock of the job.
//!
//! The plan is kept because another run with other free memory would cut elsewhere, and find no
//! proofs of its segments. It also takes minutes to make if the execution is long.

mod locks;
mod others;
mod planning;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use myriad_core::{Blob, JobId, Peer, TaskId};
use myriad_engine::{Boundary, Loaded};
use myriad_net::{
    blob::{BlobError, BlobRef, BlobStore, Pin},
    durable::{above, make_dir, sync_dir},
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::others::Others;
pub use self::planning::Planned;
pub(crate) use self::{
    locks::{beginning, cleaning, jobs_lock},
    others::others_of_all,
    planning::Growing,
};
use crate::database::GuardedDatabase;

/// The version of the journal's tables. Raised when older builds would misread them. `accepted` is
/// the same in all versions. Version 1 had no other table. Version 2 encodes plans otherwise: see
/// [`OTHER_PLANS`].
const JOURNAL_VERSION: u32 = 3;
/// The last version whose plans have another encoding.
const OTHER_PLANS: u32 = 2;
const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
const VERSION_KEY: &str = "version";
/// The accepted proofs: from [`TaskKey`] to postcard of [`Entry`].
const ACCEPTED: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("accepted");
/// See [`planning`].
const PLANNED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("planned");
/// Postcard of a task and of a peer that holds it.
const LEASES: TableDefinition<'_, &[u8], ()> = TableDefinition::new("leases");
/// The beginning of the names of files that are being written.
const TEMPORARY_PREFIX: &str = ".half-";

/// Identifies a task of a job by what its proof covers, so that proofs are found again even where
/// another memory budget cuts the execution elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskKey(pub(crate) [u8; 32]);

/// A proof that has been verified, with the facts that it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub boundary: Boundary,
    pub proof: Vec<u8>,
}

/// The journal's entry of a task that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub proof: BlobRef,
    pub boundary: Boundary,
}

/// The lease of a task, and the peer that holds it.
pub(crate) type Held = (TaskId, Peer);

/// The journal and the proofs of one job. It is locked for as long as this value lives.
pub struct Store {
    path: PathBuf,
    journal: GuardedDatabase,
    blobs: BlobStore,
    /// Blobs that the journal names must stay.
    pins: Mutex<Vec<Pin>>,
    /// The blobs that `jobs gc` may take for rubbish while the journal is locked.
    others: Others,
    /// Keeps `jobs gc` from removing the blobs of a job whose journal it cannot read.
    _in_use: File,
}

/// Why the disk failed.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot write {}: {reason}; nothing that was accepted is lost: free some space or name another folder with --data-dir or --out, and run the same command again", path.display())]
    Write { path: PathBuf, reason: io::Error },
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("a proof of the journal {} was there when the job began and is damaged or missing now; run the same command again, and it makes the proof once more", path.display())]
    Vanished { path: PathBuf },
    #[error("another process is proving the same job (it holds {}); wait for it, and the same command will find its proofs", path.display())]
    Busy { path: PathBuf },
    #[error("the journal {} has version {found}, and this build reads {known}: use a build that is as new, or another --data-dir", path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("the journal {} is damaged ({reason}); move it away, and the job begins again with the proofs that are still there", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("another prover is running on this data folder (it holds {}); name another one with --data-dir", path.display())]
    InUse { path: PathBuf },
    #[error("the disk failed: {reason}")]
    Disk { reason: String },
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// Identifies the request to prove a program on an input: the same program, configuration and input
/// have the same id.
pub fn job_id(loaded: &Loaded) -> JobId {
    let mut hasher = blake3::Hasher::new_derive_key("myriad job v1");
    hasher.update(&loaded.program).update(&loaded.input);
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

/// The blobs of a data folder, which other jobs use, too.
///
/// # Errors
/// [`StoreError::Blobs`] if the folder cannot be used.
pub fn open_blobs(data_dir: &Path, quota_bytes: u64) -> Result<BlobStore, StoreError> {
    Ok(BlobStore::open(&data_dir.join("blobs"), quota_bytes)?)
}

/// The folder of a job.
pub(crate) fn job_dir(data_dir: &Path, job: JobId) -> PathBuf {
    data_dir.join("jobs").join(job.to_string())
}

/// Its journal, which is locked while a process works on the job.
pub(crate) fn journal_path(data_dir: &Path, job: JobId) -> PathBuf {
    job_dir(data_dir, job).join("journal.redb")
}

impl Store {
    /// Opens the journal of a job below `data_dir`, and locks it. `blobs` are those of the same
    /// folder.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process holds it; see [`StoreError`] for the rest.
    pub fn open(data_dir: &Path, job: JobId, blobs: BlobStore) -> Result<Self, StoreError> {
        let path = journal_path(data_dir, job);
        let unwritable = |reason| StoreError::Write {
            path: path.clone(),
            reason,
        };
        make_dir(&data_dir.join("jobs")).map_err(unwritable)?;
        let _beginning = beginning(data_dir)?;
        make_dir(&job_dir(data_dir, job)).map_err(unwritable)?;
        let in_use = jobs_lock(data_dir)?;
        in_use.lock_shared().map_err(unwritable)?;
        let journal = open_journal(&path)?;
        let mut store = Self {
            path,
            journal,
            blobs,
            pins: Mutex::default(),
            others: Others::none(&job_dir(data_dir, job)),
            _in_use: in_use,
        };
        store.migrate()?;
        let own = store.journal.run(named).map_err(|e| failed(&store.path, e))?;
        let own = own.into_values().map(|proof| proof.blob).collect();
        store.others.note(store.blobs.held(usize::MAX), &own);
        Ok(store)
    }

    /// The proofs in the journal of a job that nobody works on, by the pieces that they cover. Does
    /// not wait for others that work on the jobs of the folder.
    pub(crate) fn names(data_dir: &Path, job: JobId) -> Result<BTreeMap<[u8; 32], BlobRef>, StoreError> {
        let path = journal_path(data_dir, job);
        let journal = open_journal(&path)?;
        journal.run(named).map_err(|e| failed(&path, e))
    }

    /// Makes a journal of this version from an older one, or from none.
    fn migrate(&self) -> Result<(), StoreError> {
        let found = self.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let found = meta.get(VERSION_KEY)?.map(|version| version.value());
            if found.is_none_or(|found| found <= JOURNAL_VERSION) {
                // The table of accepted proofs is that of version 1; those that it lacks are made
                // empty.
                meta.insert(VERSION_KEY, JOURNAL_VERSION)?;
                transaction.open_table(ACCEPTED)?;
                let mut planned = transaction.open_table(PLANNED)?;
                let mut leases = transaction.open_table(LEASES)?;
                if found.is_some_and(|found| found <= OTHER_PLANS) {
                    // The job is planned again, and the proofs of its segments are found again.
                    planned.retain(|_, _| false)?;
                    leases.retain(|_, ()| false)?;
                }
            }
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

    /// The changes that `change` makes are durable when this returns, or have not happened.
    fn write<T>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let write = |journal: &Database| {
            let transaction = journal.begin_write()?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        self.journal.run(write).map_err(|e| failed(&self.path, e))
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let read = |journal: &Database| look(&journal.begin_read()?);
        self.journal.run(read).map_err(|e| failed(&self.path, e))
    }

    /// The entries of the tasks that are done and whose proofs are still there. They stay there
    /// from now on.
    pub(crate) fn entries<T: Ord>(
        &self,
        keys: impl Iterator<Item = (T, TaskKey)>,
    ) -> Result<BTreeMap<T, Entry>, StoreError> {
        let found = self.read(|transaction| {
            let accepted = transaction.open_table(ACCEPTED)?;
            let mut found = Vec::new();
            for (task, key) in keys {
                if let Some(bytes) = accepted.get(&key.0)?
                    && let Ok(entry) = postcard::from_bytes::<Entry>(bytes.value())
                {
                    found.push((task, entry));
                }
            }
            Ok(found)
        })?;
        let there = found.into_iter().filter(|(_, entry)| {
            self.pin(entry.proof);
            self.blobs.contains(&entry.proof.blob)
        });
        Ok(there.collect())
    }

    /// The leases that were noted last.
    pub(crate) fn leases(&self) -> Result<Vec<Held>, StoreError> {
        self.read(|transaction| {
            let mut leases = Vec::new();
            for row in transaction.open_table(LEASES)?.iter()? {
                leases.extend(postcard::from_bytes::<Held>(row?.0.value()));
            }
            Ok(leases)
        })
    }

    /// Notes the changes in which peer holds which task.
    pub(crate) fn note_leases(&self, begun: &[Held], ended: &[Held]) -> Result<(), StoreError> {
        let encoded = |held: &Held| postcard::to_stdvec(held).expect("a lease is plain data");
        self.write(|transaction| {
            let mut leases = transaction.open_table(LEASES)?;
            for held in ended {
                leases.remove(encoded(held).as_slice())?;
            }
            for held in begun {
                leases.insert(encoded(held).as_slice(), ())?;
            }
            Ok(())
        })
    }

    /// The accepted proof of a task, if there is a whole one.
    pub(crate) fn get(&self, key: TaskKey) -> Result<Option<Accepted>, StoreError> {
        let Some(Entry { proof, boundary }) = self.entries([((), key)].into_iter())?.remove(&()) else {
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

    /// Keeps an accepted proof. When this returns, it survives a crash.
    pub(crate) fn put(&self, key: TaskKey, accepted: &Accepted) -> Result<BlobRef, StoreError> {
        let proof = self.blobs.put(&accepted.proof)?;
        self.accept(key, proof, accepted.boundary)?;
        Ok(proof)
    }

    /// Notes that a proof among the blobs is accepted. When this returns, the note survives a
    /// crash.
    pub(crate) fn accept(&self, key: TaskKey, proof: BlobRef, boundary: Boundary) -> Result<(), StoreError> {
        self.pin(proof);
        self.others.is_own(&proof.blob);
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

    /// Notes that an accepted proof does not count any more, if the journal still has it. When this
    /// returns, it is not found again.
    pub(crate) fn forget(&self, key: TaskKey, proof: Blob) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut accepted = transaction.open_table(ACCEPTED)?;
            let is_it = accepted.get(&key.0)?.is_some_and(|bytes| {
                postcard::from_bytes::<Entry>(bytes.value()).is_ok_and(|entry| entry.proof.blob == proof)
            });
            if is_it {
                accepted.remove(&key.0)?;
            }
            Ok(())
        })
    }

    fn pin(&self, proof: BlobRef) {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.push(self.blobs.pin(&proof.blob));
    }
}

fn open_journal(path: &Path) -> Result<GuardedDatabase, StoreError> {
    GuardedDatabase::open(path).map_err(|e| failed(path, e))
}

/// The proofs that a journal names, by the pieces that they cover.
fn named(journal: &Database) -> Result<BTreeMap<[u8; 32], BlobRef>, redb::Error> {
    let transaction = journal.begin_read()?;
    let accepted = match transaction.open_table(ACCEPTED) {
        // It was made, and no more.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        table => table?,
    };
    let mut named = BTreeMap::new();
    for row in accepted.iter()? {
        let (key, entry) = row?;
        if let Ok(entry) = postcard::from_bytes::<Entry>(entry.value()) {
            named.insert(*key.value(), entry.proof);
        }
    }
    Ok(named)
}

/// The database's error, in our words.
fn failed(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::Busy { path },
        redb::Error::Io(reason) => StoreError::Write { path, reason },
        redb::Error::Corrupted(reason) => StoreError::Damaged { path, reason },
        e => StoreError::Damaged {
            path,
            reason: e.to_string(),
        },
    }
}

/// Writes a file durably, so that it is there whole or not at all. Makes its folder if need be.
pub(crate) fn write_durably(path: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
    let dir = above(path);
    let write = || -> io::Result<()> {
        make_dir(dir)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX);
        // A temporary file is for its owner alone. The final file is as readable as the user wants
        // new files to be.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(dir)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_dir(dir)
    };
    write().map_err(|reason| StoreError::Write {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests;
