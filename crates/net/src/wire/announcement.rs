//! The announcement of a requester's job.

use myriad_core::{EngineId, JobId, Peer};
use serde::{Deserialize, Serialize};

use super::{Bounded, WireError, bound};
use crate::limits::RECORD_BYTES_MAX;

/// The most bytes of an announcement: everybody forwards it.
pub const ANNOUNCEMENT_BYTES_MAX: usize = 16 << 10;

/// The number of a requester's announcement: its start, in the higher 32 bits, and the number
/// within that start. A wrong or corrected clock does not change the order.
pub fn sequence(boot: u32, number: u32) -> u64 {
    u64::from(boot) << 32 | u64::from(number)
}

/// Says that a job wants provers, or that it does not want them any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub version: u32,
    pub job: JobId,
    /// The requester that has it, and gives its tasks out; the author of the message.
    pub requester: Peer,
    /// Later announcements of a job have higher numbers; see [`sequence`].
    pub sequence: u64,
    /// False when it does not want provers any more.
    pub open: bool,
    /// The engine that the job's proofs are made with. The fingerprint is that of the program's own
    /// configuration.
    pub engine: EngineId,
    /// The job's size, by its plan as far as it is made. There is none while the requester still
    /// executes the program, and has no task to give.
    pub extent: Option<Extent>,
    /// Bytes of program and input together, which a prover has to fetch.
    pub bytes: u64,
    /// The addresses where the requester can be reached: a signed peer record of libp2p's, or
    /// nothing.
    pub record: Vec<u8>,
}

/// The size of a job, by the segments that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Instructions of these segments. They are the whole execution once the plan is there.
    pub instructions: u64,
    /// Bytes of memory that the smallest of its tasks takes.
    pub memory_min: u64,
}

impl Bounded for Announcement {
    fn check(&self) -> Result<(), WireError> {
        bound("bytes of a peer record", self.record.len(), RECORD_BYTES_MAX)
    }
}
