//! Ends an engine child that takes too much time or memory. Strangers have made its inputs.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use myriad_engine::worker::WorkerError;

use crate::{group::LimitedWorker, process::resident_bytes};

/// The interval at which the process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The bounds of one piece of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Memory of the process, in bytes.
    pub memory_max: u64,
    pub time_max: Duration,
}

/// Returns the result of `work` with a child. If the child was ended meanwhile or before, here or
/// by the kernel for its control group, it also returns the reason. Work may come to a good end
/// just before its child is ended.
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
        if let Ok(Some(excess)) = watch.join() {
            worker.note_ended(excess);
        }
        (worked, worker.excess())
    })
}

impl LimitedWorker {
    /// Works with the child, and ends it when it takes 12 % more memory than is lent, even if it
    /// has no group.
    ///
    /// # Errors
    /// The errors of the work. The end of a child that took too much has its true cause.
    pub fn within<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, WorkerError>,
    ) -> Result<T, WorkerError> {
        let worked = if self.has_group() {
            work(self)
        } else {
            let bounds = Bounds {
                memory_max: self.memory_max(),
                time_max: Duration::MAX,
            };
            guard(self, bounds, work).0
        };
        worked.map_err(|error| self.explain(error))
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

#[cfg(test)]
mod tests {
    use myriad_engine::{
        MemoryBudget,
        worker::{Worker, WorkerConfig},
    };

    use super::*;

    /// The watch ends the child when its work has just been done, so that the next piece finds it
    /// gone.
    #[test]
    fn a_child_that_is_ended_as_its_work_ends_is_known_to_have_taken_too_much() {
        const GREEDY: &str = "x=$(head -c 268435456 /dev/zero | tr '\\0' x); sleep 60";
        let config = WorkerConfig {
            engine: myriad_engine::EngineFacts::pretended(),
            command: "/bin/sh".into(),
            args: vec!["-c".into(), GREEDY.into()],
            keys: "none".into(),
            threads: 1,
        };
        // No groups can be made here.
        let root = tempfile::tempdir().unwrap();
        let lent = MemoryBudget::from_bytes(64 << 20);
        let worker = Worker::spawn(&config).unwrap();
        let mut child = LimitedWorker::begin(&config, worker, lent, root.path()).unwrap();
        let done = child.within(|child| {
            while resident_bytes(child.pid()).is_some_and(|bytes| bytes > 0) {
                thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        assert!(done.is_ok(), "{done:?}");
        let next = child.within(|child| child.load(Vec::<u8>::new(), None, Vec::<u8>::new()));
        let Err(WorkerError::Died(death)) = next else {
            panic!("it was ended: {next:?}");
        };
        let text = death.to_string();
        assert!(
            text.contains("75161927 are allowed") && text.contains("raise --memory"),
            "{text}"
        );
        assert!(!death.stopped && !death.out_of_memory, "{death:?}");
        assert!(child.if_left().is_none(), "it is of no more use");
    }
}
