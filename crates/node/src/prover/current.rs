//! The current task. It begins with a lease, is watched and renewed, and is stopped when it has to
//! be.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use myriad_core::{JobId, Peer, TaskRef};
use myriad_net::{
    short_name,
    wire::{Lease, Request},
};
use tokio::task::JoinHandle;

use super::{
    Activity, Engine, MEMORY_SLACK, Sample,
    progress::share_done,
    task::{End, Progress, Tools, carry_out},
    tenure::Tenure,
};

/// The time from one renewal of a lease to the next, by which its requester sees how far the task
/// has come. `myriad_core::Policy::doubt_min` is longer than two of these.
const RENEW_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Current {
    pub requester: Peer,
    pub task: TaskRef,
    /// The time on the reference machine that its requester says it takes.
    pub work: Duration,
    /// The time at which it was asked for.
    pub since: Instant,
    tenure: Tenure,
    renewed: Instant,
    progress: Arc<Progress>,
    /// The share of it that is done, in thousandths.
    done: u16,
    /// The reason for which this machine is stopping it, if it is.
    stopped: Option<Stop>,
    handle: JoinHandle<End>,
}

/// Why this machine stops a task.
pub(super) enum Stop {
    /// The requester does not want it any more; it need not be told.
    Revoked,
    Owner,
    Memory(u64),
    /// Its inputs do not come in time, its lease is over, or it takes longer than any task does.
    Overdue(String),
}

impl Current {
    /// Begins what a lease asks for, which was granted `now` and asked for at `since`. No task
    /// takes longer than `longest`.
    pub(super) fn begin<E: Engine>(
        tools: &Arc<Tools<E>>,
        requester: Peer,
        lease: Lease,
        longest: Duration,
        since: Instant,
        now: Instant,
    ) -> Self {
        let progress: Arc<Progress> = Arc::default();
        Self {
            requester,
            task: lease.task,
            work: Duration::from_millis(lease.work_ms),
            since,
            tenure: Tenure::new(lease.lease_ms, longest, now),
            renewed: now,
            done: 0,
            stopped: None,
            handle: tokio::spawn(carry_out(
                Arc::clone(tools),
                requester,
                lease,
                Arc::clone(&progress),
            )),
            progress,
        }
    }

    /// Waits for its end. The future may be dropped and asked for again until then.
    pub(super) async fn end(&mut self) -> End {
        let end = (&mut self.handle).await;
        end.unwrap_or_else(|e| End::Failed(format!("a bug in myriad: {e}")))
    }

    /// Whether it is of this job of this requester.
    pub(super) fn is_of(&self, job: JobId, requester: Peer) -> bool {
        self.task.job == job && self.requester == requester
    }

    fn is_proving(&self) -> bool {
        self.progress.proving.load(Ordering::SeqCst)
    }

    /// Stops it, if it is not being stopped already.
    pub(super) fn stop(&mut self, why: Stop, engine: &impl Engine) {
        if self.stopped.is_some() {
            return;
        }
        self.stopped = Some(why);
        self.progress.cancelled.store(true, Ordering::SeqCst);
        if self.is_proving() {
            engine.stop();
        } else {
            // The files that it has fetched stay, for the next time.
            self.handle.abort();
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// The reason for which it was stopped, if it was.
    pub(super) fn into_stop(self) -> Option<Stop> {
        self.stopped
    }

    /// Notes how far it is, and says why it has to be stopped, if it has to.
    ///
    /// `lent_bytes` is the memory that is lent, and `core_speed` how many CPU seconds of the
    /// machine that costs are measured on this machine does in one of its own.
    pub(super) fn watch(
        &mut self,
        sample: Sample,
        lent_bytes: u64,
        core_speed: f64,
        now: Instant,
    ) -> Option<Stop> {
        if self.is_proving() {
            self.tenure.proves(now);
            let expected = self.work.as_secs_f64() / core_speed;
            self.done = self.done.max(share_done(sample.cpu.as_secs_f64(), expected));
            let allowed = lent_bytes as f64 * MEMORY_SLACK;
            if sample.memory_bytes as f64 > allowed {
                return Some(Stop::Memory(sample.memory_bytes));
            }
        }
        let end = match self.tenure.proving_since() {
            Some(_) => self.tenure.end_of_proving(self.done, now),
            None => {
                let came = self.progress.came.load(Ordering::Relaxed);
                self.tenure.end_of_fetching(came, now)
            }
        };
        end.map(Stop::Overdue)
    }

    /// The progress that its requester is told now, if it is time.
    pub(super) fn renewal(&mut self) -> Option<Request> {
        if self.renewed.elapsed() < RENEW_EVERY || self.is_stopped() {
            return None;
        }
        self.renewed = Instant::now();
        Some(Request::Renew {
            task: self.task,
            progress: self.done,
        })
    }

    /// From `now` on the lease lasts for `lease_ms`.
    pub(super) fn extend(&mut self, lease_ms: u64, now: Instant) {
        self.tenure.extended(lease_ms, now);
    }

    /// Whether it is worth finishing although it is not this machine's any more.
    pub(super) fn is_worth_finishing(&self) -> bool {
        Tenure::is_worth_finishing(self.done)
    }

    /// The time for which the engine has worked on it.
    pub(super) fn proved_for(&self, now: Instant) -> Duration {
        let since = self.tenure.proving_since();
        since.map_or(Duration::ZERO, |since| now - since)
    }

    /// The task as the owner of the machine sees it.
    pub(super) fn activity(&self) -> Activity {
        let task = self.task.task.to_string();
        let requester = short_name(self.requester);
        if self.is_proving() {
            Activity::Proving {
                task,
                requester,
                progress: self.done,
                seconds: self.proved_for(Instant::now()).as_secs(),
            }
        } else {
            Activity::Fetching { task, requester }
        }
    }
}
