//! Time, as the caller tells it: the state machine reads no clock.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// Microseconds since a moment that the caller chose. This crate has no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The end of time.
    pub const NEVER: Self = Self(u64::MAX);
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates: what never comes is as good as the end of time.
    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub for Time {
    type Output = Duration;

    /// Zero if `earlier` is later: a caller's clock may step back.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
