//! The outcome of the worlds: what `myriad simulate` prints, writes and draws.

use std::{collections::BTreeMap, fmt::Write};

use myriad_core::Time;
use serde::Serialize;

/// Moments of a timeline of a stream of blocks.
const MOMENTS: f64 = 120.0;
/// Seconds between the moments of a scenario that goes on until its blocks are done.
const MOMENT_S: f64 = 5.0;
/// A lag grows if it is larger by more than this part in the last quarter of a stream than in the
/// second, and by more than [`LAG_GROWTH_S`] too.
const LAG_GROWTH: f64 = 0.25;
const LAG_GROWTH_S: f64 = 5.0;

/// All worlds of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The time from the first block's arrival to the last one's proof, over the worlds in which
    /// all blocks were proven.
    pub makespan_s: Option<Summary>,
    /// The time from a block's arrival to its proof, over all blocks of all worlds.
    pub lag_s: Option<Summary>,
    /// The part of the work of machines that deliver that was not accepted: copies, and work that
    /// was given up.
    pub wasted: f64,
    /// The part of the time of machines that deliver in which they worked.
    pub utilisation: f64,
    /// Whether all blocks of all worlds were proven.
    pub all_proven: bool,
    /// Some requester waits longer and longer.
    pub lag_grows: bool,
    pub worlds: Vec<WorldOutcome>,
}

/// Some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub count: usize,
    pub mean: f64,
    pub least: f64,
    pub median: f64,
    /// 95 of 100 are not above it.
    pub p95: f64,
    pub most: f64,
}

/// One world.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorldOutcome {
    pub seed: u64,
    /// The time when all was done, or nobody waited any more.
    pub end_s: f64,
    pub blocks: usize,
    pub proven: usize,
    pub makespan_s: Option<f64>,
    /// The part of the time of machines that deliver in which they worked.
    pub utilisation: f64,
    #[serde(flatten)]
    pub counts: Counts,
    pub requesters: Vec<RequesterOutcome>,
    pub timeline: Vec<Moment>,
}

/// The outcome for one requester.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequesterOutcome {
    /// The name of its table, and its number among those of the table.
    pub name: String,
    pub blocks: usize,
    pub proven: usize,
    pub lag_s: Option<Summary>,
    /// The wait of the oldest unproven block when another came, in the mean over the second quarter
    /// of the stream and the last. The first quarter finds the fleet idle.
    pub lag_early_s: f64,
    pub lag_late_s: f64,
    pub lag_grows: bool,
    pub up_bytes: u64,
    pub down_bytes: u64,
    /// The blocks in the order of arrival.
    #[serde(skip)]
    pub history: Vec<Block>,
}

/// The times of a block's stages, in seconds of virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Block {
    pub arrived_s: Option<f64>,
    /// It was executed and cut.
    pub opened_s: Option<f64>,
    pub done_s: Option<f64>,
}

/// The fates of a world's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Tasks that are done.
    pub tasks: u64,
    pub leases: u64,
    /// Leases that ran out.
    pub expired: u64,
    pub banned: u64,
    /// Machines that went away.
    pub leavings: u64,
    /// Blocks that missed their deadline.
    pub late: u64,
    /// The inputs of the state machines.
    pub inputs: u64,
    /// Working time of machines that deliver, the part of it that was accepted, and the time in
    /// which they fetched inputs.
    pub worked_s: f64,
    pub accepted_s: f64,
    pub fetching_s: f64,
    /// Machines that were woken, and of these the ones that were at a task of another requester.
    pub woken: u64,
    pub declined: u64,
    /// CPU time of requesters in which they verified proofs.
    pub verified_s: f64,
    /// Inputs of blocks that requesters sent themselves, and what went from machine to machine.
    pub input_copies: u64,
    pub between_bytes: u64,
}

/// A part of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// Its end.
    pub at_s: f64,
    /// Machines that deliver: on average there, and at work.
    pub online: f64,
    pub working: f64,
    /// Blocks that have come and are not proven.
    pub lagging: usize,
}

/// Machine seconds by time.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    step_s: f64,
    working: Vec<f64>,
    online: Vec<f64>,
    online_now: i64,
    online_since_s: f64,
}

impl Timeline {
    pub(crate) fn new(hours: f64, online: usize) -> Self {
        Self {
            step_s: if hours > 0.0 {
                3600.0 * hours / MOMENTS
            } else {
                MOMENT_S
            },
            working: Vec::new(),
            online: Vec::new(),
            online_now: online as i64,
            online_since_s: 0.0,
        }
    }

    /// A machine worked.
    pub(crate) fn worked(&mut self, from: Time, to: Time) {
        spread(&mut self.working, self.step_s, seconds(from), seconds(to), 1.0);
    }

    /// This many more are there from now on.
    pub(crate) fn online(&mut self, now: Time, more: i64) {
        let now_s = seconds(now);
        let count = self.online_now as f64;
        spread(&mut self.online, self.step_s, self.online_since_s, now_s, count);
        self.online_now += more;
        self.online_since_s = now_s;
    }

    fn moments(&self, end_s: f64, blocks: &[Block]) -> Vec<Moment> {
        let steps = self.online.len();
        let moment = |step: usize| {
            let from_s = step as f64 * self.step_s;
            let at_s = (from_s + self.step_s).min(end_s);
            let length_s = (at_s - from_s).max(1e-9);
            let lagging = blocks.iter().filter(|block| {
                block.arrived_s.is_some_and(|arrived_s| arrived_s < at_s)
                    && block.done_s.is_none_or(|done_s| done_s >= at_s)
            });
            Moment {
                at_s,
                online: self.online[step] / length_s,
                working: self.working.get(step).copied().unwrap_or(0.0) / length_s,
                lagging: lagging.count(),
            }
        };
        (0..steps).map(moment).collect()
    }
}

/// Adds to each step what falls into it.
fn spread(steps: &mut Vec<f64>, step_s: f64, from_s: f64, to_s: f64, weight: f64) {
    let mut at_s = from_s;
    // Counted, and not divided again: a border may be divided into the step before it, which has
    // nothing left.
    let mut step = (from_s / step_s) as usize;
    while at_s < to_s {
        let next_s = ((step + 1) as f64 * step_s).min(to_s);
        if steps.len() <= step {
            steps.resize(step + 1, 0.0);
        }
        if next_s > at_s {
            steps[step] += weight * (next_s - at_s);
            at_s = next_s;
        }
        step += 1;
    }
}

pub(super) fn seconds(time: Time) -> f64 {
    time.0 as f64 / 1e6
}

impl Summary {
    /// Sums up these numbers; none without any.
    pub fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let (least, most) = (*numbers.first()?, *numbers.last()?);
        let count = numbers.len();
        let rank = |part: f64| numbers[((part * count as f64).ceil() as usize).clamp(1, count) - 1];
        Some(Self {
            count,
            mean: numbers.iter().sum::<f64>() / count as f64,
            least,
            median: rank(0.5),
            p95: rank(0.95),
            most,
        })
    }
}

impl Block {
    /// None while it is not proven.
    pub fn lag_s(&self) -> Option<f64> {
        Some(self.done_s? - self.arrived_s?)
    }
}

impl RequesterOutcome {
    fn new(name: String, up_bytes: u64, down_bytes: u64, history: Vec<Block>) -> Self {
        let arrived: Vec<&Block> = history.iter().filter(|block| block.arrived_s.is_some()).collect();
        let lags: Vec<f64> = arrived.iter().filter_map(|block| block.lag_s()).collect();
        // Blocks that are not proven in the end count as well: a fleet that falls behind proves
        // only the first blocks.
        let mut oldest = 0;
        let waited: Vec<f64> = (arrived.iter().filter_map(|block| block.arrived_s).enumerate())
            .map(|(last, now_s)| {
                let is_done = |block: &Block| block.done_s.is_some_and(|done_s| done_s <= now_s);
                while oldest < last && is_done(arrived[oldest]) {
                    oldest += 1;
                }
                now_s - arrived[oldest].arrived_s.unwrap_or(now_s)
            })
            .collect();
        let quarter = |from: usize, to: usize| {
            let part = &waited[waited.len() * from / 4..waited.len() * to / 4];
            part.iter().sum::<f64>() / part.len().max(1) as f64
        };
        let (lag_early_s, lag_late_s) = (quarter(1, 2), quarter(3, 4));
        Self {
            name,
            blocks: arrived.len(),
            proven: lags.len(),
            lag_s: Summary::of(lags),
            lag_early_s,
            lag_late_s,
            lag_grows: arrived.len() >= 8
                && lag_late_s > lag_early_s * (1.0 + LAG_GROWTH)
                && lag_late_s > lag_early_s + LAG_GROWTH_S,
            up_bytes,
            down_bytes,
            history,
        }
    }
}

impl WorldOutcome {
    /// `sides` are names of tables, bytes up and down, and what became of the blocks.
    pub(super) fn new(
        seed: u64,
        end_s: f64,
        sides: Vec<(String, u64, u64, Vec<Block>)>,
        counts: Counts,
        timeline: Timeline,
    ) -> Self {
        let mut names: BTreeMap<String, u32> = BTreeMap::new();
        let alike = |name: &String| sides.iter().filter(|(other, ..)| other == name).count();
        let counted: Vec<String> = sides
            .iter()
            .map(|(name, ..)| {
                let number = names.entry(name.clone()).or_default();
                *number += 1;
                if alike(name) > 1 {
                    format!("{name} {number}")
                } else {
                    name.clone()
                }
            })
            .collect();
        let requesters: Vec<RequesterOutcome> = counted
            .into_iter()
            .zip(sides)
            .map(|(name, (_, up, down, history))| RequesterOutcome::new(name, up, down, history))
            .collect();
        let blocks: Vec<Block> = requesters
            .iter()
            .flat_map(|requester| requester.history.iter().copied())
            .collect();
        let first = blocks
            .iter()
            .filter_map(|block| block.arrived_s)
            .fold(f64::INFINITY, f64::min);
        let last: Option<f64> = blocks
            .iter()
            .map(|block| block.done_s)
            .try_fold(0.0, |last: f64, done| Some(last.max(done?)));
        let online_s: f64 = timeline.online.iter().sum();
        Self {
            seed,
            end_s,
            blocks: blocks.len(),
            proven: blocks.iter().filter(|block| block.done_s.is_some()).count(),
            makespan_s: last.map(|last| last - first),
            utilisation: counts.worked_s / online_s.max(1e-9),
            counts,
            timeline: timeline.moments(end_s, &blocks),
            requesters,
        }
    }
}

impl Outcome {
    pub(super) fn of(worlds: Vec<WorldOutcome>) -> Self {
        let sum = |of: fn(&Counts) -> f64| worlds.iter().map(|world| of(&world.counts)).sum::<f64>();
        let worked_s = sum(|counts| counts.worked_s);
        let blocks = || worlds.iter().flat_map(|world| &world.requesters);
        Self {
            makespan_s: Summary::of(worlds.iter().filter_map(|world| world.makespan_s).collect()),
            lag_s: Summary::of(
                blocks()
                    .flat_map(|requester| requester.history.iter().filter_map(Block::lag_s))
                    .collect(),
            ),
            wasted: 1.0 - sum(|counts| counts.accepted_s) / worked_s.max(1e-9),
            utilisation: worlds.iter().map(|world| world.utilisation).sum::<f64>()
                / worlds.len().max(1) as f64,
            all_proven: worlds.iter().all(|world| world.proven == world.blocks),
            lag_grows: blocks().any(|requester| requester.lag_grows),
            worlds,
        }
    }

    /// A row for each block of each world, as CSV.
    pub fn blocks_csv(&self) -> String {
        let mut csv = "seed,requester,block,arrived_s,opened_s,done_s,lag_s\n".to_owned();
        for world in &self.worlds {
            for requester in &world.requesters {
                for (number, block) in requester.history.iter().enumerate() {
                    let text =
                        |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
                    let _ = writeln!(
                        csv,
                        "{},{},{number},{},{},{},{}",
                        world.seed,
                        quoted(&requester.name),
                        text(block.arrived_s),
                        text(block.opened_s),
                        text(block.done_s),
                        text(block.lag_s())
                    );
                }
            }
        }
        csv
    }

    /// A row for each moment of each world, as CSV.
    pub fn timeline_csv(&self) -> String {
        let mut csv = "seed,at_s,online,working,utilisation,blocks_lagging\n".to_owned();
        for world in &self.worlds {
            for moment in &world.timeline {
                let _ = writeln!(
                    csv,
                    "{},{:.1},{:.1},{:.1},{:.4},{}",
                    world.seed,
                    moment.at_s,
                    moment.online,
                    moment.working,
                    moment.working / moment.online.max(1e-9),
                    moment.lagging
                );
            }
        }
        csv
    }
}

/// RFC 4180: a name may have anything in it.
fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_ranks() {
        let summary = Summary::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!(
            (summary.least, summary.median, summary.p95, summary.most),
            (1.0, 50.0, 95.0, 100.0)
        );
        assert_eq!(summary.mean, 50.5);
        assert_eq!(Summary::of(Vec::new()), None);
    }

    #[test]
    fn work_is_spread_over_the_steps_in_which_it_was_done() {
        let mut steps = Vec::new();
        spread(&mut steps, 10.0, 5.0, 32.0, 2.0);
        assert_eq!(steps, [10.0, 20.0, 20.0, 4.0]);
        // 29 steps of 5.1 are a little less than 29 when they are divided by it again.
        let mut steps = Vec::new();
        spread(&mut steps, 5.1, 0.0, 510.0, 1.0);
        assert!((steps.iter().sum::<f64>() - 510.0).abs() < 1e-6, "{steps:?}");
    }

    fn history(lag: impl Fn(u32) -> f64) -> Vec<Block> {
        let block = |number: u32| {
            let arrived = 12.0 * f64::from(number);
            Block {
                arrived_s: Some(arrived),
                opened_s: Some(arrived),
                done_s: Some(arrived + lag(number)),
            }
        };
        (0..100).map(block).collect()
    }

    #[test]
    fn a_lag_grows_or_does_not() {
        let of = |history| RequesterOutcome::new("a".into(), 0, 0, history).lag_grows;
        assert!(!of(history(|_| 100.0)));
        assert!(!of(history(|number| if number < 10 { 50.0 } else { 100.0 })));
        assert!(of(history(|number| 100.0 + f64::from(number))));
        // Blocks that are never proven wait, too.
        let mut stuck = history(|_| 20.0);
        stuck[60..].iter_mut().for_each(|block| block.done_s = None);
        assert!(of(stuck));
    }

    #[test]
    fn a_table_survives_names() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("rollup 1"), "rollup 1");
    }
}
