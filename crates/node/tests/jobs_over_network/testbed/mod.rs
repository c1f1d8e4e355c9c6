//! Requesters and provers on loopback, with an engine that only takes its time.
//!
//! It stands for the prover's engine child and the requester's verifier, and for nothing else. All
//! code between them is the real one.

mod ledger;
mod pretence;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
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
    requester::{Driver, Files, Growth, Heard, Herald, Joined, ServedJob},
};
use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot, watch},
    task::JoinHandle,
};

use ledger::{Debts, Ledger};
pub use ledger::{Journal, Owed, SEGMENT_INSTRUCTIONS};
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
}

/// A plan that comes while its segments are given out.
pub struct Grows {
    /// Segments that are known from the start.
    pub first: u32,
    pub growth: UnboundedReceiver<Growth>,
    /// Of so many segments it is known what is true.
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

pub fn tree(segments: u32) -> Tree {
    let arities = Arities {
        leaf: 4,
        internal_for_leaf: 3,
        internal_recursive: 3,
    };
    Tree::new(segments, arities)
}

/// Runs a job on a network that was started. Not `Send`, like the observer of a terminal.
pub async fn request(network: Network, mut events: UnboundedReceiver<NetEvent>, request: Request) -> Outcome {
    let job = JobId([request.seed; 32]);
    let tree = tree(request.segments);
    let leased: Vec<_> = request.leases.lock().unwrap().iter().copied().collect();
    let ledger = Ledger::new(job, &tree, request.leases);
    let (tree, growth, ledger) = match request.growth {
        Some(Grows { first, growth, truth }) => {
            (Tree::growing(first), Some(growth), ledger.with_truth(truth))
        }
        None => (tree, None, ledger),
    };
    let accepted = Arc::clone(&ledger.accepted);
    let blobs = network.blobs();
    let (program, input) = self::files(request.seed);
    let files = Files {
        program: blobs.put(&program).unwrap(),
        program_config: None,
        input: blobs.put(&input).unwrap(),
        engine: engine(),
    };
    let start = Instant::now();
    let Some(heard) = heard(request.execution, &network, &mut events, job, &files, &leased).await else {
        return Outcome {
            accepted: BTreeMap::new(),
            traffic: network.traffic(),
            events: Vec::new(),
            result: Err(RunError::Interrupted),
            took: start.elapsed(),
        };
    };
    let spec = spec(job, tree, request.task, request.own_final, leased);
    let joined = Joined {
        network: network.clone(),
        events,
        own: request.own,
        provers_expected: 1,
        threads_expected: 1,
        stop: request.stop,
    };
    let mut seen = Vec::new();
    let mut observer = |event: &Event| {
        if !matches!(event, Event::Traffic { .. }) {
            seen.push(event.clone());
        }
    };
    let policy = Policy {
        redundancy: request.redundancy,
        // A task that is given out once is not taken over, either.
        look_ahead: request.redundancy != Redundancy::Fixed(1),
        ..Policy::default()
    };
    let served = ServedJob {
        files,
        instructions: 1000,
        spec,
        done: HashMap::new(),
        growth,
        heard,
    };
    let driver = Driver::new(joined, served, ledger, Debts(request.owed), policy, &mut observer);
    let result = driver.run().await.map(drop);
    let accepted = accepted.lock().unwrap().clone();
    Outcome {
        accepted,
        traffic: network.traffic(),
        events: seen,
        result,
        took: start.elapsed(),
    }
}

/// The peers' news while the job is executed; none if there is no plan then.
async fn heard(
    execution: Option<Execution>,
    network: &Network,
    events: &mut UnboundedReceiver<NetEvent>,
    job: JobId,
    files: &Files,
    leased: &[(TaskId, Peer)],
) -> Option<Heard> {
    let Some(execution) = execution else {
        return Some(Heard::default());
    };
    let herald = Herald::begin(
        network.clone(),
        events,
        job,
        files.clone(),
        &[],
        leased.iter().copied(),
    );
    if execution.await {
        return Some(herald.end(events).await);
    }
    herald.withdraw().await;
    None
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
