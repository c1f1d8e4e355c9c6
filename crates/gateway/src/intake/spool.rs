//! The folder of uploads: a folder for each, which is gone when nobody needs it any more.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use myriad_api::{Kind, Problem};
use myriad_net::durable::make_dir;
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use crate::refusal::of_disk;

/// The uploads of a service, `DATA_DIR/gateway/uploads`.
pub(crate) struct Spool {
    dir: PathBuf,
    /// Bytes of the disk that uploads leave to proofs.
    reserve: u64,
}

/// The bytes that a file system has left for us, and all that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) free: u64,
    pub(crate) all: u64,
}

impl Disk {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let facts = statvfs(path)?;
        let block = facts.fragment_size();
        Ok(Self {
            free: block.saturating_mul(facts.blocks_available()),
            all: block.saturating_mul(facts.blocks()),
        })
    }
}

impl Spool {
    /// Removes what an earlier process has left.
    pub(crate) fn open(data_dir: &Path, reserve: u64) -> io::Result<Self> {
        let dir = data_dir.join("gateway").join("uploads");
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        make_dir(&dir)?;
        Ok(Self { dir, reserve })
    }

    /// Whether the disk has room for so many bytes.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), Problem> {
        let disk = Disk::of(&self.dir).map_err(|e| of_disk("looking at the disk", &e))?;
        if disk.free < self.reserve.saturating_add(bytes) {
            return Err(Problem::new(
                Kind::DiskFull,
                format!(
                    "the upload has {bytes} bytes, and the service's disk has {} left, of which {} are kept for \
                     proofs; try again when the operator has made room",
                    disk.free, self.reserve
                ),
            ));
        }
        Ok(())
    }

    /// A folder for an upload. It goes with the value.
    pub(crate) fn begin(&self) -> Result<TempDir, Problem> {
        tempfile::Builder::new()
            .prefix("upload-")
            .tempdir_in(&self.dir)
            .map_err(|e| of_disk("making a folder for the upload", &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_go_with_their_values_and_leftovers_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = dir.path().join("gateway").join("uploads");
        fs::create_dir_all(uploads.join("upload-old")).unwrap();
        let spool = Spool::open(dir.path(), 0).unwrap();
        let count = || fs::read_dir(&uploads).unwrap().count();
        assert_eq!(count(), 0);
        let upload = spool.begin().unwrap();
        assert_eq!(count(), 1);
        drop(upload);
        assert_eq!(count(), 0);
    }

    #[test]
    fn uploads_that_the_disk_has_no_room_for_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 0).unwrap();
        assert_eq!(spool.check(1), Ok(()));
        assert_eq!(spool.check(u64::MAX).unwrap_err().kind, Kind::DiskFull);
        let spool = Spool::open(dir.path(), u64::MAX).unwrap();
        assert_eq!(spool.check(1).unwrap_err().kind, Kind::DiskFull);
    }
}
