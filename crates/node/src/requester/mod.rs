//! Proving a job with the machines of the network: [`run`] takes a program and an input to a
//! verified final proof, and does no proving itself.
//!
//! ```text
//!  Job ─▶ announce ─▶ plan (engine child) ─▶ Offer ─▶ Lease ─▶ Submit ─▶ fetch ─▶ verify ─▶ journal ─▶ final proof
//!            │             │                            ▲                           ▲
//!            │             └── true boundary of each segment ───────────────────────┘
//!            └──▶ provers fetch program and input ──────┘
//! ```
//!
//! A job is announced when its files have names. While a child executes it, a [`Herald`] tells
//! provers where the files are, so that they have them when there are tasks. When the job shows to
//! be large and enough provers have the files, its driver takes over, and gives segments out as
//! they are cut ([`Growth`]). A second child finds the true boundaries of those meanwhile.
//!
//! [`myriad_core::Requester`] decides which peer gets which task. Nothing is believed: a proof is
//! fetched, a confined child verifies its STARK, and its boundary is compared with the one that
//! this machine found when it executed the program on the job's input itself. So a valid proof of
//! another input, another segment or another program is refused at once, and only its sender is to
//! blame.

mod backend;
mod beginning;
mod driver;
mod engine_backend;
mod herald;
mod knowledge;
mod own_worker;
mod refusals;
mod spreading;

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    thread,
};

use myriad_core::{Blob, Cost, EngineId, JobId, JobSpec, Peer, Policy, TaskId, Tree};
use myriad_net::{
    Event as NetEvent, Network,
    blob::BlobRef,
    wire::{Announcement, Extent, PROTOCOL_VERSION},
};
use tokio::sync::mpsc::UnboundedReceiver;

pub use backend::{Attempt, Ended, JobBackend, PeerBackend};
use beginning::{Beginning, Begun, Children};
pub use driver::Driver;
pub use herald::{Heard, Herald};

use crate::{
    Event, Job, Observer, Options, Outcome, RunError,
    job::{Hands, Opened, one_machine},
    peers::Peers,
    records::Recorder,
    store::Held,
};

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
    pub files: Files,
    /// Instructions of the execution, as far as it is cut.
    pub instructions: u64,
    pub spec: JobSpec,
    /// The proofs that an earlier run has left.
    pub done: HashMap<TaskId, BlobRef>,
    /// More of the plan, if that of `spec` grows.
    pub growth: Option<UnboundedReceiver<Growth>>,
    /// The news that came while the job was being planned.
    pub heard: Heard,
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
    job: &Job,
    options: &Options,
    mut joined: Joined,
    runtime: &tokio::runtime::Handle,
    observer: &mut dyn Observer,
) -> Result<Outcome, RunError> {
    let provers = joined.provers_expected.max(1);
    let hands = Hands {
        children: provers,
        threads: joined.threads_expected.max(1),
        cores: provers * joined.threads_expected.max(1),
    };
    let blobs = joined.network.blobs().clone();
    let opened = Opened::new(job, options, blobs.clone())?;
    let recorder = &mut Recorder::begin(opened.id, job, options, &blobs, observer)?;
    let (program, program_config, input) = recorder.files();
    let files = Files {
        program,
        program_config,
        input,
        engine: EngineId {
            name: options.worker.engine.id.name,
            fingerprint: opened.loaded().engine,
        },
    };
    let _pinned: Vec<_> = files.all().map(|file| blobs.pin(&file.blob)).collect();
    let peers = Peers::of(&options.data_dir);
    // With a plan on the disk, there is nothing to wait for, and perhaps nothing to do.
    let is_planned = opened.has_plan(options)?;
    let owns = !joined.own.is_empty();
    // Those of this machine's own provers ended with it.
    let leased = if owns {
        Vec::new()
    } else {
        opened.half_leased(options)?
    };
    let herald = (!is_planned).then(|| announce(&opened, &files, &peers, leased, &mut joined, runtime));
    let children = Children::default();
    thread::scope(|scope| {
        let _stops = children.stop_at_last();
        let beginning = Beginning {
            job,
            options,
            hands,
            owns,
            children: &children,
        };
        // The provers of this machine have the files at once.
        let may_begin = |tasks| owns || herald.as_ref().is_some_and(|herald| herald.is_spread(tasks));
        let begun = beginning.begin(opened, scope, may_begin, recorder);
        let has_tasks = matches!(begun, Ok(Begun::Open(_)));
        let heard = runtime.block_on(heard(herald, has_tasks, &mut joined.events));
        let prepared_and_usages = match begun {
            Err(e) => Err(e),
            Ok(Begun::Done(prepared)) => Ok((*prepared, Vec::new())),
            Ok(Begun::Open(open)) => {
                let policy = if owns { one_machine() } else { Policy::default() };
                let (served, backend, truth) = open.served(files, heard);
                let ended = runtime.block_on(async {
                    if let Some(truth) = truth {
                        tokio::task::spawn_blocking(truth);
                    }
                    Driver::new(joined, served, backend, peers, policy, recorder)
                        .run()
                        .await
                });
                ended.map(|ended| (ended.backend.into_prepared(), ended.usages))
            }
        };
        // Whatever still plans or executes does so for nobody.
        children.stop();
        let (prepared, usages) = prepared_and_usages?;
        prepared.conclude(job, options, &usages, recorder)
    })
}

/// Announces a job that is about to be executed.
fn announce(
    opened: &Opened,
    files: &Files,
    peers: &Peers,
    leased: Vec<Held>,
    joined: &mut Joined,
    runtime: &tokio::runtime::Handle,
) -> Herald {
    let _entered = runtime.enter();
    let network = joined.network.clone();
    Herald::begin(
        network,
        &mut joined.events,
        opened.id,
        files.clone(),
        &peers.standings(),
        leased,
    )
}

/// The news that the herald has, if there was one. If the job has no tasks, the herald closes it.
async fn heard(herald: Option<Herald>, has_tasks: bool, events: &mut UnboundedReceiver<NetEvent>) -> Heard {
    match herald {
        Some(herald) if has_tasks => herald.end(events).await,
        Some(herald) => {
            herald.withdraw().await;
            Heard::default()
        }
        None => Heard::default(),
    }
}
