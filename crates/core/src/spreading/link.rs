//! The speed of the requester's link and of peers' links, as copies have shown it.

use std::{collections::BTreeSet, time::Duration};

use super::{AT_ONCE_MAX, AT_ONCE_MIN};
use crate::time::Time;

/// Bytes a second of a home's uplink until copies from peers have shown more or less: 20 Mbit/s.
pub(super) const HOME_RATE: u64 = 2_500_000;
/// The factor by which the links of peers are assumed to be faster or slower than [`HOME_RATE`] at
/// most.
pub(super) const HOME_RATE_SPREAD: u64 = 4;
/// The requester's link is not taken to be faster than this: more would change no decision, and a
/// peer may say at once that it has the files.
const RATE_MAX: u64 = AT_ONCE_MAX as u64 * HOME_RATE * HOME_RATE_SPREAD;
/// Bytes a second of the requester's link until copies have shown more or less.
const RATE_FIRST: u64 = HOME_RATE * AT_ONCE_MIN as u64;
/// Strangers from different networks whose copies together give a rate: as many as the requester
/// sends to at once in the beginning.
const ROUND: usize = AT_ONCE_MIN;
/// One round of strangers multiplies the rate by this at most. If all of a round
/// lie, the requester sends to so many times as many at once, until one of them is late.
const ROUND_GAIN: u64 = 4;
/// The weight of a new rate in the mean is one in this many.
const RATE_PART: u64 = 4;

/// The requester's link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) sending: usize,
    /// Bytes a second of all its copies together.
    pub(super) rate: u64,
    round: Round,
}

/// The copies of some strangers.
#[derive(Clone, Debug, Default)]
struct Round {
    /// When the first one began.
    since: Time,
    bytes: u64,
    copies: usize,
    /// Their networks.
    origins: BTreeSet<u64>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            sending: 0,
            rate: RATE_FIRST,
            round: Round::default(),
        }
    }

    /// A stranger says that a copy has come. The rate follows from when the last one of a round
    /// says so, so that they all have to lie to make it too high. One whose network is not known is
    /// on this machine or near it, and shows nothing of the link to others.
    pub(super) fn stranger_has(&mut self, now: Time, since: Time, bytes: u64, origin: Option<u64>) {
        let round = &mut self.round;
        if !origin.is_some_and(|origin| round.origins.insert(origin)) {
            return;
        }
        round.since = if round.copies == 0 {
            since
        } else {
            round.since.min(since)
        };
        round.bytes = round.bytes.saturating_add(bytes);
        round.copies += 1;
        if round.copies == ROUND {
            let Round { since, bytes, .. } = std::mem::take(round);
            let seen = rate(bytes, now - since).min(ROUND_GAIN * self.rate).min(RATE_MAX);
            self.rate = self.rate.max(seen);
        }
    }

    /// A stranger's copy has come at this rate, or not come, and was one of so many. Strangers can
    /// be slow themselves, so they make the rate no less than it is where nothing is known.
    pub(super) fn has_slowly_sent(&mut self, rate: u64, beside: usize, home: u64) {
        if rate < home {
            let seen = mean(self.rate, rate.saturating_mul(beside as u64)).max(RATE_FIRST);
            self.rate = self.rate.min(seen);
        }
    }

    /// A copy has come that was one of so many.
    pub(super) fn has_sent(&mut self, rate: u64, beside: usize, home: u64) {
        let seen = rate.saturating_mul(beside as u64).min(RATE_MAX);
        if seen > self.rate {
            self.rate = seen;
        } else if rate < home {
            // Faster ones may have been slowed down by the peers that get them.
            self.rate = mean(self.rate, seen);
        }
    }

    /// The number of copies that come as fast together as each would from a peer at home.
    pub(super) fn as_fast_as(&self, home: u64) -> usize {
        (self.rate / home) as usize
    }

    /// How many are sent at once before there are tasks.
    pub(super) fn at_once(&self, home: u64) -> usize {
        self.as_fast_as(home).clamp(AT_ONCE_MIN, AT_ONCE_MAX)
    }

    /// How long one more copy takes.
    pub(super) fn expects(&self, bytes: u64) -> Duration {
        time(bytes.saturating_mul(self.sending as u64 + 1), self.rate)
    }
}

/// How long a copy takes from a peer from which so many others fetch.
pub(super) fn from_peer(bytes: u64, load: usize, home: u64) -> Duration {
    time(bytes.saturating_mul(load as u64 + 1), home)
}

pub(super) fn mean(before: u64, new: u64) -> u64 {
    (before * (RATE_PART - 1) + new) / RATE_PART
}

pub(super) fn time(bytes: u64, rate: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000) / rate.max(1))
}

pub(super) fn rate(bytes: u64, took: Duration) -> u64 {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}
