//! The plan of an execution: the segments that it is cut into.

use serde::{Deserialize, Serialize};

/// One piece of an execution, small enough to be proven within a memory budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its place among the segments, from 0.
    pub index: u32,
    /// Instructions executed before it.
    pub instret_start: u64,
    /// Instructions in it.
    pub num_insns: u64,
    /// What only its engine reads, of
    /// [`SEGMENT_DETAILS_BYTES_MAX`](crate::SEGMENT_DETAILS_BYTES_MAX) at most: of OpenVM, the rows
    /// that each chip needs for it.
    pub details: Vec<u8>,
    /// Whether the program ends in it.
    pub last: bool,
    /// Field elements in all traces, with each height rounded up to a power of two. Proving time
    /// follows their number.
    pub cells: u64,
    /// Bus interactions of all rows, likewise; zero for an engine whose time does not depend on
    /// them.
    pub interactions: u64,
    /// Bytes of memory that the process which proves it is expected to use at its peak.
    pub peak_bytes: u64,
}

/// The result of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The segments, in order; there is at least one.
    pub segments: Vec<Segment>,
    /// The public values that the program revealed.
    pub public_values: Vec<u8>,
    /// Instructions executed.
    pub instructions: u64,
}

impl Plan {
    /// Expected peak memory of the process that proves the largest segment, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.peak_bytes).max().unwrap_or(0)
    }
}
