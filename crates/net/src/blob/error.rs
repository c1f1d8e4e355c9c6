//! The errors of keeping, fetching and serving blobs.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

use super::stream_clock::Late;

/// Why the folder of blobs could not be used.
#[derive(Debug, Error)]
pub enum BlobError {
    #[error("cannot write {}: {reason}; free some space there or name another folder with --data-dir, and try again", path.display())]
    Write { path: PathBuf, reason: io::Error },
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error(
        "no room for {needed} bytes: {used} of {allowed} bytes are used, by files that are still needed; raise --disk"
    )]
    Quota { needed: u64, used: u64, allowed: u64 },
    #[error("a blob of {bytes} bytes is too large: at most {allowed} bytes are kept")]
    TooLarge { bytes: u64, allowed: u64 },
    #[error("{} was damaged on this machine's disk and has been removed; fetch it again, and check the disk if it happens again", path.display())]
    Damaged { path: PathBuf },
    #[error("another process is fetching the same blob (it holds {}); wait for it", path.display())]
    Busy { path: PathBuf },
}

impl BlobError {
    /// Whether there is no space left on the device, or for this user.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Write { reason, .. } if matches!(reason.kind(), StorageFull | QuotaExceeded))
    }
}

/// The reason why a blob was not fetched. The part that was checked before stays, and the next
/// fetch goes on there.
#[derive(Debug, Error)]
pub enum FetchError {
    #[error("the peer does not have the blob")]
    NotFound,
    #[error("the peer is busy; try again in {retry_ms} ms")]
    Busy {
        /// The pause in milliseconds, at most a minute, whatever the peer said.
        retry_ms: u32,
    },
    // The text is in quotes and escaped, since it is a stranger's.
    #[error("the peer refused: {reason:?}")]
    Refused { reason: String },
    #[error("the peer sent other bytes than the blob's, from byte {at} on")]
    Corrupt {
        /// The first byte of the part that failed the check.
        at: u64,
    },
    #[error("the blob has {wanted} bytes, and the peer says that it has {found}")]
    WrongSize { wanted: u64, found: u64 },
    /// A peer does so when it gets more requests at once than it can read.
    #[error("the peer closed the stream without an answer")]
    Unanswered,
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("nothing came for {} s", idle.as_secs())]
    Stalled { idle: Duration },
    #[error("less than {rate_min} bytes a second came")]
    Slow { rate_min: u64 },
    #[error("not done after {} s, the longest that one request may take; ask again, and it continues from there", allowed.as_secs())]
    TooSlow { allowed: Duration },
    #[error("the peer does not speak the protocol: {what}")]
    Protocol { what: String },
    #[error(transparent)]
    Disk(#[from] BlobError),
}

impl FetchError {
    /// Whether only a faulty or lying peer causes this. A broken or stalled connection is nobody's
    /// fault, and of two sizes either may be wrong.
    pub fn blames_sender(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Protocol { .. })
    }
}

impl From<Late> for FetchError {
    fn from(late: Late) -> Self {
        match late {
            Late::Broken(reason) => Self::Broken(reason),
            Late::Stalled { idle } => Self::Stalled { idle },
            Late::TooSlow { allowed } => Self::TooSlow { allowed },
        }
    }
}

/// Why a request was not served to its end.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("the peer took nothing for {} s", idle.as_secs())]
    Stalled { idle: Duration },
    #[error("not done after {} s, the longest that one request may take", allowed.as_secs())]
    TooSlow { allowed: Duration },
    #[error("the peer does not speak the protocol: {what}")]
    Protocol { what: String },
    #[error(transparent)]
    Disk(#[from] BlobError),
}

impl ServeError {
    /// Whether only a faulty or hostile peer causes this.
    pub fn blames_client(&self) -> bool {
        matches!(self, Self::Protocol { .. })
    }
}

impl From<Late> for ServeError {
    fn from(late: Late) -> Self {
        match late {
            Late::Broken(reason) => Self::Broken(reason),
            Late::Stalled { idle } => Self::Stalled { idle },
            Late::TooSlow { allowed } => Self::TooSlow { allowed },
        }
    }
}
