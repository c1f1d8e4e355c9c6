//! Writes files of the service that are there whole or not at all, and durably. They are for their
//! owner alone.

use std::{
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use myriad_net::durable::{above, make_dir, sync_dir};
use tempfile::NamedTempFile;

/// The beginning of the names of files that are being written. One that is left by a process that
/// was killed counts as none.
pub(crate) const TEMPORARY_PREFIX: &str = ".half-";
/// What others may do with a file: nothing.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Writes a file, in place of the one that is there, if any.
///
/// # Errors
/// The disk's; the earlier file is then as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes)?.persist(path)?;
    sync_dir(above(path))
}

/// Writes a file that is not there yet.
///
/// # Errors
/// The disk's, and [`io::ErrorKind::AlreadyExists`].
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes)?.persist_noclobber(path)?;
    sync_dir(above(path))
}

/// A file of another name beside `path`, with its bytes on the disk.
fn temporary(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let dir = above(path);
    make_dir(dir)?;
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}
