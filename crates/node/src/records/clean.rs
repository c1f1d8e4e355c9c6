//! Removes what no job of a data folder needs any more. `myriad jobs gc` calls it, and so does
//! every command that begins a job.
//!
//! If a job is running, its journal is locked, and a blob that no record names may be one of its
//! proofs. So the blobs of the removed jobs go, and those that all running jobs have listed as not
//! theirs when they began. A proof of the running job that equals one of a removed job, to the
//! byte, then counts as damaged and is made again.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, TryLockError},
    time::Duration,
};

use myriad_core::Blob;
use myriad_net::blob::BlobRef;
use serde::Serialize;

use super::{Jobs, JobsError, Listed, Record, State, now_s};
use crate::{
    StoreError,
    store::{cleaning, job_dir, jobs_lock, open_blobs, others_of_all},
};

/// The done and cancelled jobs that stay. By default there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Jobs that ended no longer ago than this stay. Without a limit of bytes, all of them do.
    pub newer_than: Option<Duration>,
    /// The newest jobs stay, as long as everything that stays takes at most this many bytes.
    /// Without a limit of age, they stay however old they are.
    pub bytes: Option<u64>,
}

/// The jobs and blobs that a cleaning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    pub jobs: usize,
    pub blobs: usize,
    pub bytes: u64,
    /// Jobs that were running. Their proofs stay, and so do blobs of no job that came since these
    /// jobs began.
    pub running: usize,
}

/// The blobs that stay.
#[derive(Default)]
struct Wanted {
    blobs: HashMap<Blob, u64>,
    bytes: u64,
}

impl Wanted {
    /// The bytes of those blobs in `more` that are not wanted yet.
    fn bytes_of(&self, more: &HashMap<Blob, u64>) -> u64 {
        let new = more.iter().filter(|(blob, _)| !self.blobs.contains_key(blob));
        new.map(|(_, bytes)| bytes).sum()
    }

    fn add(&mut self, more: HashMap<Blob, u64>) {
        self.bytes += self.bytes_of(&more);
        self.blobs.extend(more);
    }
}

impl Keep {
    /// Whether a job that has ended stays, with its blobs beside those that are wanted already.
    fn keeps(&self, record: &Record, blobs: &HashMap<Blob, u64>, wanted: &Wanted) -> bool {
        let age = age_of(record);
        let fits = |bytes| wanted.bytes.saturating_add(wanted.bytes_of(blobs)) <= bytes;
        match (self.newer_than, self.bytes) {
            (None, None) => false,
            (newest, most) => newest.is_none_or(|limit| age <= limit) && most.is_none_or(fits),
        }
    }
}

/// Whether nobody works on a job or wants to.
fn is_over(job: &Listed) -> bool {
    let ended = job
        .record
        .as_ref()
        .is_some_and(|record| record.state != State::Open);
    ended && !job.running
}

/// The time since a job ended. A record from the future comes from a wrong clock, and counts as
/// new.
fn age_of(record: &Record) -> Duration {
    Duration::from_secs(now_s().saturating_sub(record.updated))
}

impl Jobs {
    /// Removes jobs that are done or cancelled, but for those that `keep` names, and every blob
    /// that no other job has. While a job is running, blobs of no job stay if they came since it
    /// began.
    ///
    /// # Errors
    /// [`JobsError::Record`] and [`JobsError::Newer`] where the record of a job that is running
    /// cannot be read.
    pub fn clean(&self, keep: Keep) -> Result<Removed, JobsError> {
        let mut removed = Removed::default();
        if !self.data_dir.join("jobs").exists() {
            return Ok(removed);
        }
        let _cleaning = cleaning(&self.data_dir)?;
        let lock = jobs_lock(&self.data_dir)?;
        let is_alone = match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(reason)) => {
                let path = self.data_dir.join("jobs").join("lock");
                return Err(StoreError::Write { path, reason }.into());
            }
        };
        let blobs = open_blobs(&self.data_dir, u64::MAX)?;
        let (mut over, others): (Vec<_>, Vec<_>) = self.list()?.into_iter().partition(is_over);
        removed.running = others.iter().filter(|job| job.running).count();
        let mut wanted = Wanted::default();
        for job in &others {
            wanted.add(self.blobs_of(job)?);
        }
        over.sort_by_key(|job| std::cmp::Reverse(job.record.as_ref().map(|record| record.updated)));
        let mut unwanted = HashSet::new();
        for job in &over {
            let record = job.record.as_ref().expect("what is over has a record");
            let its = self.blobs_of(job)?;
            if keep.keeps(record, &its, &wanted) {
                wanted.add(its);
            } else {
                let dir = job_dir(&self.data_dir, job.id);
                fs::remove_dir_all(&dir).map_err(|reason| StoreError::Write { path: dir, reason })?;
                removed.jobs += 1;
                unwanted.extend(its.into_keys());
            }
        }
        if is_alone {
            unwanted.extend(blobs.held(usize::MAX));
        } else {
            let running = others.iter().filter(|job| job.running).map(|job| job.id);
            unwanted.extend(others_of_all(&self.data_dir, running));
        }
        unwanted.retain(|blob| !wanted.blobs.contains_key(blob) && blobs.contains(blob));
        for blob in &unwanted {
            let before = blobs.used_bytes();
            blobs.remove(blob).map_err(StoreError::from)?;
            removed.blobs += 1;
            removed.bytes += before.saturating_sub(blobs.used_bytes());
        }
        Ok(removed)
    }

    /// Removes jobs that ended longer ago than `age`, without a word to the user. If that fails, it
    /// is tried again next time.
    pub(super) fn tidy(&self, age: Duration) {
        let is_due = |jobs: Vec<Listed>| {
            let ended = jobs
                .iter()
                .filter(|job| is_over(job))
                .filter_map(|job| job.record.as_ref());
            ended.map(age_of).any(|its| its > age)
        };
        let keep = Keep {
            newer_than: Some(age),
            bytes: None,
        };
        let tidied = self.list().map(is_due).and_then(|is_due| match is_due {
            true => self.clean(keep),
            false => Ok(Removed::default()),
        });
        match tidied {
            Ok(Removed { jobs: 0, .. }) => {}
            Ok(removed) => tracing::info!(
                "removed {} jobs that ended more than {} days ago, and {} bytes of theirs",
                removed.jobs,
                age.as_secs() / 86_400,
                removed.bytes
            ),
            Err(e) => tracing::warn!("old jobs are not removed: {e}"),
        }
    }

    /// The program and input of a job, and, unless it is running, its accepted proofs.
    fn blobs_of(&self, job: &Listed) -> Result<HashMap<Blob, u64>, JobsError> {
        let sized = |file: BlobRef| (file.blob, file.bytes);
        let files = job.record.iter().flat_map(Record::files);
        if job.running {
            // A job that has no record yet puts its program and input there when this is over.
            if job.record.is_none() && self.path(job.id).exists() {
                self.record(job.id)?;
            }
            return Ok(files.map(sized).collect());
        }
        let proofs = self.accepted(job.id)?.into_values();
        Ok(files.chain(proofs).map(sized).collect())
    }
}
