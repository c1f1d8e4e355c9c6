//! The engine child of a prover.

use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use myriad_core::JobId;
use myriad_engine::{
    Input, Level, Program, Segment,
    worker::{Stopper, Usage, Worker, WorkerConfig, WorkerError},
};

use super::{Engine, EngineError, JobFiles, Pace, Piece, Sample};
use crate::job_id;

/// Proves in a child process. It keeps the keys and the program of the job that it was last at.
pub struct Child {
    config: WorkerConfig,
    /// As it was measured, if it was.
    pace: Option<Pace>,
    idle: Mutex<Option<Loaded>>,
    running: Mutex<Running>,
}

/// The child, with what it has loaded.
struct Loaded {
    job: JobId,
    /// Its hash.
    program: [u8; 32],
    worker: Worker,
}

/// What can be known of the child while it works.
#[derive(Default)]
struct Running {
    pid: Option<u32>,
    stopper: Option<Stopper>,
    /// CPU time that it had taken before the task.
    before: Duration,
    busy: bool,
    /// It is to be stopped, whether it has started or not.
    stopped: bool,
}

impl Child {
    /// `pace` is what was measured of this machine, if anything was.
    pub fn new(config: WorkerConfig, pace: Option<Pace>) -> Self {
        Self {
            config,
            pace,
            idle: Mutex::new(None),
            running: Mutex::default(),
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A child that has loaded the job.
    fn loaded(&self, files: &JobFiles) -> Result<Loaded, EngineError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(idle) = idle.take_if(|idle| idle.job == files.job) {
            self.watch(&idle.worker)?;
            return Ok(idle);
        }
        let unwilling =
            |what: &str, e: &dyn std::fmt::Display| EngineError::Unwilling(format!("the job's {what}: {e}"));
        let program = Program::load(&files.program, files.openvm_toml.as_deref())
            .map_err(|e| unwilling("program", &e))?;
        let input: Input = postcard::from_bytes(&files.input).map_err(|e| unwilling("input", &e))?;
        let actual = job_id(&program, &input);
        if actual != files.job {
            return Err(EngineError::Unwilling(format!(
                "the job is called {}, and its program and input make it {actual}",
                files.job
            )));
        }
        let engine = program.config().fingerprint();
        if *engine.as_bytes() != files.engine {
            return Err(EngineError::Unwilling(format!(
                "the requester's engine makes other proofs of this program ({}) than this one ({engine}): one of the two builds has to be updated",
                hex::encode(files.engine)
            )));
        }
        // Blocks of a rollup have one program: what the child has loaded holds for the next block, too.
        let mut worker = match idle.filter(|idle| idle.program == program.hash()) {
            Some(idle) => idle.worker,
            None => Worker::spawn(&self.config).map_err(failed)?,
        };
        self.watch(&worker)?;
        worker
            .load(files.program.clone(), files.openvm_toml.clone(), input)
            .map_err(failed)?;
        Ok(Loaded {
            job: files.job,
            program: program.hash(),
            worker,
        })
    }

    fn watch(&self, worker: &Worker) -> Result<(), EngineError> {
        let pid = worker.pid();
        let mut running = self.running();
        if running.stopped {
            return Err(EngineError::Stopped);
        }
        running.before = cpu_time(pid).unwrap_or_default();
        running.pid = Some(pid);
        running.stopper = Some(worker.stopper());
        Ok(())
    }

    fn do_work(&self, files: &JobFiles, piece: &Piece) -> Result<(Vec<u8>, Usage), EngineError> {
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
            Piece::Aggregate { level: at, children } => worker.aggregate(level(*at)?, children.clone()),
            Piece::Finish {
                level: at,
                top,
                last_segment,
            } => worker.finish(level(*at)?, top.clone(), last_segment.clone()),
        }
        .map_err(failed)?;
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        Ok(made)
    }
}

fn failed(error: WorkerError) -> EngineError {
    match error {
        WorkerError::Died(death) if death.stopped => EngineError::Stopped,
        error => EngineError::Failed(error.to_string()),
    }
}

impl Engine for Child {
    fn work(&self, files: &JobFiles, piece: &Piece) -> Result<(Vec<u8>, Usage), EngineError> {
        self.running().busy = true;
        let made = self.do_work(files, piece);
        *self.running() = Running::default();
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
        Sample {
            cpu: cpu_time(pid).unwrap_or_default().saturating_sub(running.before),
            memory_bytes: resident_bytes(pid).unwrap_or_default(),
        }
    }

    fn pace(&self, threads: usize) -> Pace {
        self.pace.unwrap_or_else(|| Pace::unmeasured(threads))
    }
}

/// CPU time of a process and all its threads. Linux counts in hundredths of a second.
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name, which may hold anything; user and system time are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (next()? + next()?)))
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured() {
        let own = std::process::id();
        let before = cpu_time(own).unwrap();
        let mut sum = 0u64;
        while cpu_time(own).unwrap() < before + Duration::from_millis(30) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(resident_bytes(own).unwrap() > 1 << 20);
        assert_eq!(cpu_time(0), None);
    }
}
