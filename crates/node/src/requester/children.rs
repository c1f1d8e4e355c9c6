//! The engine children that plan and execute for a job.

use std::sync::{Mutex, PoisonError};

use myriad_engine::worker::Stopper;

/// The children that plan and execute for a job, which end with it.
#[derive(Default)]
pub(super) struct Children(Mutex<Running>);

#[derive(Default)]
struct Running {
    over: bool,
    stoppers: Vec<Stopper>,
}

impl Children {
    pub(super) fn register(&self, stopper: Stopper) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.over {
            stopper.stop();
        }
        running.stoppers.push(stopper);
    }

    /// A guard that stops them at last: a thread that panics waits for those that wait for them.
    pub(super) fn stop_at_last(&self) -> StopAtLast<'_> {
        StopAtLast(self)
    }

    pub(super) fn are_stopped(&self) -> bool {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.over
    }

    pub(super) fn stop(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.over = true;
        running.stoppers.iter().for_each(Stopper::stop);
    }
}

/// Stops the children when it is dropped.
pub(super) struct StopAtLast<'a>(&'a Children);

impl Drop for StopAtLast<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
