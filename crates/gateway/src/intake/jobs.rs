//! The jobs that the requester's service has now: none twice, each watched to its end.

use std::{
    collections::HashMap,
    error::Error as _,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use myriad_api::{Job, JobState, Kind, Problem};
use myriad_core::JobId;
use myriad_engine::worker::{Failure, WorkerError};
use myriad_net::durable::make_dir;
use myriad_node::{
    Outcome, RunError, job_id,
    requester::{Canceller, JobHandle, Service, Submission},
};
use tokio::{
    runtime::Handle,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{COME_AGAIN, Taken};
use crate::{
    Made,
    board::{Board, End, NewEntry, NotEntered},
    keys::COOKIE,
    refusal::{Refusal, of_disk},
    time::now_ms,
};

/// The pause between looks at whether nobody uses the service any more.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Most bytes of the programs and inputs of jobs that are not over: each is in memory until then.
/// It is ten jobs of the largest program and input.
const BYTES_MAX: usize = 4 << 30;

/// The jobs of a service.
pub(crate) struct Jobs {
    pub(crate) board: Board,
    pub(super) data_dir: PathBuf,
    /// None when it is stopped.
    service: Mutex<Option<Arc<Service>>>,
    live: Mutex<HashMap<JobId, Live>>,
    /// What goes on after the request that began it.
    pub(crate) tasks: TaskTracker,
}

pub(super) struct Live {
    canceller: Canceller,
    owner: Option<String>,
    /// Those of its program and input.
    bytes: usize,
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

    pub(super) fn live(&self) -> MutexGuard<'_, HashMap<JobId, Live>> {
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
        let due_ms = made.options.deadline.map(due_ms);
        let Made {
            job,
            mut options,
            block,
            expected_public_values,
        } = made;
        let id = job_id(&job.loaded);
        let service = self.service()?;
        let (mut handle, was_there) = {
            // Held throughout, so that the same job is not submitted twice at once.
            let mut live = self.live();
            let before = self.board.job(id);
            if let Some(before) = &before
                && (live.contains_key(&id) || self.is_done(id, before))
            {
                return Ok(Taken::There(before.clone()));
            }
            may_begin(id, before.as_ref())?;
            let bytes = job.image.len() + job.input.byte_len();
            has_room(&live, bytes)?;
            options.out_dir = self.proofs_of(id);
            make_dir(&options.out_dir).map_err(|e| of_disk("making the proof's folder", &e))?;
            let entry = NewEntry {
                name: job.name.clone(),
                engine: options.worker.engine.id.name.to_string(),
                priority: options.priority,
                deadline_s: deadline_s.or(options.deadline.map(|within| within.as_secs())),
                due_ms,
                block,
                expected_public_values: expected_public_values.clone(),
                verify: job.verify.clone(),
                owner: owner.clone(),
            };
            let observer = self.board.enter(id, entry).map_err(|refused| {
                self.remove_if_empty(id);
                not_entered(id, refused)
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
                    self.remove_if_empty(id);
                    return Err(Refusal::busy(refused.to_string(), COME_AGAIN));
                }
            };
            let canceller = handle.canceller();
            let entered = Live {
                canceller,
                owner,
                bytes,
            };
            live.insert(id, entered);
            (handle, before.is_some())
        };
        // The answer promises a job that a crash does not lose. One that has ended before it had a
        // record says why.
        Handle::current().block_on(handle.recorded());
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
        self.proofs().join(id.to_string())
    }

    pub(super) fn proofs(&self) -> PathBuf {
        self.data_dir.join("gateway").join("proofs")
    }

    /// A job that has ended without a proof leaves no folder. The lock of `live` is held.
    fn remove_if_empty(&self, id: JobId) {
        // One with a proof stays, and one that cannot be removed is looked at again every hour.
        let _ = fs::remove_dir(self.proofs_of(id));
    }

    /// Waits for the end of a job, and tells the board.
    async fn watch(self: Arc<Self>, id: JobId, handle: JobHandle, expected: Option<Vec<u8>>) {
        let outcome = handle.outcome().await;
        // The disk may be slow.
        let told = spawn_blocking(move || {
            let mut live = self.live();
            self.board.ended(id, end_of(id, &outcome, expected.as_deref()));
            self.remove_if_empty(id);
            live.remove(&id);
        });
        if told.await.is_err() {
            tracing::error!(job = %id, "a bug in myriad kept the end of a job from being noted");
        }
    }

    /// Cancels a job for the holder of a key. It ends soon after. Only the key that submitted it
    /// may do so, and the cookie, which is that of the service's own user.
    pub(crate) fn cancel(&self, id: JobId, key: &str) -> Result<Job, Refusal> {
        let job = self.board.job(id).ok_or_else(|| no_job(id))?;
        let canceller = self.live().get(&id).map(|live| live.canceller.clone());
        let is_to_cancel = match canceller {
            Some(_) => !job.state.is_over(),
            None => job.state == JobState::Interrupted,
        };
        if !is_to_cancel {
            return Err(Refusal::new(
                Kind::Conflict,
                format!("job {id} is {}: there is nothing to cancel", job.state.as_str()),
            ));
        }
        if key != COOKIE && self.board.owner(id).as_deref() != Some(key) {
            return Err(Refusal::new(
                Kind::Forbidden,
                format!("job {id} was submitted with another key: cancel it with that one"),
            ));
        }
        let unnoted = |e| of_disk("noting that the job is not wanted", &e);
        let Some(canceller) = canceller else {
            self.board.cancel_interrupted(id).map_err(unnoted)?;
            return self.board.job(id).ok_or_else(|| no_job(id));
        };
        self.board.cancelling(id).map_err(unnoted)?;
        canceller.cancel();
        Ok(job)
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

/// When something is due that is wanted within this time, in milliseconds since 1970.
fn due_ms(within: Duration) -> u64 {
    now_ms().saturating_add(within.as_millis() as u64)
}

/// Checks that no other process works on a job, by what is known of it.
fn may_begin(id: JobId, before: Option<&Job>) -> Result<(), Refusal> {
    match before.filter(|before| !before.state.is_over()) {
        None => Ok(()),
        Some(before) => Err(Refusal::new(
            Kind::Conflict,
            format!(
                "job {id} is {}, and another process works on it: send it again when that has ended",
                before.state.as_str()
            ),
        )),
    }
}

/// Checks that a job of so many bytes fits into memory beside the others.
fn has_room(live: &HashMap<JobId, Live>, bytes: usize) -> Result<(), Refusal> {
    let held: usize = live.values().map(|job| job.bytes).sum();
    if held + bytes > BYTES_MAX {
        return Err(Refusal::busy(
            format!(
                "the programs and inputs of jobs that are not over have {held} bytes, this job's {bytes}, and \
                 {BYTES_MAX} are allowed: send it again when others are done"
            ),
            COME_AGAIN,
        ));
    }
    Ok(())
}

fn not_entered(id: JobId, refused: NotEntered) -> Refusal {
    match refused {
        NotEntered::There => Refusal::new(Kind::Conflict, format!("job {id} is about to end; send it again")),
        NotEntered::Disk(e) => of_disk("noting the job", &e).into(),
    }
}

/// How a job has ended, for the board.
fn end_of<'a>(id: JobId, outcome: &'a Result<Outcome, RunError>, expected: Option<&[u8]>) -> End<'a> {
    match outcome {
        Ok(outcome) => match expected {
            Some(expected) if expected != outcome.public_values => End::OtherValues(Problem::new(
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
        Err(error) => End::Failed(problem_of(id, error)),
    }
}

/// What clients hear of why a job has failed. What is no fault of the job is for the log alone: it
/// names files of the service.
fn problem_of(id: JobId, error: &RunError) -> Problem {
    let is_of_job = match error {
        RunError::Worker(WorkerError::Failed(failure)) => matches!(
            failure,
            Failure::Program(_) | Failure::Input(_) | Failure::Config(_) | Failure::Execute(_)
        ),
        RunError::Memory { .. } => true,
        _ => false,
    };
    if is_of_job {
        return Problem::new(Kind::Invalid, error.to_string());
    }
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        chain = format!("{chain}: {error}");
        source = error.source();
    }
    tracing::error!(job = %id, "a job has failed: {chain}");
    Problem::new(
        Kind::Internal,
        format!(
            "a fault of the service ended job {id}, and its log says more; send the job again to continue it"
        ),
    )
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

#[cfg(test)]
mod tests {
    use std::io;

    use myriad_node::StoreError;

    use super::*;

    #[test]
    fn faults_of_the_service_are_told_without_its_paths() {
        let id = JobId([7; 32]);
        let path = PathBuf::from("/srv/secret");
        let reason = io::Error::from(io::ErrorKind::PermissionDenied);
        let errors = [
            RunError::Store(StoreError::Read {
                path: path.clone(),
                reason,
            }),
            RunError::Worker(WorkerError::Start {
                command: path,
                reason: io::ErrorKind::NotFound.into(),
            }),
            RunError::Panicked {
                reason: "/srv/secret".into(),
            },
        ];
        for error in errors {
            assert!(error.to_string().contains("/srv/secret"));
            let problem = problem_of(id, &error);
            assert_eq!(problem.kind, Kind::Internal);
            assert!(!problem.detail.contains("/srv"), "{problem:?}");
            assert!(problem.detail.contains(&id.to_string()), "{problem:?}");
        }
        let refused = RunError::Worker(WorkerError::Failed(Failure::Program("no program".into())));
        let problem = problem_of(id, &refused);
        assert_eq!(
            (problem.kind, problem.detail.as_str()),
            (Kind::Invalid, "no program")
        );
    }
}
