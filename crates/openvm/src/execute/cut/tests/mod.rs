//! The cuts of made-up executions.

mod streamed;

use myriad_engine::Segment;

use super::*;

fn plan(peaks: &[u64]) -> Plan {
    let segment = |&peak_bytes| Segment {
        index: 0,
        instret_start: 0,
        num_insns: 1,
        details: vec![20],
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

fn within(
    limits: Limits,
    mut run: impl FnMut(u64, usize) -> Result<Segmented, ExecuteError>,
) -> Result<Result<Plan, Refusal>, ExecuteError> {
    super::within(limits, None, |sums, segments_max, _| run(sums[0].1, segments_max))
}

/// An execution that comes to `bytes`, with segments that take the part `taken` of the bytes that
/// they are cut for.
struct Fake {
    bytes: u64,
    taken: f64,
    /// The bytes that the last segment takes in addition.
    excess: u64,
    /// The bytes that each run cut for, and the most segments of it.
    tried: Vec<(u64, usize)>,
}

impl Fake {
    fn run(&mut self, bytes: u64, segments_max: usize) -> Result<Segmented, ExecuteError> {
        self.tried.push((bytes, segments_max));
        let count = self.bytes.div_ceil(bytes) as usize;
        let mut peaks = vec![(bytes as f64 * self.taken) as u64; count];
        *peaks.last_mut().unwrap() += self.excess;
        peaks.truncate(segments_max);
        let plan = plan(&peaks);
        Ok(Segmented {
            whole: plan.segments.len() == count,
            plan,
        })
    }

    fn cut(&mut self, budget: u64, least: u64) -> Result<Plan, Refusal> {
        within(limits(budget, least, ALL), |bytes, max| self.run(bytes, max)).unwrap()
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

fn limits(budget: u64, least: u64, segments_max: usize) -> Limits {
    Limits {
        budget: MemoryBudget::from_bytes(budget),
        least,
        segments_max,
    }
}

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

/// A trace grows by a step at the end of the execution, so that the last segment is as large
/// whatever it is cut for, down to the step.
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
        Ok(Segmented {
            whole: segments_max == ALL,
            plan,
        })
    };
    let cut = within(limits(10_000, 50, ALL), run).unwrap().unwrap();
    assert_eq!(cut.peak_bytes(), WITHIN);
    assert_eq!(tried[1..], [0, 10, 30, 70].map(|less| WITHIN - less));
}

/// A segment that is far too large, or that no proof can be of, does not tell how much less will
/// do.
#[test]
fn a_far_too_large_segment_is_cut_for_nearly_the_largest_sum_that_fits() {
    for (will_do, larger) in [
        (9000, NO_PROOF),
        (6000, NO_PROOF),
        (6000, 1 << 50),
        (100, 1 << 50),
    ] {
        let mut runs = 0;
        let run = |bytes: u64, segments_max: usize| {
            runs += 1;
            let mut peaks = vec![bytes; 1 + (20_000 / bytes.max(1)) as usize];
            *peaks.last_mut().unwrap() = if bytes > will_do { larger } else { bytes };
            let whole = peaks.len() <= segments_max;
            peaks.truncate(segments_max);
            let plan = plan(&peaks);
            Ok(Segmented { plan, whole })
        };
        let cut = within(limits(10_000, 50, ALL), run).unwrap().unwrap();
        let peak = cut.peak_bytes();
        assert!(
            (will_do - will_do / SPARE..=will_do).contains(&peak),
            "{peak} of {will_do}"
        );
        assert!(runs <= 15, "{runs}");
    }
}

#[test]
fn a_budget_that_nothing_fits_is_refused_with_what_is_needed() {
    for (least, excess, executed) in [(50, 1000, true), (2000, 0, false)] {
        let mut fake = fake(1, 1.0, excess);
        let cut = fake.cut(100, least);
        assert_eq!(!fake.tried.is_empty(), executed);
        let Err(Refusal::Memory { needed }) = cut else {
            panic!("{cut:?}");
        };
        assert!((1000..3000).contains(&needed), "{needed}");
    }
}

/// An execution that is made up: the rows of each thousand of its instructions.
#[derive(Debug)]
struct Execution {
    rows: Vec<u64>,
    least: u64,
    /// Bytes for two rows.
    bytes_of_two: u64,
    /// Whether rows are rounded up to a power of two.
    powers: bool,
    /// The most rows that there is a proof of.
    rows_max: u64,
    /// Whether the last thousand instructions are looked at, which OpenVM does not do.
    looked_at_to_the_end: bool,
}

impl Execution {
    fn random(random: &mut Random) -> Self {
        let usual = 1 + random.below(40);
        let mut rows: Vec<u64> = (0..1 + random.below(120)).map(|_| random.below(usual)).collect();
        for _ in 0..random.below(3) {
            let place = random.below(rows.len() as u64) as usize;
            rows[place] += random.below(600);
        }
        let last = rows.len() - 1;
        if random.below(2) == 0 {
            rows[last] += random.below(1500);
        }
        Self {
            rows,
            least: random.below(400),
            bytes_of_two: 1 + random.below(6),
            powers: random.below(2) == 0,
            rows_max: if random.below(3) == 0 {
                50 + random.below(1000)
            } else {
                u64::MAX
            },
            looked_at_to_the_end: random.below(2) == 0,
        }
    }

    fn peak(&self, rows: u64) -> u64 {
        let rows = if self.powers {
            (rows + rows.next_power_of_two()) / 2
        } else {
            rows
        };
        if rows > self.rows_max {
            return NO_PROOF;
        }
        self.least + rows * self.bytes_of_two / 2
    }

    fn run(&self, bytes: u64, segments_max: usize) -> Segmented {
        self.run_for(&[(0, bytes)], segments_max, &mut |_| true)
    }

    fn run_for(
        &self,
        sums: &[(usize, u64)],
        segments_max: usize,
        seen: &mut dyn FnMut(&Segment) -> bool,
    ) -> Segmented {
        let limit = |segments: &Vec<u64>| {
            let (_, bytes) = sums.iter().rfind(|(from, _)| *from <= segments.len()).unwrap();
            bytes.saturating_sub(self.least)
        };
        let mut segments = Vec::new();
        let mut held: Option<u64> = None;
        let mut goes_on = true;
        let mut sees = |segments: &[u64]| {
            let is_one = segments.len() <= segments_max;
            goes_on = !is_one || goes_on && seen(&plan(&segments[segments.len() - 1..]).segments[0]);
            goes_on
        };
        for (place, &rows) in self.rows.iter().enumerate() {
            let last = place + 1 == self.rows.len();
            let with = held.unwrap_or(0) + rows;
            held = match held {
                Some(before) if with > limit(&segments) && (!last || self.looked_at_to_the_end) => {
                    segments.push(self.peak(before));
                    if !sees(&segments) {
                        let plan = plan(&segments);
                        return Segmented { plan, whole: false };
                    }
                    Some(rows)
                }
                _ => Some(with),
            };
        }
        segments.extend(held.map(|rows| self.peak(rows)));
        if !sees(&segments) {
            let plan = plan(&segments);
            return Segmented { plan, whole: false };
        }
        let whole = segments.len() <= segments_max;
        segments.truncate(segments_max);
        Segmented {
            plan: plan(&segments),
            whole,
        }
    }

    /// The number of segments of the cut for this many bytes, if all of them fit.
    fn fitting(&self, bytes: u64, within: u64) -> Option<usize> {
        let plan = self.run(bytes, ALL).plan;
        (plan.peak_bytes() <= within).then_some(plan.segments.len())
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The most executions that a cut takes.
const RUNS_MAX: u32 = 32;

/// Cuts; gives also how often that took an execution.
fn cut(execution: &Execution, budget: u64, segments_max: usize) -> (Result<Plan, Refusal>, u32) {
    let mut runs = 0;
    let cut = within(limits(budget, execution.least, segments_max), |bytes, max| {
        runs += 1;
        Ok(execution.run(bytes, max))
    });
    (cut.unwrap(), runs)
}

/// Cut for nothing, each segment has a thousand instructions. A segment that does not fit then fits
/// in no cut.
#[test]
fn a_cut_is_found_wherever_there_is_one() {
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let execution = Execution::random(&mut random);
        let budget = execution.least + 1 + random.below(1500);
        let within = budget - budget / MARGIN_SHARE;
        let possible = execution.least <= within && execution.fitting(execution.least, within).is_some();
        let (cut, runs) = cut(&execution, budget, ALL);
        assert!(runs <= RUNS_MAX, "seed {seed}: {runs} executions");
        match cut {
            Ok(plan) => assert!(plan.peak_bytes() <= within, "seed {seed}: {}", plan.peak_bytes()),
            Err(refusal) => {
                assert!(
                    !possible,
                    "seed {seed}: {refusal:?} for {budget} bytes of {execution:?}"
                );
                match refusal {
                    Refusal::Memory { needed } => assert!(
                        (budget + 1..NO_PROOF / 2).contains(&needed),
                        "seed {seed}: {needed} needed, {budget} allowed"
                    ),
                    Refusal::Rows { details } => assert!(!details.is_empty()),
                    Refusal::Segments => panic!("seed {seed}: any number of segments is allowed"),
                }
            }
        }
    }
}

/// The cuts that fit are an interval if a finer cut never takes more: memory bounds it above, the
/// count of segments below.
#[test]
fn a_cut_of_few_enough_segments_is_found_unless_hardly_any_fits() {
    let (mut found, mut refused) = (0, 0);
    for seed in 0..1000 {
        let mut random = Random(seed);
        let mut execution = Execution::random(&mut random);
        execution.looked_at_to_the_end = true;
        let budget = execution.least + 1 + random.below(1500);
        let within = budget - budget / MARGIN_SHARE;
        if execution.least > within {
            continue;
        }
        let room = within - execution.least;
        let segments_max = 1 + random.below(30) as usize;
        let fits = |bytes: u64| execution.fitting(bytes, within);
        let few: Vec<u64> = (execution.least..=most(execution.least, room))
            .filter(|&bytes| fits(bytes).is_some_and(|count| count <= segments_max))
            .collect();
        let (cut, runs) = cut(&execution, budget, segments_max);
        assert!(runs <= RUNS_MAX, "seed {seed}: {runs} executions");
        match (cut, few.first(), few.last()) {
            (Ok(plan), Some(_), _) => {
                assert!(plan.peak_bytes() <= within && plan.segments.len() <= segments_max);
                found += 1;
            }
            (Err(refusal), Some(&finest), Some(&coarsest)) => {
                let close = ((finest - execution.least) / SPARE).max(room >> LOG_PARTS).max(1);
                assert!(
                    coarsest - finest <= close,
                    "seed {seed}: {refusal:?}, but cuts for {finest} to {coarsest} fit {within} of {execution:?}"
                );
            }
            (Ok(plan), ..) => panic!(
                "seed {seed}: a plan of {} segments fits no limit",
                plan.segments.len()
            ),
            (Err(_), ..) => refused += 1,
        }
    }
    assert!(found > 100 && refused > 100, "{found} found, {refused} refused");
}
