//! The other end of the driver: jobs come to it and are taken away while it runs.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use myriad_core::{JobId, Peer, TaskId};
use tokio::sync::{
    mpsc::{self, UnboundedSender, WeakUnboundedSender},
    oneshot,
};

use super::overview::Overview;
use crate::{
    Observer, RunError,
    requester::{
        Files, ServedJob,
        backend::{Ended, JobBackend},
    },
};

/// A job that is about to have tasks.
pub struct NewJob {
    pub id: JobId,
    pub files: Files,
    /// Leases of an earlier run whose holders may still be at work. They are told to go on.
    pub leased: Vec<(TaskId, Peer)>,
    /// Hears what happens. It must not block.
    pub observer: Box<dyn Observer + Send>,
}

/// A job as it was entered once. The same job may be entered again when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub job: JobId,
    /// No other entry has the same.
    pub number: u64,
}

/// What the driver is told.
pub(super) enum Command<J: JobBackend> {
    Enter {
        job: Box<NewJob>,
        number: u64,
        enough_for: Arc<AtomicUsize>,
    },
    Listen,
    Announce(Entry),
    Open {
        entry: Entry,
        job: Box<ServedJob>,
        backend: J,
        ended: oneshot::Sender<Result<Ended<J>, RunError>>,
    },
    Overview(oneshot::Sender<Overview>),
    Withdraw(Entry),
}

/// Gives a driver its jobs. The driver ends when all clones of this are gone, and all jobs with it.
pub struct Jobs<J: JobBackend> {
    commands: UnboundedSender<Command<J>>,
    entries: Arc<AtomicU64>,
}

impl<J: JobBackend> Clone for Jobs<J> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            entries: Arc::clone(&self.entries),
        }
    }
}

/// A job that the driver knows. It is withdrawn if this is dropped.
pub struct Entered<J: JobBackend> {
    jobs: Jobs<J>,
    entry: Entry,
    enough_for: Arc<AtomicUsize>,
}

/// Takes a job away as it was entered, and no later one of the same name. The user of the job has
/// it for as long as it likes, so it does not keep the driver from ending.
pub struct Withdrawal<J: JobBackend> {
    commands: WeakUnboundedSender<Command<J>>,
    entry: Entry,
}

impl<J: JobBackend> Withdrawal<J> {
    pub fn job(&self) -> JobId {
        self.entry.job
    }

    /// The job is not wanted any more. If it has tasks, it ends with [`RunError::Interrupted`].
    pub fn withdraw(&self) {
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::Withdraw(self.entry));
        }
    }
}

impl<J: JobBackend> Jobs<J> {
    pub(super) fn channel() -> (Self, mpsc::UnboundedReceiver<Command<J>>) {
        let (commands, received) = mpsc::unbounded_channel();
        let entries = Arc::default();
        (Self { commands, entries }, received)
    }

    fn tell(&self, command: Command<J>) {
        // If nobody listens, the driver has ended, and with it all of its jobs.
        let _ = self.commands.send(command);
    }

    /// Peers are answered from now on. Before, they wait: those that are at the tasks of a job of
    /// an earlier run must not hear that there is no such job, only because it has not come yet.
    pub fn listen(&self) {
        self.tell(Command::Listen);
    }

    /// What the driver knows of its peers. There is no answer if it has ended.
    pub fn overview(&self) -> oneshot::Receiver<Overview> {
        let (asker, hears) = oneshot::channel();
        self.tell(Command::Overview(asker));
        hears
    }

    /// A job is about to have tasks. No other one of the same name may be there.
    pub fn enter(&self, job: NewJob) -> Entered<J> {
        let entry = Entry {
            job: job.id,
            number: self.entries.fetch_add(1, Ordering::Relaxed),
        };
        let enough_for = Arc::<AtomicUsize>::default();
        let told = Arc::clone(&enough_for);
        self.tell(Command::Enter {
            job: Box::new(job),
            number: entry.number,
            enough_for: told,
        });
        Entered {
            jobs: self.clone(),
            entry,
            enough_for,
        }
    }
}

impl<J: JobBackend> Entered<J> {
    /// Tells provers where the files are: the job is being executed.
    pub fn announce(&self) {
        self.jobs.tell(Command::Announce(self.entry));
    }

    /// Whether so many tasks can be given out already: enough provers have the files
    /// ([`myriad_core::spreading::Spreading::enough_for`]).
    pub fn is_spread(&self, tasks: usize) -> bool {
        self.enough_for.load(Ordering::Relaxed) >= tasks
    }

    /// What takes the job away from another thread.
    pub fn withdrawal(&self) -> Withdrawal<J> {
        Withdrawal {
            commands: self.jobs.commands.downgrade(),
            entry: self.entry,
        }
    }

    /// The job has tasks. The result says how it has ended; there is none if the driver has ended
    /// before.
    pub fn open(&self, job: ServedJob, backend: J) -> oneshot::Receiver<Result<Ended<J>, RunError>> {
        let (ended, hears) = oneshot::channel();
        self.jobs.tell(Command::Open {
            entry: self.entry,
            job: Box::new(job),
            backend,
            ended,
        });
        hears
    }
}

impl<J: JobBackend> Drop for Entered<J> {
    fn drop(&mut self) {
        self.jobs.tell(Command::Withdraw(self.entry));
    }
}
