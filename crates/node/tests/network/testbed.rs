//! Requesters and provers on loopback, with an engine that only takes its time.
//!
//! It stands for the prover's engine child and the requester's verifier, and for nothing else: what is
//! between them is what runs in earnest.

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

use myriad_core::{
    Arities, Blob, Cost, JobId, JobSpec, NodeId, Peer, Policy, Redundancy, Standing, TaskId, Tree,
};
use myriad_engine::{MemoryBudget, worker::Usage};
use myriad_net::{
    Address, Config, Event as NetEvent, Identity, Limits as NetLimits, Network, SignedReceipt, Traffic,
    blob::{BlobRef, BlobStore},
    wire::{Announcement, PROTOCOL_VERSION, Role},
};
use myriad_node::{
    Event, Objection, RunError, StoreError, engine_fingerprint,
    prover::{self, Calibration, Engine, EngineError, JobFiles, Limits, Piece, Sample, Status, StatusFile},
    requester::{Attempt, Driver, Files, JobBackend, Joined, PeerBackend, ServedJob},
};
use tokio::{sync::mpsc::UnboundedReceiver, sync::oneshot, task::JoinHandle};

pub const MEMORY: u64 = 4 << 30;
/// Instructions of each pretended segment.
pub const SEGMENT_INSTRUCTIONS: u64 = 1000;
/// Bytes of each pretended proof.
pub const PROOF_BYTES: usize = 100_000;

/// The one right proof of a task: what it covers, hashed, and drawn out to a real proof's length.
fn pretend(parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut proof = vec![0; PROOF_BYTES];
    hasher.finalize_xof().fill(&mut proof);
    proof
}

pub fn segment_proof(description: &[u8]) -> Vec<u8> {
    pretend(&[b"segment", description])
}

fn node_proof(level: u8, children: &[Vec<u8>]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = vec![b"node"];
    let level = [level];
    parts.push(&level);
    parts.extend(children.iter().map(Vec::as_slice));
    pretend(&parts)
}

/// A proof of a segment that passes every check, and that no node can be made over.
fn poison(description: &[u8]) -> Vec<u8> {
    let mut proof = pretend(&[b"poison", description]);
    proof[..POISON.len()].copy_from_slice(POISON);
    proof
}

const POISON: &[u8] = b"poison";

/// What a pretended engine does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Proofs of something else, the same from all.
    WrongProof,
    /// The right proof of another task: that of a leaf's first child, where there is one.
    AnothersProof,
    /// Of segments, such as pass every check and that no node can be made over.
    Poisons,
    /// It never comes to an end.
    Hangs,
    /// The first task does not, and the others do.
    HangsOnce,
    Fails,
    /// Its machine lacks something.
    Unable,
}

/// An engine that takes its time.
pub struct Pretender {
    pub delay: Duration,
    pub fault: Fault,
    /// How fast it says that it is.
    pub calibration: Calibration,
    stopped: Arc<AtomicBool>,
    pub started: Arc<AtomicUsize>,
    /// Tasks that were stopped.
    stops: Arc<AtomicUsize>,
}

impl Pretender {
    pub fn new(delay: Duration, fault: Fault) -> Self {
        Self {
            delay,
            fault,
            calibration: Calibration::unmeasured(1),
            stopped: Arc::default(),
            started: Arc::default(),
            stops: Arc::default(),
        }
    }
}

impl Engine for Pretender {
    fn work(&self, files: &JobFiles, piece: &Piece) -> Result<(Vec<u8>, Usage), EngineError> {
        self.stopped.store(false, Ordering::SeqCst);
        let first = self.started.fetch_add(1, Ordering::SeqCst) == 0;
        let hangs = self.fault == Fault::Hangs || (first && self.fault == Fault::HangsOnce);
        assert!(files.program.bytes > 0);
        let read = |blob: &BlobRef| files.blobs.get(*blob).unwrap().expect("it was fetched");
        let start = Instant::now();
        while start.elapsed() < self.delay || hangs {
            if self.stopped.load(Ordering::SeqCst) {
                self.stops.fetch_add(1, Ordering::SeqCst);
                return Err(EngineError::Stopped);
            }
            std::thread::sleep(Duration::from_millis(5).min(self.delay));
        }
        if let Piece::Aggregate { children, .. } = piece
            && children.iter().any(|child| read(child).starts_with(POISON))
        {
            return Err(EngineError::Failed(
                "what was made of the children is no proof".into(),
            ));
        }
        let proof = match (self.fault, piece) {
            (Fault::Poisons, Piece::Segment(description)) => poison(description),
            (Fault::Unable, _) => return Err(EngineError::Unable("its keys cannot be read".into())),
            (Fault::Fails, _) => return Err(EngineError::Failed("it does not work here".into())),
            (Fault::WrongProof, _) => vec![7; PROOF_BYTES],
            (Fault::AnothersProof, Piece::Aggregate { children, .. }) => read(&children[0]),
            (Fault::AnothersProof, Piece::Segment(description)) => {
                // Every segment but the first claims to be the first.
                let first = [&description[..32], &[0; 4]].concat();
                match description[32..] == [0; 4] {
                    true => vec![8; PROOF_BYTES],
                    false => segment_proof(&first),
                }
            }
            (_, Piece::Segment(description)) => segment_proof(description),
            (_, Piece::Aggregate { level, children }) => {
                let children: Vec<Vec<u8>> = children.iter().map(read).collect();
                node_proof(*level, &children)
            }
            (
                _,
                Piece::Finish {
                    top, last_segment, ..
                },
            ) => pretend(&[b"final", &read(top), &read(last_segment)]),
        };
        let usage = Usage {
            wall: start.elapsed(),
            ..Usage::default()
        };
        Ok((proof, usage))
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn sample(&self) -> Sample {
        Sample::default()
    }

    fn calibration(&self, _: usize) -> Calibration {
        self.calibration
    }
}

/// A requester's side of the same pretence.
struct Ledger {
    job: JobId,
    expected: HashMap<TaskId, [u8; 32]>,
    accepted: Arc<Mutex<BTreeMap<TaskId, usize>>>,
    leases: Journal,
}

type Held = (TaskId, Peer);
/// What of a requester's journal says who is at which task.
pub type Journal = Arc<Mutex<BTreeSet<Held>>>;
/// Receipts that could not be given.
pub type Owed = Arc<Mutex<Vec<SignedReceipt>>>;

impl Ledger {
    fn new(job: JobId, tree: &Tree, leases: Journal) -> Self {
        let mut proofs: HashMap<TaskId, Vec<u8>> = HashMap::new();
        let mut expected = HashMap::new();
        for task in tree.tasks() {
            let children: Vec<Vec<u8>> = tree.children(task).map(|child| proofs[&child].clone()).collect();
            let proof = match task {
                TaskId::Segment(index) => segment_proof(&description(job, index)),
                TaskId::Node(NodeId { level, .. }) => {
                    // Whose parents are made needs no proof any more.
                    tree.children(task)
                        .filter(|child| *child != TaskId::Segment(tree.segments() - 1))
                        .for_each(|child| drop(proofs.remove(&child)));
                    node_proof(level, &children)
                }
                TaskId::Final => {
                    let last = &proofs[&TaskId::Segment(tree.segments() - 1)];
                    pretend(&[b"final", &children[0], last])
                }
            };
            expected.insert(task, *blake3::hash(&proof).as_bytes());
            proofs.insert(task, proof);
        }
        Self {
            job,
            expected,
            accepted: Arc::default(),
            leases,
        }
    }
}

fn description(job: JobId, index: u32) -> Vec<u8> {
    [job.0.as_slice(), &index.to_le_bytes()].concat()
}

impl JobBackend for Ledger {
    type Finding = ();

    async fn ready(&self) -> Result<(), RunError> {
        Ok(())
    }

    fn instructions(&self, task: TaskId) -> u64 {
        u64::from(matches!(task, TaskId::Segment(_))) * SEGMENT_INSTRUCTIONS
    }

    fn segment(&self, index: u32) -> Vec<u8> {
        description(self.job, index)
    }

    fn examine(&self, task: TaskId, proof: &[u8]) -> Result<(), Objection> {
        let is_poison = |index| proof == poison(&description(self.job, index));
        let is_expected = *blake3::hash(proof).as_bytes() == self.expected[&task];
        if is_expected || matches!(task, TaskId::Segment(index) if is_poison(index)) {
            Ok(())
        } else {
            Err(Objection::Invalid("it is the proof of something else".into()))
        }
    }

    fn persist(&self, task: TaskId, _: BlobRef, (): ()) -> Result<(), StoreError> {
        *self.accepted.lock().unwrap().entry(task).or_default() += 1;
        Ok(())
    }

    fn attempt(&self, task: TaskId, inputs: &[(TaskId, Vec<u8>)]) -> Attempt<()> {
        if let Some((child, _)) = inputs.iter().find(|(_, proof)| proof.starts_with(POISON)) {
            let reason = "no node can be made over it".into();
            return Attempt::Refuted {
                child: *child,
                reason,
            };
        }
        match task {
            TaskId::Node(node) => {
                let children: Vec<_> = inputs.iter().map(|(_, proof)| proof.clone()).collect();
                let proof = node_proof(node.level, &children);
                Attempt::Made { proof, finding: () }
            }
            TaskId::Final => Attempt::Made {
                proof: pretend(&[b"final", &inputs[0].1, &inputs[1].1]),
                finding: (),
            },
            TaskId::Segment(_) => Attempt::Unable("it is no node".into()),
        }
    }

    fn stop(&self) {}

    fn forget(&self, task: TaskId, _: Blob) -> Result<(), StoreError> {
        self.accepted.lock().unwrap().remove(&task);
        Ok(())
    }

    fn note_leases(&self, begun: &[Held], ended: &[Held]) {
        let mut leases = self.leases.lock().unwrap();
        leases.retain(|held| !ended.contains(held));
        leases.extend(begun);
    }
}

/// A requester that remembers nothing of peers but what it owes them.
struct Debts(Owed);

impl PeerBackend for Debts {
    fn standings(&self) -> Vec<(Peer, Standing)> {
        Vec::new()
    }

    fn remember(&self, _: &[(Peer, Standing)]) {}

    fn owed(&self) -> Vec<SignedReceipt> {
        self.0.lock().unwrap().clone()
    }

    fn settle(&self, owed: &[SignedReceipt], paid: &[SignedReceipt]) {
        let mut all = self.0.lock().unwrap();
        all.extend_from_slice(owed);
        all.retain(|signed| !paid.contains(signed));
    }
}

/// A node that listens on loopback alone.
pub fn start(dir: &Path, role: Role, bootstrap: &[String]) -> (Network, UnboundedReceiver<NetEvent>) {
    start_with_clock(dir, role, bootstrap, || None)
}

/// The same on a machine that says that it was started so long ago.
pub fn start_with_clock(
    dir: &Path,
    role: Role,
    bootstrap: &[String],
    clock: impl Fn() -> Option<Duration> + Send + 'static,
) -> (Network, UnboundedReceiver<NetEvent>) {
    Network::start_with_clock(config(dir, role, bootstrap, 1 << 30), clock).unwrap()
}

/// The same with so much room for blobs.
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
        // The same after another start in the same folder.
        identity: Identity::load_or_create(dir).unwrap(),
        role,
        build: "test".into(),
        engine: engine_fingerprint(),
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

/// What came of a requester's job.
pub struct Outcome {
    pub accepted: BTreeMap<TaskId, usize>,
    pub traffic: Traffic,
    pub events: Vec<Event>,
    pub result: Result<(), RunError>,
    pub took: Duration,
}

/// How a requester is to run.
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
}

/// What a requester says of a small job that it has.
pub fn announcement(network: &Network, job: JobId) -> Announcement {
    Announcement {
        version: PROTOCOL_VERSION,
        job,
        requester: network.peer(),
        sequence: 1,
        open: true,
        engine: engine_fingerprint(),
        instructions: 1000,
        memory_min: 1 << 30,
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
pub async fn request(network: Network, events: UnboundedReceiver<NetEvent>, request: Request) -> Outcome {
    let job = JobId([request.seed; 32]);
    let tree = tree(request.segments);
    let leased = request.leases.lock().unwrap().iter().copied().collect();
    let ledger = Ledger::new(job, &tree, request.leases);
    let accepted = Arc::clone(&ledger.accepted);
    let blobs = network.blobs();
    let files = Files {
        program: blobs.put(&vec![request.seed; 500_000]).unwrap(),
        openvm_toml: None,
        input: blobs.put(&vec![request.seed ^ 0xff; 300_000]).unwrap(),
        engine: engine_fingerprint(),
        instructions: 1000,
    };
    let cost = Cost {
        work: request.task,
        memory: 1 << 30,
    };
    let spec = JobSpec {
        id: job,
        costs: vec![cost; tree.task_count()],
        tree,
        priority: 0,
        deadline: None,
        own_final: request.own_final,
        leased,
        done: Vec::new(),
    };
    let joined = Joined {
        network: network.clone(),
        events,
        own: request.own,
        provers_expected: 1,
        threads_expected: 1,
        stop: request.stop,
    };
    let mut seen = Vec::new();
    let start = Instant::now();
    let mut observer = |event: &Event| {
        if !matches!(event, Event::Traffic { .. }) {
            seen.push(event.clone());
        }
    };
    let policy = Policy {
        redundancy: request.redundancy,
        ..Policy::default()
    };
    let served = ServedJob {
        files,
        spec,
        done: HashMap::new(),
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

    /// With what an earlier one has left in its folder.
    pub fn start_in(dir: tempfile::TempDir, bootstrap: &[String], engine: Pretender) -> Self {
        let joined = start(dir.path(), Role::Prover, bootstrap);
        Self::run(dir, joined, engine)
    }

    /// On a network that was started.
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
