//! The memory that tasks take at their peak, in bytes of the resident set.
//!
//! Everything that the plan, the tree and the offers of provers reckon with is in this file.

use myriad_engine::NodeMemory;

/// The rows of a segment, as powers of two: those that RISC Zero's programs for lifting are made
/// for, as far as a stock verifier accepts them.
pub(crate) const SEGMENT_PO2: std::ops::RangeInclusive<u32> = 14..=22;

/// The rows that an execution is cut for. With fewer, most rows go to the pages of memory that each
/// segment reads and writes: of 2^14 rows, a segment has some 10,000 without its lookup tables.
pub(crate) const CUT_PO2: std::ops::RangeInclusive<u32> = 15..=22;

/// A process without a proof: the binary, the program with what is left of its execution, and
/// threads.
const PROCESS_BYTES: u64 = 112 << 20;

/// Bytes for each row of a segment: the columns of its trace, each four times as long where it is
/// committed to, and their hashes. RISC Zero's makers have 2 GB at 2^18, and 4 GB at 2^19, which is
/// 8 KiB for each row; up to 9.4 KiB was seen.
const ROW_BYTES: u64 = 19 << 9;

/// A process that lifts or joins. Each is a proof of 2^18 rows, whatever the segments below.
const RECURSION_BYTES: u64 = 1600 << 20;

/// A process that makes a node over one child, or the final file, which prove nothing. It may have
/// lifted before, and then holds some memory that it has not given back.
const IDLE_BYTES: u64 = 176 << 20;

/// Columns of a segment's trace: those of the data, of the accumulations, and of the code
/// (`zirgen/defs.rs.inc` of the circuit).
const ROW_CELLS: u64 = 211 + 103 + 1;

/// The peak of a process that proves a segment of 2^`po2` rows, without the program and its input.
pub(crate) fn segment_bytes(po2: u32) -> u64 {
    PROCESS_BYTES + (ROW_BYTES << po2)
}

/// A measure of the time that a segment of 2^`po2` rows takes: the elements of its trace.
pub(crate) fn segment_cells(po2: u32) -> u64 {
    ROW_CELLS << po2
}

/// The greatest size that an execution can be cut for, if a process of so many bytes is to prove
/// each segment, and holds `held` of the job beside it.
///
/// # Errors
/// The bytes that the smallest takes.
pub(crate) fn cut_within(bytes: u64, held: u64) -> Result<u32, u64> {
    let peak = |po2| segment_bytes(po2).saturating_add(held);
    CUT_PO2
        .rev()
        .find(|&po2| peak(po2) <= bytes)
        .ok_or_else(|| peak(*CUT_PO2.start()))
}

/// The peak of a process that makes a node: a lift of one, a join of two, or nothing at all.
pub(crate) fn node_memory() -> NodeMemory {
    let above = vec![IDLE_BYTES, RECURSION_BYTES];
    NodeMemory {
        leaf: vec![RECURSION_BYTES],
        internal_for_leaf: above.clone(),
        internal_recursive: above.clone(),
        internal_recursive_over_ones: above,
        fast_final: IDLE_BYTES,
    }
}

/// What of it the model expects of the proof alone, which is compared with the peak that was seen.
pub(crate) fn recursion_bytes() -> u64 {
    RECURSION_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peaks that were seen with two threads, by the rows of the segment, as a power of two, and in
    /// MiB.
    const SEEN: [(u32, u64); 4] = [(15, 374), (16, 700), (17, 1270), (18, 2437)];
    /// And those of lifts and of a join, in MiB.
    const SEEN_RECURSION: [u64; 2] = [1508, 1526];
    /// The peak of a node over one child and of a final file, after lifts, in MiB.
    const SEEN_IDLE: u64 = 166;

    #[test]
    fn the_model_is_near_to_what_was_seen_and_not_below_it() {
        let near = |expected: u64, seen: u64| (seen << 20..(seen << 20) * 6 / 5).contains(&expected);
        for (po2, seen) in SEEN {
            let expected = segment_bytes(po2);
            assert!(near(expected, seen), "2^{po2}: {expected} for {seen} MiB");
        }
        for seen in SEEN_RECURSION {
            assert!(near(RECURSION_BYTES, seen), "{RECURSION_BYTES} for {seen} MiB");
        }
        assert!(near(IDLE_BYTES, SEEN_IDLE), "{IDLE_BYTES}");
    }

    #[test]
    fn more_memory_cuts_for_more_rows() {
        assert_eq!(cut_within(512 << 20, 0), Ok(15));
        assert_eq!(cut_within(1 << 30, 0), Ok(16));
        assert_eq!(cut_within(4 << 30, 0), Ok(18));
        assert_eq!(cut_within(4 << 30, 3 << 30), Ok(16));
        assert_eq!(cut_within(u64::MAX, 0), Ok(22));
        assert_eq!(cut_within(256 << 20, 1 << 20), Err(segment_bytes(15) + (1 << 20)));
    }

    /// Provers refuse tasks below the facts' least before they ask a child.
    #[test]
    fn the_facts_promise_no_more_than_the_smallest_segment_takes() {
        let facts = myriad_engine::known::risc0();
        assert!(facts.segment_base_bytes <= segment_bytes(*SEGMENT_PO2.start()));
    }
}
