//! Removes what no job of a data folder needs any more. Called by `myriad jobs gc`.

use std::{
    collections::HashMap,
    fs::{self, TryLockError},
    time::Duration,
};

use myriad_core::Blob;
use myriad_net::blob::BlobRef;
use serde::Serialize;

use super::{Jobs, JobsError, Listed, Record, State, now_s};
use crate::{
    StoreError,
    store::{job_dir, jobs_lock, open_blobs},
};

/// Which jobs stay that are done or cancelled; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Those that ended no longer ago than this. If there is no limit of bytes, they all stay.
    pub newer_than: Option<Duration>,
    /// The newest of them, as long as all that stays takes so many bytes. If there is no limit of age, they stay however old.
    pub bytes: Option<u64>,
}

/// The jobs and blobs that a cleaning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    pub jobs: usize,
    pub blobs: usize,
    pub bytes: u64,
}

/// The blobs that stay.
#[derive(Default)]
struct Wanted {
    blobs: HashMap<Blob, u64>,
    bytes: u64,
}

impl Wanted {
    /// Bytes of those of `more` that are not wanted yet.
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
    /// Whether a job that has ended stays, with its blobs beside what is wanted already.
    fn keeps(&self, record: &Record, blobs: &HashMap<Blob, u64>, wanted: &Wanted) -> bool {
        // A record of the future is one of a clock that was wrong, and as good as new.
        let age = Duration::from_secs(now_s().saturating_sub(record.updated));
        let fits = |bytes| wanted.bytes.saturating_add(wanted.bytes_of(blobs)) <= bytes;
        match (self.newer_than, self.bytes) {
            (None, None) => false,
            (newest, most) => newest.is_none_or(|limit| age <= limit) && most.is_none_or(fits),
        }
    }
}

impl Jobs {
    /// Removes jobs that are done or cancelled, but for those that `keep` names, and every blob that no other job has.
    ///
    /// # Errors
    /// [`JobsError::InUse`] while a job is running on this folder.
    pub fn clean(&self, keep: Keep) -> Result<Removed, JobsError> {
        let mut removed = Removed::default();
        if !self.data_dir.join("jobs").exists() {
            return Ok(removed);
        }
        let lock = jobs_lock(&self.data_dir)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JobsError::InUse),
            Err(TryLockError::Error(reason)) => {
                let path = self.data_dir.join("jobs").join("lock");
                return Err(StoreError::Write { path, reason }.into());
            }
        }
        // Now that nobody adds to them.
        let blobs = open_blobs(&self.data_dir, u64::MAX)?;
        let is_over = |job: &Listed| job.record.as_ref().is_some_and(|r| r.state != State::Open);
        let (mut over, open): (Vec<_>, Vec<_>) = self.list()?.into_iter().partition(is_over);
        let mut wanted = Wanted::default();
        for job in &open {
            wanted.add(self.blobs_of(job)?);
        }
        over.sort_by_key(|job| std::cmp::Reverse(job.record.as_ref().map(|record| record.updated)));
        for job in &over {
            let record = job.record.as_ref().expect("what is over has a record");
            let its = self.blobs_of(job)?;
            if keep.keeps(record, &its, &wanted) {
                wanted.add(its);
            } else {
                let dir = job_dir(&self.data_dir, job.id);
                fs::remove_dir_all(&dir).map_err(|reason| StoreError::Write { path: dir, reason })?;
                removed.jobs += 1;
            }
        }
        for blob in blobs.held(usize::MAX) {
            if !wanted.blobs.contains_key(&blob) {
                let before = blobs.used_bytes();
                blobs.remove(&blob).map_err(StoreError::from)?;
                removed.blobs += 1;
                removed.bytes += before.saturating_sub(blobs.used_bytes());
            }
        }
        Ok(removed)
    }

    /// The files of a job, and its accepted proofs.
    fn blobs_of(&self, job: &Listed) -> Result<HashMap<Blob, u64>, JobsError> {
        let files = job.record.iter().flat_map(Record::files);
        let proofs = self.accepted(job.id)?.into_values();
        let sized = |file: BlobRef| (file.blob, file.bytes);
        Ok(files.chain(proofs).map(sized).collect())
    }
}
