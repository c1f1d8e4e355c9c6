//! The locks of a data folder: for processes that work on its jobs, begin one, or remove some.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::StoreError;

/// The file that all lock, shared, that work on a job of this data folder.
pub(crate) fn jobs_lock(data_dir: &Path) -> Result<File, StoreError> {
    lock_file(&data_dir.join("jobs").join("lock"))
}

/// Keeps everybody from removing jobs for as long as it lives, which is no longer than it takes to
/// begin one. Waits for those that are at it.
pub(crate) fn beginning(data_dir: &Path) -> Result<File, StoreError> {
    let (path, file) = cleaning_lock(data_dir)?;
    file.lock_shared()
        .map_err(|reason| StoreError::Write { path, reason })?;
    Ok(file)
}

/// Keeps everybody from beginning or removing a job for as long as it lives. Waits for those that
/// are at it.
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
