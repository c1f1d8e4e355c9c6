//! The records of the jobs in a data folder, for observers outside: the job itself, its progress,
//! and everything needed to resume it. `myriad jobs` reads them, and the drivers keep them.
//!
//! ```text
//! DATA_DIR/jobs/JOB_ID/job.json    a Record: of a running job, too, whose journal is locked
//! DATA_DIR/jobs/JOB_ID/cancel      is there if a process is to cancel the job, and heeds it
//! ```

mod clean;
mod recorder;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use myriad_core::{Blob, EngineName, JobId};
use myriad_engine::{FinalForm, Input};
use myriad_net::blob::{BlobRef, BlobStore};
use serde::{Deserialize, Serialize};

pub use clean::{Keep, Removed};
pub(crate) use recorder::Recorder;

use crate::{
    Fleet, Store, StoreError, process,
    store::{job_dir, journal_path, write_durably},
};

const RECORD_FILE: &str = "job.json";
const CANCEL_FILE: &str = "cancel";
/// Raised when older builds would misread a record.
const RECORD_VERSION: u32 = 1;
/// A record has a kilobyte. A larger file is not one.
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// Jobs that are looked at; more than a data folder ever has.
const JOBS_MAX: usize = 100_000;
/// The pause between looks at whether the process of a cancelled job has ended.
const ENDED_POLL: Duration = Duration::from_millis(50);

/// The facts about a job that are known without its journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// The name of its output files.
    pub name: String,
    pub state: State,
    /// Seconds since 1970 when it was first asked for, and when this was written.
    pub begun: u64,
    pub updated: u64,
    /// The process that wrote it.
    pub pid: u32,
    /// When that process started, as [`process::started`] says it: another process may have got its
    /// number since. None in records of older builds.
    #[serde(default)]
    started: Option<u64>,
    pub out_dir: PathBuf,
    pub memory_bytes: u64,
    pub max_instructions: u64,
    /// Whether that process cancels this job alone when the file for that is there. Otherwise the
    /// process has to end.
    #[serde(default)]
    heeds_requests: bool,
    /// The form of the final proof; `small` in records of older builds.
    #[serde(default)]
    pub final_form: FinalForm,
    pub fleet: Fleet,
    /// The engine of its proofs; in records of older builds, OpenVM's, which was the only one.
    #[serde(default = "EngineName::of_older_builds")]
    pub engine: EngineName,
    /// The arguments that `myriad verify` needs beside the proof.
    pub verify: String,
    program: Part,
    #[serde(rename = "openvm_toml")]
    program_config: Option<Part>,
    input: Part,
    /// The endings of the names of the proof's file and of its baseline's. None in records of older
    /// builds, and of jobs that are not done.
    #[serde(default)]
    endings: Option<(String, Option<String>)>,
    /// Tasks that are done, and all; none before the job is planned.
    pub done: usize,
    pub tasks: Option<usize>,
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There is no final proof yet, whether a process works on it or not.
    Open,
    Done,
    /// The user does not want it any more.
    Cancelled,
}

/// A blob, written for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    blake3: String,
    bytes: u64,
}

impl From<BlobRef> for Part {
    fn from(file: BlobRef) -> Self {
        Self {
            blake3: file.blob.to_string(),
            bytes: file.bytes,
        }
    }
}

impl Part {
    fn reference(&self) -> Option<BlobRef> {
        let mut hash = [0; 32];
        hex::decode_to_slice(&self.blake3, &mut hash).ok()?;
        Some(BlobRef {
            blob: Blob(hash),
            bytes: self.bytes,
        })
    }
}

/// A job of a data folder.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: JobId,
    /// None if it cannot be read.
    pub record: Option<Record>,
    /// Whether a process is working on it.
    pub running: bool,
}

/// The files of a job that was begun, which its engine has yet to read once more.
#[derive(Clone, Debug)]
pub struct KeptJob {
    pub name: String,
    pub image: Vec<u8>,
    pub program_config: Option<String>,
    pub input: Input,
    /// See [`Job::verify`](crate::Job::verify).
    pub verify: String,
}

/// The jobs of a data folder.
pub struct Jobs {
    data_dir: PathBuf,
}

/// Why an operation on the jobs of a data folder failed.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no job {wanted} in {}; `myriad jobs list` lists all jobs", dir.display())]
    None { wanted: String, dir: PathBuf },
    #[error("the names of {found} jobs begin with {wanted}: give more of the name")]
    Ambiguous { wanted: String, found: usize },
    #[error("{} cannot be read: {reason}", path.display())]
    Record { path: PathBuf, reason: String },
    #[error("{} has version {found}, and this build reads {RECORD_VERSION}: use a build that is as new", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error(
        "the program or the input of job {id} is no longer in this data folder; run the command that began it again"
    )]
    Incomplete { id: JobId },
    #[error("job {id} is running in process {pid}, which has not stopped: {reason}")]
    NotStopped { id: JobId, pid: u32, reason: String },
}

impl Jobs {
    pub fn of(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
        }
    }

    /// All jobs, those begun last first.
    ///
    /// # Errors
    /// [`JobsError::Store`] if the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, JobsError> {
        let dir = self.data_dir.join("jobs");
        let read = |reason| StoreError::Read {
            path: dir.clone(),
            reason,
        };
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(read(e).into()),
        };
        let mut jobs = Vec::new();
        for entry in entries.take(JOBS_MAX) {
            let name = entry.map_err(read)?.file_name();
            let mut id = [0; 32];
            if hex::decode_to_slice(name.as_encoded_bytes(), &mut id).is_ok() {
                let id = JobId(id);
                jobs.push(Listed {
                    id,
                    record: self.record(id).ok(),
                    running: self.is_running(id),
                });
            }
        }
        jobs.sort_by_key(|job| std::cmp::Reverse(job.record.as_ref().map(|record| record.begun)));
        Ok(jobs)
    }

    /// The job whose id begins with `wanted`, in hex.
    ///
    /// # Errors
    /// [`JobsError::None`] and [`JobsError::Ambiguous`].
    pub fn find(&self, wanted: &str) -> Result<Listed, JobsError> {
        let wanted = wanted.to_lowercase();
        let mut found = self.list()?;
        found.retain(|job| !wanted.is_empty() && job.id.to_string().starts_with(&wanted));
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(JobsError::None {
                wanted,
                dir: self.data_dir.clone(),
            }),
            found => Err(JobsError::Ambiguous { wanted, found }),
        }
    }

    /// The accepted proofs of a job that nobody works on, each under a hash of the piece that it
    /// covers.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while a process does.
    pub fn accepted(&self, id: JobId) -> Result<BTreeMap<[u8; 32], BlobRef>, StoreError> {
        if journal_path(&self.data_dir, id).exists() {
            Store::names(&self.data_dir, id)
        } else {
            Ok(BTreeMap::new())
        }
    }

    fn path(&self, id: JobId) -> PathBuf {
        job_dir(&self.data_dir, id).join(RECORD_FILE)
    }

    /// The record of a job.
    ///
    /// # Errors
    /// [`JobsError::Record`] and [`JobsError::Newer`].
    pub fn record(&self, id: JobId) -> Result<Record, JobsError> {
        let path = self.path(id);
        let broken = |reason: String| JobsError::Record {
            path: path.clone(),
            reason,
        };
        let mut json = Vec::new();
        let file = File::open(&path).map_err(|e| broken(e.to_string()))?;
        let read = file.take(RECORD_BYTES_MAX + 1).read_to_end(&mut json);
        read.map_err(|e| broken(e.to_string()))?;
        if json.len() as u64 > RECORD_BYTES_MAX {
            return Err(broken(format!("it has more than {RECORD_BYTES_MAX} bytes")));
        }
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version: found } = serde_json::from_slice(&json).map_err(|e| broken(e.to_string()))?;
        if found > RECORD_VERSION {
            return Err(JobsError::Newer { path, found });
        }
        serde_json::from_slice(&json).map_err(|e| broken(e.to_string()))
    }

    /// Whether a process works on a job: it holds the journal.
    pub fn is_running(&self, id: JobId) -> bool {
        File::open(journal_path(&self.data_dir, id))
            .is_ok_and(|journal| matches!(journal.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The files of the job, to resume it.
    ///
    /// # Errors
    /// [`JobsError::Incomplete`] where its program or input is gone.
    pub fn load(&self, id: JobId, blobs: &BlobStore) -> Result<(KeptJob, Record), JobsError> {
        let record = self.record(id)?;
        let get = |file: &Part| -> Result<Vec<u8>, JobsError> {
            let found = file.reference().map(|file| blobs.get(file)).transpose();
            found
                .map_err(StoreError::from)?
                .flatten()
                .ok_or(JobsError::Incomplete { id })
        };
        let text = |bytes| String::from_utf8(bytes).map_err(|_| JobsError::Incomplete { id });
        let job = KeptJob {
            name: record.name.clone(),
            image: get(&record.program)?,
            program_config: record
                .program_config
                .as_ref()
                .map(|file| get(file).and_then(text))
                .transpose()?,
            input: decode_input(&get(&record.input)?).ok_or(JobsError::Incomplete { id })?,
            verify: record.verify.clone(),
        };
        Ok((job, record))
    }

    /// Stops the process that works on a job, if there is one, and notes that it is not wanted.
    /// `wait` is how long the process may take.
    ///
    /// # Errors
    /// [`JobsError::NotStopped`]
    pub fn cancel(&self, id: JobId, wait: Duration) -> Result<(), JobsError> {
        let record = self.record(id)?;
        if self.is_running(id) {
            let stop = |reason: String| JobsError::NotStopped {
                id,
                pid: record.pid,
                reason,
            };
            if record.started.is_some() && process::started(record.pid) != record.started {
                return Err(stop(
                    "the process of that number did not begin the job; find the process that works on it, and end that one".into(),
                ));
            }
            if record.heeds_requests {
                write_durably(&self.cancel_path(id), &[])?;
            } else {
                terminate(record.pid).map_err(|e| stop(e.to_string()))?;
            }
            let since = Instant::now();
            while self.is_running(id) {
                if since.elapsed() > wait {
                    let secs = wait.as_secs();
                    return Err(stop(format!(
                        "it has not ended after {secs} s, and ends as soon as it can; look again with `myriad jobs list`"
                    )));
                }
                std::thread::sleep(ENDED_POLL);
            }
        }
        self.forget_cancel(id)?;
        // It may have ended meanwhile.
        let mut record = self.record(id)?;
        if record.state == State::Open {
            record.state = State::Cancelled;
            self.write(id, &mut record)?;
        }
        Ok(())
    }

    fn cancel_path(&self, id: JobId) -> PathBuf {
        job_dir(&self.data_dir, id).join(CANCEL_FILE)
    }

    /// Whether a job that this process works on is to be cancelled.
    pub(crate) fn is_cancel_wanted(&self, id: JobId) -> bool {
        self.cancel_path(id).exists()
    }

    /// What was wanted of an earlier process does not count any more.
    fn forget_cancel(&self, id: JobId) -> Result<(), StoreError> {
        let path = self.cancel_path(id);
        match fs::remove_file(&path) {
            Err(reason) if reason.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Write { path, reason })
            }
            _ => Ok(()),
        }
    }

    fn write(&self, id: JobId, record: &mut Record) -> Result<(), StoreError> {
        record.updated = now_s();
        let json = serde_json::to_vec_pretty(record).expect("a record is plain data");
        write_durably(&self.path(id), &[&json])
    }
}

impl Record {
    /// The final proof of a job that is done, and the baseline that its tool wants beside it, if it
    /// wants one. None if the job is not done, or if an older build has made it. A file may have
    /// been removed since.
    pub fn proof_files(&self) -> Option<(PathBuf, Option<PathBuf>)> {
        if self.state != State::Done {
            return None;
        }
        let (proof, baseline) = self.endings.as_ref()?;
        let is_file = |ending: &str| {
            let name = format!("{}.{ending}", self.name);
            // A record may be damaged, and names a file of that folder alone.
            (Path::new(&name).file_name()? == name.as_str()).then(|| self.out_dir.join(name))
        };
        let baseline = match baseline {
            Some(ending) => Some(is_file(ending)?),
            None => None,
        };
        Some((is_file(proof)?, baseline))
    }

    /// The program, its configuration and the input.
    fn files(&self) -> impl Iterator<Item = BlobRef> + '_ {
        [
            Some(&self.program),
            self.program_config.as_ref(),
            Some(&self.input),
        ]
        .into_iter()
        .flatten()
        .filter_map(Part::reference)
    }
}

/// Ends a process as Ctrl-C does, so that it can tell the provers.
fn terminate(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGTERM,
    )?)
}

fn decode_input(bytes: &[u8]) -> Option<Input> {
    Input::decode(bytes).ok()
}

/// Seconds since 1970.
fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests;
