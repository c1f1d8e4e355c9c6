//! The time and memory that a task took, as its own process and its caller saw it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

/// Time and memory of one task in an engine child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub wall: Duration,
    /// CPU time of all threads, user and system.
    pub cpu: Duration,
    /// Time that its threads were ready to run and had no core, because something else ran; of all
    /// threads together, and none where the system does not say.
    pub waited: Duration,
    /// Largest resident set during the task, in bytes; none where the system does not say.
    pub peak_bytes: u64,
    /// The part of `peak_bytes` that the engine's model expects of the largest proof of the task,
    /// in bytes: its traces and all that it allocates, and what the engine keeps for other kinds of
    /// tasks. Zero if the task made no proof, or if the engine has no such model.
    pub planned_bytes: u64,
}

/// Measures from here on, in the process that works.
pub(super) struct Meter {
    start: Instant,
    cpu: Duration,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
            cpu: cpu_time(),
        }
    }

    /// The usage so far, without the part that only its caller sees.
    pub(super) fn stop(&self, planned_bytes: u64) -> Usage {
        Usage {
            wall: self.start.elapsed(),
            cpu: cpu_time().saturating_sub(self.cpu),
            planned_bytes,
            ..Usage::default()
        }
    }
}

/// Measures a child from here on, in its caller: the child itself reads no files.
pub(super) struct Watch {
    of_process: PathBuf,
    waited: Duration,
}

impl Watch {
    pub(super) fn start(pid: u32) -> Self {
        let of_process = PathBuf::from(format!("/proc/{pid}"));
        // Linux forgets the peak when told so.
        let _ = fs::write(of_process.join("clear_refs"), "5");
        Self {
            waited: wait_time(&of_process),
            of_process,
        }
    }

    pub(super) fn stop(&self, usage: Usage) -> Usage {
        Usage {
            waited: wait_time(&self.of_process).saturating_sub(self.waited),
            peak_bytes: peak_bytes(&self.of_process),
            ..usage
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

/// The second number of each thread's `schedstat`, in nanoseconds. Threads that have ended are not
/// counted; those that prove do not end.
fn wait_time(of_process: &Path) -> Duration {
    let Ok(threads) = fs::read_dir(of_process.join("task")) else {
        return Duration::ZERO;
    };
    let of_thread = |thread: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.filter_map(of_thread).sum())
}

fn peak_bytes(of_process: &Path) -> u64 {
    let status = fs::read_to_string(of_process.join("status")).unwrap_or_default();
    let high_water = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    high_water
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib << 10)
}
