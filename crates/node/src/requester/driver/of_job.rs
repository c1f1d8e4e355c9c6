//! What the driver keeps of each of its jobs: little before a job has tasks, and then all that
//! belongs to it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use myriad_core::{JobId, Kind, Peer, TaskId};
use myriad_engine::worker::Usage;
use myriad_net::wire::Extent;
use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use super::{holders::Holders, jobs::Entry, journal_notes::JournalNotes, proofs::Proofs};
use crate::{
    Observer, RunError,
    requester::{
        Files, Growth,
        backend::{Ended, JobBackend},
    },
};

/// The pause between looks at whether the tasks that are left have let go of the backend.
const RELEASE_POLL: Duration = Duration::from_millis(10);
/// The time for which a job that ends without a final proof waits for its tasks to let go of the
/// backend. The next run of the same job then finds the journal free.
const RELEASED_WITHIN: Duration = Duration::from_secs(2);

/// A job that has no tasks yet.
pub(super) struct Heralded {
    /// The number of its entry.
    pub number: u64,
    pub files: Files,
    pub observer: Box<dyn Observer + Send>,
    /// Whether provers hear of it.
    pub announced: bool,
    /// The leases of an earlier run whose holders may go on, and those that were given back.
    pub leased: BTreeSet<(TaskId, Peer)>,
    pub returned: BTreeSet<(TaskId, Peer)>,
    /// How many tasks could be given out.
    pub enough_for: Arc<AtomicUsize>,
}

/// Why a job ends that has no plan, and until when claims are judged.
pub(super) struct MissingPlan {
    pub error: RunError,
    pub until: std::time::Instant,
}

/// A job with tasks to give out.
pub(super) struct OfJob<J: JobBackend> {
    pub id: JobId,
    /// The number of its entry.
    pub number: u64,
    /// More of the plan, while it is being made.
    pub growth: Option<UnboundedReceiver<Growth>>,
    pub files: Files,
    pub extent: Extent,
    /// The expected cost of each task: time of a reference core, and bytes of memory.
    pub work: HashMap<TaskId, (Duration, u64)>,
    pub backend: Arc<J>,
    pub observer: Box<dyn Observer + Send>,
    /// Whether provers believe it open.
    pub announced: bool,

    // Its knowledge.
    pub proofs: Proofs<J::Finding>,
    pub holders: Holders,
    pub notes: JournalNotes,

    // The end.
    pub usages: Vec<(Kind, Usage)>,
    /// Its messages that are on their way to peers.
    pub messages: TaskTracker,
    /// Proofs that are being examined or made durable.
    pub checks: usize,
    /// The examinations, and the wait for the truth, which end with the job.
    pub examining: JoinSet<()>,
    /// Why there will be no plan.
    pub unplanned: Option<MissingPlan>,
    /// The outcome of the job, once it is over.
    pub outcome: Option<Result<(), RunError>>,
    /// Hears how it has ended.
    pub ended: oneshot::Sender<Result<Ended<J>, RunError>>,
}

impl<J: JobBackend> OfJob<J> {
    pub(super) fn entry(&self) -> Entry {
        Entry {
            job: self.id,
            number: self.number,
        }
    }

    /// The job is over; what came first stays.
    pub(super) fn end(&mut self, outcome: Result<(), RunError>) {
        self.outcome.get_or_insert(outcome);
    }

    /// Notes which leases are left, and hands over what the job has come to.
    pub(super) async fn conclude(self, outcome: Result<(), RunError>, left: BTreeSet<(TaskId, Peer)>) {
        let Self {
            mut backend,
            mut notes,
            usages,
            examining,
            ended,
            ..
        } = self;
        drop(examining);
        backend.stop();
        notes.written().await;
        notes.note(left, &backend);
        notes.written().await;
        let until = Instant::now() + RELEASED_WITHIN;
        // The remaining tasks hold the backend, too. They end by themselves.
        let backend = loop {
            match Arc::try_unwrap(backend) {
                Ok(backend) => break Some(backend),
                Err(_) if outcome.is_err() && Instant::now() >= until => break None,
                Err(shared) => backend = shared,
            }
            sleep(RELEASE_POLL).await;
        };
        // If nobody listens, nobody wants to know.
        let _ = ended.send(match (outcome, backend) {
            (Ok(()), Some(backend)) => Ok(Ended { backend, usages }),
            (Ok(()), None) => unreachable!("it is waited for"),
            (Err(error), backend) => {
                drop(backend);
                Err(error)
            }
        });
    }
}
