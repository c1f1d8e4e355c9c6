//! Carries out one lease, from its inputs to its proof. It runs beside the driver, which renews the
//! lease meanwhile.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use myriad_core::{EngineId, JobId, Peer};
use myriad_engine::{
    CONFIG_BYTES_MAX, EngineFacts, PROGRAM_BYTES_MAX, SEGMENT_PROOF_BYTES_MAX, worker::Usage,
};
use myriad_net::{
    FetchFailed, Network,
    blob::{BlobError, BlobRef, BlobStore, Pin},
    wire::{Lease, Request, Source, Sources, Work},
};

use super::{Engine, EngineError, JobFiles, Limits, Piece};

/// The most bytes of a proof that is to be aggregated: those of segments are the largest.
const PROOF_BYTES_MAX: u64 = SEGMENT_PROOF_BYTES_MAX as u64;

/// The files of the last job, so that they are read only once.
pub(super) type LastFiles = Mutex<Option<(Identified, Arc<JobFiles>, Vec<Pin>)>>;

/// The key of fetched files: the job, their hashes, and the sender, because anybody can name
/// somebody else's job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identified {
    requester: Peer,
    job: JobId,
    program: BlobRef,
    program_config: Option<BlobRef>,
    input: BlobRef,
    engine: EngineId,
}

impl Identified {
    fn of(lease: &Lease, requester: Peer) -> Self {
        let sources = &lease.sources;
        Self {
            requester,
            job: lease.task.job,
            program: sources.program.blob,
            program_config: sources.program_config.as_ref().map(|toml| toml.blob),
            input: sources.input.blob,
            engine: sources.engine,
        }
    }
}

/// The end of a lease.
pub(super) enum End {
    /// The proof is kept, and pinned.
    Proven(BlobRef, Pin, Box<Usage>),
    /// It is not this machine's any more, or this machine has to stop.
    Stopped,
    /// The owner's limits do not allow the job, or the job is not what it says.
    Unwilling(String),
    Failed(String),
    /// This machine cannot do it now: its disk is full, or its keys cannot be read. No requester is
    /// at fault.
    Unable(String),
    /// This machine's own disk fails.
    Disk(String),
}

/// The tools that the driver and the task share.
#[derive(Default)]
pub(super) struct Progress {
    /// The engine is at work; before that, inputs are being fetched.
    pub proving: AtomicBool,
    /// The bytes of the fetched files that have come.
    pub came: AtomicU64,
    pub cancelled: AtomicBool,
}

/// The tools of a task.
pub(super) struct Tools<E> {
    pub network: Network,
    pub engine: Arc<E>,
    pub limits: Limits,
    pub files: LastFiles,
}

/// Does what a lease asks for.
pub(super) async fn carry_out<E: Engine>(
    tools: Arc<Tools<E>>,
    requester: Peer,
    lease: Lease,
    progress: Arc<Progress>,
) -> End {
    match try_carry_out(tools, requester, lease, progress).await {
        Ok((proof, pin, usage)) => End::Proven(proof, pin, Box::new(usage)),
        Err(end) => end,
    }
}

async fn try_carry_out<E: Engine>(
    tools: Arc<Tools<E>>,
    requester: Peer,
    lease: Lease,
    progress: Arc<Progress>,
) -> Result<(BlobRef, Pin, Usage), End> {
    let engine = tools.engine.facts(lease.sources.engine.name);
    let engine = engine.map_err(|e| End::Unwilling(e.to_string()))?;
    within(&lease, &tools.limits, engine)?;
    forget_others(&tools, Identified::of(&lease, requester));
    fits(&lease, tools.network.blobs())?;
    let files = files(&tools, requester, &lease, &progress.came).await?;
    let (piece, pins) = piece(&tools, requester, lease.work, &progress.came).await?;
    if progress.cancelled.load(Ordering::SeqCst) {
        return Err(End::Stopped);
    }
    tracing::debug!(stage = "prove", "the engine begins to prove {}", lease.task.task);
    progress.proving.store(true, Ordering::SeqCst);
    let blobs = tools.network.blobs().clone();
    let made = tokio::task::spawn_blocking(move || {
        // This is checked again: a cancellation either sees `proving` and stops the engine, or is
        // seen here.
        if progress.cancelled.load(Ordering::SeqCst) {
            return Err(End::Stopped);
        }
        let made = tools.engine.work(&files, &piece);
        drop(pins);
        let (proof, usage) = made.map_err(|e| match e {
            EngineError::Stopped => End::Stopped,
            EngineError::Unwilling(why) => End::Unwilling(why),
            EngineError::Unable(why) => End::Unable(why),
            EngineError::Failed(message) => End::Failed(message),
        })?;
        let proof = blobs.put(&proof).map_err(|e| match e {
            // There was room when the task was taken.
            BlobError::Quota { .. } => full(&e),
            e => of_disk(&e),
        })?;
        Ok((proof, blobs.pin(&proof.blob), usage))
    });
    made.await
        .unwrap_or_else(|e| Err(End::Failed(format!("a bug in myriad: {e}"))))
}

/// Checks a lease against the owner's limits, before anything is fetched.
fn within(lease: &Lease, limits: &Limits, engine: &EngineFacts) -> Result<(), End> {
    let allowed = limits.memory.bytes();
    bounds(
        "bytes of memory for the task",
        lease.memory.max(least_bytes(lease, engine)),
        allowed,
        "; see --memory",
    )
    .map_err(End::Unwilling)?;
    let allowed = limits.max_instructions;
    bounds(
        "instructions of the job",
        lease.instructions,
        allowed,
        "; see --max-instructions",
    )
    .map_err(End::Unwilling)?;
    files_within(&lease.sources, limits).map_err(End::Unwilling)?;
    let largest = proofs(lease)
        .iter()
        .map(|proof| proof.blob.bytes)
        .max()
        .unwrap_or(0);
    bounds("bytes of a proof to be aggregated", largest, PROOF_BYTES_MAX, "").map_err(End::Unwilling)
}

/// Checks a job's files against the owner's limits, and against those of any job.
pub(super) fn files_within(sources: &Sources, limits: &Limits) -> Result<(), String> {
    let allowed = limits.max_input_bytes;
    bounds(
        "bytes of the job's input",
        sources.input.blob.bytes,
        allowed,
        "; see --max-input",
    )?;
    let allowed = PROGRAM_BYTES_MAX as u64;
    bounds(
        "bytes of the job's program",
        sources.program.blob.bytes,
        allowed,
        "",
    )?;
    let toml = sources.program_config.as_ref().map_or(0, |toml| toml.blob.bytes);
    let allowed = CONFIG_BYTES_MAX as u64;
    bounds("bytes of the job's configuration", toml, allowed, "")
}

fn bounds(what: &str, actual: u64, allowed: u64, flag: &str) -> Result<(), String> {
    if actual > allowed {
        return Err(format!("{what}: {actual}, and {allowed} are allowed{flag}"));
    }
    Ok(())
}

/// Bytes of memory that a task takes at least, whatever its requester says. A task that takes too
/// much is not begun.
fn least_bytes(lease: &Lease, engine: &EngineFacts) -> u64 {
    match &lease.work {
        Work::Segment(_) => engine.segment_least_bytes(lease.sources.input.blob.bytes),
        Work::Aggregate { .. } | Work::Finish { .. } => 0,
    }
}

/// The proofs that a task takes.
fn proofs(lease: &Lease) -> Vec<&Source> {
    match &lease.work {
        Work::Segment(_) => Vec::new(),
        Work::Aggregate { children, .. } => children.iter().collect(),
        Work::Finish {
            top, last_segment, ..
        } => vec![top, last_segment],
    }
}

/// Checks that the disk has room for the task's files and its proof, before anything is fetched.
fn fits(lease: &Lease, blobs: &BlobStore) -> Result<(), End> {
    let missing = lease
        .sources
        .all()
        .chain(proofs(lease))
        .filter(|source| !blobs.contains(&source.blob.blob));
    let needed = missing.map(|source| source.blob.bytes).sum::<u64>() + PROOF_BYTES_MAX;
    let room = blobs.room_bytes();
    if needed > room {
        return Err(End::Unwilling(format!(
            "bytes of the task's files and its proof: {needed}, and there is room for {room}; see --disk"
        )));
    }
    Ok(())
}

/// Lets the files of another job go: there may be no room for both.
fn forget_others<E>(tools: &Tools<E>, wanted: Identified) {
    let mut last = tools.files.lock().unwrap_or_else(PoisonError::into_inner);
    drop(last.take_if(|(of, ..)| *of != wanted));
}

async fn files<E>(
    tools: &Tools<E>,
    requester: Peer,
    lease: &Lease,
    came: &AtomicU64,
) -> Result<Arc<JobFiles>, End> {
    let wanted = Identified::of(lease, requester);
    let last = |tools: &Tools<E>| {
        let last = tools.files.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref()
            .filter(|(of, ..)| *of == wanted)
            .map(|(_, files, _)| Arc::clone(files))
    };
    if let Some(files) = last(tools) {
        return Ok(files);
    }
    let sources = &lease.sources;
    let blobs = tools.network.blobs();
    let is_missing = sources.all().any(|source| !blobs.contains(&source.blob.blob));
    let toml = async {
        match &sources.program_config {
            Some(source) => {
                let pin = fetch(&tools.network, requester, source, came).await?;
                Ok::<_, End>(Some((text(tools.network.blobs(), source.blob).await?, pin)))
            }
            None => Ok(None),
        }
    };
    let (program, toml, input) = futures::try_join!(
        fetch(&tools.network, requester, &sources.program, came),
        toml,
        fetch(&tools.network, requester, &sources.input, came),
    )?;
    if is_missing {
        say_that_they_are_here(&tools.network, requester, lease);
    }
    let mut pins = vec![program, input];
    let program_config = toml.map(|(text, pin)| {
        pins.push(pin);
        text
    });
    let files = Arc::new(JobFiles {
        requester,
        job: lease.task.job,
        program: sources.program.blob,
        program_config,
        input: sources.input.blob,
        blobs: tools.network.blobs().clone(),
        engine: sources.engine,
        max_instructions: tools.limits.max_instructions,
    });
    let mut last = tools.files.lock().unwrap_or_else(PoisonError::into_inner);
    *last = Some((wanted, Arc::clone(&files), pins));
    Ok(files)
}

/// Tells the requester that a job's files have come: it names this machine to others, and knows how
/// fast they came.
fn say_that_they_are_here(network: &Network, requester: Peer, lease: &Lease) {
    let holds = lease.sources.all().map(|source| source.blob.blob).collect();
    let (network, job) = (network.clone(), lease.task.job);
    tokio::spawn(async move {
        // If it is not heard, others fetch them elsewhere.
        let _ = network.ask(requester, Request::Prepare { job, holds }).await;
    });
}

/// The piece to prove, and the guard that keeps its inputs on the disk.
async fn piece<E>(
    tools: &Tools<E>,
    requester: Peer,
    work: Work,
    came: &AtomicU64,
) -> Result<(Piece, Vec<Pin>), End> {
    let proof = |source: Source| async move {
        let pin = fetch(&tools.network, requester, &source, came).await?;
        Ok::<_, End>((source.blob, pin))
    };
    Ok(match work {
        Work::Segment(segment) => (Piece::Segment(segment), Vec::new()),
        Work::Aggregate { level, children } => {
            let fetched = futures::future::try_join_all(children.into_iter().map(proof)).await?;
            let (children, pins) = fetched.into_iter().unzip();
            (Piece::Aggregate { level, children }, pins)
        }
        Work::Finish {
            level,
            top,
            last_segment,
        } => {
            let ((top, top_pin), (last_segment, pin)) = futures::try_join!(proof(top), proof(last_segment))?;
            let piece = Piece::Finish {
                level,
                top,
                last_segment,
            };
            (piece, vec![top_pin, pin])
        }
    })
}

/// Brings a file onto this machine's disk, and keeps it there. `came` counts the bytes as they
/// come.
async fn fetch(network: &Network, requester: Peer, source: &Source, came: &AtomicU64) -> Result<Pin, End> {
    let pin = network.blobs().pin(&source.blob.blob);
    let more = |bytes| {
        came.fetch_add(bytes, Ordering::Relaxed);
    };
    match network.fetch(source, requester, more).await {
        Ok(_) => Ok(pin),
        // A requester that asks for more than the owner lends does not end the node.
        Err(FetchFailed::Disk(e @ BlobError::Quota { .. })) => {
            Err(End::Unwilling(format!("{e}; see --disk")))
        }
        Err(FetchFailed::Disk(e)) => Err(of_disk(&e)),
        Err(e) => Err(End::Failed(e.to_string())),
    }
}

/// The end of a task because of a failing disk. If the disk is full, the next task may find room.
fn of_disk(e: &BlobError) -> End {
    if e.is_disk_full() {
        full(e)
    } else {
        End::Disk(e.to_string())
    }
}

fn full(e: &BlobError) -> End {
    End::Unable(format!("the disk is full: {e}"))
}

/// A small file that was fetched, as text.
async fn text(blobs: &BlobStore, want: BlobRef) -> Result<String, End> {
    let blobs = blobs.clone();
    let read = tokio::task::spawn_blocking(move || blobs.get(want)).await;
    let bytes = match read {
        Ok(Ok(Some(bytes))) => bytes,
        Ok(Ok(None)) => return Err(End::Failed("a fetched file was damaged on the disk".into())),
        Ok(Err(e)) => return Err(of_disk(&e)),
        Err(e) => return Err(End::Failed(format!("a bug in myriad: {e}"))),
    };
    String::from_utf8(bytes).map_err(|_| End::Unwilling("the job's configuration is no text".into()))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::ErrorKind};

    use myriad_core::{Blob, TaskId, TaskRef};
    use myriad_engine::MemoryBudget;

    use super::*;

    /// Its requester's claim does not count.
    #[test]
    fn what_cannot_fit_is_not_begun() {
        let source = |bytes| Source {
            blob: BlobRef {
                blob: Blob([1; 32]),
                bytes,
            },
            holders: Vec::new(),
        };
        let lease = |input_mib: u64| Lease {
            task: TaskRef {
                job: JobId([1; 32]),
                task: TaskId::Segment(0),
            },
            lease_ms: 60_000,
            work_ms: 1000,
            memory: 1,
            sources: Sources {
                program: source(1000),
                program_config: None,
                input: source(input_mib << 20),
                engine: EngineFacts::pretended().id,
            },
            instructions: 1000,
            work: Work::Segment(Vec::new()),
        };
        let limits = Limits {
            memory: MemoryBudget::from_bytes(1 << 30),
            threads: 1,
            max_instructions: 1000,
            max_input_bytes: 256 << 20,
            only: BTreeSet::new(),
            never: BTreeSet::new(),
            prefer: BTreeSet::new(),
        };
        assert!(within(&lease(100), &limits, &EngineFacts::pretended()).is_ok());
        assert!(matches!(
            within(&lease(200), &limits, &EngineFacts::pretended()),
            Err(End::Unwilling(why)) if why.contains("bytes of memory for the task: 1367343104, and 1073741824 are allowed")
        ));
    }

    #[test]
    fn a_full_disk_ends_a_task_and_a_broken_one_the_node() {
        let failed = |kind: ErrorKind| BlobError::Write {
            path: "blob".into(),
            reason: kind.into(),
        };
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            assert!(
                matches!(of_disk(&failed(kind)), End::Unable(reason) if reason.contains("free some space"))
            );
        }
        assert!(matches!(
            of_disk(&failed(ErrorKind::ReadOnlyFilesystem)),
            End::Disk(_)
        ));
    }
}
