//! What is left on the disk of jobs: the node's records, and a note of the service on each of its
//! own.
//!
//! ```text
//! DATA_DIR/jobs/JOB_ID/job.json       myriad_node::records
//! DATA_DIR/gateway/jobs/JOB_ID.json   a Note
//! DATA_DIR/gateway/start              the number of the last start
//! DATA_DIR/gateway/lock               held by the service
//! ```

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
};

use myriad_api::{Job, JobState, Progress, Proof};
use myriad_core::JobId;
use myriad_net::{durable::make_dir, text};
use myriad_node::records::{Jobs, Record, State};

use super::note::{Note, VERSION, proof_of};
use crate::whole;

/// A note has a kilobyte, and twice public values of up to 64 KiB in hex.
const NOTE_BYTES_MAX: u64 = 1 << 20;
/// Most jobs that are looked for at the start.
const JOBS_MAX: usize = 100_000;
/// Most notes of jobs that have no record: they failed before anything was kept of them.
const WITHOUT_RECORD_MAX: usize = 1000;
/// Most characters of a name, and of arguments, that a file says.
const TEXT_MAX: usize = 1000;

/// The disk, as far as it tells of jobs.
pub(super) struct History {
    records: Jobs,
    dir: PathBuf,
    /// No other service uses the folder.
    _lock: File,
}

/// A job of an earlier start, in short.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub id: JobId,
    pub submitted_ms: u64,
    pub state: JobState,
    /// It was the service's own, and can be continued.
    pub resumable: bool,
}

impl History {
    /// Locks the folder, and counts the start.
    pub(super) fn open(data_dir: &Path) -> io::Result<(Self, u64)> {
        let dir = data_dir.join("gateway");
        make_dir(data_dir)?;
        make_dir(&dir)?;
        make_dir(&dir.join("jobs"))?;
        let lock = File::create(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    format!(
                        "another service is running on this data folder (it holds {}); name another one with --data-dir",
                        dir.join("lock").display()
                    ),
                ));
            }
        }
        let start = count_start(&dir.join("start"))?;
        let history = Self {
            records: Jobs::of(data_dir),
            dir,
            _lock: lock,
        };
        Ok((history, start))
    }

    /// The jobs that there are, in any order.
    pub(super) fn all(&self) -> io::Result<Vec<Past>> {
        let listed = self.records.list().map_err(io::Error::other)?;
        let mut notes: HashMap<JobId, Note> = HashMap::new();
        for entry in fs::read_dir(self.dir.join("jobs"))?.take(JOBS_MAX) {
            let entry = entry?;
            if let Some(id) = id_of(&entry.path()) {
                let in_short = |note: Note| Note {
                    public_values: None,
                    // Whether there are some is all that the state depends on.
                    expected_public_values: note.expected_public_values.map(|_| String::new()),
                    ..note
                };
                notes.extend(self.note(id).map(|note| (id, in_short(note))));
            } else if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(whole::TEMPORARY_PREFIX.as_bytes())
            {
                // It was being written when an earlier service ended.
                let _ = fs::remove_file(entry.path());
            }
        }
        let mut all = Vec::new();
        for job in listed {
            let note = notes.remove(&job.id);
            if let Some(record) = &job.record {
                let state = state_of(Some((record, job.running)), note.as_ref());
                all.push(Past {
                    id: job.id,
                    submitted_ms: note
                        .as_ref()
                        .map_or(record.begun * 1000, |note| note.submitted_ms),
                    state,
                    resumable: note.is_some() && !job.running,
                });
            }
        }
        let mut without: Vec<_> = notes.into_iter().collect();
        without.sort_by_key(|(_, note)| std::cmp::Reverse(note.submitted_ms));
        for (rank, (id, note)) in without.into_iter().enumerate() {
            let state = state_of(None, Some(&note));
            if state == JobState::Failed && rank < WITHOUT_RECORD_MAX {
                all.push(Past {
                    id,
                    submitted_ms: note.submitted_ms,
                    state,
                    resumable: false,
                });
            } else {
                self.forget(id);
            }
        }
        Ok(all)
    }

    /// The document of a job that the service does not have in mind.
    pub(super) fn job(&self, id: JobId) -> Option<Job> {
        let (record, note) = self.both(id)?;
        let state = state_of(
            record.as_ref().map(|(record, runs)| (record, *runs)),
            note.as_ref(),
        );
        let record = record.map(|(record, _)| record);
        let millis = |seconds: u64| seconds.saturating_mul(1000);
        let name = record.as_ref().map(|record| record.name.as_str());
        let name = name.or(note.as_ref().map(|note| note.name.as_str()))?;
        let engine = record.as_ref().map(|record| record.engine.to_string());
        let written_ms = record.as_ref().map(|record| millis(record.updated));
        let noted_end = note.as_ref().filter(|note| note.end == Some(state));
        let ended_ms = noted_end.and_then(|note| note.ended_ms).or(written_ms);
        Some(Job {
            id: id.to_string(),
            name: text::printable(name, TEXT_MAX),
            engine: engine.or(note.as_ref().map(|note| text::printable(&note.engine, TEXT_MAX)))?,
            state,
            priority: note.as_ref().map_or(0, |note| note.priority),
            submitted_ms: note
                .as_ref()
                .map(|note| note.submitted_ms)
                .or(record.as_ref().map(|record| millis(record.begun)))?,
            updated_ms: ended_ms.unwrap_or_default().max(written_ms.unwrap_or_default()),
            ended_ms: ended_ms.filter(|_| state.is_over()),
            deadline_s: note.as_ref().and_then(|note| note.deadline_s),
            progress: Progress {
                done: record.as_ref().map_or(0, |record| match (state, record.tasks) {
                    // What an earlier run has left counts, too.
                    (JobState::Done, Some(tasks)) => tasks as u64,
                    _ => record.done as u64,
                }),
                tasks: record
                    .as_ref()
                    .and_then(|record| record.tasks.map(|tasks| tasks as u64)),
                segments: note.as_ref().map_or(0, |note| note.segments),
                instructions: note.as_ref().map_or(0, |note| note.instructions),
                reused: note.as_ref().map_or(0, |note| note.reused),
                running: 0,
            },
            public_values: note.as_ref().and_then(|note| note.public_values.clone()),
            block: note.as_ref().and_then(|note| note.block.clone()),
            proof: record
                .filter(|_| state == JobState::Done)
                .and_then(|record| proof(id, &record, note.as_ref())),
            error: note
                .filter(|_| state == JobState::Failed)
                .and_then(|note| note.error),
        })
    }

    /// The files of a job that is done, if they are there.
    pub(super) fn files(&self, id: JobId) -> Option<(PathBuf, Option<PathBuf>)> {
        let (record, note) = self.both(id)?;
        let (record, running) = record?;
        let state = state_of(Some((&record, running)), note.as_ref());
        let files = record.proof_files().filter(|_| state == JobState::Done);
        files.filter(|(proof, _)| proof.is_file())
    }

    /// The record of a job, with whether a process works on it, and the note. None if there is
    /// neither.
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn both(&self, id: JobId) -> Option<(Option<(Record, bool)>, Option<Note>)> {
        let record = self.records.record(id).ok();
        let record = record.map(|record| (record, self.records.is_running(id)));
        let note = self.note(id);
        let is_there = record.is_some() || note.as_ref().is_some_and(|note| note.error.is_some());
        is_there.then_some((record, note))
    }

    /// The note on a job. One that is damaged counts as none.
    pub(super) fn note(&self, id: JobId) -> Option<Note> {
        let path = self.path(id);
        match read_note(&path) {
            Ok(note) => note,
            Err(reason) => {
                tracing::warn!(
                    "{} cannot be read, and only the record of job {id} counts: {reason}",
                    path.display()
                );
                None
            }
        }
    }

    /// Keeps a note: it is durable when this returns.
    pub(super) fn keep(&self, id: JobId, note: &Note) -> io::Result<()> {
        let json = serde_json::to_vec(note).expect("a note is plain data");
        whole::replace(&self.path(id), &json)
    }

    /// Keeps a note durably. If the disk fails, only a later start misses it.
    pub(super) fn try_to_keep(&self, id: JobId, note: &Note) {
        if let Err(e) = self.keep(id, note) {
            tracing::warn!("cannot write {}: {e}", self.path(id).display());
        }
    }

    pub(super) fn forget(&self, id: JobId) {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("cannot remove {}: {e}", path.display());
            }
            _ => {}
        }
    }

    /// Notes in the record that a job is not wanted, as `myriad jobs cancel` does.
    pub(super) fn cancel(&self, id: JobId) -> io::Result<()> {
        let is_open = |record: Record| record.state == State::Open;
        if self.records.record(id).is_ok_and(is_open) && !self.records.is_running(id) {
            let cancelled = self.records.cancel(id, std::time::Duration::ZERO);
            cancelled.map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn path(&self, id: JobId) -> PathBuf {
        self.dir.join("jobs").join(format!("{id}.json"))
    }
}

/// The state of a job that the service does not have in mind, from its record, with whether a
/// process works on it, and from the note.
fn state_of(record: Option<(&Record, bool)>, note: Option<&Note>) -> JobState {
    let noted = note.and_then(|note| note.end);
    match record {
        Some((record, true)) if record.tasks.is_some() => JobState::Proving,
        Some((_, true)) => JobState::Planning,
        Some((record, false)) => match record.state {
            // There is a proof, and it is none of what was asked for.
            State::Done if note.is_some_and(|note| note.has_other_values) => JobState::Failed,
            // The service has ended before it has compared them.
            State::Done if note.is_some_and(Note::is_unchecked) => JobState::Interrupted,
            State::Done => JobState::Done,
            State::Cancelled => JobState::Cancelled,
            State::Open => match noted {
                Some(ended @ (JobState::Failed | JobState::Cancelled)) => ended,
                _ => JobState::Interrupted,
            },
        },
        None => noted.unwrap_or(JobState::Interrupted),
    }
}

fn proof(id: JobId, record: &Record, note: Option<&Note>) -> Option<Proof> {
    let (proof, baseline) = record.proof_files()?;
    let file = fs::metadata(proof).ok().filter(fs::Metadata::is_file)?;
    let noted = note.filter(|note| note.end == Some(JobState::Done));
    Some(Proof {
        verify_ms: noted.map_or(0, |note| note.verify_ms),
        wall_ms: noted.and_then(|note| note.wall_ms),
        in_time: noted.and_then(|note| note.in_time),
        ..proof_of(
            id,
            file.len(),
            baseline.is_some(),
            &text::printable(&record.verify, TEXT_MAX),
        )
    })
}

/// None if there is none.
fn read_note(path: &Path) -> Result<Option<Note>, String> {
    let Some(json) = read_bounded(path, NOTE_BYTES_MAX).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    let note: Note = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
    if note.version > VERSION {
        return Err(format!(
            "it has version {}, and this build reads {VERSION}",
            note.version
        ));
    }
    Ok(Some(note))
}

fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(Some(bytes))
}

/// The number of this start: no earlier one had it. It is durable when this returns.
fn count_start(path: &Path) -> io::Result<u64> {
    let before = read_bounded(path, 32)
        .ok()
        .map(|text| text.map_or(Some(0), |text| str::from_utf8(&text).ok()?.trim().parse().ok()));
    // One that cannot be read is made anew, above all that were counted.
    let before: u64 = before.flatten().unwrap_or_else(|| {
        tracing::warn!("{} is damaged, and is begun anew from the clock", path.display());
        crate::time::now_ms()
    });
    let start = before.saturating_add(1);
    whole::replace(path, start.to_string().as_bytes())?;
    Ok(start)
}

/// The job of a note's file.
fn id_of(path: &Path) -> Option<JobId> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".json")?;
    let mut id = [0; 32];
    hex::decode_to_slice(stem, &mut id).ok()?;
    let id = JobId(id);
    (id.to_string() == stem).then_some(id)
}
