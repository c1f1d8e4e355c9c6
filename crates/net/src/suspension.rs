//! Notices that this machine was suspended, as by closing its lid.
//!
//! [`Instant`](std::time::Instant) stands still during a suspension. So afterwards nothing has
//! timed out here, and everything has elsewhere. The time since the machine was started
//! (`CLOCK_BOOTTIME`) goes on.

use std::{fs, time::Duration};

/// Shorter pauses do not count: the two clocks are read one after the other, on a machine that may
/// be busy. Nobody gives up a peer that is silent for less than this.
const SUSPENDED_MIN: Duration = Duration::from_secs(5);

/// Compares the time that has passed with the time in which this machine was running.
#[derive(Debug, Default)]
pub(crate) struct Suspension {
    /// The difference of the two when they were read last.
    apart: Option<Duration>,
}

impl Suspension {
    /// The time for which the machine was suspended since the last call, to the second, where
    /// `passed` and `running` are read from the two clocks.
    pub(crate) fn since_last(&mut self, passed: Duration, running: Duration) -> Option<Duration> {
        let apart = passed.saturating_sub(running);
        let before = self.apart.replace(apart)?;
        let suspended = apart.saturating_sub(before);
        // The clocks are read one after the other: an hour is an hour, and not a microsecond less.
        let whole = Duration::from_secs((suspended + Duration::from_millis(500)).as_secs());
        (suspended >= SUSPENDED_MIN).then_some(whole)
    }
}

/// The time since this machine was started, with all the time in which it was suspended; none where
/// the system does not tell.
pub(crate) fn since_boot() -> Option<Duration> {
    // CLOCK_BOOTTIME, in seconds with two decimals.
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn time_that_passes_while_the_machine_does_not_run_is_seen_once() {
        let mut suspension = Suspension::default();
        let secs = Duration::from_secs;
        assert_eq!(suspension.since_last(secs(10_000), secs(1)), None, "the first");
        assert_eq!(suspension.since_last(secs(10_001), secs(2)), None);
        assert_eq!(suspension.since_last(secs(13_602), secs(3)), Some(secs(3600)));
        assert_eq!(suspension.since_last(secs(13_603), secs(4)), None);
        let later = secs(13_603) + secs(60) - Duration::from_micros(3);
        assert_eq!(suspension.since_last(later, secs(4)), Some(secs(60)));
        let mut suspension = Suspension::default();
        assert_eq!(suspension.since_last(secs(13_603), secs(4)), None);
        assert_eq!(suspension.since_last(secs(13_605), secs(5)), None, "read late");
        // A stopped process is not a suspended machine: both clocks go on.
        assert_eq!(suspension.since_last(secs(20_605), secs(7005)), None);
    }

    #[test]
    fn the_system_tells_how_long_it_runs() {
        let (before, start) = (since_boot().expect("Linux does"), Instant::now());
        std::thread::sleep(Duration::from_millis(200));
        let passed = since_boot().unwrap() - before;
        let slack = Duration::from_millis(20);
        assert!(passed + slack >= Duration::from_millis(200) && passed <= start.elapsed() + slack);
    }
}
