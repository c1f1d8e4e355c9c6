//! Blobs: programs, inputs and proofs, kept on disk by their hash and moved between peers.
//!
//! The node keeps the blobs that it needs and makes in a [`BlobStore`]. The swarm hands each stream
//! of [`PROTOCOL`] to [`serve()`] or [`fetch()`], and decides which peers to serve and which to
//! ask. Nothing here knows about peers, jobs or the network: a stream is anything that reads and
//! writes.
//!
//! One stream carries one request:
//!
//! ```text
//!  client                                     server
//!    │ frame: Request { blob, bytes, from, until } ▶ │
//!    │ ◀ frame: Found | NotFound | Busy | Refused    │
//!    │ ◀ after Found: the range, in bao's encoding   │
//! ```
//!
//! A frame is its length (u32, little-endian) and as many bytes of postcard. The encoding is that
//! of bao with groups of 16 KiB. The hash pairs on the way to a group come before it, so that each
//! group is checked on arrival, and not only after half a gigabyte.
//!
//! These rules always hold:
//!
//! - no byte that a peer sent is in a file before it was checked against the hash that was asked
//!   for;
//! - a file under a blob's name was checked whole before it got the name, and is durable;
//! - a size that a peer announces is bounded before anything is allocated for it;
//! - a future that is dropped midway leaves a partial file of checked groups, and the next fetch
//!   goes on from there.

mod error;
mod fetch;
mod files;
mod index;
mod partial;
mod reader;
mod request;
mod serve;
mod slice;
mod store;
mod stream_clock;
#[cfg(test)]
mod tests;
mod trees;

use std::time::Duration;

use myriad_core::Blob;
use serde::{Deserialize, Serialize};

pub use error::{BlobError, FetchError, ServeError};
pub use fetch::{FetchLimits, Fetched, fetch};
pub use reader::BlobReader;
pub use serve::{ServeLimits, Served, serve};
pub use store::{BlobStore, Pin};

/// The name of the protocol, for negotiation.
pub const PROTOCOL: &str = "/myriad/blob/1";

/// The most bytes of a blob. The largest real one, the input of a job, has tens of megabytes. This
/// bounds the bytes that a stranger can make us hash or store at once.
pub const BLOB_BYTES_MAX: u64 = 512 << 20;

/// Bytes of a chunk group, the unit that is checked, and where a fetch can go on. Smaller ones cost
/// more hash pairs on the wire (here 0.4 %), larger ones lose more when a connection breaks.
pub const GROUP_BYTES: u64 = 16 << 10;

/// The longest time for which a stream may make no progress. A slow disk takes less to read and
/// hash the largest blob before its first byte can be sent.
pub const STALL: Duration = Duration::from_secs(20);

/// The longest time of one stream in all, so that a trickling one does not hold its place for days.
/// A client that needs longer continues with another request.
pub const TIME_MAX: Duration = Duration::from_secs(3600);

/// Bytes a second. A home that sends 2 Mbit/s gives this much to each of four peers. Bytes that
/// move more slowly come too late to be of use: neither end waits for them.
pub(crate) const RATE_MIN: u64 = 64 << 10;

/// The time that each end gets besides, as to read and hash the blob before its first byte.
pub(crate) const START: Duration = Duration::from_secs(30);

/// A blob and its length. A fetch needs both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// The BLAKE3 hash of its bytes.
    pub blob: Blob,
    /// The number of its bytes.
    pub bytes: u64,
}

impl BlobRef {
    /// The reference to `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            blob: Blob(*blake3::hash(bytes).as_bytes()),
            bytes: bytes.len() as u64,
        }
    }
}

/// Runs work that waits for the disk on a thread where it holds up nothing else.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and drops this future too.
            Err(_) => std::future::pending().await,
        },
    }
}
