//! The state of all jobs, from the events of the node: documents and streams of events, without
//! HTTP.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use myriad_api::{BlockFacts, EventId, JobList, JobState, Problem};
use myriad_core::JobId;
use myriad_node::{Event, Observer, Outcome};

/// The memory of all jobs. Clones are of the same one.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {}

/// What is known of a job when it is submitted.
#[derive(Clone, Debug)]
pub struct NewEntry {
    pub name: String,
    pub engine: String,
    pub priority: i32,
    pub deadline_s: Option<u64>,
    pub block: Option<BlockFacts>,
    /// The arguments that `myriad verify` needs beside the proof.
    pub verify: String,
    /// The name of the key that the job was submitted with.
    pub owner: Option<String>,
}

/// Tells the board what happens to a job: the observer of its submission.
pub struct Reporter {
    board: Board,
    id: JobId,
    /// Another submission of the same job, later, has another number.
    number: u64,
}

/// How a job has ended.
#[derive(Debug)]
pub enum End<'a> {
    Done(&'a Outcome),
    Failed(Problem),
    Cancelled,
    /// The service stops, and the job continues with its next start.
    Interrupted,
}

/// Which jobs are listed.
#[derive(Clone, Debug)]
pub struct Filter {
    pub state: Option<JobState>,
    /// [`JobList::next`] of the part before.
    pub before: Option<String>,
    /// At most this many, 1 to 1000.
    pub limit: usize,
}

/// A stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Job(JobId),
    /// Of the whole service.
    All,
}

/// A place in a stream. A reader that is slow costs nothing more.
pub struct Subscription {
    _board: Board,
}

/// An event, as a stream delivers it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What a client that comes back names as the last one that it has. None: another delivery
    /// follows at once, without which this one is not complete, and the client keeps the id that it
    /// has.
    pub id: Option<EventId>,
    /// [`myriad_api::News::name`].
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
    ///
    /// # Errors
    /// If the folder cannot be read or written.
    pub fn open(_data_dir: &Path) -> io::Result<Self> {
        unimplemented!()
    }

    /// A job is about to be submitted. None if it is not over: it was submitted before.
    pub fn enter(&self, _id: JobId, _entry: NewEntry) -> Option<Reporter> {
        unimplemented!()
    }

    /// The job was entered, and the service did not take it: it is again what it was before.
    pub fn not_taken(&self, _id: JobId) {
        unimplemented!()
    }

    /// A job has ended.
    pub fn ended(&self, _id: JobId, _end: End<'_>) {
        unimplemented!()
    }

    /// Jobs, those that were submitted last first. Public values of more than 1 KiB are left out.
    pub fn list(&self, _filter: &Filter) -> JobList {
        unimplemented!()
    }

    pub fn job(&self, _id: JobId) -> Option<myriad_api::Job> {
        unimplemented!()
    }

    /// The tasks of a job; those of an earlier start of the service are not known any more.
    pub fn tasks(&self, _id: JobId) -> Option<myriad_api::Tasks> {
        unimplemented!()
    }

    /// The verified final proof of a job that is done, and its baseline, where the engine has one.
    pub fn files(&self, _id: JobId) -> Option<(PathBuf, Option<PathBuf>)> {
        unimplemented!()
    }

    /// The name of the key that a job was submitted with.
    pub fn owner(&self, _id: JobId) -> Option<String> {
        unimplemented!()
    }

    /// The events of a stream after this one; a snapshot and those after it where that is not
    /// known. None if there is no such job.
    pub fn subscribe(&self, _of: Stream, _after: Option<EventId>) -> Option<Subscription> {
        unimplemented!()
    }

    /// Tells the readers of [`Stream::All`] of the service as it is.
    pub fn publish(&self, _now: myriad_api::Service) {
        unimplemented!()
    }

    /// Whether anybody reads [`Stream::All`].
    pub fn has_listeners(&self) -> bool {
        unimplemented!()
    }

    pub fn counts(&self) -> Counts {
        unimplemented!()
    }

    /// The jobs that an earlier start of the service left unfinished: neither done nor failed nor
    /// cancelled.
    pub fn interrupted(&self) -> Vec<JobId> {
        unimplemented!()
    }
}

impl Observer for Reporter {
    fn event(&mut self, _event: &Event) {
        let _ = (&self.board, self.id, self.number);
    }
}

impl Subscription {
    /// Waits for the next event. It may be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Delivery {
        std::future::pending().await
    }
}
