//! The segments that a child reports before it gives the plan, which has to begin with them.
//!
//! The child executes a program that may be a stranger's. Its caller keeps what it reports, so that
//! is bounded: by what a plan may have, and by the bytes of a plan.

use super::error::WorkerError;
use crate::{
    PLAN_BYTES_MAX, PUBLIC_VALUES_BYTES_MAX, Plan, SEGMENT_DETAILS_BYTES_MAX, SEGMENTS_MAX, Segment,
};

/// The segments that a child has reported before the plan is there.
#[derive(Default)]
pub(super) struct ReportedSegments {
    count: usize,
    instructions: u64,
    bytes: usize,
    /// One was the end of the execution.
    ended: bool,
    hasher: blake3::Hasher,
}

impl ReportedSegments {
    /// Takes note of further segments of an execution of at most `max_instructions`.
    pub(super) fn add(&mut self, segments: &[Segment], max_instructions: u64) -> Result<(), WorkerError> {
        if segments.is_empty() {
            return Err(self.refused("no segment, which would keep its caller waiting for ever"));
        }
        segments
            .iter()
            .try_for_each(|segment| self.add_one(segment, max_instructions))
    }

    fn add_one(&mut self, segment: &Segment, max_instructions: u64) -> Result<(), WorkerError> {
        let follows = segment.index as usize == self.count && segment.instret_start == self.instructions;
        if !follows || self.ended || segment.num_insns == 0 {
            return Err(self.refused(&format!(
                "segment {} of {} instructions from instruction {} on",
                segment.index, segment.num_insns, segment.instret_start
            )));
        }
        if self.count >= SEGMENTS_MAX {
            return Err(self.refused(&format!("another one, and {SEGMENTS_MAX} are allowed")));
        }
        if segment.details.len() > SEGMENT_DETAILS_BYTES_MAX {
            return Err(self.refused(&format!(
                "segment {} with {} bytes of details, and {SEGMENT_DETAILS_BYTES_MAX} are allowed",
                segment.index,
                segment.details.len()
            )));
        }
        self.note(segment);
        if self.instructions > max_instructions {
            let allowed = format!("segments to there, and {max_instructions} are allowed");
            return Err(self.refused(&allowed));
        }
        if self.bytes > PLAN_BYTES_MAX {
            let allowed = format!("{} bytes, and {PLAN_BYTES_MAX} are allowed", self.bytes);
            return Err(self.refused(&allowed));
        }
        Ok(())
    }

    fn refused(&self, told: &str) -> WorkerError {
        WorkerError::Protocol(format!(
            "after {} segments of {} instructions, the child told of {told}",
            self.count, self.instructions
        ))
    }

    fn note(&mut self, segment: &Segment) {
        self.count += 1;
        self.instructions = self.instructions.saturating_add(segment.num_insns);
        self.ended = segment.last;
        let bytes = postcard::to_stdvec(segment).expect("a segment is plain data");
        self.bytes += bytes.len();
        self.hasher.update(&bytes);
    }

    /// The plan has to begin with them, and to be one that could have been reported.
    pub(super) fn check(&self, plan: &Plan, max_instructions: u64) -> Result<(), WorkerError> {
        let mut whole = Self::default();
        let mut same = self.count == 0;
        for segment in &plan.segments {
            whole.add_one(segment, max_instructions)?;
            if whole.count == self.count {
                same = whole.hasher.finalize() == self.hasher.finalize();
            }
        }
        if !whole.ended {
            return Err(whole.refused("a plan without the end of the execution"));
        }
        if plan.instructions != whole.instructions {
            return Err(whole.refused(&format!("a plan of {} instructions", plan.instructions)));
        }
        if plan.public_values.len() > PUBLIC_VALUES_BYTES_MAX {
            return Err(whole.refused(&format!(
                "{} bytes of public values, and {PUBLIC_VALUES_BYTES_MAX} are allowed",
                plan.public_values.len()
            )));
        }
        same.then_some(()).ok_or_else(|| {
            WorkerError::Protocol(format!(
                "the plan's {} segments do not begin with the {} that the child told of",
                plan.segments.len(),
                self.count
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(index: u32, instret_start: u64) -> Segment {
        Segment {
            index,
            instret_start,
            num_insns: 10,
            details: vec![1, 2],
            last: false,
            cells: 1,
            interactions: 1,
            peak_bytes: 1,
        }
    }

    #[test]
    fn a_plan_begins_with_the_segments_that_were_told_of() {
        let (first, second) = (segment(0, 0), segment(1, 10));
        let end = |segment: &Segment| Segment {
            last: true,
            ..segment.clone()
        };
        let plan = |segments: &[&Segment]| Plan {
            segments: segments.iter().copied().cloned().collect(),
            public_values: Vec::new(),
            instructions: 10 * segments.len() as u64,
        };
        let mut reported = ReportedSegments::default();
        assert!(reported.check(&plan(&[&end(&first)]), 30).is_ok());
        reported.add(std::slice::from_ref(&first), 30).unwrap();
        reported.add(std::slice::from_ref(&second), 30).unwrap();
        let whole = plan(&[&first, &second, &end(&segment(2, 20))]);
        assert!(reported.check(&whole, 30).is_ok());
        let other = Segment {
            details: vec![1, 3],
            ..second.clone()
        };
        for wrong in [
            plan(&[&end(&first)]),
            plan(&[&first, &end(&other)]),
            plan(&[&first, &other, &end(&segment(2, 20))]),
            plan(&[&second, &end(&first)]),
        ] {
            let refused = reported.check(&wrong, 30);
            assert!(matches!(refused, Err(WorkerError::Protocol(_))), "{refused:?}");
        }
        for out_of_order in [segment(1, 10), segment(2, 10), segment(3, 20)] {
            assert!(reported.add(&[out_of_order], 30).is_err());
        }
    }

    #[test]
    fn a_plan_that_contradicts_itself_is_refused() {
        let whole = Plan {
            segments: vec![Segment {
                last: true,
                ..segment(0, 0)
            }],
            public_values: vec![0; PUBLIC_VALUES_BYTES_MAX],
            instructions: 10,
        };
        let check = |plan: &Plan| {
            ReportedSegments::default()
                .check(plan, 30)
                .map_err(|e| e.to_string())
        };
        assert_eq!(check(&whole), Ok(()));
        let refused = |change: &dyn Fn(&mut Plan)| {
            let mut plan = whole.clone();
            change(&mut plan);
            check(&plan).unwrap_err()
        };
        let endless = refused(&|plan| plan.segments[0].last = false);
        assert!(endless.contains("without the end of the execution"), "{endless}");
        let other_sum = refused(&|plan| plan.instructions = 11);
        assert!(other_sum.contains("of 10 instructions"), "{other_sum}");
        assert!(other_sum.contains("a plan of 11 instructions"), "{other_sum}");
        let talkative = refused(&|plan| plan.public_values.push(0));
        assert!(
            talkative.contains(&format!("{PUBLIC_VALUES_BYTES_MAX} are allowed")),
            "{talkative}"
        );
    }

    #[test]
    fn reported_segments_are_bounded() {
        fn refused(reported: &mut ReportedSegments, segments: &[Segment], max_instructions: u64) -> String {
            reported.add(segments, max_instructions).unwrap_err().to_string()
        }
        let mut reported = ReportedSegments::default();
        let none = refused(&mut reported, &[], 30);
        assert!(none.contains("no segment"), "{none}");
        let empty = Segment {
            num_insns: 0,
            ..segment(0, 0)
        };
        assert!(refused(&mut reported, &[empty], 30).contains("of 0 instructions"));
        let too_long = refused(&mut reported, &[segment(0, 0)], 9);
        assert!(too_long.contains("9 are allowed"), "{too_long}");

        let last = Segment {
            last: true,
            ..segment(0, 0)
        };
        let behind = refused(&mut ReportedSegments::default(), &[last, segment(1, 10)], 30);
        assert!(behind.contains("segment 1 of 10 instructions"), "{behind}");

        let with_details = |index: u32, bytes| Segment {
            details: vec![0; bytes],
            ..segment(index, 10 * u64::from(index))
        };
        let large = with_details(0, SEGMENT_DETAILS_BYTES_MAX + 1);
        let large = refused(&mut ReportedSegments::default(), &[large], 30);
        assert!(
            large.contains(&format!("{SEGMENT_DETAILS_BYTES_MAX} are allowed")),
            "{large}"
        );
        let count = PLAN_BYTES_MAX / SEGMENT_DETAILS_BYTES_MAX + 1;
        let many: Vec<Segment> = (0..count as u32)
            .map(|index| with_details(index, SEGMENT_DETAILS_BYTES_MAX))
            .collect();
        let many = refused(&mut ReportedSegments::default(), &many, u64::MAX);
        assert!(many.contains(&format!("{PLAN_BYTES_MAX} are allowed")), "{many}");

        let mut reported = ReportedSegments::default();
        for index in 0..SEGMENTS_MAX {
            reported
                .add(&[segment(index as u32, 10 * index as u64)], u64::MAX)
                .unwrap();
        }
        let more = segment(SEGMENTS_MAX as u32, 10 * SEGMENTS_MAX as u64);
        let more = refused(&mut reported, &[more], u64::MAX);
        assert!(more.contains(&format!("{SEGMENTS_MAX} are allowed")), "{more}");
    }
}
