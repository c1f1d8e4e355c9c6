//! Proving jobs with the machines of the network: takes programs and inputs to verified final
//! proofs, and does no proving itself.
//!
//! ```text
//!  Job ─▶ announce ─▶ plan (engine child) ─▶ Offer ─▶ Lease ─▶ Submit ─▶ fetch ─▶ verify ─▶ journal ─▶ final proof
//!            │             │                            ▲                           ▲
//!            │             └── true boundary of each segment ───────────────────────┘
//!            └──▶ provers fetch program and input ──────┘
//! ```
//!
//! A job is announced when its files have names. While a child executes it, the driver tells
//! provers where the files are, so that they have them when there are tasks. When the job turns out
//! to be large and enough provers have the files, it is opened, and segments are given out as they
//! are cut ([`Growth`]). A second child finds the true boundaries of those meanwhile.
//!
//! A [`Service`] does so for several jobs at once: a thread for each job brings it to its tasks and
//! concludes it, and one [`Driver`] serves all of them to the peers. [`run`] is a service with one
//! job.
//!
//! [`myriad_core::Requester`] decides which peer gets which task. Nothing is believed: a proof is
//! fetched, a confined child verifies its STARK, and its boundary is compared with the one that
//! this machine found when it executed the program on the job's input itself. So a valid proof of
//! another input, another segment or another program is refused at once, and only its sender is to
//! blame.

mod backend;
mod beginning;
mod children;
mod driver;
mod engine_backend;
mod knowledge;
mod own_worker;
mod queue;
mod refusals;
mod service;
mod spreading;

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::{Arc, mpsc},
    time::Instant,
};

use myriad_core::{Blob, Cost, EngineId, JobId, JobSpec, Peer, TaskId, Tree};
use myriad_net::{
    Event as NetEvent, Network,
    blob::BlobRef,
    wire::{Announcement, Extent, PROTOCOL_VERSION},
};
use tokio::sync::mpsc::UnboundedReceiver;

pub use backend::{Attempt, Ended, JobBackend, PeerBackend};
pub use driver::{Driver, Entered, Jobs, NewJob, OVERVIEW_MAX, Overview, PeerRegard, PeerView, Withdrawal};
pub use queue::{JOBS_MAX, Limits};
pub use service::{Canceller, JobHandle, Refused, Service, Submission};

use crate::{Event, Job, Observer, Options, Outcome, RunError};

/// The network, and what to expect of it.
pub struct Joined {
    pub network: Network,
    pub events: UnboundedReceiver<NetEvent>,
    /// Provers on the requester's own machines. A task that fails there fails because of the job.
    pub own: BTreeSet<Peer>,
    /// The number of provers for which the tree is chosen.
    pub provers_expected: usize,
    /// Threads and cores that each of them has.
    pub threads_expected: usize,
    /// Completes when the user does not want to wait any longer. The provers are told, and accepted
    /// proofs stay.
    pub stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The files of a job, as provers fetch them.
#[derive(Clone, Debug)]
pub struct Files {
    pub program: BlobRef,
    pub program_config: Option<BlobRef>,
    pub input: BlobRef,
    /// The engine that the job's proofs are made with, and the fingerprint of the program's own
    /// configuration.
    pub engine: EngineId,
}

impl Files {
    fn all(&self) -> impl Iterator<Item = BlobRef> + '_ {
        [Some(self.program), self.program_config, Some(self.input)]
            .into_iter()
            .flatten()
    }

    fn has(&self, blob: Blob) -> bool {
        self.all().any(|file| file.blob == blob)
    }

    /// The announcement of the job; `extent` is not known before it is planned.
    fn announcement(
        &self,
        network: &Network,
        job: JobId,
        extent: Option<Extent>,
        open: bool,
    ) -> Announcement {
        Announcement {
            version: PROTOCOL_VERSION,
            job,
            requester: network.peer(),
            // These two are filled in when it is sent.
            sequence: 0,
            record: Vec::new(),
            open,
            engine: self.engine,
            extent,
            bytes: self.all().map(|file| file.bytes).sum(),
        }
    }
}

/// A job as the driver serves it.
pub struct ServedJob {
    /// Instructions of the execution, as far as it is cut.
    pub instructions: u64,
    /// Its deadline is that of `due`.
    pub spec: JobSpec,
    /// When it should be done.
    pub due: Option<Instant>,
    /// The proofs that an earlier run has left.
    pub done: HashMap<TaskId, BlobRef>,
    /// More of the plan, if that of `spec` grows.
    pub growth: Option<UnboundedReceiver<Growth>>,
}

/// More of a plan that is being made while its first segments are given out. Each comes with the
/// event to be shown, and with the instructions of the execution as far as it is cut.
#[derive(Debug)]
pub enum Growth {
    /// Further segments.
    Cut {
        costs: Vec<Cost>,
        /// The proofs of them that an earlier run has left.
        done: Vec<(TaskId, BlobRef)>,
        instructions: u64,
        event: Event,
    },
    /// The plan is there: its tree, and the tasks beyond those that came before.
    Settled {
        tree: Tree,
        costs: Vec<Cost>,
        done: Vec<(TaskId, BlobRef)>,
        instructions: u64,
        event: Event,
    },
    /// There will be no plan.
    Failed(RunError),
}

/// Proves `job` with the provers of the network.
///
/// Tasks that an earlier run of the same job has done are not done again. Blocks the thread;
/// `runtime` is the one that the network runs in.
///
/// # Errors
/// See [`RunError`]. Accepted proofs stay in the store whatever happens.
pub fn run(
    job: Arc<Job>,
    options: Options,
    joined: Joined,
    runtime: &tokio::runtime::Handle,
    observer: &mut dyn Observer,
) -> Result<Outcome, RunError> {
    let service = Service::start(joined, &options.data_dir, Limits::default(), runtime);
    let (tell, events) = mpsc::channel();
    let tell = move |event: &Event| {
        // A caller that stops listening still waits for the outcome.
        let _ = tell.send(event.clone());
    };
    let submission = Submission {
        job,
        options,
        observer: Box::new(tell),
    };
    let mut handles = service
        .submit(vec![submission])
        .expect("a service without jobs has room for one");
    let handle = handles.remove(0);
    for event in events {
        observer.event(&event);
    }
    let outcome = runtime.block_on(handle.outcome());
    runtime.block_on(service.stop());
    outcome
}
