//! The jobs that the requester's service has now: none twice, each watched to its end.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use myriad_api::{Job, JobState, Kind, Problem};
use myriad_core::JobId;
use myriad_engine::worker::WorkerError;
use myriad_net::durable::make_dir;
use myriad_node::{
    Outcome, RunError, job_id,
    requester::{Canceller, JobHandle, Service, Submission},
};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{COME_AGAIN, Taken};
use crate::{
    Made,
    board::{Board, End, NewEntry},
    refusal::{Refusal, of_disk},
};

/// The pause between looks at whether nobody uses the service any more.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The jobs of a service.
pub(crate) struct Jobs {
    pub(crate) board: Board,
    data_dir: PathBuf,
    /// None when it is stopped.
    service: Mutex<Option<Arc<Service>>>,
    live: Mutex<HashMap<JobId, Live>>,
    /// What goes on after the request that began it.
    pub(crate) tasks: TaskTracker,
}

struct Live {
    canceller: Canceller,
    owner: Option<String>,
}

impl Jobs {
    pub(crate) fn new(board: Board, data_dir: PathBuf, service: Service) -> Self {
        Self {
            board,
            data_dir,
            service: Mutex::new(Some(Arc::new(service))),
            live: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<JobId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service, unless it is stopped. Nobody keeps it for long.
    pub(crate) fn service(&self) -> Result<Arc<Service>, Refusal> {
        let service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        service.clone().ok_or_else(stopping)
    }

    /// Jobs of this owner that are not over.
    pub(crate) fn count_of(&self, owner: &str) -> usize {
        let live = self.live();
        live.values()
            .filter(|job| job.owner.as_deref() == Some(owner))
            .count()
    }

    /// Submits a job, unless it is there. It blocks the thread.
    pub(crate) fn enter(
        self: &Arc<Self>,
        made: Made,
        deadline_s: Option<u64>,
        owner: Option<String>,
    ) -> Result<Taken, Refusal> {
        let Made {
            job,
            mut options,
            block,
            expected_public_values,
        } = made;
        let id = job_id(&job.loaded);
        let service = self.service()?;
        let (handle, was_there) = {
            // Held throughout, so that the same job is not submitted twice at once.
            let mut live = self.live();
            let before = self.board.job(id);
            if let Some(before) = &before
                && (live.contains_key(&id) || self.is_done(id, before))
            {
                return Ok(Taken::There(before.clone()));
            }
            options.out_dir = self.proofs_of(id);
            make_dir(&options.out_dir).map_err(|e| of_disk("making the proof's folder", &e))?;
            let entry = NewEntry {
                name: job.name.clone(),
                engine: options.worker.engine.id.name.to_string(),
                priority: options.priority,
                deadline_s: deadline_s.or(options.deadline.map(|within| within.as_secs())),
                block,
                verify: job.verify.clone(),
                owner: owner.clone(),
            };
            let observer = self.board.enter(id, entry).ok_or_else(|| {
                Refusal::new(Kind::Conflict, format!("job {id} is about to end; send it again"))
            })?;
            let submission = Submission {
                job,
                options,
                observer: Box::new(observer),
            };
            let handle = match service.submit(vec![submission]) {
                Ok(mut handles) => handles.remove(0),
                Err(refused) => {
                    self.board.not_taken(id);
                    return Err(Refusal::busy(refused.to_string(), COME_AGAIN));
                }
            };
            let canceller = handle.canceller();
            live.insert(id, Live { canceller, owner });
            (handle, before.is_some())
        };
        self.tasks
            .spawn(Arc::clone(self).watch(id, handle, expected_public_values));
        let job = self.board.job(id).ok_or_else(|| {
            Refusal::new(Kind::Internal, format!("job {id} was submitted and is not known"))
        })?;
        Ok(if was_there {
            Taken::Continued(job)
        } else {
            Taken::New(job)
        })
    }

    fn is_done(&self, id: JobId, job: &Job) -> bool {
        let proof_is_there = || self.board.files(id).is_some_and(|(proof, _)| proof.exists());
        job.state == JobState::Done && proof_is_there()
    }

    /// The folder of a job's proof. No two jobs have the same, whatever their names are.
    fn proofs_of(&self, id: JobId) -> PathBuf {
        self.data_dir.join("gateway").join("proofs").join(id.to_string())
    }

    /// Waits for the end of a job, and tells the board.
    async fn watch(self: Arc<Self>, id: JobId, handle: JobHandle, expected: Option<Vec<u8>>) {
        let outcome = handle.outcome().await;
        // The disk may be slow.
        let told = spawn_blocking(move || {
            let mut live = self.live();
            self.board.ended(id, end_of(&outcome, expected.as_deref()));
            live.remove(&id);
        });
        if told.await.is_err() {
            tracing::error!(job = %id, "a bug in myriad kept the end of a job from being noted");
        }
    }

    /// Cancels a job. It ends soon after.
    pub(crate) fn cancel(&self, id: JobId) -> Result<Job, Refusal> {
        let job = self.board.job(id).ok_or_else(|| no_job(id))?;
        let canceller = self.live().get(&id).map(|live| live.canceller.clone());
        match canceller {
            Some(canceller) if !job.state.is_over() => {
                canceller.cancel();
                Ok(job)
            }
            _ => Err(Refusal::new(
                Kind::Conflict,
                format!("job {id} is {}: there is nothing to cancel", job.state.as_str()),
            )),
        }
    }

    /// Ends all jobs. They are continued at the next start.
    pub(crate) async fn stop(&self, within: Duration) {
        let taken = self.service.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut service) = taken else { return };
        let stopped = async {
            loop {
                match Arc::try_unwrap(service) {
                    Ok(service) => break service.stop().await,
                    Err(used) => service = used,
                }
                sleep(LOOK_EVERY).await;
            }
            self.tasks.close();
            self.tasks.wait().await;
        };
        if timeout(within, stopped).await.is_err() {
            tracing::warn!("the service stops before all jobs have ended");
        }
    }
}

/// How a job has ended, for the board.
fn end_of<'a>(outcome: &'a Result<Outcome, RunError>, expected: Option<&[u8]>) -> End<'a> {
    match outcome {
        Ok(outcome) => match expected {
            Some(expected) if expected != outcome.public_values => End::Failed(Problem::new(
                Kind::Invalid,
                format!(
                    "the program reveals 0x{}, and the block says 0x{}: the proof is not that of this block",
                    hex::encode(&outcome.public_values),
                    hex::encode(expected)
                ),
            )),
            _ => End::Done(outcome),
        },
        Err(RunError::Cancelled) => End::Cancelled,
        Err(RunError::Interrupted | RunError::NetworkEnded) => End::Interrupted,
        Err(error) => {
            let kind = match error {
                RunError::Worker(WorkerError::Failed(_)) | RunError::Memory { .. } => Kind::Invalid,
                _ => Kind::Internal,
            };
            End::Failed(Problem::new(kind, error.to_string()))
        }
    }
}

/// The id in a path: 64 hex digits.
pub(crate) fn parse_id(text: &str) -> Option<JobId> {
    let is_plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let mut id = [0; 32];
    (text.bytes().all(is_plain) && hex::decode_to_slice(text, &mut id).is_ok()).then_some(JobId(id))
}

pub(crate) fn no_job(id: JobId) -> Refusal {
    Refusal::new(
        Kind::NotFound,
        format!("there is no job {id}; /v1/jobs lists all jobs"),
    )
}

/// The service is about to stop.
pub(crate) fn stopping() -> Refusal {
    Refusal::busy(
        "the service is about to stop, and takes no more jobs; send it again when it is back",
        COME_AGAIN,
    )
}
