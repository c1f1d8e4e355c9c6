//! Keeps the record of one job while a driver works on it.

use std::time::{Duration, Instant};

use myriad_core::JobId;
use myriad_net::blob::{BlobRef, BlobStore};

use super::{Jobs, Part, RECORD_VERSION, Record, State, now_s};
use crate::{Event, Job, Observer, Options, StoreError, process, store};

/// The pause between updates of the progress in the record.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Keeps the record of a job that is being worked on, as what happens is told to its observer.
pub(crate) struct Recorder<O> {
    jobs: Jobs,
    id: JobId,
    record: Record,
    /// Tasks that this run has done.
    done: usize,
    written: Instant,
    observer: O,
    /// See [`Record::proof_files`].
    endings: (String, Option<String>),
}

impl<O: Observer> Recorder<O> {
    /// Keeps the program and input of the job among the blobs, and begins the record, whose journal
    /// the caller holds. Then it removes old jobs, if it should. `heeds_requests`: the process
    /// watches for the wish of another one that this job alone be cancelled
    /// ([`Jobs::is_cancel_wanted`]).
    pub(crate) fn begin(
        id: JobId,
        job: &Job,
        options: &Options,
        blobs: &BlobStore,
        (heeds_requests, observer): (bool, O),
    ) -> Result<Self, StoreError> {
        let jobs = Jobs::of(&options.data_dir);
        if heeds_requests {
            jobs.forget_cancel(id)?;
        }
        let (text, engine) = (job.program_config.as_ref(), &options.worker.engine);
        let before = jobs.record(id).ok();
        let beginning = store::beginning(&options.data_dir)?;
        let mut record = Record {
            version: RECORD_VERSION,
            name: job.name.clone(),
            state: State::Open,
            begun: before.map_or_else(now_s, |record| record.begun),
            updated: 0,
            pid: std::process::id(),
            started: process::started(std::process::id()),
            out_dir: std::path::absolute(&options.out_dir).unwrap_or_else(|_| options.out_dir.clone()),
            memory_bytes: options.memory.bytes(),
            max_instructions: options.max_instructions,
            heeds_requests,
            final_form: options.final_form,
            fleet: options.fleet,
            engine: engine.id.name,
            verify: job.verify.clone(),
            program: blobs.put(&job.image)?.into(),
            program_config: text
                .map(|text| blobs.put(text.as_bytes()))
                .transpose()?
                .map(Part::from),
            input: blobs.put(&job.input.encode())?.into(),
            endings: None,
            done: 0,
            tasks: None,
        };
        jobs.write(id, &mut record)?;
        drop(beginning);
        if let Some(age) = options.keep_jobs {
            jobs.tidy(age);
        }
        Ok(Self {
            jobs,
            id,
            record,
            done: 0,
            written: Instant::now(),
            observer,
            endings: (engine.proof_ending.into(), engine.baseline_ending.map(Into::into)),
        })
    }

    /// The program, its configuration and the input, as blobs.
    pub(crate) fn files(&self) -> (BlobRef, Option<BlobRef>, BlobRef) {
        let of = |file: &Part| file.reference().expect("it was made from one");
        let Record {
            program,
            program_config,
            input,
            ..
        } = &self.record;
        (of(program), program_config.as_ref().map(of), of(input))
    }

    fn write(&mut self) {
        self.written = Instant::now();
        if let Err(e) = self.jobs.write(self.id, &mut self.record) {
            // Only `myriad jobs` misses it; the journal is what counts.
            tracing::warn!("{e}");
        }
    }
}

impl<O: Observer> Observer for Recorder<O> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Planned {
                segments,
                nodes,
                reused,
                ..
            } => {
                self.record.done = reused + self.done;
                // The final proof is a task, too.
                self.record.tasks = Some(segments + nodes + 1);
                self.write();
            }
            Event::Cut { reused, .. } => self.record.done = reused + self.done,
            Event::Done { .. } => {
                self.record.done += 1;
                self.done += 1;
                if self.written.elapsed() > PROGRESS_EVERY {
                    self.write();
                }
            }
            Event::Reopened { .. } => {
                self.record.done = self.record.done.saturating_sub(1);
                self.done = self.done.saturating_sub(1);
                self.write();
            }
            Event::Finished => {
                self.record.state = State::Done;
                self.record.endings = Some(self.endings.clone());
                self.write();
            }
            _ => {}
        }
        self.observer.event(event);
    }
}
