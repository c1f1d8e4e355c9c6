//! The locks of a data folder: for processes that work on its jobs, begin one, or remove some.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::StoreError;

/// The file on which every process that works on a job of this data folder has a shared lock.
pub(crate) fn jobs_lock(data_dir: &Path) -> Result<File, StoreError> {
    lock_file(&data_dir.join("jobs").join("lock"))
}

/// As long as it lives, nobody removes jobs. It lives no longer than it takes to begin one. Waits
/// for those that are removing some.
pub(crate) fn beginning(data_dir: &Path) -> Result<File, StoreError> {
    let (path, file) = cleaning_lock(data_dir)?;
    file.lock_shared()
        .map_err(|reason| StoreError::Write { path, reason })?;
    Ok(file)
}

/// As long as it lives, nobody begins or removes a job. Waits for those that are doing so.
pub(crate) fn cleaning(data_dir: &Path) -> Result<File, StoreError> {
    let (path, file) = cleaning_lock(data_dir)?;
    file.lock().map_err(|reason| StoreError::Write { path, reason })?;
    Ok(file)
}

fn cleaning_lock(data_dir: &Path) -> Result<(PathBuf, File), StoreError> {
    let path = data_dir.join("jobs").join("cleaning");
    let file = lock_file(&path)?;
    Ok((path, file))
}

fn lock_file(path: &Path) -> Result<File, StoreError> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map_err(|reason| StoreError::Write {
        path: path.to_owned(),
        reason,
    })
}
