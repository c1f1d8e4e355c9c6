//! Shares this machine's time among requesters, and makes those wait that take its time without
//! giving a proof a chance.
//!
//! Each requester has an account of the seconds that this machine gave it: at its tasks, and
//! waiting for its answers. The one with the least goes first. A requester that does not answer, or
//! whose task comes to nothing, is left alone for longer each time; only a proof made for it ends
//! that.

use std::time::{Duration, Instant};

use myriad_core::Peer;

use super::Offers;

/// After this time, work for a requester counts half, so that a requester that got much yesterday
/// need not wait today.
pub(super) const SERVED_HALF_LIFE: Duration = Duration::from_secs(3600);

/// Another requester gets its turn when it was served this much less. A change of requester costs a
/// machine the time to fetch and load another job, and with tasks of seconds that would be most of
/// its time.
pub(super) const TURN: Duration = Duration::from_secs(60);

/// This machine waits this long for the answer of one requester before it also offers itself to
/// another one. A requester with hundreds of provers answers within milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// The first pause after a requester did not answer or its task came to nothing. Each further one
/// is twice as long.
const SETBACK_PAUSE: Duration = Duration::from_secs(2);
/// The longest of these pauses: a requester whose link was down for an hour is served again soon
/// after.
pub(super) const SETBACK_PAUSE_MAX: Duration = Duration::from_secs(600);

/// Counts how often in a row a requester has taken this machine's time for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setbacks {
    pub count: u32,
    until: Option<Instant>,
}

impl Setbacks {
    pub(super) fn add(&mut self, now: Instant) {
        let doubled = 1u32.checked_shl(self.count).unwrap_or(u32::MAX);
        let pause = SETBACK_PAUSE.saturating_mul(doubled).min(SETBACK_PAUSE_MAX);
        self.until = Some(now + pause);
        self.count = self.count.saturating_add(1);
    }

    /// The rest of its pause.
    pub(super) fn remaining(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until - now)
    }

    /// The time for which the machine waits for its answer alone. Each setback halves it, so that
    /// an identity costs at most two seconds in all.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE / 1u32.checked_shl(self.count).unwrap_or(u32::MAX)
    }
}

/// The result of the time that this machine gave a requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prover) enum Outcome {
    Proof,
    /// The requester wanted it no more when this machine was already proving it, as when another
    /// machine was faster; or this machine's disk is full.
    Blameless,
    Nothing,
}

impl Offers {
    /// Notes that this machine was busy for a requester for so long, from the offer on, whatever
    /// came of it: leases that fail at once take time, too. A turn ends with a task of which no
    /// proof came.
    ///
    /// A requester that has a job for the first time begins with the account of the least-served
    /// one, so that a new identity is worth one turn at once, and then the same share as any other.
    pub(in crate::prover) fn worked(&mut self, peer: Peer, time: Duration, outcome: Outcome, now: Instant) {
        self.charge(peer, time, now);
        let Some(requester) = self.requesters.get_mut(&peer) else {
            return;
        };
        match outcome {
            Outcome::Proof => {
                (requester.setbacks, requester.in_vain) = (Setbacks::default(), Duration::ZERO);
            }
            Outcome::Blameless => {}
            Outcome::Nothing => requester.setbacks.add(now),
        }
        self.serving = (outcome == Outcome::Proof).then_some(peer);
    }

    /// This machine's time went to a requester, for its work or for its silence.
    pub(super) fn charge(&mut self, peer: Peer, time: Duration, now: Instant) {
        let half_lives = (now - self.reckoned).as_secs_f64() / SERVED_HALF_LIFE.as_secs_f64();
        self.reckoned = now;
        for requester in self.requesters.values_mut() {
            requester.served_s *= 0.5_f64.powf(half_lives);
        }
        if let Some(requester) = self.requesters.get_mut(&peer) {
            requester.served_s += time.as_secs_f64();
        }
    }

    /// The time of the least-served requester with a job.
    pub(super) fn least_served(&self) -> f64 {
        let with_jobs = self
            .requesters
            .values()
            .filter(|requester| !requester.jobs.is_empty());
        let least = with_jobs
            .map(|requester| requester.served_s)
            .min_by(f64::total_cmp);
        least.unwrap_or(0.0)
    }

    /// Whether one more requester may be asked now. At first it is one. While there is no answer,
    /// it is twice as many after each [`PATIENCE`], so that all silent ones among hundreds together
    /// cost seconds.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        let unanswered = || {
            let requesters = self.requesters.values();
            requesters
                .filter_map(|requester| Some((requester.unanswered_since?, requester.setbacks.patience())))
        };
        let late = unanswered()
            .filter(|(since, patience)| now - *since >= *patience)
            .count();
        unanswered().count() - late <= late
    }
}
