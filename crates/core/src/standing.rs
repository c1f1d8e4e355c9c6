//! A requester's memory of a peer, from one job to the next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{Kind, TaskRef},
    input::{Cost, SPEED_ONE},
    redundancy::ONE,
};

/// Speeds are believed within these bounds, in thousandths. A peer that claims to be slower than
/// the lowest would get leases that nobody can wait for.
pub(crate) const SPEED_MIN: u32 = SPEED_ONE / 20;
pub(crate) const SPEED_MAX: u32 = SPEED_ONE * 50;
/// The lowest speed that is believed of a machine before it has delivered at a lower one: half of
/// the slowest in use, say, and leases have some slack beside.
const SPEED_UNSEEN_MIN: u32 = SPEED_ONE / 4;
/// All counts are halved at this many outcomes: what a machine did long ago says less.
const OUTCOMES_MAX: u32 = 64;
/// A newcomer counts as an average newcomer, with the weight of this many outcomes of its own.
const PRIOR_OUTCOMES: u32 = 2;

/// How a peer has kept to its leases, and how fast it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Proofs of it that were accepted.
    pub accepted: u32,
    /// Leases that ran out, or that another peer had to end because nothing was heard.
    pub expired: u32,
    /// Tasks that it could not do, as it said.
    pub failed: u32,
    /// Proofs that it claimed and did not hand over.
    pub unavailable: u32,
    /// Why it gets nothing any more.
    pub banned: Option<String>,
    /// The speed at each kind of task, in the order of [`Kind::ALL`].
    pub speeds: [Speed; Kind::ALL.len()],
    /// The task because of which it was banned. This field comes last, because what an earlier
    /// build has kept ends before it.
    pub banned_for: Option<TaskRef>,
}

/// The measured speed of a peer at one kind of task, in thousandths of [`SPEED_ONE`]'s machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speed {
    /// 0 where nothing was measured.
    pub mean: u32,
    /// The mean distance from it.
    pub deviation: u32,
    /// The lowest at which a proof was accepted; 0 without one.
    pub lowest: u32,
    pub samples: u32,
}

impl Standing {
    /// Its measured speed at a kind of task.
    pub fn speed(&self, kind: Kind) -> Speed {
        self.speeds[kind as usize]
    }

    /// The mean of its measured speeds at the kinds of tasks that it has delivered; none without
    /// any.
    pub(crate) fn mean_speed(&self) -> Option<u32> {
        let measured = self.speeds.iter().filter(|speed| speed.samples > 0);
        let (sum, count) = measured.fold((0, 0), |(sum, count), speed| {
            (sum + u64::from(speed.mean), count + 1)
        });
        (count > 0).then(|| (sum / count) as u32)
    }

    /// This standing within the bounds that hold here: a file may say anything.
    pub(crate) fn bounded(mut self) -> Self {
        for count in [
            &mut self.accepted,
            &mut self.expired,
            &mut self.failed,
            &mut self.unavailable,
        ] {
            *count = (*count).min(OUTCOMES_MAX);
        }
        for speed in &mut self.speeds {
            for value in [&mut speed.mean, &mut speed.deviation, &mut speed.lowest] {
                *value = (*value).min(SPEED_MAX);
            }
        }
        self
    }

    /// Whether a proof of it was ever accepted.
    pub fn is_proven(&self) -> bool {
        self.accepted > 0
    }

    /// The chance that it keeps to its next lease, in thousandths: the mean of a beta distribution.
    /// `newcomers` is the chance of peers of which nothing is known.
    pub(crate) fn delivers(&self, newcomers: u32) -> u32 {
        let broken = self.expired + self.failed + self.unavailable;
        (ONE * self.accepted + newcomers * PRIOR_OUTCOMES) / (self.accepted + broken + PRIOR_OUTCOMES)
    }

    /// A proof was accepted that took so long.
    pub(crate) fn accept(&mut self, kind: Kind, cost: Cost, took: Duration) {
        self.accepted += 1;
        self.speeds[kind as usize].learn(cost, took);
        self.age();
    }

    /// A lease ran out. Next time the peer is expected to be half as fast as `believed`: either it
    /// is slower than it looked, or it holds tasks back, and then it gets few.
    pub(crate) fn expire(&mut self, kind: Kind, believed: u32) {
        self.expired += 1;
        self.speeds[kind as usize].mean = (believed / 2).max(SPEED_MIN);
        self.age();
    }

    pub(crate) fn fail(&mut self) {
        self.failed += 1;
        self.age();
    }

    /// It sent an invalid proof.
    pub(crate) fn ban(&mut self, task: TaskRef, reason: String) {
        (self.banned, self.banned_for) = (Some(reason), Some(task));
    }

    /// Nobody could have done a task: it is not held against the peer any more. Returns whether
    /// anything was.
    pub(crate) fn pardon(&mut self, task: TaskRef) -> bool {
        let banned = self.banned_for == Some(task);
        if banned {
            (self.banned, self.banned_for) = (None, None);
        }
        banned
    }

    /// It was not to blame for a task that it could not do.
    pub(crate) fn unfail(&mut self) {
        self.failed = self.failed.saturating_sub(1);
    }

    pub(crate) fn withhold(&mut self) {
        self.unavailable += 1;
        self.age();
    }

    fn age(&mut self) {
        if self.accepted + self.expired + self.failed + self.unavailable > OUTCOMES_MAX {
            // Rounded up: a peer that was proven stays so.
            self.accepted = self.accepted.div_ceil(2);
            self.expired /= 2;
            self.failed /= 2;
            self.unavailable /= 2;
        }
    }
}

impl Speed {
    /// New measurements weigh a quarter, so that one good or bad day does not decide.
    fn learn(&mut self, cost: Cost, took: Duration) {
        let seen = cost.work.as_micros() * u128::from(SPEED_ONE) / took.as_micros().max(1);
        let seen = u32::try_from(seen)
            .unwrap_or(SPEED_MAX)
            .clamp(SPEED_MIN, SPEED_MAX);
        if self.samples == 0 {
            // Nothing is known of how it varies: by half, say.
            *self = Self {
                mean: seen,
                deviation: seen / 2,
                lowest: seen,
                samples: 1,
            };
            return;
        }
        self.deviation = (3 * self.deviation + self.mean.abs_diff(seen)) / 4;
        self.mean = (3 * self.mean + seen) / 4;
        self.lowest = self.lowest.min(seen);
        self.samples = self.samples.saturating_add(1);
    }

    /// The least speed that is expected until a proof has shown a lower one. A peer that never
    /// delivers looks ever slower, and is not to get ever longer leases.
    pub(crate) fn floor(&self) -> u32 {
        match self.lowest {
            0 => SPEED_UNSEEN_MIN,
            lowest => lowest.min(SPEED_UNSEEN_MIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Cost = Cost {
        work: Duration::from_secs(10),
        memory: 0,
    };
    const NEWCOMERS: u32 = 800;

    #[test]
    fn a_newcomer_is_taken_for_what_newcomers_are() {
        let mut standing = Standing::default();
        assert_eq!(standing.delivers(NEWCOMERS), NEWCOMERS);
        standing.accept(Kind::Leaf, COST, COST.work);
        assert!(standing.delivers(NEWCOMERS) > NEWCOMERS);
        for _ in 0..3 {
            standing.expire(Kind::Leaf, 1000);
        }
        assert!(standing.delivers(NEWCOMERS) < NEWCOMERS / 2 + 100);
        assert!(standing.is_proven());
    }

    #[test]
    fn what_was_long_ago_says_less() {
        let mut standing = Standing::default();
        for _ in 0..1000 {
            standing.accept(Kind::Leaf, COST, COST.work);
        }
        assert!(standing.accepted <= OUTCOMES_MAX);
        for _ in 0..OUTCOMES_MAX {
            standing.fail();
        }
        assert!(standing.delivers(NEWCOMERS) < 500, "{standing:?}");
        for _ in 0..1000 {
            standing.withhold();
        }
        assert!(standing.is_proven(), "it once was");
    }

    #[test]
    fn a_steady_machine_is_known_to_be_steady() {
        let mut standing = Standing::default();
        standing.accept(Kind::Leaf, COST, Duration::from_secs(20));
        let once = standing.speed(Kind::Leaf);
        for _ in 0..20 {
            standing.accept(Kind::Leaf, COST, Duration::from_secs(20));
        }
        let steady = standing.speed(Kind::Leaf);
        assert_eq!((once.mean, steady.mean), (500, 500));
        assert!(steady.deviation < once.deviation / 10, "{steady:?}");
        standing.accept(Kind::Leaf, COST, Duration::from_secs(5));
        assert!(standing.speed(Kind::Leaf).deviation > steady.deviation + 100);
        assert_eq!(standing.speed(Kind::Segment), Speed::default(), "another kind");
    }

    #[test]
    fn absurd_measurements_are_bounded() {
        let mut standing = Standing::default();
        standing.accept(Kind::Leaf, COST, Duration::ZERO);
        assert_eq!(standing.speed(Kind::Leaf).mean, SPEED_MAX);
        for _ in 0..20 {
            standing.expire(Kind::Leaf, standing.speed(Kind::Leaf).mean);
        }
        assert_eq!(standing.speed(Kind::Leaf).mean, SPEED_MIN);
        assert_eq!(standing.speed(Kind::Leaf).floor(), SPEED_UNSEEN_MIN);
    }

    #[test]
    fn what_a_file_says_is_bounded() {
        let speed = Speed {
            mean: u32::MAX,
            deviation: u32::MAX,
            lowest: u32::MAX,
            samples: u32::MAX,
        };
        let mut standing = Standing {
            accepted: u32::MAX,
            expired: u32::MAX,
            failed: u32::MAX,
            unavailable: u32::MAX,
            banned: None,
            speeds: [speed; Kind::ALL.len()],
            banned_for: None,
        }
        .bounded();
        assert_eq!(standing.delivers(NEWCOMERS), (64 * ONE + 1600) / (4 * 64 + 2));
        standing.accept(Kind::Leaf, COST, COST.work);
        assert!(standing.speed(Kind::Leaf).mean < SPEED_MAX);
    }
}
