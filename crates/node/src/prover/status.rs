//! The status of a prover, for its owner, in a file that `myriad status` reads.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use myriad_core::EngineName;
use myriad_net::durable::make_dir;
use serde::{Deserialize, Serialize};

use super::Earned;
use crate::{StoreError, store::write_durably};

const STATUS_FILE: &str = "status.json";
const LOCK_FILE: &str = "prover.lock";
/// A status has some kilobytes. A larger file is not one.
const STATUS_BYTES_MAX: u64 = 1 << 20;

/// The activity of a prover, and its record since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub peer: String,
    pub listening: Vec<String>,
    /// The engines that it has; none in the file of an older build.
    #[serde(default)]
    pub engines: Vec<EngineName>,
    /// Connected peers, requesters among them.
    pub peers: usize,
    pub requesters: usize,
    /// Open jobs that it knows of.
    pub jobs: usize,
    pub activity: Activity,
    /// Remarks on this machine or its requesters that are no errors: clocks that are wrong, a
    /// suspension.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Seconds since 1970.
    pub started: u64,
    pub updated: u64,
    pub accepted: u64,
    pub rejected: u64,
    /// Proofs that no requester has answered to yet.
    pub submitted: u64,
    pub failed: u64,
    pub blob_bytes_in: u64,
    pub blob_bytes_out: u64,
    pub disk_used_bytes: u64,
    /// The limit of blobs, in bytes: as much as the owner lends, or less if the disk has less.
    #[serde(default)]
    pub disk_lent_bytes: u64,
    /// Bytes that the engine child may take.
    pub memory_bytes: u64,
    /// The work that requesters have signed for, over all runs, the most first.
    #[serde(default)]
    pub earned: Vec<Earned>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Activity {
    /// It has nothing to do, for this reason.
    Idle {
        why: String,
    },
    Fetching {
        task: String,
        requester: String,
    },
    Proving {
        task: String,
        requester: String,
        /// The done part of the task, in thousandths.
        progress: u16,
        seconds: u64,
    },
    Stopping,
}

impl Default for Activity {
    fn default() -> Self {
        Self::Idle {
            why: "it has just started".into(),
        }
    }
}

/// The file where a prover leaves its status. As long as this value lives, no other prover of the
/// data folder has the file.
pub struct StatusFile {
    path: PathBuf,
    _lock: File,
}

impl StatusFile {
    /// Locks a data folder.
    ///
    /// # Errors
    /// [`StoreError::Busy`] where another prover has it.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(LOCK_FILE);
        let write = |reason| StoreError::Write {
            path: path.clone(),
            reason,
        };
        make_dir(data_dir).map_err(write)?;
        let lock = File::create(&path).map_err(write)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: data_dir.join(STATUS_FILE),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path }),
            Err(TryLockError::Error(reason)) => Err(write(reason)),
        }
    }

    /// The folder that it is in.
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().expect("it is in a folder")
    }

    /// The folder of the `number`th prover, from 1, that lends a machine with this data folder.
    pub fn folder(data_dir: &Path, number: usize) -> PathBuf {
        data_dir.join("provers").join(number.to_string())
    }

    /// Locks the first of these folders that no other prover has. Each has an identity, blobs and a
    /// status of its own.
    ///
    /// # Errors
    /// If the disk fails, or a thousand provers are running.
    pub fn claim(data_dir: &Path) -> Result<(PathBuf, Self), StoreError> {
        let mut number = 1;
        loop {
            let folder = Self::folder(data_dir, number);
            match Self::open(&folder) {
                Ok(file) => return Ok((folder, file)),
                Err(StoreError::InUse { .. }) if number < PROVERS_MAX => number += 1,
                Err(e) => return Err(e),
            }
        }
    }

    /// The folders in which a prover is running; if there is none, the first one.
    pub fn running(data_dir: &Path) -> Vec<PathBuf> {
        let folders = (1..=PROVERS_MAX).map(|number| Self::folder(data_dir, number));
        let mut running: Vec<_> = folders
            .take_while(|folder| folder.exists())
            .filter(|folder| Self::is_running(folder))
            .collect();
        if running.is_empty() {
            running.push(Self::folder(data_dir, 1));
        }
        running
    }

    /// Whether a prover is running in a folder of its own.
    pub fn is_running(data_dir: &Path) -> bool {
        File::open(data_dir.join(LOCK_FILE))
            .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Leaves a status.
    ///
    /// # Errors
    /// [`StoreError::Write`]
    pub fn write(&self, status: &Status) -> Result<(), StoreError> {
        let json = serde_json::to_vec_pretty(status).expect("a status is plain data");
        write_durably(&self.path, &[&json])
    }

    /// The last status that a prover left in a data folder, and whether it is running.
    ///
    /// # Errors
    /// [`StoreError::Read`] where there is none.
    pub fn read(data_dir: &Path) -> Result<(Status, bool), StoreError> {
        let path = data_dir.join(STATUS_FILE);
        let read = |reason| StoreError::Read {
            path: path.clone(),
            reason,
        };
        let bytes = std::fs::metadata(&path).map_err(read)?.len();
        if bytes > STATUS_BYTES_MAX {
            let text = format!("{bytes} bytes, and a status has at most {STATUS_BYTES_MAX}");
            return Err(read(std::io::Error::other(text)));
        }
        let json = std::fs::read(&path).map_err(read)?;
        let status = serde_json::from_slice(&json).map_err(|e| read(e.into()))?;
        Ok((status, Self::is_running(data_dir)))
    }
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Provers on one machine with one data folder.
const PROVERS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prover_has_a_folder_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |number| StatusFile::folder(dir.path(), number);
        assert_eq!(StatusFile::running(dir.path()), [folder(1)]);
        let (first, file) = StatusFile::claim(dir.path()).unwrap();
        let (second, _other) = StatusFile::claim(dir.path()).unwrap();
        assert_eq!((first, second), (folder(1), folder(2)));
        assert_eq!(StatusFile::running(dir.path()), [folder(1), folder(2)]);
        drop(file);
        assert_eq!(StatusFile::running(dir.path()), [folder(2)]);
        assert_eq!(StatusFile::claim(dir.path()).unwrap().0, folder(1));
    }

    #[test]
    fn a_status_is_read_while_running_and_after() {
        let dir = tempfile::tempdir().unwrap();
        assert!(StatusFile::read(dir.path()).is_err());
        let file = StatusFile::open(dir.path()).unwrap();
        assert!(matches!(
            StatusFile::open(dir.path()),
            Err(StoreError::InUse { .. })
        ));
        let status = Status {
            accepted: 7,
            ..Status::default()
        };
        file.write(&status).unwrap();
        assert_eq!(StatusFile::read(dir.path()).unwrap(), (status.clone(), true));
        drop(file);
        assert_eq!(StatusFile::read(dir.path()).unwrap(), (status, false));
        std::fs::write(dir.path().join(STATUS_FILE), "{").unwrap();
        assert!(StatusFile::read(dir.path()).is_err());
    }
}
