//! Requesters and provers on loopback, with an engine that only takes its time.
//!
//! It stands for the prover's engine child and the requester's verifier, and for nothing else. All
//! code between them is the real one.

mod ledger;
mod pretence;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use myriad_core::{Arities, Cost, JobId, JobSpec, Peer, Policy, Redundancy, TaskId, Tree};
use myriad_engine::MemoryBudget;
use myriad_net::{
    Address, Config, Event as NetEvent, Identity, Limits as NetLimits, Network, Traffic,
    blob::BlobStore,
    wire::{Announcement, Extent, PROTOCOL_VERSION, Role},
};
use myriad_node::{
    Event, RunError,
    prover::{self, Limits, Status, StatusFile},
    requester::{Driver, Files, Growth, Jobs, NewJob, ServedJob, Withdrawal},
};
use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot, watch},
    task::JoinHandle,
};

use ledger::Debts;
pub use ledger::{Journal, Kept, Ledger, Owed, SEGMENT_INSTRUCTIONS};
pub use pretence::{Fault, PROOF_BYTES, Pretender, engine, node_proof, segment_proof};

pub const MEMORY: u64 = 4 << 30;
pub const PROGRAM_BYTES: usize = 500_000;
pub const INPUT_BYTES: usize = 300_000;

/// A node that listens on loopback alone.
pub fn start(dir: &Path, role: Role, bootstrap: &[String]) -> (Network, UnboundedReceiver<NetEvent>) {
    start_with_clock(dir, role, bootstrap, || None)
}

/// [`start`] on a machine that says that it was started so long ago.
pub fn start_with_clock(
    dir: &Path,
    role: Role,
    bootstrap: &[String],
    clock: impl Fn() -> Option<Duration> + Send + 'static,
) -> (Network, UnboundedReceiver<NetEvent>) {
    Network::start_with_clock(config(dir, role, bootstrap, 1 << 30), clock).unwrap()
}

/// [`start`] with so much room for blobs.
pub fn start_with_quota(
    dir: &Path,
    role: Role,
    bootstrap: &[String],
    quota_bytes: u64,
) -> (Network, UnboundedReceiver<NetEvent>) {
    Network::start(config(dir, role, bootstrap, quota_bytes)).unwrap()
}

fn config(dir: &Path, role: Role, bootstrap: &[String], quota_bytes: u64) -> Config {
    Config {
        // The identity stays after another start in the same folder.
        identity: Identity::load_or_create(dir).unwrap(),
        role,
        build: "test".into(),
        engines: vec![engine()],
        listen: myriad_net::Listen::At(vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()]),
        external: Vec::new(),
        bootstrap: bootstrap
            .iter()
            .map(|text| text.parse::<Address>().unwrap())
            .collect(),
        mdns: false,
        blobs: BlobStore::open(&dir.join("blobs"), quota_bytes).unwrap(),
        limits: NetLimits::default(),
    }
}

pub async fn address(network: &Network) -> String {
    loop {
        if let Some(address) = network.listening().first() {
            return address.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The outcome of a requester's job.
pub struct Outcome {
    pub accepted: BTreeMap<TaskId, usize>,
    pub traffic: Traffic,
    pub events: Vec<Event>,
    pub result: Result<(), RunError>,
    pub took: Duration,
}

/// The settings of a requester's run.
pub struct Request {
    pub seed: u8,
    pub segments: u32,
    pub task: Duration,
    pub own: BTreeSet<Peer>,
    pub redundancy: Redundancy,
    pub leases: Journal,
    pub owed: Owed,
    /// Whether the requester makes the final proof itself.
    pub own_final: bool,
    /// Is done when the user does not want to wait any longer.
    pub stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Is done when the job is executed, and says whether there is a plan; if there is none, the
    /// job is planned from the start.
    pub execution: Option<Execution>,
    /// How the plan comes; none if it is there from the start.
    pub growth: Option<Grows>,
    pub priority: i32,
    pub due: Option<Instant>,
    /// The job whose program and input it has, if it is not that of its own seed.
    pub files_of: Option<u8>,
    /// The accepted proofs of its journal.
    pub kept: Kept,
}

/// A plan that comes while its segments are given out.
pub struct Grows {
    /// Segments that are known from the start.
    pub first: u32,
    pub growth: UnboundedReceiver<Growth>,
    /// The number of segments whose truth is known so far.
    pub truth: watch::Receiver<u32>,
}

/// What each task of such a job costs.
pub fn costs(count: usize, work: Duration) -> Vec<Cost> {
    let cost = Cost {
        work,
        memory: 1 << 30,
    };
    vec![cost; count]
}

/// Is done when a job is executed, and says whether there is a plan.
pub type Execution = Pin<Box<dyn Future<Output = bool>>>;

/// The program and the input of a job.
pub fn files(seed: u8) -> (Vec<u8>, Vec<u8>) {
    (vec![seed; PROGRAM_BYTES], vec![seed ^ 0xff; INPUT_BYTES])
}

/// A requester's announcement of a small job.
pub fn announcement(network: &Network, job: JobId) -> Announcement {
    Announcement {
        version: PROTOCOL_VERSION,
        job,
        requester: network.peer(),
        sequence: 1,
        open: true,
        engine: engine(),
        extent: Some(Extent {
            instructions: 1000,
            memory_min: 1 << 30,
        }),
        bytes: 1000,
        record: Vec::new(),
    }
}

pub const ARITIES: Arities = Arities {
    leaf: 4,
    internal_for_leaf: 3,
    internal_recursive: 3,
};

pub fn tree(segments: u32) -> Tree {
    Tree::new(segments, ARITIES)
}

/// Runs a job on a network that was started. Not `Send`, like an execution.
pub async fn request(network: Network, events: UnboundedReceiver<NetEvent>, mut request: Request) -> Outcome {
    let start = Instant::now();
    let stop = std::mem::replace(&mut request.stop, Box::pin(std::future::pending()));
    let (driver, jobs) = driver(&network, events, &request);
    let mut job = AJob::new(&network, request);
    let ends = async {
        let result = job.run(&jobs).await;
        // The driver ends with the last of these.
        drop(jobs);
        result
    };
    let (result, _) = tokio::join!(ends, driver.run(stop));
    Outcome {
        accepted: job.accepted(),
        traffic: network.traffic(),
        events: job.seen().into_iter().map(|(_, event)| event).collect(),
        result,
        took: start.elapsed(),
    }
}

/// A driver without jobs, with the settings of this request.
pub fn driver(
    network: &Network,
    events: UnboundedReceiver<NetEvent>,
    request: &Request,
) -> (Driver<Ledger>, Jobs<Ledger>) {
    let policy = Policy {
        redundancy: request.redundancy,
        // A task that is given out once is not taken over, either.
        look_ahead: request.redundancy != Redundancy::Fixed(1),
        ..Policy::default()
    };
    let debts = Debts(request.owed.clone());
    Driver::new(network.clone(), events, request.own.clone(), debts, policy)
}

/// A job of a requester, which may have others.
pub struct AJob {
    id: JobId,
    files: Files,
    request: Request,
    ledger: Option<Ledger>,
    growth: Option<UnboundedReceiver<Growth>>,
    tree: Tree,
    leased: Vec<(TaskId, Peer)>,
    accepted: Arc<Mutex<BTreeMap<TaskId, usize>>>,
    seen: Arc<Mutex<Vec<(Instant, Event)>>>,
    entered: Entered,
}

/// What takes a job away, once the driver knows it.
pub type Entered = Arc<OnceLock<Withdrawal<Ledger>>>;

impl AJob {
    pub fn new(network: &Network, mut request: Request) -> Self {
        let id = JobId([request.seed; 32]);
        let tree = tree(request.segments);
        let leased: Vec<_> = request.leases.lock().unwrap().iter().copied().collect();
        let ledger = Ledger::new(id, &tree, Arc::clone(&request.leases), Arc::clone(&request.kept));
        let (tree, growth, ledger) = match request.growth.take() {
            Some(Grows { first, growth, truth }) => {
                (Tree::growing(first), Some(growth), ledger.with_truth(truth))
            }
            None => (tree, None, ledger),
        };
        let blobs = network.blobs();
        let (program, input) = self::files(request.files_of.unwrap_or(request.seed));
        let files = Files {
            program: blobs.put(&program).unwrap(),
            program_config: None,
            input: blobs.put(&input).unwrap(),
            engine: engine(),
        };
        Self {
            id,
            files,
            accepted: Arc::clone(&ledger.accepted),
            seen: Arc::default(),
            entered: Entered::default(),
            ledger: Some(ledger),
            growth,
            tree,
            leased,
            request,
        }
    }

    /// How often each task was accepted.
    pub fn accepted(&self) -> BTreeMap<TaskId, usize> {
        self.accepted.lock().unwrap().clone()
    }

    /// What its user was told, and when.
    pub fn seen(&self) -> Vec<(Instant, Event)> {
        self.seen.lock().unwrap().clone()
    }

    pub fn entered(&self) -> Entered {
        Arc::clone(&self.entered)
    }

    /// Has the driver do it, and says how it has ended.
    pub async fn run(&mut self, jobs: &Jobs<Ledger>) -> Result<(), RunError> {
        let seen = Arc::clone(&self.seen);
        let observer = move |event: &Event| {
            if !matches!(event, Event::Traffic { .. }) {
                seen.lock().unwrap().push((Instant::now(), event.clone()));
            }
        };
        let entered = jobs.enter(NewJob {
            id: self.id,
            files: self.files.clone(),
            leased: self.leased.clone(),
            observer: Box::new(observer),
        });
        let _ = self.entered.set(entered.withdrawal());
        jobs.listen();
        if let Some(execution) = self.request.execution.take() {
            entered.announce();
            if !execution.await {
                return Err(RunError::Interrupted);
            }
        }
        let request = &self.request;
        let done = request.kept.lock().unwrap().clone();
        let served = ServedJob {
            instructions: 1000,
            spec: JobSpec {
                priority: request.priority,
                done: done.iter().map(|(&task, proof)| (task, proof.blob)).collect(),
                ..spec(
                    self.id,
                    self.tree.clone(),
                    request.task,
                    request.own_final,
                    self.leased.clone(),
                )
            },
            due: request.due,
            done,
            growth: self.growth.take(),
        };
        let ended = entered
            .open(served, self.ledger.take().expect("it runs once"))
            .await;
        ended.unwrap_or(Err(RunError::Interrupted)).map(drop)
    }
}

/// A job whose tasks are all alike.
fn spec(job: JobId, tree: Tree, work: Duration, own_final: bool, leased: Vec<(TaskId, Peer)>) -> JobSpec {
    JobSpec {
        id: job,
        costs: costs(tree.task_count(), work),
        tree,
        priority: 0,
        deadline: None,
        own_final,
        leased,
        done: Vec::new(),
    }
}

/// A prover that runs beside the test.
pub struct Prover {
    pub network: Network,
    pub started: Arc<AtomicUsize>,
    pub status: Arc<Mutex<Status>>,
    stop: Option<oneshot::Sender<()>>,
    engine_stopped: Arc<AtomicBool>,
    stops: Arc<AtomicUsize>,
    task: JoinHandle<()>,
    dir: tempfile::TempDir,
}

impl Prover {
    pub fn start(bootstrap: &[String], engine: Pretender) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), bootstrap, engine)
    }

    /// Starts in the folder of an earlier prover, with all that it has left there.
    pub fn start_in(dir: tempfile::TempDir, bootstrap: &[String], engine: Pretender) -> Self {
        let joined = start(dir.path(), Role::Prover, bootstrap);
        Self::run(dir, joined, engine)
    }

    /// Runs a prover on a network that was started.
    pub fn run(
        dir: tempfile::TempDir,
        (network, events): (Network, UnboundedReceiver<NetEvent>),
        engine: Pretender,
    ) -> Self {
        let status: Arc<Mutex<Status>> = Arc::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let started = Arc::clone(&engine.started);
        let engine_stopped = Arc::clone(&engine.stopped);
        let stops = Arc::clone(&engine.stops);
        let limits = Limits {
            memory: MemoryBudget::from_bytes(MEMORY),
            threads: 1,
            max_instructions: 1_000_000,
            max_input_bytes: 1 << 20,
            only: BTreeSet::new(),
            never: BTreeSet::new(),
            prefer: BTreeSet::new(),
        };
        let task = tokio::spawn({
            let (network, status, dir) = (network.clone(), Arc::clone(&status), dir.path().to_owned());
            async move {
                let file = StatusFile::open(&dir).unwrap();
                let observe = |now: &Status| *status.lock().unwrap() = now.clone();
                let stop = async {
                    // Dropped without a word, the prover goes on.
                    if stopped.await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                prover::run(network, events, engine, limits, &file, observe, stop)
                    .await
                    .unwrap();
            }
        });
        Self {
            network,
            started,
            status,
            stop: Some(stop),
            engine_stopped,
            stops,
            task,
            dir,
        }
    }

    pub fn peer(&self) -> Peer {
        self.network.peer()
    }

    pub fn begun(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    /// Whether the engine was ever stopped in the middle of a task.
    pub fn was_stopped(&self) -> bool {
        self.stops.load(Ordering::SeqCst) > 0
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// As Ctrl-C does.
    pub async fn stop(self) {
        self.stop_and_keep().await;
    }

    /// Gives its folder, for another one.
    pub async fn stop_and_keep(mut self) -> tempfile::TempDir {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap();
        self.dir
    }

    /// As `kill -9` does: nobody is told, and the connection just breaks.
    pub fn kill(self) {
        self.network.close();
        self.task.abort();
        self.engine_stopped.store(true, Ordering::SeqCst);
    }
}
