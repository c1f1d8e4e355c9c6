//! Limits the time of a stream, for each step and in all. Both ends use it; the client may also
//! hold the server to a rate.

use std::{io, time::Duration};

use tokio::time::{Instant, timeout_at};

/// Why a step of a stream was given up.
#[derive(Debug)]
pub(super) enum Late {
    Broken(io::Error),
    Stalled { idle: Duration },
    TooSlow { allowed: Duration },
}

/// The clock of one stream.
pub(super) struct StreamClock {
    stall: Duration,
    time_max: Duration,
    end: Instant,
}

impl StreamClock {
    pub(super) fn new(stall: Duration, time_max: Duration) -> Self {
        Self {
            stall,
            time_max,
            end: Instant::now() + time_max,
        }
    }

    /// Waits for one step: the next few bytes sent or taken.
    pub(super) async fn step<T>(&self, step: impl Future<Output = io::Result<T>>) -> Result<T, Late> {
        let idle_until = Instant::now() + self.stall;
        match timeout_at(idle_until.min(self.end), step).await {
            Ok(done) => done.map_err(Late::Broken),
            Err(_) if idle_until < self.end => Err(Late::Stalled { idle: self.stall }),
            Err(_) => Err(Late::TooSlow {
                allowed: self.time_max,
            }),
        }
    }
}

/// Holds a peer to a rate, by the time that we wait for it: the time that our own disk takes is not
/// its fault. A peer may never be behind by more than the slack, however much it has sent before.
/// So one that begins to trickle is found out soon.
pub(super) struct Rate {
    /// 0 where any will do.
    pub bytes_per_second: u64,
    slack: Duration,
    behind: Duration,
}

impl Rate {
    pub(super) fn new(bytes_per_second: u64, slack: Duration) -> Self {
        Self {
            bytes_per_second,
            slack,
            behind: Duration::ZERO,
        }
    }

    /// The time that the next bytes may take.
    pub(super) fn patience(&self) -> Duration {
        match self.bytes_per_second {
            0 => Duration::MAX,
            _ => self.slack.saturating_sub(self.behind),
        }
    }

    /// This many bytes came after a wait of `waited`.
    pub(super) fn came(&mut self, bytes: u64, waited: Duration) {
        let nanos = bytes
            .saturating_mul(1_000_000_000)
            .checked_div(self.bytes_per_second);
        if let Some(nanos) = nanos {
            self.behind = (self.behind + waited).saturating_sub(Duration::from_nanos(nanos));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: Duration = Duration::from_secs(5);

    /// The seconds for which a peer holds us that sends `first` bytes at once, and `each_second`
    /// after that.
    fn held(first: u64, each_second: u64) -> u64 {
        let second = Duration::from_secs(1);
        let mut rate = Rate::new(1000, SLACK);
        rate.came(first, Duration::ZERO);
        (0..100)
            .take_while(|_| {
                let patient = rate.patience() >= second;
                rate.came(each_second, second);
                patient
            })
            .count() as u64
    }

    #[test]
    fn a_slow_sender_is_left_within_seconds_whatever_it_sent_before() {
        for first in [0, 1_000_000] {
            assert_eq!(held(first, 0), 5);
            assert_eq!(held(first, 100), 5);
            assert_eq!(held(first, 500), 9);
            assert_eq!(held(first, 1000), 100, "it is fast enough");
            assert_eq!(held(first, 2000), 100);
        }
        let mut any = Rate::new(0, SLACK);
        any.came(0, Duration::from_secs(1000));
        assert_eq!(any.patience(), Duration::MAX);
    }
}
