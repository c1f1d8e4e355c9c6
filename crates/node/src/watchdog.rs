//! Ends an engine child that takes too much time or memory. Strangers have made its inputs.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use myriad_engine::worker::WorkerError;

use crate::{
    group::{LimitedWorker, explained},
    process::resident_bytes,
};

/// The interval at which the process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The bounds of one piece of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Memory of the process, in bytes.
    pub memory_max: u64,
    pub time_max: Duration,
}

/// Returns the result of `work` with a child. If the child was ended meanwhile, here or by the
/// kernel for its control group, it also returns the reason.
pub(crate) fn guard<T>(
    worker: &mut LimitedWorker,
    bounds: Bounds,
    work: impl FnOnce(&mut LimitedWorker) -> T,
) -> (T, Option<String>) {
    let (pid, stopper) = (worker.pid(), worker.stopper());
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let start = Instant::now();
            // The other end is dropped when the work is done.
            while let Err(mpsc::RecvTimeoutError::Timeout) = is_done.recv_timeout(LOOK_EVERY) {
                let excess = excess(pid, start.elapsed(), bounds);
                if excess.is_some() {
                    stopper.stop();
                    return excess;
                }
            }
            None
        });
        let worked = work(worker);
        drop(done);
        let excess = watch.join().unwrap_or(None);
        (worked, excess.or_else(|| worker.excess()))
    })
}

impl LimitedWorker {
    /// Works with the child, and ends it when it takes 12 % more memory than is lent, even if it
    /// has no group.
    ///
    /// # Errors
    /// Those of the work. The end of a child that took too much has its true cause.
    pub fn within<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, WorkerError>,
    ) -> Result<T, WorkerError> {
        let (worked, excess) = if self.has_group() {
            (work(self), self.excess())
        } else {
            let bounds = Bounds {
                memory_max: self.memory_max(),
                time_max: Duration::MAX,
            };
            guard(self, bounds, work)
        };
        worked.map_err(|error| explained(error, excess))
    }
}

/// The resource of which a process takes too much.
fn excess(pid: u32, elapsed: Duration, bounds: Bounds) -> Option<String> {
    let Bounds { memory_max, time_max } = bounds;
    if elapsed > time_max {
        let time = time_max.as_secs_f64();
        return Some(format!("the engine child took more than {time} s"));
    }
    let memory = resident_bytes(pid)?;
    (memory > memory_max).then(|| {
        format!("the engine child took {memory} bytes of memory, and {memory_max} are allowed for this task")
    })
}
