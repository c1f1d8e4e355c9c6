//! The disk that is lent: never more than the disk has, and no task without room for its proof.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use myriad_engine::SEGMENT_PROOF_BYTES_MAX;
use myriad_net::blob::BlobStore;
use nix::sys::statvfs::statvfs;

/// Bytes of the disk that are left free for the journal of receipts, the status, and the machine's
/// other programs.
const RESERVE_BYTES: u64 = 64 << 20;
/// Without room for the largest proof, this machine asks for no task: its work would be wasted.
pub(super) const ROOM_MIN: u64 = SEGMENT_PROOF_BYTES_MAX as u64;
/// The interval at which the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause before this machine asks for a task again after its disk failed one. The reported free
/// bytes may not all be usable, for instance with quotas.
const PAUSE: Duration = Duration::from_secs(10);
const MIB: u64 = 1 << 20;

/// The room on the disk, as it was seen last.
pub(super) struct Disk {
    /// The owner's limit, in bytes.
    lent_bytes: u64,
    looked: Option<Instant>,
    /// Free bytes, if the system says.
    free_bytes: Option<u64>,
    /// Room for more, in bytes, at the last look.
    room_bytes: u64,
    /// The reason for which a task could not be done here, and the time until which that counts.
    refused: Option<(String, Instant)>,
}

impl Disk {
    pub(super) fn new(lent_bytes: u64) -> Self {
        Self {
            lent_bytes,
            looked: None,
            free_bytes: None,
            room_bytes: u64::MAX,
            refused: None,
        }
    }

    /// Has blobs take no more of the disk than there is; false where it was looked at a moment ago.
    /// Then the room that is left has to be noted.
    pub(super) fn look(&mut self, blobs: &BlobStore, now: Instant) -> bool {
        if self.looked.is_some_and(|looked| now - looked < LOOK_EVERY) {
            return false;
        }
        self.looked = Some(now);
        self.free_bytes = free_bytes(blobs.dir());
        if let Err(e) = blobs.set_quota(self.usable(blobs.used_bytes())) {
            tracing::warn!("{e}");
        }
        true
    }

    /// There is room for so many more bytes.
    pub(super) fn note_room(&mut self, room_bytes: u64) {
        self.room_bytes = room_bytes;
    }

    /// It, or something else of this machine's, has kept a task from being done.
    pub(super) fn refuses(&mut self, what: String, now: Instant) {
        self.refused = Some((what, now + PAUSE));
    }

    /// The bytes that blobs may take, if they take `used` bytes now.
    fn usable(&self, used: u64) -> u64 {
        match self.free_bytes {
            Some(free) => used
                .saturating_add(free)
                .saturating_sub(RESERVE_BYTES)
                .min(self.lent_bytes),
            None => self.lent_bytes,
        }
    }

    /// Why no task can be done with it, in words for the machine's owner.
    pub(super) fn why_not(&self, now: Instant) -> Option<String> {
        if let Some((what, until)) = &self.refused
            && *until > now
        {
            return Some(what.clone());
        }
        (self.room_bytes < ROOM_MIN).then(|| {
            format!(
                "the disk is full: there is room for {} MiB, and a proof may have {} MiB; free some space, or raise --disk",
                self.room_bytes / MIB,
                ROOM_MIN / MIB
            )
        })
    }

    /// A remark that less can be used than the owner lends, if that is so.
    pub(super) fn remark(&self, usable: u64) -> Option<String> {
        let free = self.free_bytes.filter(|_| usable < self.lent_bytes)?;
        Some(format!(
            "{} of the {} MiB of --disk can be used: the disk has {} MiB free, of which {} are left alone",
            usable / MIB,
            self.lent_bytes / MIB,
            free / MIB,
            RESERVE_BYTES / MIB
        ))
    }
}

/// The bytes that an ordinary user can still write there, where the system says.
fn free_bytes(dir: &Path) -> Option<u64> {
    let disk = statvfs(dir).ok()?;
    #[allow(clippy::unnecessary_cast, reason = "their width depends on the platform")]
    (disk.blocks_available() as u64).checked_mul(disk.fragment_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(free_bytes: Option<u64>, room_bytes: u64) -> Disk {
        Disk {
            free_bytes,
            room_bytes,
            ..Disk::new(10 * GIB)
        }
    }

    #[test]
    fn no_more_is_lent_than_there_is() {
        assert_eq!(disk(None, 0).usable(GIB), 10 * GIB);
        assert_eq!(disk(Some(100 * GIB), 0).usable(GIB), 10 * GIB);
        assert_eq!(disk(Some(2 * GIB), 0).usable(GIB), 3 * GIB - RESERVE_BYTES);
        // Something else fills the disk, so that the blobs have to shrink.
        assert_eq!(disk(Some(0), 0).usable(GIB), GIB - RESERVE_BYTES);
        assert_eq!(disk(Some(0), 0).usable(0), 0);
        assert_eq!(disk(Some(100 * GIB), 0).remark(10 * GIB), None);
        let remark = disk(Some(2 * GIB), 0).remark(3 * GIB - RESERVE_BYTES).unwrap();
        assert!(remark.starts_with("3008 of the 10240 MiB"), "{remark}");
    }

    #[test]
    fn without_room_for_a_proof_no_task_is_asked_for() {
        let now = Instant::now();
        assert_eq!(disk(None, ROOM_MIN).why_not(now), None);
        let why = disk(None, ROOM_MIN - 1).why_not(now).unwrap();
        assert!(why.contains("room for 15 MiB"), "{why}");
        let mut refuses = disk(None, ROOM_MIN);
        refuses.refuses("no space".into(), now);
        assert_eq!(refuses.why_not(now).unwrap(), "no space");
        assert_eq!(refuses.why_not(now + PAUSE), None);
    }

    #[test]
    fn a_quota_that_the_disk_does_not_have_shrinks_when_it_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(dir.path(), u64::MAX).unwrap();
        let mut disk = Disk::new(u64::MAX);
        let now = Instant::now();
        assert!(disk.look(&blobs, now));
        let quota = blobs.quota_bytes();
        assert!(quota < u64::MAX, "{quota}");
        assert!(disk.remark(quota).is_some());
        assert!(!disk.look(&blobs, now), "it was looked at a moment ago");
    }

    #[test]
    fn the_free_space_of_a_disk_is_known() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        assert_eq!(free_bytes(&dir.path().join("nowhere")), None);
    }
}
