//! From an upload to a job of the requester.
//!
//! ```text
//!  body ─▶ upload (disk) ─▶ idempotency ─▶ Workshop::make ─▶ enter: is it there? ─▶ Service::submit
//!           16 at once        by key         2 at once         one after the other        │
//!                                                              Board::ended ◀── outcome ──┘
//! ```
//!
//! What came whole is carried out, whether its client waits for the answer or not.

mod body;
mod idempotency;
mod jobs;
mod locks;
mod multipart;
mod shares;
mod spool;
mod tidy;
mod upload;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use myriad_api::{Job, JobState, Kind, Problem};
use tokio::{sync::Semaphore, task::spawn_blocking};

pub(crate) use jobs::{Jobs, no_job, parse_id, stopping};
pub(crate) use spool::Disk;
pub(crate) use upload::Uploaded;

use crate::{
    Workshop,
    intake::{
        body::too_large,
        idempotency::{Before, Idempotency},
        locks::Locks,
        shares::{Full, Place, Shares},
        spool::Spool,
        upload::receive,
    },
    keys::Admission,
    limits::Limits,
    refusal::{Refusal, of_disk},
    time::now_ms,
};

/// A client that found no room comes again after this time.
const COME_AGAIN: Duration = Duration::from_secs(10);

/// Takes submissions.
pub(crate) struct Intake {
    limits: Limits,
    spool: Spool,
    workshop: Arc<dyn Workshop>,
    pub(crate) jobs: Arc<Jobs>,
    uploads: Arc<Shares>,
    /// Preparations that go on, and those with the ones that wait.
    preparing: Semaphore,
    preparing_queue: Arc<Shares>,
    idempotency: Arc<Mutex<Idempotency>>,
    /// Of the owner and key of submissions that are being carried out.
    keys: Locks<(String, String)>,
}

/// What a submission became.
pub(crate) enum Taken {
    New(Job),
    /// An earlier run of it had ended without a proof.
    Continued(Job),
    /// It is being proven, or done.
    There(Job),
}

/// The submitter, and how it calls the submission.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// The name of the API key.
    pub(crate) owner: String,
    pub(crate) idempotency_key: Option<String>,
}

impl Intake {
    pub(crate) fn open(
        data_dir: &Path,
        limits: Limits,
        workshop: Arc<dyn Workshop>,
        jobs: Arc<Jobs>,
    ) -> io::Result<Self> {
        Ok(Self {
            spool: Spool::open(data_dir, limits.disk_reserve)?,
            workshop,
            jobs,
            uploads: Shares::new(limits.uploads, limits.uploads / 4),
            preparing: Semaphore::new(limits.preparing),
            preparing_queue: Shares::new(
                limits.preparing + limits.preparing_queue,
                limits.preparing + limits.preparing_queue.div_ceil(2),
            ),
            idempotency: Arc::new(Mutex::new(Idempotency::open(data_dir, now_ms())?)),
            keys: Locks::default(),
            limits,
        })
    }

    /// Whether an upload of so many bytes, as its head says, has a chance: before any is read.
    pub(crate) fn check(&self, key: &str, announced: Option<u64>) -> Result<(), Refusal> {
        if announced.is_some_and(|bytes| bytes > self.limits.upload_bytes) {
            return Err(too_large("the upload", self.limits.upload_bytes).into());
        }
        self.preparing_queue.check(key).map_err(not_prepared)?;
        self.uploads.check(key).map_err(not_uploaded)?;
        self.spool.check(announced.unwrap_or_default())?;
        Ok(())
    }

    /// Takes the body of a submission to disk.
    pub(crate) async fn receive(
        &self,
        body: Body,
        content_type: &str,
        admission: Admission,
    ) -> Result<Uploaded, Refusal> {
        let _uploading = self.uploads.take(admission.name()).map_err(not_uploaded)?;
        receive(body, content_type, &self.limits, &self.spool, admission).await
    }

    /// Makes a job of an upload.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        sender: Sender,
        uploaded: Uploaded,
    ) -> Result<Taken, Refusal> {
        let place = self.preparing_queue.take(&sender.owner).map_err(not_prepared)?;
        let this = Arc::clone(self);
        let carried_out = self
            .jobs
            .tasks
            .spawn(async move { this.carry_out(sender, uploaded, place).await });
        carried_out.await.unwrap_or_else(|_| Err(Self::panicked()))
    }

    fn panicked() -> Refusal {
        Refusal::new(
            Kind::Internal,
            "a bug in myriad ended the preparation of this job; the service's log says more",
        )
    }

    async fn carry_out(
        self: Arc<Self>,
        sender: Sender,
        uploaded: Uploaded,
        place: Place,
    ) -> Result<Taken, Refusal> {
        let Sender {
            owner,
            idempotency_key,
        } = sender;
        let key = idempotency_key.map(|key| (owner.clone(), key));
        // The same key twice at once is the same submission: the second waits for the first.
        let _locked = match &key {
            Some(key) => Some(self.keys.lock(key.clone()).await),
            None => None,
        };
        let submission = uploaded.fingerprint.clone();
        if let Some((owner, key)) = &key
            && let Some(job) = self.job_of(owner, key, &submission)?
        {
            return Ok(Taken::There(job));
        }
        let permit = self.preparing.acquire().await.expect("nobody closes it");
        let this = Arc::clone(&self);
        let made = spawn_blocking(move || {
            let made = this.workshop.make(&uploaded.parts(), &uploaded.request)?;
            Ok::<_, Problem>((made, uploaded.request.deadline_s, uploaded.admission))
        });
        let (made, deadline_s, admission) = made.await.map_err(|_| Self::panicked())??;
        drop(permit);
        drop(place);
        let jobs = Arc::clone(&self.jobs);
        let entered = spawn_blocking(move || {
            // It may have been revoked since the upload began.
            admission.check()?;
            let taken = jobs.enter(made, deadline_s, Some(owner));
            drop(admission);
            taken
        });
        let taken = entered.await.map_err(|_| Self::panicked())??;
        if let Some((owner, key)) = key {
            self.remember(owner, key, submission, taken.job().id.clone())
                .await?;
        }
        Ok(taken)
    }

    /// The job that this submission became before.
    fn job_of(&self, owner: &str, key: &str, submission: &str) -> Result<Option<Job>, Problem> {
        let Some(before) = self.idempotency().find(owner, key, now_ms()) else {
            return Ok(None);
        };
        if before.submission != submission {
            return Err(Problem::new(
                Kind::KeyReused,
                format!(
                    "the idempotency key {key:?} came with another submission, which is job {}; use another key",
                    before.job
                ),
            ));
        }
        // One that was removed meanwhile is made again.
        let job = parse_id(&before.job).and_then(|id| self.jobs.board.job(id));
        // One that has ended without a proof is continued.
        Ok(job.filter(|job| !job.state.is_over() || job.state == JobState::Done))
    }

    async fn remember(
        &self,
        owner: String,
        key: String,
        submission: String,
        job: String,
    ) -> Result<(), Problem> {
        let idempotency = Arc::clone(&self.idempotency);
        let written = spawn_blocking(move || {
            let mut idempotency = idempotency.lock().unwrap_or_else(PoisonError::into_inner);
            idempotency.remember(&owner, &key, Before { submission, job }, now_ms())
        });
        written
            .await
            .unwrap_or_else(|e| Err(io::Error::other(e)))
            .map_err(|e| of_disk("remembering the idempotency key", &e))
    }

    fn idempotency(&self) -> MutexGuard<'_, Idempotency> {
        self.idempotency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Continues the jobs that an earlier start of the service has left, one after the other.
    pub(crate) async fn resume(self: Arc<Self>) {
        for id in self.jobs.board.interrupted() {
            let workshop = Arc::clone(&self.workshop);
            let jobs = Arc::clone(&self.jobs);
            let Ok(permit) = self.preparing.acquire().await else {
                return;
            };
            let made = spawn_blocking(move || workshop.resume(id)).await;
            drop(permit);
            let mut made = match made {
                Ok(Ok(made)) => made,
                Ok(Err(problem)) => {
                    tracing::warn!(job = %id, reason = problem.detail, "a job cannot be continued");
                    continue;
                }
                Err(_) => {
                    tracing::error!(job = %id, "a bug in myriad ended the preparation of a job");
                    continue;
                }
            };
            let entered = spawn_blocking(move || {
                let note = jobs.board.note(id);
                let asked = note.map(|note| note.ask_again(&mut made, now_ms()));
                let (deadline_s, owner) = asked.unwrap_or_default();
                jobs.enter(made, deadline_s, owner)
            })
            .await;
            if let Ok(Err(refusal)) = entered {
                let reason = &refusal.problem().detail;
                tracing::warn!(job = %id, %reason, "a job is not continued");
            }
        }
    }
}

fn not_uploaded(full: Full) -> Refusal {
    no_place(full, "uploads", "are on their way")
}

fn not_prepared(full: Full) -> Refusal {
    no_place(full, "submissions", "are being prepared or wait for that")
}

fn no_place(full: Full, what: &str, are: &str) -> Refusal {
    match full {
        Full::All(most) => Refusal::busy(
            format!("{most} {what} {are}, which is the most; send it again later"),
            COME_AGAIN,
        ),
        Full::OfKey(most) => Refusal::later(Kind::QuotaExceeded, COME_AGAIN, |_| {
            format!("{most} {what} of this key {are}, which is the most of one key; send it again later")
        }),
    }
}

impl Taken {
    pub(crate) fn job(&self) -> &Job {
        match self {
            Self::New(job) | Self::Continued(job) | Self::There(job) => job,
        }
    }
}
