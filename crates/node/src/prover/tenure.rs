//! Bounds the time that this machine spends on a task: as long as the lease lasts and its files
//! come at a useful pace, and never longer than a task can take here.

use std::time::{Duration, Instant};

/// A lease may go without a byte for this long. A requester with a hundred new provers serves them
/// one after the other, and a new identity is worth one turn of a minute.
const GRACE: Duration = Duration::from_secs(60);
/// From then on, at least this many bytes a second must have come on average. A fetch also leaves a
/// slower holder for another one. At this rate, the largest input that is taken by default, 256
/// MiB, takes 17 minutes.
const FETCH_RATE_MIN: u64 = 256 << 10;
/// This machine goes on for so long after the lease has run out: two renewals, of which one may be
/// lost.
const LATE_MAX: Duration = Duration::from_secs(10);
/// Longer leases than this are not believed.
const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);
/// A task is finished after its lease has run out if so much of it is done, in thousandths: a late
/// proof is heard as long as nobody was faster.
const WORTH_FINISHING: u16 = 500;

/// Watches over one lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tenure {
    since: Instant,
    until: Instant,
    /// The time at which the engine began to work on it.
    proving_since: Option<Instant>,
    /// The longest that the engine may work on it, whatever the requester says.
    longest: Duration,
}

impl Tenure {
    /// The lease began at `now` and lasts for `lease_ms`; no task takes the engine longer than
    /// `longest`.
    pub(super) fn new(lease_ms: u64, longest: Duration, now: Instant) -> Self {
        Self {
            since: now,
            until: now + bounded(lease_ms),
            proving_since: None,
            longest,
        }
    }

    /// From `now` on the lease lasts for `lease_ms`.
    pub(super) fn extended(&mut self, lease_ms: u64, now: Instant) {
        self.until = now + bounded(lease_ms);
    }

    /// The engine works on it: from now on, if it did not before.
    pub(super) fn proves(&mut self, now: Instant) {
        self.proving_since.get_or_insert(now);
    }

    pub(super) fn proving_since(&self) -> Option<Instant> {
        self.proving_since
    }

    /// Whether the lease has run out, as far as is known.
    fn is_over(&self, now: Instant) -> bool {
        now - self.until > LATE_MAX
    }

    /// Whether a task of which `done` thousandths are done is worth finishing although it is not
    /// this machine's any more.
    pub(super) fn is_worth_finishing(done: u16) -> bool {
        done >= WORTH_FINISHING
    }

    /// The reason to stop fetching, if `came` bytes have come until `now`.
    pub(super) fn end_of_fetching(&self, came: u64, now: Instant) -> Option<String> {
        let elapsed = now - self.since;
        if self.is_over(now) {
            return Some(format!(
                "its lease ran out after {} s, when {came} bytes of its files had come",
                elapsed.as_secs()
            ));
        }
        too_slow(came, elapsed, GRACE)
    }

    /// The reason to stop the engine at `now`, when it seems to have done so many thousandths. This
    /// covers everything that it does: making keys, loading, and proving.
    pub(super) fn end_of_proving(&self, done: u16, now: Instant) -> Option<String> {
        let proving = self.proving_since.map_or(Duration::ZERO, |since| now - since);
        if proving > self.longest {
            return Some(format!(
                "it has taken the engine {} s, and nothing that fits into this machine takes longer than {} s",
                proving.as_secs(),
                self.longest.as_secs()
            ));
        }
        // The rest of a half-done task takes no longer than its first part.
        let late = now - self.until;
        let rest = if Self::is_worth_finishing(done) {
            proving.saturating_sub(late)
        } else {
            Duration::ZERO
        };
        (late > LATE_MAX + rest).then(|| {
            format!(
                "its lease ran out {} s ago, and its requester has not extended it; {} % were done after {} s",
                late.as_secs(),
                done / 10,
                proving.as_secs()
            )
        })
    }
}

/// The reason to stop a fetch that was begun `elapsed` ago, if `came` bytes have come. During
/// `grace`, nothing has to come.
pub(super) fn too_slow(came: u64, elapsed: Duration, grace: Duration) -> Option<String> {
    let expected = elapsed.saturating_sub(grace).as_secs() * FETCH_RATE_MIN;
    (came < expected).then(|| {
        format!(
            "its files come too slowly: {came} bytes in {} s, and {FETCH_RATE_MIN} a second are expected after {} s",
            elapsed.as_secs(),
            grace.as_secs()
        )
    })
}

fn bounded(lease_ms: u64) -> Duration {
    Duration::from_millis(lease_ms).min(LEASE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const LONGEST: Duration = Duration::from_secs(1800);

    /// After how many seconds the engine is stopped, if every second `each` happens before.
    fn stopped_after(
        tenure: &mut Tenure,
        start: Instant,
        mut each: impl FnMut(&mut Tenure, u64, Instant) -> u16,
    ) -> (u64, String) {
        for second in 0..200_000 {
            let now = start + Duration::from_secs(second);
            let done = each(tenure, second, now);
            tenure.proves(now);
            if let Some(why) = tenure.end_of_proving(done, now) {
                return (second, why);
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn a_requester_that_goes_on_extending_holds_the_engine_no_longer_than_a_task_takes() {
        let start = Instant::now();
        let mut tenure = Tenure::new(u64::MAX, LONGEST, start);
        let (second, why) = stopped_after(&mut tenure, start, |tenure, _, now| {
            tenure.extended(u64::MAX, now);
            // The requester's word on the work has it always about to be done.
            999
        });
        assert_eq!(second, LONGEST.as_secs() + 1, "{why}");
    }

    #[test]
    fn the_engine_stops_when_the_requester_is_silent_and_little_is_done() {
        let start = Instant::now();
        let mut tenure = Tenure::new(20_000, LONGEST, start);
        let (second, why) = stopped_after(&mut tenure, start, |_, _, _| 499);
        assert_eq!(second, 31, "{why}");
        // An extension is an answer.
        let mut tenure = Tenure::new(20_000, LONGEST, start);
        let (second, _) = stopped_after(&mut tenure, start, |tenure, second, now| {
            if second == 15 {
                tenure.extended(20_000, now);
            }
            0
        });
        assert_eq!(second, 46);
    }

    #[test]
    fn what_is_half_done_when_the_lease_runs_out_is_finished() {
        let start = Instant::now();
        // A steady machine, and a requester that has died: 1000 thousandths would be there after 40
        // s.
        let mut tenure = Tenure::new(20_000, LONGEST, start);
        let (second, why) = stopped_after(&mut tenure, start, |_, second, _| (25 * second).min(999) as u16);
        assert!(second > 40, "{second}: {why}");
        // It gets no more than twice the time that there was.
        assert!(second < 60, "{second}: {why}");
    }

    #[test]
    fn a_trickle_ends_after_a_minute_whatever_the_lease_says() {
        let start = Instant::now();
        let mut tenure = Tenure::new(u64::MAX, LONGEST, start);
        let mut ended = None;
        for second in 0..4000 {
            let now = start + Duration::from_secs(second);
            tenure.extended(u64::MAX, now);
            // Bytes come as slowly as the last holder of a blob may send.
            if let Some(why) = tenure.end_of_fetching(second * (64 << 10), now) {
                ended = Some((second, why));
                break;
            }
        }
        let (second, why) = ended.expect("it ends");
        assert!((61..=81).contains(&second), "{second}: {why}");
    }

    #[test]
    fn a_large_input_that_keeps_coming_is_fetched() {
        let start = Instant::now();
        let tenure = Tenure::new(HOUR_MS, LONGEST, start);
        for second in 0..1024 {
            // A minute without a byte, and then no faster than is expected.
            let came = u64::from(second > 60) * (second.max(60) - 60) * FETCH_RATE_MIN;
            assert_eq!(
                tenure.end_of_fetching(came, start + Duration::from_secs(second)),
                None
            );
        }
    }

    #[test]
    fn nothing_is_fetched_when_the_lease_is_over() {
        let start = Instant::now();
        let mut tenure = Tenure::new(20_000, LONGEST, start);
        let at = |second| start + Duration::from_secs(second);
        assert_eq!(tenure.end_of_fetching(0, at(20)), None);
        assert!(
            tenure
                .end_of_fetching(u64::MAX, at(31))
                .unwrap()
                .contains("ran out after 31 s")
        );
        tenure.extended(20_000, at(20));
        assert_eq!(tenure.end_of_fetching(u64::MAX, at(31)), None);
    }
}
