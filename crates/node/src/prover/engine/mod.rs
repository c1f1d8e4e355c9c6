//! The engine child of a prover.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use myriad_core::{EngineId, EngineName, JobId, Peer};
use myriad_engine::{
    EngineFacts, Filling, FinalForm, KeyError, Level, MemoryBudget, Segment,
    worker::{Engines, Failure, NoEngine, Source, Stopper, Usage, WorkerConfig, WorkerError},
};
use myriad_net::blob::BlobRef;

use super::{Calibration, Engine, EngineError, JobFiles, Piece, Sample};
use crate::{
    group::LimitedWorker,
    job_id,
    process::{cpu_time, resident_bytes},
    text::printable,
};

/// Proves in a child process. It keeps the keys and the program of its last job, for the same
/// requester only: a requester's files may have taken the child over, and the next requester is to
/// get no false proofs from it.
pub struct Child {
    engines: Engines,
    /// The memory that is lent to the child.
    memory: MemoryBudget,
    /// The measured calibration, if there is one.
    calibration: Option<Calibration>,
    idle: Mutex<Option<Loaded>>,
    running: Mutex<Running>,
}

/// The child, with what it has loaded.
struct Loaded {
    of: Origin,
    worker: LimitedWorker,
}

/// The owner of what a child has loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    requester: Peer,
    job: JobId,
    engine: EngineId,
    /// Its file, and the text that configures it.
    program: (BlobRef, Option<String>),
}

/// The state of a child that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChildState {
    AtTask,
    MakingKeys,
}

/// The further use of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    /// It has the whole job.
    Job,
    /// It has the program: blocks of a rollup have one.
    Program,
    Nothing,
}

impl Origin {
    fn of(files: &JobFiles) -> Self {
        Self {
            requester: files.requester,
            job: files.job,
            engine: files.engine,
            program: (files.program, files.program_config.clone()),
        }
    }

    /// The use of a child that has loaded this, where `wanted` is to be loaded.
    fn serves(&self, wanted: &Self) -> Reuse {
        if self.requester != wanted.requester || self.engine != wanted.engine {
            Reuse::Nothing
        } else if self.job == wanted.job {
            Reuse::Job
        } else if self.program == wanted.program {
            Reuse::Program
        } else {
            Reuse::Nothing
        }
    }
}

/// The facts that can be known of the child while it works.
#[derive(Default)]
struct Running {
    pid: Option<u32>,
    stopper: Option<Stopper>,
    /// The CPU time that it had taken before the task; none while it makes keys, which is not
    /// progress of a task.
    before: Option<Duration>,
    busy: bool,
    /// It is to be stopped, whether it has started or not.
    stopped: bool,
}

impl Child {
    /// `memory` is lent to the child; `calibration` is what was measured of this machine, if
    /// anything was.
    pub fn new(engines: Engines, memory: MemoryBudget, calibration: Option<Calibration>) -> Self {
        Self {
            engines,
            memory,
            calibration,
            idle: Mutex::new(None),
            running: Mutex::default(),
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The command of the job's engine.
    fn config(&self, files: &JobFiles) -> Result<&WorkerConfig, EngineError> {
        let config = self.engines.get(files.engine.name);
        config.map_err(|e| EngineError::Unwilling(e.to_string()))
    }

    /// The part of the lent memory that tasks may be expected to take.
    fn memory_expected(&self) -> MemoryBudget {
        let lent = self.memory.bytes();
        let offered = self
            .calibration
            .map_or(lent, |calibration| calibration.memory_offered(lent));
        MemoryBudget::from_bytes(offered)
    }

    /// A child that has loaded the job.
    fn loaded(&self, files: &JobFiles) -> Result<Loaded, EngineError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let of = Origin::of(files);
        let serves = idle.as_ref().map_or(Reuse::Nothing, |idle| idle.of.serves(&of));
        let mut worker = match (idle, serves) {
            (Some(idle), Reuse::Job) => {
                self.watch(&idle.worker, ChildState::AtTask)?;
                return Ok(idle);
            }
            (Some(idle), Reuse::Program) => idle.worker,
            (idle, _) => {
                // Its memory is wanted for the next one.
                drop(idle);
                self.make_keys(files, Filling::Missing)?;
                LimitedWorker::spawn_expecting(self.config(files)?, self.memory, self.memory_expected())
                    .map_err(failed)?
            }
        };
        self.watch(&worker, ChildState::AtTask)?;
        let (image, input) = (source(files, files.program)?, source(files, files.input)?);
        // Only the child decodes them: a stranger has made them.
        let loaded = worker
            .load(image, files.program_config.clone(), input)
            .map_err(|e| refused(worker.explain(e)))?;
        let actual = job_id(&loaded);
        if actual != files.job {
            return Err(EngineError::Unwilling(format!(
                "the job is called {}, but its program and input give it the name {actual}",
                files.job
            )));
        }
        if loaded.engine != files.engine.fingerprint {
            return Err(EngineError::Unwilling(format!(
                "the requester's engine makes other proofs of this program ({}) than this one ({}): one of the two builds has to be updated",
                hex::encode(files.engine.fingerprint),
                hex::encode(loaded.engine)
            )));
        }
        Ok(Loaded { of, worker })
    }

    /// Forgets the child that was at work. One that was stopped when its work had just ended is not
    /// kept: the next task would find it gone, and be given back as if it had been stopped itself.
    fn end(&self) {
        let running = mem::take(&mut *self.running());
        if running.stopped {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// Has the keys made by a child that sees nothing of the job but its configuration.
    fn make_keys(&self, files: &JobFiles, filling: Filling) -> Result<(), EngineError> {
        let mut maker = LimitedWorker::spawn_for_keys(self.config(files)?, self.memory).map_err(failed)?;
        self.watch(&maker, ChildState::MakingKeys)?;
        let made = maker.make_keys(files.program_config.clone(), filling);
        match made {
            Ok(_) => Ok(()),
            // The fault is in this machine's own folder.
            Err(WorkerError::Failed(Failure::Keys(e @ KeyError::Io { .. }))) => {
                Err(EngineError::Unable(e.to_string()))
            }
            Err(e) => Err(refused(maker.explain(e))),
        }
    }

    fn watch(&self, worker: &LimitedWorker, is: ChildState) -> Result<(), EngineError> {
        let pid = worker.pid();
        let mut running = self.running();
        if running.stopped {
            return Err(EngineError::Stopped);
        }
        running.before = match is {
            ChildState::AtTask => Some(cpu_time(pid).unwrap_or_default()),
            ChildState::MakingKeys => None,
        };
        running.pid = Some(pid);
        running.stopper = Some(worker.stopper());
        Ok(())
    }

    /// Does a piece of work, with keys made again if the child cannot read the existing ones. The
    /// child's word on them is not believed twice: a stranger's program may have taken it over.
    fn do_work(&self, files: &JobFiles, piece: &Piece) -> Result<(Vec<u8>, Usage), EngineError> {
        match self.try_work(files, piece)? {
            Ok(made) => Ok(made),
            Err(WorkerError::Failed(e)) if e.is_of_keys() => {
                tracing::warn!("keys are made again: {}", printable(&e.to_string()));
                self.make_keys(files, Filling::Rotten)?;
                self.try_work(files, piece)?.map_err(failed)
            }
            Err(e) => Err(failed(e)),
        }
    }

    /// The inner error is the child's.
    fn try_work(
        &self,
        files: &JobFiles,
        piece: &Piece,
    ) -> Result<Result<(Vec<u8>, Usage), WorkerError>, EngineError> {
        let mut loaded = self.loaded(files)?;
        let worker = &mut loaded.worker;
        let level = |number: u8| {
            Level::new(number)
                .ok_or_else(|| EngineError::Unwilling(format!("there is no level {number} of the tree")))
        };
        let made = match piece {
            Piece::Segment(segment) => {
                let segment: Segment = postcard::from_bytes(segment)
                    .map_err(|e| EngineError::Unwilling(format!("the description of the segment: {e}")))?;
                let end = segment.instret_start.saturating_add(segment.num_insns);
                if end > files.max_instructions {
                    return Err(EngineError::Unwilling(format!(
                        "the segment ends after {end} instructions, and {} are allowed",
                        files.max_instructions
                    )));
                }
                worker.prove(&segment)
            }
            Piece::Aggregate { level: at, children } => {
                let children = children.iter().map(|child| source(files, *child));
                worker.aggregate(level(*at)?, children.collect::<Result<Vec<_>, _>>()?)
            }
            Piece::Finish {
                level: at,
                top,
                last_segment,
            } => worker.finish(
                level(*at)?,
                FinalForm::Small,
                source(files, *top)?,
                source(files, *last_segment)?,
            ),
        };
        let made = made.map_err(|e| worker.explain(e));
        if made.is_ok() {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        }
        Ok(made)
    }
}

/// A file on the disk, for the child.
fn source(files: &JobFiles, blob: BlobRef) -> Result<Source<'static>, EngineError> {
    match files.blobs.reader(blob) {
        Ok(Some(reader)) => Ok(Source::new(blob.bytes, reader)),
        Ok(None) => Err(EngineError::Unable(
            "a fetched file was damaged on the disk".into(),
        )),
        Err(e) => Err(EngineError::Unable(e.to_string())),
    }
}

/// A failure over a requester's files: its own fault, or this machine's.
fn refused(error: WorkerError) -> EngineError {
    let of_requester = matches!(
        &error,
        WorkerError::Failed(
            Failure::Program(_)
                | Failure::Input(_)
                | Failure::Config(_)
                | Failure::Keys(KeyError::Keygen { .. })
        )
    );
    if of_requester {
        EngineError::Unwilling(printable(&format!("the job's files: {error}")))
    } else {
        failed(error)
    }
}

fn failed(error: WorkerError) -> EngineError {
    match error {
        WorkerError::Died(death) if death.stopped => EngineError::Stopped,
        error @ (WorkerError::Start { .. } | WorkerError::File(_)) => EngineError::Unable(error.to_string()),
        error => EngineError::Failed(printable(&error.to_string())),
    }
}

impl Engine for Child {
    fn work(&self, files: &JobFiles, piece: &Piece) -> Result<(Vec<u8>, Usage), EngineError> {
        self.running().busy = true;
        let made = self.do_work(files, piece);
        self.end();
        made
    }

    fn stop(&self) {
        let mut running = self.running();
        running.stopped = running.busy;
        if let Some(stopper) = &running.stopper {
            stopper.stop();
        }
    }

    fn sample(&self) -> Sample {
        let running = self.running();
        let Some(pid) = running.pid else {
            return Sample::default();
        };
        let taken = |before| cpu_time(pid).unwrap_or_default().saturating_sub(before);
        Sample {
            cpu: running.before.map_or(Duration::ZERO, taken),
            memory_bytes: resident_bytes(pid).unwrap_or_default(),
        }
    }

    fn facts(&self, name: EngineName) -> Result<&EngineFacts, NoEngine> {
        Ok(&self.engines.get(name)?.engine)
    }

    fn calibration(&self, threads: usize) -> Calibration {
        self.calibration
            .unwrap_or_else(|| Calibration::unmeasured(threads))
    }
}

#[cfg(test)]
mod tests;
