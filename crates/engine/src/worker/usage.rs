//! What a task took, as its own process saw it.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

/// Time and memory of one task in an engine child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub wall: Duration,
    /// CPU time of all threads, user and system.
    pub cpu: Duration,
    /// Time that its threads were ready to run and had no core, because something else ran; of all threads together, and
    /// none where the system does not say (Linux does).
    pub waited: Duration,
    /// Largest resident set during the task, in bytes. Where the system cannot say it for a task
    /// alone (it can on Linux), the largest since the process started.
    pub peak_bytes: u64,
}

/// Measures from here on.
pub(super) struct Meter {
    start: Instant,
    cpu: Duration,
    waited: Duration,
}

impl Meter {
    pub(super) fn start() -> Self {
        // Linux forgets the peak when told so; elsewhere the file is not there.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self {
            start: Instant::now(),
            cpu: cpu_time(),
            waited: wait_time(),
        }
    }

    pub(super) fn stop(&self) -> Usage {
        Usage {
            wall: self.start.elapsed(),
            cpu: cpu_time().saturating_sub(self.cpu),
            waited: wait_time().saturating_sub(self.waited),
            peak_bytes: peak_bytes(),
        }
    }
}

fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::new(time.tv_sec() as u64, 1000 * time.tv_usec() as u32))
        .sum()
}

/// The second number of each thread's `schedstat`, in nanoseconds. Threads that have ended are not counted; those
/// that prove do not end.
fn wait_time() -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.filter_map(of_thread).sum())
}

fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let high_water = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map(|kib| kib << 10);
    high_water.unwrap_or_else(|| {
        let max = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss());
        // Apple's kernel counts bytes, the others KiB.
        if cfg!(target_vendor = "apple") {
            max as u64
        } else {
            (max as u64) << 10
        }
    })
}
