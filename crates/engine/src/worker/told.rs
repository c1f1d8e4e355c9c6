//! The segments that a child tells of before it gives the plan, which has to begin with them.

use super::error::WorkerError;
use crate::{Plan, Segment, execute::SEGMENTS_MAX};

/// The segments that a child has told of before the plan is there.
#[derive(Default)]
pub(super) struct Told {
    count: usize,
    instructions: u64,
    hasher: blake3::Hasher,
}

impl Told {
    /// Takes note of further segments.
    pub(super) fn add(&mut self, segments: &[Segment]) -> Result<(), WorkerError> {
        for segment in segments {
            let follows = segment.index as usize == self.count && segment.instret_start == self.instructions;
            if !follows || self.count >= SEGMENTS_MAX {
                return Err(WorkerError::Protocol(format!(
                    "after {} segments of {} instructions, the child told of segment {} from instruction {} on",
                    self.count, self.instructions, segment.index, segment.instret_start
                )));
            }
            self.note(segment);
        }
        Ok(())
    }

    fn note(&mut self, segment: &Segment) {
        self.count += 1;
        self.instructions = self.instructions.saturating_add(segment.num_insns);
        let bytes = postcard::to_stdvec(segment).expect("a segment is plain data");
        self.hasher.update(&bytes);
    }

    /// The plan has to begin with them.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), WorkerError> {
        let mut planned = Self::default();
        plan.segments
            .iter()
            .take(self.count)
            .for_each(|segment| planned.note(segment));
        let same = planned.count == self.count && planned.hasher.finalize() == self.hasher.finalize();
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
            trace_heights: vec![1, 2],
            last: false,
            cells: 1,
            interactions: 1,
            peak_bytes: 1,
        }
    }

    #[test]
    fn a_plan_begins_with_the_segments_that_were_told_of() {
        let (first, second) = (segment(0, 0), segment(1, 10));
        let plan = |segments: &[&Segment]| Plan {
            segments: segments.iter().copied().cloned().collect(),
            public_values: Vec::new(),
            instructions: 10 * segments.len() as u64,
        };
        let mut told = Told::default();
        assert!(told.check(&plan(&[&first])).is_ok());
        told.add(std::slice::from_ref(&first)).unwrap();
        told.add(std::slice::from_ref(&second)).unwrap();
        assert!(told.check(&plan(&[&first, &second])).is_ok());
        assert!(told.check(&plan(&[&first, &second, &segment(2, 20)])).is_ok());
        let other = Segment {
            trace_heights: vec![1, 3],
            ..second.clone()
        };
        for wrong in [plan(&[&first]), plan(&[&first, &other]), plan(&[&second, &first])] {
            let refused = told.check(&wrong);
            assert!(matches!(refused, Err(WorkerError::Protocol(_))), "{refused:?}");
        }
        for out_of_order in [segment(1, 10), segment(2, 10), segment(3, 20)] {
            assert!(told.add(&[out_of_order]).is_err());
        }
    }
}
