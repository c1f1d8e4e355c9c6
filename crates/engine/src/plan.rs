//! The plan of an execution: the segments that it is cut into.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, SeqAccess, Visitor},
};

use crate::SEGMENTS_MAX;

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
    #[serde(deserialize_with = "segments")]
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

/// Decodes segments, of which there may be [`SEGMENTS_MAX`]. In memory each takes many times its
/// least encoding, so their number is bounded while they are decoded.
pub(crate) fn segments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Segment>, D::Error> {
    struct Bounded;

    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<Segment>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {SEGMENTS_MAX} segments")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut segments = Vec::new();
            while let Some(segment) = seq.next_element()? {
                if segments.len() == SEGMENTS_MAX {
                    return Err(A::Error::invalid_length(SEGMENTS_MAX + 1, &self));
                }
                segments.push(segment);
            }
            Ok(segments)
        }
    }

    deserializer.deserialize_seq(Bounded)
}

#[cfg(test)]
impl Segment {
    /// The one segment of the shortest execution.
    pub(crate) fn only() -> Self {
        Self {
            index: 0,
            instret_start: 0,
            num_insns: 1,
            details: Vec::new(),
            last: true,
            cells: 1,
            interactions: 1,
            peak_bytes: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_segments_than_a_plan_may_have_are_not_decoded() {
        let segment = Segment {
            index: 0,
            instret_start: 0,
            num_insns: 1,
            details: Vec::new(),
            last: false,
            cells: 1,
            interactions: 1,
            peak_bytes: 1,
        };
        let plan = |count| {
            postcard::to_stdvec(&Plan {
                segments: vec![segment.clone(); count],
                public_values: Vec::new(),
                instructions: 1,
            })
            .unwrap()
        };
        let decoded: Plan = postcard::from_bytes(&plan(SEGMENTS_MAX)).unwrap();
        assert_eq!(decoded.segments.len(), SEGMENTS_MAX);
        assert!(postcard::from_bytes::<Plan>(&plan(SEGMENTS_MAX + 1)).is_err());
    }
}
