//! The blobs that were there when the journal of a job was opened and are not the job's. Nobody
//! else can look into the journal as long as it is locked, so that without this list `jobs gc`
//! would have to leave all blobs of which it knows no job.
//!
//! The list is a help to `jobs gc` and no more: where there is none, or none that can be read, all
//! is left.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use myriad_core::{Blob, JobId};

use super::{job_dir, write_durably};

const FILE: &str = "others";
const HASH_BYTES: usize = 32;

/// The list of a job whose journal is open.
pub(super) struct Others {
    path: PathBuf,
    listed: Mutex<HashSet<Blob>>,
}

impl Others {
    /// Begins without a list: one that an earlier process has left says nothing of now.
    pub(super) fn none(job_dir: &Path) -> Self {
        let path = job_dir.join(FILE);
        remove(&path);
        Self {
            path,
            listed: Mutex::default(),
        }
    }

    /// Lists the blobs that are `held` and none of the job's `own`.
    pub(super) fn note(&mut self, held: Vec<Blob>, own: &HashSet<Blob>) {
        let listed: HashSet<Blob> = held.into_iter().filter(|blob| !own.contains(blob)).collect();
        let bytes = listed.iter().map(|blob| blob.0).collect::<Vec<_>>().concat();
        match write_durably(&self.path, &[&bytes]) {
            Ok(()) => self.listed = Mutex::new(listed),
            Err(e) => tracing::debug!("`jobs gc` leaves all blobs while this job runs: {e}"),
        }
    }

    /// The job names this blob from now on. If it was listed, as one that an earlier process had
    /// fetched and not noted, the list is of no use any more. A `jobs gc` that has read the list
    /// just before may still remove the blob: the journal then counts the proof as missing, and its
    /// task is done again.
    pub(super) fn is_own(&self, blob: &Blob) {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.contains(blob) {
            remove(&self.path);
            listed.clear();
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{} cannot be removed: {e}", path.display());
        }
        _ => {}
    }
}

/// The blobs that all of these jobs, whose journals are open, list as others'; none where one of
/// them has no list, or there is no such job.
pub(crate) fn others_of_all(data_dir: &Path, jobs: impl Iterator<Item = JobId>) -> HashSet<Blob> {
    let mut lists = jobs.map(|job| read(&job_dir(data_dir, job).join(FILE)).unwrap_or_default());
    let first = lists.next().unwrap_or_default();
    lists.fold(first, |common, list| {
        common.intersection(&list).copied().collect()
    })
}

fn read(path: &Path) -> Option<HashSet<Blob>> {
    let bytes = fs::read(path).ok()?;
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    rest.is_empty()
        .then(|| hashes.iter().map(|hash| Blob(*hash)).collect())
}
