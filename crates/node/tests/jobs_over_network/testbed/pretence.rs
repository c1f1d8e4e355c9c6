//! An engine that only takes its time, and the proofs that it makes.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use myriad_core::{EngineId, EngineName};
use myriad_engine::{
    EngineFacts,
    worker::{NoEngine, Usage},
};
use myriad_net::blob::BlobRef;
use myriad_node::prover::{Calibration, Engine, EngineError, JobFiles, Piece, Sample};

/// Bytes of each pretended proof.
pub const PROOF_BYTES: usize = 100_000;

/// The one right proof of a task: what it covers, hashed, and drawn out to a real proof's length.
pub fn pretend(parts: &[&[u8]]) -> Vec<u8> {
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

pub fn node_proof(level: u8, children: &[Vec<u8>]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = vec![b"node"];
    let level = [level];
    parts.push(&level);
    parts.extend(children.iter().map(Vec::as_slice));
    pretend(&parts)
}

/// A proof of a segment that passes every check, and that no node can be made over.
pub fn poison(description: &[u8]) -> Vec<u8> {
    let mut proof = pretend(&[b"poison", description]);
    proof[..POISON.len()].copy_from_slice(POISON);
    proof
}

/// Bytes that are no proof of anything.
pub fn no_proof() -> Vec<u8> {
    vec![7; PROOF_BYTES]
}

pub const POISON: &[u8] = b"poison";

/// The fault of a pretended engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Proofs of something else, the same from all.
    WrongProof,
    /// The right proof of another task: that of a leaf's first child, where there is one.
    AnothersProof,
    /// Makes segment proofs that pass every check, and over which no node can be made.
    Poisons,
    /// It never comes to an end.
    Hangs,
    /// The first task does not, and the others do.
    HangsOnce,
    Fails,
    /// It fails at the segments of the job of this seed.
    FailsAt(u8),
    /// Its machine lacks something.
    Unable,
}

/// An engine that takes its time.
pub struct Pretender {
    pub delay: Duration,
    pub fault: Fault,
    /// How fast it says that it is.
    pub calibration: Calibration,
    pub stopped: Arc<AtomicBool>,
    pub started: Arc<AtomicUsize>,
    /// Tasks that were stopped.
    pub stops: Arc<AtomicUsize>,
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

/// The engine that everybody here has.
pub fn engine() -> EngineId {
    EngineFacts::pretended().id
}

impl Engine for Pretender {
    fn facts(&self, name: EngineName) -> Result<&EngineFacts, NoEngine> {
        static FACTS: LazyLock<EngineFacts> = LazyLock::new(EngineFacts::pretended);
        if name != engine().name {
            return Err(NoEngine {
                wanted: name,
                there: vec![engine().name],
            });
        }
        Ok(&FACTS)
    }

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
            return Err(EngineError::Failed("the new proof is invalid".into()));
        }
        let proof = match (self.fault, piece) {
            (Fault::Poisons, Piece::Segment(description)) => poison(description),
            (Fault::Unable, _) => return Err(EngineError::Unable("its keys cannot be read".into())),
            (Fault::Fails, _) => return Err(EngineError::Failed("it does not work here".into())),
            (Fault::FailsAt(seed), Piece::Segment(description)) if description[0] == seed => {
                return Err(EngineError::Failed("it does not work here".into()));
            }
            (Fault::WrongProof, _) => no_proof(),
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
