//! The state of all jobs, from the events of the node: documents and streams of events, without
//! HTTP.
//!
//! ```text
//!  node::Event ──▶ Reporter ──▶ Slot of the job ──▶ ring ──▶ Subscription ──▶ reader
//!                                 │                  │           ▲
//!                                 │ Live             └──▶ ring of all ──▶ ...
//!                                 ▼
//!                     Job, Tasks documents          History (the disk): jobs of earlier starts
//! ```
//!
//! An event is put into words once, and all readers share these. A job that is over stays in mind
//! until [`OVER_MAX`] others have ended since; then the disk tells of it, and its tasks are not
//! known any more.

mod course;
mod glance;
mod gone;
mod history;
mod index;
mod job;
mod note;
mod ring;
mod stream;
mod tasks;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use myriad_api::{BlockFacts, EventId, Job, JobList, JobState, News, Problem, Tasks};
use myriad_core::JobId;
use myriad_node::Outcome;
use thiserror::Error;
use tokio::sync::Notify;

pub(crate) use self::tasks::name_of;
pub use self::{course::Reporter, stream::Subscription};
use self::{
    history::History,
    index::Index,
    job::Live,
    note::Note,
    ring::{Item, Limits, Ring},
};

/// Jobs that are over and stay in mind, with their tasks.
pub const OVER_MAX: usize = 64;

/// The memory of all jobs. Clones are of the same one. Its methods may read and write small files,
/// and so take as long as the disk does.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

/// No lock of a slot is taken while that of the index or of the ring is held.
struct Shared {
    start: u64,
    /// What the ring of a job holds.
    ring: Limits,
    history: History,
    index: Mutex<Index>,
    /// The events of the whole service.
    all: Mutex<Ring>,
    changed: Notify,
    /// The readers of the events of the whole service.
    listeners: AtomicU64,
    subscribers: AtomicU64,
    accepted: AtomicU64,
    numbers: AtomicU64,
    /// The notices to all jobs that were told to all, as a number above theirs.
    notices: AtomicU64,
}

/// A job that the service has in mind, or that somebody listens to.
struct Slot {
    inner: Mutex<Inner>,
    changed: Notify,
}

struct Inner {
    live: Option<Box<Live>>,
    ring: Ring,
    /// The snapshot after so many events, for all readers that need one.
    snapshot: Option<(u64, Item)>,
}

/// What is known of a job when it is submitted.
#[derive(Clone, Debug, Default)]
pub struct NewEntry {
    pub name: String,
    pub engine: String,
    pub priority: i32,
    pub deadline_s: Option<u64>,
    /// When that is, in milliseconds since 1970.
    pub due_ms: Option<u64>,
    pub block: Option<BlockFacts>,
    /// The public values that a proof has to have, where the submission says which.
    pub expected_public_values: Option<Vec<u8>>,
    /// The arguments that `myriad verify` needs beside the proof.
    pub verify: String,
    /// The name of the key that the job was submitted with.
    pub owner: Option<String>,
}

/// Why a job is not entered.
#[derive(Debug, Error)]
pub enum NotEntered {
    #[error("it was submitted before, and is not over")]
    There,
    #[error("the disk fails: {0}")]
    Disk(#[from] io::Error),
}

/// How a job has ended.
#[derive(Debug)]
pub enum End<'a> {
    Done(&'a Outcome),
    Failed(Problem),
    /// It has a proof, whose public values are not those that were asked for.
    OtherValues(Problem),
    Cancelled,
    /// The service stops, and the job continues with its next start.
    Interrupted,
}

/// Which jobs are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub state: Option<JobState>,
    /// [`JobList::next`] of the part before. A text that never was one lists nothing; see
    /// [`Board::is_cursor`].
    pub before: Option<String>,
    /// At most this many, 1 to 1000.
    pub limit: usize,
}

/// A stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Job(JobId),
    /// Of the whole service: the events `snapshot`, `state`, `planned`, `joined`, `left`, `notice`
    /// and `service`.
    All,
}

/// An event, as a stream delivers it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What a client that comes back names as the last one that it has. None: another delivery
    /// follows at once, without which this one is not complete, and the client keeps the id that it
    /// has.
    pub id: Option<EventId>,
    /// [`News::name`].
    pub name: &'static str,
    /// A [`myriad_api::Event`] in JSON: one line.
    pub data: Arc<str>,
}

/// Figures about all jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs in each state, in the order of [`JobState::ALL`].
    pub jobs: [u64; JobState::ALL.len()],
    /// Tasks that are being made.
    pub running: u64,
    /// Tasks whose proofs were accepted since the start.
    pub accepted: u64,
    /// Readers of streams.
    pub subscribers: u64,
}

impl Board {
    /// The board of a data folder. Counts the start, durably, and finds the jobs of earlier ones.
    /// Jobs that other processes begin in the folder later are found by their ids alone.
    ///
    /// # Errors
    /// If the folder cannot be read or written, or another service uses it.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        Self::with_rings(data_dir, [Limits::JOB, Limits::ALL])
    }

    /// A board whose rings hold so much: that of a job, and that of the whole service.
    fn with_rings(data_dir: &Path, [of_job, of_all]: [Limits; 2]) -> io::Result<Self> {
        let (history, start) = History::open(data_dir)?;
        let mut index = Index::default();
        for past in history.all()? {
            index.set(past.id, past.submitted_ms, past.state, past.resumable);
        }
        Ok(Self(Arc::new(Shared {
            start,
            ring: of_job,
            history,
            index: Mutex::new(index),
            all: Mutex::new(Ring::new(of_all)),
            changed: Notify::new(),
            listeners: AtomicU64::new(0),
            subscribers: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            notices: AtomicU64::new(0),
        })))
    }

    /// Jobs, those that were submitted last first. Public values of more than 1 KiB are left out.
    pub fn list(&self, filter: &Filter) -> JobList {
        let limit = filter.limit.clamp(1, 1000);
        let mut before = match &filter.before {
            None => None,
            Some(cursor) => match index::key_of(cursor) {
                None => {
                    return JobList {
                        jobs: Vec::new(),
                        next: None,
                    };
                }
                key => key,
            },
        };
        let mut jobs = Vec::new();
        loop {
            // One more says whether there are others.
            let wanted = limit - jobs.len() + 1;
            let keys = lock(&self.0.index).before(filter.state, before, wanted);
            let is_end = keys.len() < wanted;
            for &(submitted_ms, id) in &keys {
                if jobs.len() == limit {
                    let next = before.map(index::cursor_of);
                    return JobList { jobs, next };
                }
                before = Some((submitted_ms, id));
                jobs.extend(self.listed(id, filter.state));
            }
            if is_end {
                return JobList { jobs, next: None };
            }
        }
    }

    /// A job for a list of those of this state. Where the disk says something else than is known,
    /// the disk is right: `myriad jobs` removes and continues jobs, too.
    fn listed(&self, id: JobId, state: Option<JobState>) -> Option<Job> {
        let found = self.job(id);
        let mut index = lock(&self.0.index);
        match &found {
            Some(job) => index.turn(id, job.state),
            None => index.remove(id),
        }
        drop(index);
        found
            .filter(|job| state.is_none_or(|state| job.state == state))
            .map(job::shortened)
    }

    /// Whether a text can be the cursor of a list.
    pub fn is_cursor(text: &str) -> bool {
        index::key_of(text).is_some()
    }

    pub fn job(&self, id: JobId) -> Option<Job> {
        match self.slot_if_any(id) {
            Some(slot) => self.document(id, &lock(&slot.inner)),
            None => self.0.history.job(id),
        }
    }

    fn document(&self, id: JobId, inner: &Inner) -> Option<Job> {
        match &inner.live {
            Some(live) => Some(live.document(id)),
            None => self.0.history.job(id),
        }
    }

    /// The tasks of a job. Those of a job that is not in mind any more are not known: the document
    /// is empty then.
    pub fn tasks(&self, id: JobId) -> Option<Tasks> {
        if let Some(slot) = self.slot_if_any(id) {
            let inner = lock(&slot.inner);
            if let Some(live) = &inner.live {
                let event = EventId {
                    start: self.0.start,
                    count: inner.ring.last(),
                };
                return Some(live.tasks_document(event.to_string()));
            }
        }
        let job = self.0.history.job(id)?;
        Some(Tasks {
            segments: u32::try_from(job.progress.segments).unwrap_or(u32::MAX),
            ..Tasks::default()
        })
    }

    /// The verified final proof of a job that is done, and its baseline, where the engine has one.
    pub fn files(&self, id: JobId) -> Option<(PathBuf, Option<PathBuf>)> {
        let live = self.slot_if_any(id).and_then(|slot| {
            let inner = lock(&slot.inner);
            inner.live.as_ref().map(|live| live.files())
        });
        live.unwrap_or_else(|| self.0.history.files(id))
    }

    /// The name of the key that a job was submitted with.
    pub fn owner(&self, id: JobId) -> Option<String> {
        let live = self.slot_if_any(id).and_then(|slot| {
            let inner = lock(&slot.inner);
            inner.live.as_ref().map(|live| live.entry.owner.clone())
        });
        live.unwrap_or_else(|| self.0.history.note(id)?.owner)
    }

    /// What the service has noted of a job.
    pub(crate) fn note(&self, id: JobId) -> Option<Note> {
        self.0.history.note(id)
    }

    /// Tells the readers of [`Stream::All`] of the service as it is.
    pub fn publish(&self, now: myriad_api::Service) {
        let now = Box::new(now);
        let item = Item::new(now.now_ms, None, News::Service { now });
        lock(&self.0.all).push(item);
        self.0.changed.notify_waiters();
    }

    /// Whether anybody reads [`Stream::All`].
    pub fn has_listeners(&self) -> bool {
        self.0.listeners.load(Ordering::Relaxed) > 0
    }

    pub fn counts(&self) -> Counts {
        let (jobs, slots) = {
            let index = lock(&self.0.index);
            let live = index.live();
            let slots: Vec<_> = live
                .iter()
                .filter_map(|id| index.slots.get(id))
                .cloned()
                .collect();
            (index.counts(), slots)
        };
        let running = |slot: &Arc<Slot>| {
            let inner = lock(&slot.inner);
            inner.live.as_ref().map_or(0, |live| live.tasks.running())
        };
        Counts {
            jobs,
            running: slots.iter().map(running).sum(),
            accepted: self.0.accepted.load(Ordering::Relaxed),
            subscribers: self.0.subscribers.load(Ordering::Relaxed),
        }
    }

    /// The jobs of this service that an earlier start left unfinished, and that nobody works on,
    /// the oldest first.
    pub fn interrupted(&self) -> Vec<JobId> {
        lock(&self.0.index).resumable()
    }

    /// The slot of a job, which is made if there is none.
    fn slot(&self, id: JobId) -> Arc<Slot> {
        let mut index = lock(&self.0.index);
        let counted = index.counted;
        let make = || Arc::new(Slot::new(Ring::after_all(self.0.ring, counted)));
        Arc::clone(index.slots.entry(id).or_insert_with(make))
    }

    fn slot_if_any(&self, id: JobId) -> Option<Arc<Slot>> {
        lock(&self.0.index).slots.get(&id).cloned()
    }

    /// The slot of a job that there is.
    fn slot_of(&self, id: JobId) -> Option<Arc<Slot>> {
        if let Some(slot) = self.slot_if_any(id) {
            return Some(slot);
        }
        self.0.history.job(id)?;
        Some(self.slot(id))
    }

    /// Lets go of the slot of a job that is not in mind, if nobody has it but the caller's so many
    /// holders.
    fn let_go(&self, id: JobId, slot: &Arc<Slot>, holders: usize) {
        let mut index = lock(&self.0.index);
        // More holders can only come through the index.
        let last = || {
            let inner = slot.inner.try_lock().ok()?;
            inner.live.is_none().then(|| inner.ring.last())
        };
        if Arc::strong_count(slot) <= holders
            && let Some(last) = last()
        {
            index.slots.remove(&id);
            // A client that has the last event may have missed what others did to the job since.
            index.counted = index.counted.max(last + 1);
        }
    }
}

impl Slot {
    fn new(ring: Ring) -> Self {
        Self {
            inner: Mutex::new(Inner {
                live: None,
                ring,
                snapshot: None,
            }),
            changed: Notify::new(),
        }
    }
}

impl Inner {
    /// The snapshot after the last event, which `make` makes once.
    fn snapshot(&mut self, make: impl FnOnce(&Self) -> Option<Item>) -> Option<Item> {
        let last = self.ring.last();
        if let Some((at, item)) = &self.snapshot
            && *at == last
            && self.live.is_some()
        {
            return Some(item.clone());
        }
        let item = make(self)?;
        self.snapshot = Some((last, item.clone()));
        Some(item)
    }
}

/// A lock whose holder has panicked is as good as any: what it guards is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
