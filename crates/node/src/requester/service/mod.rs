//! Several jobs of one requester over one network.
//!
//! ```text
//!  submit ─▶ thread of the job: open the journal ─▶ enter ─▶ wait for its turn ─▶ plan ─▶ open ─▶ ... ─▶ conclude
//!                                                     │            (Queue)                  │        ▲
//!                                                     └───────────▶ Driver, one for all ◀───┘────────┘
//! ```
//!
//! A job that fails, whose engine children die or whose thread panics, ends alone.

mod proving;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use myriad_core::Policy;
use myriad_net::Network;
use thiserror::Error;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

use super::{
    Driver, Jobs, Joined, Overview, Withdrawal,
    children::Children,
    engine_backend::EngineBackend,
    queue::{Limits, Place, Queue, Waiting},
};
use crate::{
    Job, Observer, Options, Outcome, RunError,
    job::{Hands, one_machine},
    peers::Peers,
    records,
    text::of_panic,
};

/// The pause between looks at whether another process wants a job to be cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Proves jobs with the provers of a network, several at once.
pub struct Service {
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
}

/// The parts of a service that its jobs share.
struct Shared {
    network: Network,
    hands: Hands,
    /// The provers are this machine's own.
    owns: bool,
    limits: Limits,
    jobs: Jobs<EngineBackend>,
    queue: Arc<Queue>,
    runtime: Handle,
    live: Mutex<Live>,
    /// How many jobs there are.
    count: watch::Sender<usize>,
    /// Why the loop that serves all jobs has ended, once it has.
    ended: watch::Sender<Option<EndReason>>,
    numbers: AtomicU64,
}

#[derive(Default)]
struct Live {
    tickets: Vec<Arc<Ticket>>,
    /// Jobs that the driver does not know yet.
    entering: usize,
    /// Why no more jobs are done.
    over: Option<EndReason>,
}

/// Why a job is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndReason {
    /// The user wants no job any more.
    Unwanted,
    /// The user does not want this one any more.
    Cancelled,
    NetworkEnded,
    Bug,
}

impl EndReason {
    fn error(self) -> RunError {
        match self {
            Self::Unwanted => RunError::Interrupted,
            Self::Cancelled => RunError::Cancelled,
            Self::NetworkEnded => RunError::NetworkEnded,
            Self::Bug => RunError::Panicked {
                reason: "the loop that serves all jobs has ended".into(),
            },
        }
    }
}

/// A job, for those that may give it up.
struct Ticket {
    number: u64,
    place: Place,
    /// The engine children that plan and execute.
    children: Children,
    /// Takes it from the driver, once that knows it.
    entered: OnceLock<Withdrawal<EngineBackend>>,
    given_up: Mutex<Option<EndReason>>,
}

impl Ticket {
    fn given_up(&self) -> Option<EndReason> {
        *self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service has no room for the jobs that were submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "there are {jobs} jobs, and {more} more were submitted; {max} are allowed: submit fewer, or when others have ended"
)]
pub struct Refused {
    pub jobs: usize,
    pub more: usize,
    pub max: usize,
}

/// A job, how it is to be proven, and what hears of it: in a thread of the job's own.
pub struct Submission {
    pub job: Arc<Job>,
    /// Its folder of data is that of the service.
    pub options: Options,
    pub observer: Box<dyn Observer + Send>,
}

/// A job of a service. It goes on if this is dropped.
pub struct JobHandle {
    canceller: Canceller,
    recorded: oneshot::Receiver<()>,
    outcome: oneshot::Receiver<Result<Outcome, RunError>>,
}

/// Cancels a job.
#[derive(Clone)]
pub struct Canceller {
    shared: Weak<Shared>,
    ticket: Arc<Ticket>,
}

impl Canceller {
    /// The job is not wanted any more: it ends with [`RunError::Cancelled`], unless it is done.
    /// Accepted proofs stay.
    pub fn cancel(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.give_up(&self.ticket, EndReason::Cancelled);
        }
    }
}

impl JobHandle {
    /// What cancels the job while its outcome is waited for.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Waits until the disk has what the job is continued from after a crash: its program, its
    /// input and its record. False if it has ended before.
    pub async fn recorded(&mut self) -> bool {
        (&mut self.recorded).await.is_ok()
    }

    /// Waits until the job has ended.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn outcome(self) -> Result<Outcome, RunError> {
        let ended = self.outcome.await;
        ended.unwrap_or_else(|_| Err(EndReason::Bug.error()))
    }
}

impl Service {
    /// Serves jobs to the peers of a joined network, until that ends or the user wants no more.
    /// `data_dir` is the folder of all of its jobs. `runtime` is the one that the network runs in.
    pub fn start(joined: Joined, data_dir: &Path, limits: Limits, runtime: &Handle) -> Self {
        let Joined {
            network,
            events,
            own,
            provers_expected,
            threads_expected,
            stop,
        } = joined;
        let _entered = runtime.enter();
        let (provers, threads) = (provers_expected.max(1), threads_expected.max(1));
        let owns = !own.is_empty();
        let policy = if owns { one_machine() } else { Policy::default() };
        let peers = Peers::of(data_dir);
        let (driver, jobs) = Driver::new(network.clone(), events, own, peers, policy);
        let shared = Arc::new(Shared {
            network,
            hands: Hands {
                children: provers,
                threads,
                cores: provers * threads,
            },
            owns,
            limits,
            jobs,
            queue: Queue::new(limits),
            runtime: runtime.clone(),
            live: Mutex::default(),
            count: watch::channel(0).0,
            ended: watch::channel(None).0,
            numbers: AtomicU64::new(0),
        });
        let weak = Arc::downgrade(&shared);
        let stopping = Weak::clone(&weak);
        let stop = async move {
            stop.await;
            if let Some(shared) = stopping.upgrade() {
                shared.give_up_all(EndReason::Unwanted);
            }
        };
        runtime.spawn(heed_requests(Weak::clone(&weak), data_dir.to_owned()));
        let driver = runtime.spawn(async move {
            let ended = tokio::spawn(driver.run(stop)).await;
            if let Some(shared) = weak.upgrade() {
                let why = match ended {
                    Ok(Ok(())) => EndReason::Unwanted,
                    Ok(Err(_)) => EndReason::NetworkEnded,
                    Err(_) => EndReason::Bug,
                };
                shared.give_up_all(why);
                shared.ended.send_replace(Some(why));
            }
        });
        Self { shared, driver }
    }

    /// Takes jobs, all or none. None of them begins before all have their places, so that the most
    /// important one goes first, and peers that worked for earlier runs of them are not answered
    /// before the driver knows all of them.
    ///
    /// # Errors
    /// If there would be too many jobs.
    pub fn submit(&self, submissions: Vec<Submission>) -> Result<Vec<JobHandle>, Refused> {
        let shared = &self.shared;
        let now = Instant::now();
        let mut live = shared.live();
        let (jobs, more, max) = (live.tickets.len(), submissions.len(), shared.limits.jobs);
        if jobs + more > max {
            return Err(Refused { jobs, more, max });
        }
        let placed: Vec<_> = submissions
            .into_iter()
            .map(|submission| {
                let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
                let options = &submission.options;
                let due = options.deadline.and_then(|within| now.checked_add(within));
                let ticket = Arc::new(Ticket {
                    number,
                    place: Place::new(options.priority, due, number),
                    children: Children::default(),
                    entered: OnceLock::new(),
                    given_up: Mutex::new(live.over),
                });
                live.tickets.push(Arc::clone(&ticket));
                let waiting = shared.queue.enter(ticket.place);
                (submission, due, ticket, waiting)
            })
            .collect();
        live.entering += placed.len();
        shared.count.send_replace(live.tickets.len());
        drop(live);
        let begin = |(submission, due, ticket, waiting)| self.begin(submission, due, ticket, waiting);
        Ok(placed.into_iter().map(begin).collect())
    }

    /// Has a thread prove a job that has its place.
    fn begin(
        &self,
        submission: Submission,
        due: Option<Instant>,
        ticket: Arc<Ticket>,
        waiting: Waiting,
    ) -> JobHandle {
        let Submission {
            job,
            options,
            observer,
        } = submission;
        let shared = Arc::clone(&self.shared);
        let (sender, outcome) = oneshot::channel();
        let (is_recorded, recorded) = oneshot::channel();
        let canceller = Canceller {
            shared: Arc::downgrade(&shared),
            ticket: Arc::clone(&ticket),
        };
        thread::spawn(move || {
            let enters = (Entering(&shared), waiting, is_recorded);
            let prove = || proving::prove(&shared, &ticket, (&job, &options, due), observer, enters);
            let proven = catch_unwind(AssertUnwindSafe(prove)).unwrap_or_else(|panic| Err(panicked(&*panic)));
            let outcome = match (proven, ticket.given_up()) {
                // It failed because it was given up.
                (Err(_), Some(given_up)) => Err(given_up.error()),
                (proven, _) => proven,
            };
            shared.end(&ticket);
            // If nobody listens, nobody wants to know.
            let _ = sender.send(outcome);
        });
        JobHandle {
            canceller,
            recorded,
            outcome,
        }
    }

    /// The connected peers, and what they do. The loop that serves all jobs answers, so nobody
    /// should ask more often than is looked at. None if the service has ended.
    pub async fn overview(&self) -> Option<Overview> {
        self.shared.jobs.overview().await.ok()
    }

    /// Waits until the service has ended by itself: its network is gone, as when all own provers
    /// have died, or its user wants no more. It does not keep the service.
    pub fn ended(&self) -> impl Future<Output = RunError> + Send + use<> {
        let mut ended = self.shared.ended.subscribe();
        async move {
            let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| *why);
            // A service that was stopped is not wanted any more.
            why.unwrap_or(EndReason::Unwanted).error()
        }
    }

    /// Ends all jobs that are not done, tells the provers, and waits until they have heard it.
    /// Accepted proofs stay.
    pub async fn stop(self) {
        self.shared.give_up_all(EndReason::Unwanted);
        let mut count = self.shared.count.subscribe();
        // Its sender is here.
        let _ = count.wait_for(|count| *count == 0).await;
        let Self { shared, driver } = self;
        drop(shared);
        // If it has panicked, the jobs have ended, too.
        let _ = driver.await;
    }
}

/// Cancels the jobs that another process wants to be cancelled (`myriad jobs cancel`). Answers
/// peers soon, also if there is no job.
async fn heed_requests(shared: Weak<Shared>, data_dir: PathBuf) {
    let mut listens = false;
    loop {
        sleep(LOOK_EVERY).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let tickets = {
            let live = shared.live();
            if live.entering == 0 && !listens {
                shared.jobs.listen();
                listens = true;
            }
            live.tickets.clone()
        };
        let records = records::Jobs::of(&data_dir);
        // The disk may be slow.
        let looks = spawn_blocking(move || {
            let mut unwanted = tickets;
            unwanted.retain(|ticket| {
                let entered = ticket.entered.get();
                entered.is_some_and(|entered| records.is_cancel_wanted(entered.job()))
            });
            unwanted
        });
        for ticket in looks.await.unwrap_or_default() {
            shared.give_up(&ticket, EndReason::Cancelled);
        }
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a job up, if it has not ended. Another one may have its name since.
    fn give_up(&self, ticket: &Ticket, why: EndReason) {
        let live = self.live();
        if !live.tickets.iter().any(|other| other.number == ticket.number) {
            return;
        }
        {
            let mut given_up = ticket.given_up.lock().unwrap_or_else(PoisonError::into_inner);
            given_up.get_or_insert(why);
        }
        drop(live);
        ticket.children.stop();
        self.queue.look_again();
        // Before it has a name, it looks whether it is wanted when it has.
        if let Some(entered) = ticket.entered.get() {
            entered.withdraw();
        }
    }

    fn give_up_all(&self, why: EndReason) {
        let tickets = {
            let mut live = self.live();
            live.over.get_or_insert(why);
            live.tickets.clone()
        };
        for ticket in tickets {
            self.give_up(&ticket, why);
        }
    }

    fn end(&self, ticket: &Ticket) {
        let mut live = self.live();
        live.tickets.retain(|other| other.number != ticket.number);
        self.count.send_replace(live.tickets.len());
    }
}

/// A job that the driver does not know yet. When it knows all that were submitted, peers that
/// worked for earlier runs are answered.
struct Entering<'a>(&'a Shared);

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        let mut live = self.0.live();
        live.entering -= 1;
        if live.entering == 0 {
            self.0.jobs.listen();
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> RunError {
    RunError::Panicked {
        reason: of_panic(panic).to_owned(),
    }
}
