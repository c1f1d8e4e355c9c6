//! Proving a job with the machines of the network: [`run`] takes a program and an input to a
//! verified final proof, and does no proving itself.
//!
//! ```text
//!  Job ─▶ announce ─▶ plan (engine child) ─▶ Offer ─▶ Lease ─▶ Submit ─▶ fetch ─▶ verify ─▶ journal ─▶ final proof
//!            │             │                            ▲                           ▲
//!            │             └── true boundary of each segment (same child) ──────────┘
//!            └──▶ provers fetch program and input ──────┘
//! ```
//!
//! A job is announced when its files have names. While a child executes it, a [`Herald`] tells
//! provers where the files are, so that they have them when there are tasks.
//!
//! [`myriad_core::Requester`] decides which peer gets which task. Nothing is believed: a proof is
//! fetched, a confined child verifies its STARK, and its boundary is compared with the one that
//! this machine found when it executed the program on the job's input itself. So a valid proof of
//! another input, another segment or another program is refused at once, and only its sender is to
//! blame.

mod backend;
mod driver;
mod engine_backend;
mod herald;
mod own_worker;
mod refusals;
mod spreading;

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::Arc,
};

use myriad_core::{Blob, JobId, JobSpec, Peer, Policy, TaskId};
use myriad_engine::FinalForm;
use myriad_net::{
    Event as NetEvent, Network,
    blob::BlobRef,
    wire::{Announcement, Extent, PROTOCOL_VERSION},
};
use tokio::sync::mpsc::UnboundedReceiver;

pub use backend::{Attempt, Ended, JobBackend, PeerBackend};
pub use driver::Driver;
use engine_backend::{EngineBackend, Truth};
pub use herald::{Heard, Herald};
use own_worker::OwnWorker;

use crate::{
    Job, LimitedWorker, Observer, Options, Outcome, RunError,
    job::{Hands, Opened, Prepared, one_machine, prepare, start_child},
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
    pub openvm_toml: Option<BlobRef>,
    pub input: BlobRef,
    /// The engine that the job's proofs are made with; see [`myriad_engine::Fingerprint`].
    pub engine: [u8; 32],
}

impl Files {
    fn all(&self) -> impl Iterator<Item = BlobRef> + '_ {
        [Some(self.program), self.openvm_toml, Some(self.input)]
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
    /// Instructions of the whole execution.
    pub instructions: u64,
    pub spec: JobSpec,
    /// The proofs that an earlier run has left.
    pub done: HashMap<TaskId, BlobRef>,
    /// The news that came while the job was being planned.
    pub heard: Heard,
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
    let (program, openvm_toml, input) = recorder.files();
    let files = Files {
        program,
        openvm_toml,
        input,
        engine: *opened.program().config().fingerprint().as_bytes(),
    };
    let _pinned: Vec<_> = files.all().map(|file| blobs.pin(&file.blob)).collect();
    let peers = Peers::of(&options.data_dir);
    // With a plan on the disk, there is nothing to wait for, and perhaps nothing to do.
    let is_planned = opened.store().planned()?.is_some();
    let herald = (!is_planned).then(|| announce(&opened, &files, &peers, &mut joined, runtime));
    let owns = !joined.own.is_empty();
    let planned = prepare(opened, job, options, hands, recorder)
        .and_then(|planned| Ready::new(planned, job, options, owns));
    let has_tasks = matches!(planned, Ok(Ready::Open { .. }));
    let heard = runtime.block_on(heard(herald, has_tasks, &mut joined.events));
    let (prepared, leased, truth) = match planned? {
        Ready::Done(prepared) => return prepared.conclude(job, options, &[], recorder),
        Ready::Open {
            prepared,
            leased,
            truth,
        } => (*prepared, leased, truth),
    };

    let policy = if owns { one_machine() } else { Policy::default() };
    let mut spec = prepared.spec(options, leased);
    // It takes no proving, so asking a prover would only take longer.
    spec.own_final = options.final_form == FinalForm::Fast;
    let done = prepared
        .done
        .iter()
        .map(|(&task, entry)| (task, entry.proof))
        .collect();
    let own_worker = OwnWorker::new(Arc::clone(&prepared.program));
    let instructions = prepared.plan.instructions;
    let (backend, truth) = EngineBackend::new(prepared, truth, own_worker);
    let served = ServedJob {
        files,
        instructions,
        spec,
        done,
        heard,
    };
    let ended = runtime.block_on(async {
        tokio::task::spawn_blocking(truth);
        Driver::new(joined, served, backend, peers, policy, recorder)
            .run()
            .await
    })?;
    ended
        .backend
        .into_prepared()
        .conclude(job, options, &ended.usages, recorder)
}

/// A job whose plan is known. Everything that can fail before the driver runs has been done, so
/// that no job stays announced without somebody to serve it.
enum Ready {
    /// An earlier run has left the final proof.
    Done(Box<Prepared>),
    /// There are tasks to give out.
    Open {
        prepared: Box<Prepared>,
        /// The leases of an earlier run that may still be worked at.
        leased: Vec<Held>,
        truth: Truth,
    },
}

impl Ready {
    /// `owns` says that the provers are this machine's own.
    fn new(
        (mut prepared, planner): (Prepared, Option<LimitedWorker>),
        job: &Job,
        options: &Options,
        owns: bool,
    ) -> Result<Self, RunError> {
        if prepared.done.contains_key(&TaskId::Final) {
            return Ok(Self::Done(Box::new(prepared)));
        }
        let mut leased = std::mem::take(&mut prepared.leased);
        if owns {
            // The leases of an earlier run ended with it.
            prepared.store.note_leases(&[], &leased)?;
            leased.clear();
        }
        let truth = match prepared.store.truth()? {
            Some(truth) if truth.len() == prepared.plan.segments.len() => Truth::Known(truth),
            _ => Truth::Unknown(planner.map_or_else(|| start_child(job, options), Ok)?),
        };
        Ok(Self::Open {
            prepared: Box::new(prepared),
            leased,
            truth,
        })
    }
}

/// Announces a job that is about to be executed.
fn announce(
    opened: &Opened,
    files: &Files,
    peers: &Peers,
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
