//! The beginning and the end of a job's tasks, and the end of the driver.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Input, JobId, JobSpec, Peer, TaskId};
use myriad_net::wire::{Announcement, Extent};
use tokio::{sync::oneshot, task::JoinSet, time::sleep};
use tokio_util::task::TaskTracker;

use super::{
    Driver, completion::Completion, holders::Holders, jobs::Entry, journal_notes::JournalNotes,
    of_job::OfJob, proofs::Proofs,
};
use crate::{
    RunError,
    requester::{
        ServedJob,
        backend::{Ended, JobBackend},
    },
};

/// The time for which the end waits until provers have heard that their work is not wanted any
/// more.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// The time that the last announcement of a closed job has to go out before the process may end.
const CLOSED: Duration = Duration::from_millis(300);

impl<J: JobBackend> Driver<J> {
    /// A job that was entered has tasks.
    pub(super) fn open(
        &mut self,
        entry: Entry,
        job: ServedJob,
        backend: J,
        ended: oneshot::Sender<Result<Ended<J>, RunError>>,
    ) {
        let ServedJob {
            instructions,
            spec,
            due,
            done,
            growth,
        } = job;
        let (id, number) = (spec.id, entry.number);
        let is_there = self.heralded.get(&id).is_some_and(|job| job.number == number);
        let Some(heralded) = is_there.then(|| self.heralded.remove(&id)).flatten() else {
            // It was withdrawn before.
            let _ = ended.send(Err(RunError::Interrupted));
            return;
        };
        self.peers
            .await_back(spec.leased.iter().map(|&(_, peer)| peer), Instant::now());
        let tasks = spec.tree.tasks().zip(&spec.costs);
        let leased = spec.leased.iter().copied();
        let leased = leased
            .filter(|lease| !heralded.returned.contains(lease))
            .collect();
        let backend = Arc::new(backend);
        let mut examining = JoinSet::new();
        let (waits, sender) = (Arc::clone(&backend), self.completion_sender.clone());
        examining.spawn(async move {
            let ready = waits.ready().await;
            drop(waits);
            // If nobody listens, the job is over.
            let _ = sender.send(Completion::Ready { entry, ready });
        });
        let of_job = OfJob {
            id,
            number,
            growth,
            files: heralded.files,
            extent: Extent {
                instructions,
                memory_min: spec.costs.iter().map(|cost| cost.memory).min().unwrap_or(0),
            },
            work: tasks
                .map(|(task, cost)| (task, (cost.work, cost.memory)))
                .collect(),
            backend,
            observer: heralded.observer,
            announced: heralded.announced,
            proofs: Proofs::new(done),
            holders: Holders::default(),
            notes: JournalNotes::new(spec.leased.iter().copied().collect()),
            usages: Vec::new(),
            messages: TaskTracker::new(),
            checks: 0,
            examining,
            unplanned: None,
            outcome: None,
            ended,
        };
        self.jobs.insert(id, of_job);
        for joined in self.joined() {
            self.show(id, &joined);
        }
        let holders: Vec<Peer> = self.spreading.holders(id).collect();
        for peer in holders {
            self.has_files(peer, id);
        }
        let tasks: Vec<TaskId> = spec.tree.tasks().collect();
        let deadline = due.map(|due| self.time_of(due));
        self.input(Input::Open(Box::new(JobSpec {
            leased,
            deadline,
            ..spec
        })));
        self.show_restored(id, tasks);
    }

    /// A job is not wanted any more as it was entered then.
    pub(super) fn withdraw(&mut self, entry: Entry) {
        let heralded = self.heralded.get(&entry.job);
        if heralded.is_some_and(|heralded| heralded.number == entry.number) {
            self.withdraw_heralded(entry.job);
        }
        if let Some(job) = self.of_entry(entry) {
            job.end(Err(RunError::Interrupted));
        }
    }

    /// What belongs to an entry of a job, while it is open.
    pub(super) fn of_entry(&mut self, Entry { job, number }: Entry) -> Option<&mut OfJob<J>> {
        self.jobs.get_mut(&job).filter(|job| job.number == number)
    }

    /// The user does not want to wait any longer.
    pub(super) fn give_up(&mut self) {
        self.stopped = true;
        self.end_all(|| RunError::Interrupted);
    }

    /// Ends all jobs, for the same reason.
    pub(super) fn end_all(&mut self, why: impl Fn() -> RunError) {
        for job in self.jobs.values_mut() {
            job.end(Err(why()));
        }
        for id in self.heralded.keys().copied().collect::<Vec<_>>() {
            self.withdraw_heralded(id);
        }
    }

    /// Lets go of the jobs that are over. If the network has ended, nobody can be told that their
    /// tasks are not wanted any more, and they may still be when the same command runs again.
    pub(super) fn conclude_jobs(&mut self, has_network_ended: bool) {
        let over: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| job.outcome.is_some())
            .map(|job| job.id)
            .collect();
        for id in over {
            if !has_network_ended {
                // The state machine tells the holders of its tasks, and that it is closed.
                self.input(Input::Cancel { job: id });
            }
            if self.jobs.get(&id).is_some_and(|job| job.announced) {
                self.announce(id, false);
            }
            let mut left: BTreeSet<_> = self.requester.leases(id).into_iter().collect();
            left.extend(self.requester.awaited(id));
            self.spreading.remove(id);
            self.remember();
            if let Some(mut job) = self.jobs.remove(&id)
                && let Some(outcome) = job.outcome.take()
            {
                self.endings.spawn(job.conclude(outcome, left));
            }
        }
    }

    /// Says that a job is closed.
    pub(super) fn close(&mut self, closed: Announcement) {
        self.closed = Some(Instant::now());
        self.network.announce(closed);
    }

    /// Waits until peers have heard the last messages, and until the disk has the final state.
    pub(super) async fn say_farewell(&mut self) {
        self.endings.close();
        self.endings.wait().await;
        self.outbox.close(FAREWELL_MAX).await;
        self.settle_receipts_at_last();
        self.peers.written().await;
        if let Some(closed) = self.closed.filter(|_| !self.network.peers().is_empty()) {
            sleep(CLOSED.saturating_sub(closed.elapsed())).await;
        }
    }
}
