//! Decides how long a blob is asked for, of one peer and of all that may have it. Called by
//! [`crate::transfer`] alone; it does no I/O.

use std::time::{Duration, Instant};

use crate::blob::{FetchLimits, RATE_MIN, STALL, START};

/// A peer that sends fewer bytes a second is left while another can be asked: the received bytes
/// are kept, so that trying another costs next to nothing.
const HASTY_RATE_MIN: u64 = 4 * RATE_MIN;
/// A peer that is silent for this long, or cannot be reached, is left in the same way.
const HASTE: Duration = Duration::from_secs(5);
/// The time that it may take to reach the last peer left, and to open a stream.
const OPEN_PATIENCE: Duration = Duration::from_secs(20);

/// A blob is given up after this many rounds in which all failed.
const ROUNDS: u32 = 4;
/// A round in which all say that they do not have the blob counts for this many. No link was cut;
/// the blob is asked for once more because a peer may have been about to get it.
const ROUNDS_ABSENT: u32 = 2;
/// The first pause between rounds; each further one is twice as long. A link that was cut for half
/// a minute is back then.
const ROUND_PAUSE: Duration = Duration::from_secs(3);
/// The pause before a client that was turned away comes again; each further one is twice as long,
/// up to the pause between rounds.
const BUSY_PAUSE_MIN: Duration = Duration::from_millis(250);
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The time that a blob may take besides that for its bytes. It is the time that a requester needs
/// to send a program to a hundred provers that have all just come.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The time to send this many bytes at the slowest rate that is of use.
fn sending(bytes: u64) -> Duration {
    Duration::from_secs(bytes / RATE_MIN)
}

/// The time that one peer may take to send a blob of this many bytes. It depends on whether the
/// peer is the last one to ask.
pub(crate) fn limits(bytes: u64, is_last: bool) -> FetchLimits {
    FetchLimits {
        stall: if is_last { STALL } else { HASTE },
        time_max: START + sending(bytes),
        rate_min: if is_last { 0 } else { HASTY_RATE_MIN },
        ..FetchLimits::default()
    }
}

/// The time that it may take to open a stream to a peer.
pub(crate) fn opening(is_last: bool) -> Duration {
    if is_last { OPEN_PATIENCE } else { HASTE }
}

/// The result of asking every peer once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// A part of the blob.
    Progress,
    /// No progress, but a peer has the blob and was busy; it said when to come again.
    Busy(Duration),
    /// All were reached, and none has it.
    Absent,
    Failed,
}

impl Round {
    /// `busy` is the shortest time after which a busy peer wants to be asked again; `absent` says
    /// that all were reached and said that they do not have it.
    pub(crate) fn of(progress: bool, busy: Option<Duration>, absent: bool) -> Self {
        match busy {
            _ if progress => Self::Progress,
            Some(pause) => Self::Busy(pause),
            None if absent => Self::Absent,
            None => Self::Failed,
        }
    }
}

/// The rounds in which all peers are asked again.
pub(crate) struct Patience {
    until: Instant,
    failed: u32,
    pause: Duration,
    busy_pause: Duration,
    seed: u64,
}

impl Patience {
    /// Clients that were turned away together come again one by one, if the seeds differ.
    pub(crate) fn new(bytes: u64, seed: u64, now: Instant) -> Self {
        Self {
            until: now + WAIT_MAX + sending(bytes),
            failed: 0,
            pause: ROUND_PAUSE,
            busy_pause: BUSY_PAUSE_MIN,
            seed,
        }
    }

    /// The time to wait before the next round; none when it is time to give up.
    pub(crate) fn after(&mut self, round: Round, now: Instant) -> Option<Duration> {
        let pause = match round {
            Round::Progress => {
                (self.failed, self.pause, self.busy_pause) = (0, ROUND_PAUSE, BUSY_PAUSE_MIN);
                BUSY_PAUSE_MIN
            }
            Round::Busy(wanted) => {
                let pause = self.busy_pause.max(wanted).min(BUSY_PAUSE_MAX);
                self.busy_pause = (self.busy_pause * 2).min(BUSY_PAUSE_MAX);
                self.spread(pause)
            }
            Round::Absent | Round::Failed => {
                self.failed += if round == Round::Absent { ROUNDS_ABSENT } else { 1 };
                if self.failed >= ROUNDS {
                    return None;
                }
                let pause = self.pause;
                self.pause *= 2;
                pause
            }
        };
        (now + pause < self.until).then_some(pause)
    }

    /// A random time between three and five quarters of a pause.
    fn spread(&mut self, pause: Duration) -> Duration {
        // Knuth's generator; the high bits are the good ones.
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        pause * (768 + (self.seed >> 55) as u32) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_millis(500);

    #[test]
    fn the_last_peer_gets_time_by_the_size_and_the_others_seconds() {
        let proof = limits(640 << 10, true);
        assert_eq!(proof.time_max, Duration::from_secs(40));
        assert_eq!((proof.stall, proof.rate_min), (STALL, 0));
        let input = limits(64 << 20, true);
        assert_eq!(input.time_max, Duration::from_secs(30 + 1024));
        let other = limits(64 << 20, false);
        assert_eq!((other.stall, other.rate_min), (HASTE, 256 << 10));
        assert!(opening(false) < opening(true));
    }

    #[test]
    fn busy_peers_are_asked_for_minutes_with_growing_pauses() {
        let start = Instant::now();
        let mut patience = Patience::new(1000, 7, start);
        let mut now = start;
        let mut pauses = Vec::new();
        while let Some(pause) = patience.after(Round::Busy(RETRY), now) {
            now += pause;
            pauses.push(pause);
        }
        let waited = now - start;
        assert!(
            waited > Duration::from_secs(280) && waited < WAIT_MAX,
            "{waited:?} in {} rounds",
            pauses.len()
        );
        assert!(pauses.iter().all(|&pause| pause <= BUSY_PAUSE_MAX * 5 / 4));
        assert!(pauses[0] >= RETRY * 3 / 4, "sooner than the peer said");
        assert!(pauses[0] <= RETRY * 5 / 4);
        assert!(pauses[8] > 2 * pauses[0]);
    }

    #[test]
    fn a_round_is_what_was_best_in_it() {
        assert_eq!(Round::of(true, Some(RETRY), false), Round::Progress);
        assert_eq!(Round::of(false, Some(RETRY), false), Round::Busy(RETRY));
        assert_eq!(Round::of(false, None, false), Round::Failed);
        assert_eq!(Round::of(false, None, true), Round::Absent);
    }

    #[test]
    fn a_blob_that_all_peers_lack_is_asked_for_once_more() {
        let now = Instant::now();
        let mut patience = Patience::new(1000, 7, now);
        assert_eq!(patience.after(Round::Absent, now), Some(ROUND_PAUSE));
        assert_eq!(patience.after(Round::Absent, now), None);
    }

    #[test]
    fn a_peer_cannot_send_us_away_for_long() {
        let now = Instant::now();
        let mut patience = Patience::new(1000, 7, now);
        let pause = patience.after(Round::Busy(Duration::from_secs(60)), now).unwrap();
        assert!(pause <= BUSY_PAUSE_MAX * 5 / 4);
    }

    #[test]
    fn peers_turned_away_together_come_again_one_by_one() {
        let now = Instant::now();
        let mut pauses: Vec<Duration> = (0..16)
            .map(|seed| {
                let mut patience = Patience::new(1000, seed << 40, now);
                patience.after(Round::Busy(RETRY), now).unwrap()
            })
            .collect();
        pauses.sort_unstable();
        pauses.dedup();
        assert!(pauses.len() > 8, "{pauses:?}");
    }

    #[test]
    fn failing_rounds_end_it_unless_something_came_in_between() {
        let now = Instant::now();
        let mut patience = Patience::new(1000, 7, now);
        for round in 1..ROUNDS {
            let pause = patience.after(Round::Failed, now);
            assert_eq!(pause, Some(ROUND_PAUSE * (1 << (round - 1))));
            // Being turned away neither counts as a failure nor makes up for one.
            assert!(patience.after(Round::Busy(RETRY), now).is_some());
        }
        assert_eq!(patience.after(Round::Failed, now), None);

        let mut patience = Patience::new(1000, 7, now);
        for _ in 0..10 * ROUNDS {
            assert!(patience.after(Round::Failed, now).is_some());
            assert!(patience.after(Round::Progress, now).is_some());
        }
        // The fetch may take as long as the slowest rate needs, and no longer.
        let late = now + WAIT_MAX;
        assert_eq!(patience.after(Round::Progress, late), None);
        let mut large = Patience::new(RATE_MIN * 100, 7, now);
        assert!(large.after(Round::Progress, late).is_some());
    }
}
