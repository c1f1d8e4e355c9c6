//! One lease from its inputs to its proof. Runs beside the driver, which renews the lease meanwhile.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use myriad_core::{JobId, Peer};
use myriad_engine::{PROGRAM_BYTES_MAX, SEGMENT_PROOF_BYTES_MAX, worker::Usage};
use myriad_net::{
    FetchFailed, Network,
    blob::{BlobError, BlobRef, Pin},
    wire::{Lease, Source, Work},
};

use super::{Engine, EngineError, JobFiles, Limits, Piece};

/// Most bytes of an `openvm.toml`.
const OPENVM_TOML_BYTES_MAX: u64 = 64 << 10;
/// Most bytes of a proof that is to be aggregated: those of segments are the largest.
const PROOF_BYTES_MAX: u64 = SEGMENT_PROOF_BYTES_MAX as u64;

/// The files of the job that was worked at last, so that they are read once.
pub(super) type LastFiles = Mutex<Option<(Identified, Arc<JobFiles>, Vec<Pin>)>>;

/// What files are those of: the job, and the files by their hashes, because anybody can name somebody
/// else's job and other files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identified {
    job: JobId,
    program: BlobRef,
    openvm_toml: Option<BlobRef>,
    input: BlobRef,
    engine: [u8; 32],
}

impl Identified {
    fn of(lease: &Lease) -> Self {
        let sources = &lease.sources;
        Self {
            job: lease.task.job,
            program: sources.program.blob,
            openvm_toml: sources.openvm_toml.as_ref().map(|toml| toml.blob),
            input: sources.input.blob,
            engine: sources.engine,
        }
    }
}

/// How a lease ended.
pub(super) enum End {
    /// The proof is kept, and pinned.
    Proven(BlobRef, Pin, Box<Usage>),
    /// It is not this machine's any more, or this machine is to stop.
    Stopped,
    /// The owner's limits do not allow the job, or the job is not what it says.
    Unwilling(String),
    Failed(String),
    /// This machine's own disk does not serve.
    Disk(String),
}

/// What the driver and the task share.
#[derive(Default)]
pub(super) struct Progress {
    /// The engine is at work; before that, inputs are being fetched.
    pub proving: AtomicBool,
    pub cancelled: AtomicBool,
}

/// What a task is done with.
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
    within(&lease, &tools.limits)?;
    let files = files(&tools, requester, &lease).await?;
    let piece = piece(&tools, requester, lease.work).await?;
    if progress.cancelled.load(Ordering::SeqCst) {
        return Err(End::Stopped);
    }
    tracing::debug!("the engine begins to prove {}", lease.task.task);
    progress.proving.store(true, Ordering::SeqCst);
    let blobs = tools.network.blobs().clone();
    let made = tokio::task::spawn_blocking(move || {
        // Looked at again: whoever cancels sees `proving` and stops the engine, or is seen here.
        if progress.cancelled.load(Ordering::SeqCst) {
            return Err(End::Stopped);
        }
        let (proof, usage) = tools.engine.work(&files, &piece).map_err(|e| match e {
            EngineError::Stopped => End::Stopped,
            EngineError::Unwilling(why) => End::Unwilling(why),
            EngineError::Failed(message) => End::Failed(message),
        })?;
        let proof = blobs.put(&proof).map_err(|e| End::Disk(e.to_string()))?;
        Ok((proof, blobs.pin(&proof.blob), usage))
    });
    made.await
        .unwrap_or_else(|e| Err(End::Failed(format!("a bug in myriad: {e}"))))
}

/// Holds what the requester asks for to the owner's limits, before anything is fetched.
fn within(lease: &Lease, limits: &Limits) -> Result<(), End> {
    let bounds = |what: &str, actual: u64, allowed: u64, flag: &str| {
        if actual > allowed {
            return Err(End::Unwilling(format!(
                "{what}: {actual}, and {allowed} are allowed{flag}"
            )));
        }
        Ok(())
    };
    let sources = &lease.sources;
    let allowed = limits.memory.bytes();
    bounds(
        "bytes of memory for the task",
        lease.memory,
        allowed,
        "; see --memory",
    )?;
    let allowed = limits.max_instructions;
    bounds(
        "instructions of the job",
        sources.instructions,
        allowed,
        "; see --max-instructions",
    )?;
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
    let toml = sources.openvm_toml.as_ref().map_or(0, |toml| toml.blob.bytes);
    bounds("bytes of the job's openvm.toml", toml, OPENVM_TOML_BYTES_MAX, "")?;
    let proofs = match &lease.work {
        Work::Segment(_) => Vec::new(),
        Work::Aggregate { children, .. } => children.iter().collect(),
        Work::Finish {
            top, last_segment, ..
        } => vec![top, last_segment],
    };
    let largest = proofs.iter().map(|proof| proof.blob.bytes).max().unwrap_or(0);
    bounds("bytes of a proof to be aggregated", largest, PROOF_BYTES_MAX, "")
}

async fn files<E>(tools: &Tools<E>, requester: Peer, lease: &Lease) -> Result<Arc<JobFiles>, End> {
    let wanted = Identified::of(lease);
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
    let toml = async {
        match &sources.openvm_toml {
            Some(source) => fetch(&tools.network, requester, source).await.map(Some),
            None => Ok(None),
        }
    };
    let (program, toml, input) = futures::try_join!(
        fetch(&tools.network, requester, &sources.program),
        toml,
        fetch(&tools.network, requester, &sources.input),
    )?;
    let mut pins = vec![program.1, input.1];
    let openvm_toml = toml
        .map(|(text, pin)| {
            pins.push(pin);
            String::from_utf8(text)
        })
        .transpose()
        .map_err(|_| End::Unwilling("the job's openvm.toml is no text".into()))?;
    let files = Arc::new(JobFiles {
        job: lease.task.job,
        program: program.0,
        openvm_toml,
        input: input.0,
        engine: sources.engine,
        max_instructions: tools.limits.max_instructions,
    });
    let mut last = tools.files.lock().unwrap_or_else(PoisonError::into_inner);
    *last = Some((wanted, Arc::clone(&files), pins));
    Ok(files)
}

async fn piece<E>(tools: &Tools<E>, requester: Peer, work: Work) -> Result<Piece, End> {
    let proof = |source: Source| async move {
        let (bytes, _) = fetch(&tools.network, requester, &source).await?;
        // It was fetched for this task alone.
        Ok::<_, End>(bytes)
    };
    Ok(match work {
        Work::Segment(segment) => Piece::Segment(segment),
        Work::Aggregate { level, children } => Piece::Aggregate {
            level,
            children: futures::future::try_join_all(children.into_iter().map(proof)).await?,
        },
        Work::Finish {
            level,
            top,
            last_segment,
        } => {
            let (top, last_segment) = futures::try_join!(proof(top), proof(last_segment))?;
            Piece::Finish {
                level,
                top,
                last_segment,
            }
        }
    })
}

async fn fetch(network: &Network, requester: Peer, source: &Source) -> Result<(Vec<u8>, Pin), End> {
    let blobs = network.blobs().clone();
    let pin = blobs.pin(&source.blob.blob);
    match network.fetch(source, requester).await {
        Ok(_) => {}
        // Whoever asks for more than the owner lends does not end the node.
        Err(FetchFailed::Disk(e @ BlobError::Quota { .. })) => {
            return Err(End::Unwilling(format!("{e}; see --disk")));
        }
        Err(FetchFailed::Disk(e)) => return Err(End::Disk(e.to_string())),
        Err(e) => return Err(End::Failed(e.to_string())),
    }
    let want = source.blob;
    let read = tokio::task::spawn_blocking(move || blobs.get(want)).await;
    match read {
        Ok(Ok(Some(bytes))) => Ok((bytes, pin)),
        Ok(Ok(None)) => Err(End::Failed("a fetched file was damaged on the disk".into())),
        Ok(Err(e)) => Err(End::Disk(e.to_string())),
        Err(e) => Err(End::Failed(format!("a bug in myriad: {e}"))),
    }
}
