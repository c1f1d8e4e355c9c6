//! How long a stream may take: for each step, and in all. Used by both ends.

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
pub(super) struct Pace {
    stall: Duration,
    time_max: Duration,
    end: Instant,
}

impl Pace {
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
