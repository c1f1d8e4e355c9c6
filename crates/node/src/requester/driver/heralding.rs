//! Jobs without tasks: while a job is being executed, provers that mean to serve it hear where its
//! files are. Each question about a task is answered at once, so that no stranger's waits for the
//! plan. Where an earlier run gave out tasks, their holders are told to go on until this one has
//! them, too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use myriad_core::{Input, JobId, Peer, Refusal, TaskRef};
use myriad_net::wire::{Request, Response, Why};

use super::{
    Driver,
    jobs::{Entry, NewJob},
    of_job::Heralded,
};
use crate::requester::{
    backend::JobBackend,
    refusals::{no_such_job, refused},
};

/// The pause before a prover offers itself again that did so while no job had tasks. The
/// announcement of the plan reaches it sooner.
const RETRY: Duration = Duration::from_secs(5);
/// The time by which a lease is extended whose task the job does not have again yet. Its holder
/// renews the lease within that time.
const EXTENDED: Duration = Duration::from_secs(60);

impl<J: JobBackend> Driver<J> {
    /// Notes a job that no prover hears of yet.
    pub(super) fn enter(&mut self, job: NewJob, number: u64, enough_for: Arc<AtomicUsize>) {
        let NewJob {
            id,
            files,
            leased,
            observer,
        } = job;
        self.spreading.add(id, &files);
        let heralded = Heralded {
            number,
            files,
            observer,
            announced: false,
            leased: leased.into_iter().collect(),
            returned: Default::default(),
            enough_for,
        };
        self.heralded.insert(id, heralded);
    }

    /// Tells provers of a job that is being executed.
    pub(super) fn herald(&mut self, Entry { job: id, number }: Entry) {
        let job = self.heralded.get_mut(&id);
        if let Some(job) = job.filter(|job| job.number == number) {
            tracing::debug!(stage = "herald", "announcing a job that is being executed");
            job.announced = true;
            self.network
                .announce(job.files.announcement(&self.network, id, None, true));
        }
    }

    /// Finds out for how many tasks of each job enough provers have the files.
    pub(super) fn look(&mut self) {
        let names = self.engine_names();
        let served = self
            .peers
            .hellos()
            .filter(|(_, hello)| self.is_served(&names, hello));
        let (mut proven, mut strangers) = (0, 0);
        for (peer, _) in served {
            let count = if self.is_proven(peer) {
                &mut proven
            } else {
                &mut strangers
            };
            *count += 1;
        }
        // Strangers count as little here as those of them that say that they have the files.
        let provers = if proven > 0 { proven } else { strangers };
        // Nobody asks for those that still wait for their turn.
        for (&id, job) in self.heralded.iter().filter(|(_, job)| job.announced) {
            let enough_for = self.spreading.enough_for(id, provers);
            job.enough_for.store(enough_for, Ordering::Relaxed);
        }
    }

    /// Why no peer gets a task at all now; none if the state machine decides.
    pub(super) fn no_offers(&self) -> Option<Response> {
        if self.jobs.values().any(|job| job.unplanned.is_none()) {
            return None;
        }
        if !self.jobs.is_empty() {
            return Some(refused(Why::NoWork, "the job ends", None));
        }
        let is_executed = self.heralded.values().any(|job| job.announced);
        is_executed.then(|| {
            let reason = "the job is being executed, and there are tasks when that is done";
            refused(Why::NotNow, reason, Some(RETRY.as_millis() as u64))
        })
    }

    /// Answers to a question about a task of a job that has none, which only those can have that
    /// were given it before.
    pub(super) fn answer_holder(&mut self, peer: Peer, task: TaskRef, request: &Request) -> Response {
        let Some(job) = self.heralded.get_mut(&task.job) else {
            return no_such_job();
        };
        let lease = (task.task, peer);
        if !job.leased.contains(&lease) {
            return refused(Why::NotLeased, "the job has no tasks yet", None);
        }
        match request {
            Request::Renew { .. } => Response::Extended {
                lease_ms: EXTENDED.as_millis() as u64,
            },
            Request::Return { .. } => {
                job.leased.remove(&lease);
                job.returned.insert(lease);
                Response::Received
            }
            _ => refused(Why::NotNow, &Refusal::NotYet.to_string(), None),
        }
    }

    /// A job without tasks will have none.
    pub(super) fn withdraw_heralded(&mut self, id: JobId) {
        let Some(job) = self.heralded.remove(&id) else {
            return;
        };
        self.spreading.remove(id);
        // The state machine may have heard who has its files.
        self.input(Input::Cancel { job: id });
        if job.announced {
            let closed = job.files.announcement(&self.network, id, None, false);
            self.close(closed);
        }
    }
}
