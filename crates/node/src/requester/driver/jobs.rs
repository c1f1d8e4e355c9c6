//! The other end of the driver: jobs come to it and are taken away while it runs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use myriad_core::{JobId, Peer, TaskId};
use tokio::sync::{
    mpsc::{self, UnboundedSender},
    oneshot,
};

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

/// What the driver is told.
pub(super) enum Command<J: JobBackend> {
    Enter {
        job: Box<NewJob>,
        enough_for: Arc<AtomicUsize>,
    },
    Listen,
    Announce(JobId),
    Open {
        job: Box<ServedJob>,
        backend: J,
        ended: oneshot::Sender<Result<Ended<J>, RunError>>,
    },
    Withdraw(JobId),
}

/// Gives a driver its jobs. The driver ends when all clones of this are gone, and all jobs with it.
pub struct Jobs<J: JobBackend> {
    commands: UnboundedSender<Command<J>>,
}

impl<J: JobBackend> Clone for Jobs<J> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
        }
    }
}

/// A job that the driver knows and that has no tasks yet. It is withdrawn if this is dropped.
pub struct Entered<J: JobBackend> {
    jobs: Jobs<J>,
    id: JobId,
    enough_for: Arc<AtomicUsize>,
    is_open: bool,
}

impl<J: JobBackend> Jobs<J> {
    pub(super) fn channel() -> (Self, mpsc::UnboundedReceiver<Command<J>>) {
        let (commands, received) = mpsc::unbounded_channel();
        (Self { commands }, received)
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

    /// A job is about to have tasks. No other one of the same name may be there.
    pub fn enter(&self, job: NewJob) -> Entered<J> {
        let (id, enough_for) = (job.id, Arc::<AtomicUsize>::default());
        let told = Arc::clone(&enough_for);
        self.tell(Command::Enter {
            job: Box::new(job),
            enough_for: told,
        });
        Entered {
            jobs: self.clone(),
            id,
            enough_for,
            is_open: false,
        }
    }

    /// A job is not wanted any more. If it has tasks, it ends with [`RunError::Interrupted`].
    pub fn withdraw(&self, job: JobId) {
        self.tell(Command::Withdraw(job));
    }
}

impl<J: JobBackend> Entered<J> {
    /// Tells provers where the files are: the job is being executed.
    pub fn announce(&self) {
        self.jobs.tell(Command::Announce(self.id));
    }

    /// Whether so many tasks can be given out already: enough provers have the files
    /// ([`myriad_core::spreading::Spreading::enough_for`]).
    pub fn is_spread(&self, tasks: usize) -> bool {
        self.enough_for.load(Ordering::Relaxed) >= tasks
    }

    /// The job has tasks. The result says how it has ended; there is none if the driver has ended
    /// before.
    pub fn open(mut self, job: ServedJob, backend: J) -> oneshot::Receiver<Result<Ended<J>, RunError>> {
        self.is_open = true;
        let (ended, hears) = oneshot::channel();
        self.jobs.tell(Command::Open {
            job: Box::new(job),
            backend,
            ended,
        });
        hears
    }
}

impl<J: JobBackend> Drop for Entered<J> {
    fn drop(&mut self) {
        if !self.is_open {
            self.jobs.withdraw(self.id);
        }
    }
}
