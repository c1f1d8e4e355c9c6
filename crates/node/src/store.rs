//! Accepted proofs on disk, so that a job goes on where it stopped.
//!
//! ```text
//! DATA_DIR/jobs/JOB_ID/lock            held while a process works on the job
//! DATA_DIR/jobs/JOB_ID/TASK_KEY.proof  one accepted proof with its boundary, under a hash of its own
//! ```
//!
//! A file is written to a temporary name, synced and renamed: it is there whole or not at all. One
//! that is damaged all the same is taken for missing, and its task is done again.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use myriad_core::JobId;
use myriad_engine::{Boundary, Input, Program};
use serde::{Deserialize, Serialize};
use thiserror::Error;

const MAGIC: &[u8; 16] = b"myriad proof v1\n";
const HASH_BYTES: usize = 32;
/// How the names of files begin that are being written.
const TEMPORARY_PREFIX: &str = ".half-";
/// Most bytes of a proof file: the largest proof that the engine's verifier takes, and its boundary.
const PROOF_FILE_BYTES_MAX: u64 = 17 << 20;

/// Identifies a task of a job by what its proof covers, so that proofs are found again even where
/// another memory budget cuts the execution elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskKey(pub(crate) [u8; 32]);

/// A proof that has been verified, with what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub boundary: Boundary,
    pub proof: Vec<u8>,
}

/// The proofs of one job. It is locked for as long as this value lives.
pub struct Store {
    dir: PathBuf,
    _lock: File,
}

/// Why the disk did not serve.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot write {}: {reason}; nothing that was accepted is lost: free some space or name another folder with --data-dir or --out, and run the same command again", path.display())]
    Write { path: PathBuf, reason: io::Error },
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("{} was there when the job began and is damaged or missing now; run the same command again, and it will be proven anew", path.display())]
    Vanished { path: PathBuf },
    #[error("another process is proving the same job (it holds {}); wait for it, and the same command will find its proofs", path.display())]
    Busy { path: PathBuf },
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

impl Store {
    /// Opens the folder of a job below `data_dir`, and locks it.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process holds it; [`StoreError::Write`] where it cannot be made.
    pub fn open(data_dir: &Path, job: JobId) -> Result<Self, StoreError> {
        let dir = data_dir.join("jobs").join(job.to_string());
        fs::create_dir_all(&dir).map_err(|reason| StoreError::Write {
            path: dir.clone(),
            reason,
        })?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(|reason| StoreError::Write {
            path: path.clone(),
            reason,
        })?;
        match lock.try_lock() {
            Ok(()) => {
                remove_temporary(&dir).map_err(|reason| StoreError::Read {
                    path: dir.clone(),
                    reason,
                })?;
                Ok(Self { dir, _lock: lock })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy { path }),
            Err(TryLockError::Error(reason)) => Err(StoreError::Write { path, reason }),
        }
    }

    fn path(&self, key: TaskKey) -> PathBuf {
        self.dir.join(format!("{}.proof", hex::encode(key.0)))
    }

    /// The accepted proof of a task, if there is a whole one.
    pub(crate) fn get(&self, key: TaskKey) -> Result<Option<Accepted>, StoreError> {
        let path = self.path(key);
        let bytes = match fs::metadata(&path) {
            Ok(meta) if meta.len() > PROOF_FILE_BYTES_MAX => return Ok(None),
            Ok(_) => fs::read(&path).map_err(|reason| StoreError::Read { path, reason })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(StoreError::Read { path, reason }),
        };
        let body = bytes
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_at_checked(HASH_BYTES))
            .and_then(|(hash, body)| (blake3::hash(body).as_bytes() == hash).then_some(body));
        Ok(body.and_then(|body| postcard::from_bytes(body).ok()))
    }

    /// The error of a proof that was there when the job began and is not there any more.
    pub(crate) fn vanished(&self, key: TaskKey) -> StoreError {
        StoreError::Vanished { path: self.path(key) }
    }

    /// Keeps an accepted proof; when this returns, it survives a crash.
    pub(crate) fn put(&self, key: TaskKey, accepted: &Accepted) -> Result<(), StoreError> {
        let path = self.path(key);
        let body = postcard::to_stdvec(accepted).map_err(|e| StoreError::Write {
            path: path.clone(),
            reason: io::Error::other(e),
        })?;
        write_durably(&path, &[MAGIC, blake3::hash(&body).as_bytes(), &body])
    }
}

/// Removes what a process that was killed has left half written. Nobody else writes here now.
fn remove_temporary(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(TEMPORARY_PREFIX.as_bytes())
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
mod tests {
    use super::*;

    fn accepted() -> Accepted {
        // A root has no constructor outside the engine, and needs none: it decodes from what it encodes to.
        let root = "[1,2,3,4,5,6,7,8]";
        let json = format!(
            r#"{{"initial_pc":0,"final_pc":4,"initial_root":{root},"final_root":{root},"exit_code":null}}"#
        );
        Accepted {
            boundary: serde_json::from_str(&json).unwrap(),
            proof: vec![1, 2, 3],
        }
    }

    #[test]
    fn proofs_are_found_again_unless_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), JobId([7; 32])).unwrap();
        let key = TaskKey::segment(0, 10);
        assert_eq!(store.get(key).unwrap(), None);
        store.put(key, &accepted()).unwrap();
        assert_eq!(store.get(key).unwrap(), Some(accepted()));
        assert_eq!(store.get(TaskKey::segment(0, 11)).unwrap(), None);

        let whole = fs::read(store.path(key)).unwrap();
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            fs::write(store.path(key), &damaged).unwrap();
            assert_eq!(store.get(key).unwrap(), None, "bit flipped in byte {position}");
            fs::write(store.path(key), &whole[..position]).unwrap();
            assert_eq!(store.get(key).unwrap(), None, "cut to {position} bytes");
        }
    }

    #[test]
    fn what_was_half_written_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let job = JobId([7; 32]);
        let store = Store::open(data.path(), job).unwrap();
        let key = TaskKey::segment(0, 1);
        store.put(key, &accepted()).unwrap();
        let half = store.dir.join(format!("{TEMPORARY_PREFIX}abc"));
        fs::write(&half, "half").unwrap();
        drop(store);
        let store = Store::open(data.path(), job).unwrap();
        assert!(!half.exists());
        assert_eq!(store.get(key).unwrap(), Some(accepted()));
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), JobId([7; 32])).unwrap();
        assert!(matches!(
            Store::open(dir.path(), JobId([7; 32])),
            Err(StoreError::Busy { .. })
        ));
        assert!(Store::open(dir.path(), JobId([8; 32])).is_ok());
        drop(store);
        assert!(Store::open(dir.path(), JobId([7; 32])).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(
            Store::open(file.path(), JobId([7; 32])),
            Err(StoreError::Write { .. })
        ));
    }
}
