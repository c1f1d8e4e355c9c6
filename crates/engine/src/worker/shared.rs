//! The process of a child, which another thread may end.

use std::{
    process::Child,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The child of a [`Worker`](super::Worker), which it shares with its [`Stopper`]s.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Process>>);

#[derive(Debug)]
pub(super) struct Process {
    pub child: Child,
    /// Whether a stopper has ended it. The system's out-of-memory killer uses the same signal.
    pub stopped: bool,
}

impl Shared {
    pub(super) fn new(child: Child) -> Self {
        let stopped = false;
        Self(Arc::new(Mutex::new(Process { child, stopped })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Process> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stopper(&self) -> Stopper {
        Stopper(self.clone())
    }
}

/// Ends the child of a [`Worker`](super::Worker) that another thread is waiting for.
///
/// The waiting thread then gets a [`Death`](super::Death) that is `stopped`. Nothing happens when
/// the child has ended already.
#[derive(Debug, Clone)]
pub struct Stopper(Shared);

impl Stopper {
    pub fn stop(&self) {
        let mut process = self.0.lock();
        if matches!(process.child.try_wait(), Ok(None)) && process.child.kill().is_ok() {
            process.stopped = true;
        }
    }
}
