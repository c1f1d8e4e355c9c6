//! Where executions are cut.

use super::*;

fn plan(peaks: &[u64]) -> Plan {
    let segment = |&peak_bytes| Segment {
        index: 0,
        instret_start: 0,
        num_insns: 1,
        trace_heights: vec![20],
        last: false,
        cells: 1,
        interactions: 1,
        peak_bytes,
    };
    Plan {
        segments: peaks.iter().map(segment).collect(),
        public_values: Vec::new(),
        instructions: 1,
    }
}

/// Segments that take so much of what they are cut for, of an execution that comes to so many bytes.
struct Fake {
    bytes: u64,
    taken: f64,
    /// What the last segment takes more.
    excess: u64,
    /// What was cut for, and for how many segments.
    tried: Vec<(u64, usize)>,
}

impl Fake {
    fn run(&mut self, bytes: u64, segments_max: usize) -> Result<Cut, ExecuteError> {
        self.tried.push((bytes, segments_max));
        let count = self.bytes.div_ceil(bytes) as usize;
        let mut peaks = vec![(bytes as f64 * self.taken) as u64; count];
        *peaks.last_mut().unwrap() += self.excess;
        peaks.truncate(segments_max);
        let plan = plan(&peaks);
        Ok(Cut {
            whole: plan.segments.len() == count,
            plan,
        })
    }

    fn cut(&mut self, budget: u64, least: u64) -> Result<Plan, ExecuteError> {
        cut_within(MemoryBudget::from_bytes(budget), least, |bytes, max| {
            self.run(bytes, max)
        })
    }
}

fn fake(bytes: u64, taken: f64, excess: u64) -> Fake {
    Fake {
        bytes,
        taken,
        excess,
        tried: Vec::new(),
    }
}

const WITHIN: u64 = 10_000 - 10_000 / MARGIN_SHARE;
const ALL: usize = usize::MAX;

#[test]
fn what_one_segment_holds_is_executed_once() {
    let mut fake = fake(5000, 0.5, 0);
    assert_eq!(fake.cut(10_000, 0).unwrap().peak_bytes(), WITHIN / 2);
    assert_eq!(fake.tried, [(WITHIN, LOOK_SEGMENTS)]);
}

/// The sum that is cut by may be above what segments take, or below.
#[test]
fn what_the_first_segments_take_settles_what_all_are_cut_for() {
    for taken in [0.6, 1.0, 1.7] {
        let mut fake = fake(1_000_000, taken, 0);
        let peak = fake.cut(10_000, 0).unwrap().peak_bytes();
        assert!((WITHIN - WITHIN / SPARE..=WITHIN).contains(&peak), "{peak}");
        let (last, looks) = fake.tried.split_last().unwrap();
        assert_eq!(last.1, ALL, "once for all");
        assert!(
            looks.len() <= 2 && looks.iter().all(|look| look.1 == LOOK_SEGMENTS),
            "{looks:?}"
        );
    }
}

#[test]
fn what_comes_out_too_large_is_cut_again_for_as_much_less() {
    let mut fake = fake(1_000_000, 1.0, 100);
    assert_eq!(fake.cut(10_000, 0).unwrap().peak_bytes(), WITHIN);
    assert_eq!(fake.tried[1..], [(WITHIN, ALL), (WITHIN - 100, ALL)]);
}

/// At the end a trace grows by a step, so that the last segment is as large whatever it is cut for, down to the step.
#[test]
fn what_is_always_as_large_is_cut_for_less_and_less() {
    let mut tried = Vec::new();
    let run = |bytes: u64, segments_max: usize| {
        tried.push(bytes);
        let mut peaks = vec![WITHIN; LOOK_SEGMENTS];
        if segments_max == ALL {
            peaks.push(if bytes > WITHIN - 60 { WITHIN + 10 } else { bytes });
        }
        let plan = plan(&peaks);
        Ok(Cut {
            whole: segments_max == ALL,
            plan,
        })
    };
    let cut = cut_within(MemoryBudget::from_bytes(10_000), 50, run).unwrap();
    assert_eq!(cut.peak_bytes(), WITHIN);
    assert_eq!(tried[1..], [0, 10, 30, 70].map(|less| WITHIN - less));
}

#[test]
fn a_budget_that_nothing_fits_is_refused_with_what_is_needed() {
    for (least, excess, executed) in [(50, 1000, true), (2000, 0, false)] {
        let mut fake = fake(1, 1.0, excess);
        let cut = fake.cut(100, least);
        assert_eq!(!fake.tried.is_empty(), executed);
        let Err(ExecuteError::BudgetTooSmall { budget, needed }) = cut else {
            panic!("{cut:?}");
        };
        assert_eq!(budget, 100);
        assert!((1000..3000).contains(&needed), "{needed}");
    }
}
