//! The way of one job through a service, in a thread of its own.

use std::{sync::mpsc, thread, time::Instant};

use myriad_core::EngineId;
use tokio::sync::oneshot;

use super::{Entering, Shared, Ticket};
use crate::{
    Event, Job, Observer, Options, Outcome, RunError,
    job::Opened,
    records::Recorder,
    requester::{
        Files, NewJob,
        beginning::{self, Beginning, Begun},
        queue::Waiting,
    },
};

/// The record and the observer of a job. Both hear of it in its own thread alone, also of what the
/// driver tells: a disk that is slow and an observer that panics are no other job's trouble.
struct JobObserver {
    recorder: Recorder<Box<dyn Observer + Send>>,
    by_driver: mpsc::Receiver<Event>,
}

impl JobObserver {
    /// Passes on all that the driver tells, until the job has ended there.
    fn pass_on(&mut self) {
        for event in &self.by_driver {
            self.recorder.event(&event);
        }
    }
}

impl Observer for JobObserver {
    fn event(&mut self, event: &Event) {
        for earlier in self.by_driver.try_iter() {
            self.recorder.event(&earlier);
        }
        self.recorder.event(event);
    }
}

/// Proves a job that should be done when it is due. Blocks until it is over.
pub(super) fn prove(
    shared: &Shared,
    ticket: &Ticket,
    (job, options, due): (&Job, &Options, Option<Instant>),
    observer: Box<dyn Observer + Send>,
    (entering, waiting, is_recorded): (Entering<'_>, Waiting, oneshot::Sender<()>),
) -> Result<Outcome, RunError> {
    let blobs = shared.network.blobs().clone();
    let opened = Opened::new(job, options, blobs.clone())?;
    let recorder = Recorder::begin(opened.id, job, options, &blobs, (true, observer))?;
    // If nobody listens, nobody wants to know.
    let _ = is_recorded.send(());
    let (program, program_config, input) = recorder.files();
    let files = Files {
        program,
        program_config,
        input,
        engine: EngineId {
            name: options.worker.engine.id.name,
            fingerprint: opened.loaded().engine,
        },
    };
    let (tell, by_driver) = mpsc::channel();
    let mut told = JobObserver { recorder, by_driver };
    let _pinned: Vec<_> = files.all().map(|file| blobs.pin(&file.blob)).collect();
    // With a plan on the disk, there is nothing to wait for, and perhaps nothing to do.
    let is_planned = opened.earlier(options)?.is_some();
    let leased = beginning::outlived(shared.owns, opened.kept_leases(options, is_planned)?);
    let entered = shared.jobs.enter(NewJob {
        id: opened.id,
        files,
        leased,
        observer: Box::new(move |event: &Event| {
            // If nobody listens, the job is over.
            let _ = tell.send(event.clone());
        }),
    });
    // From now on, it is withdrawn if it is given up.
    ticket.entered.get_or_init(|| entered.withdrawal());
    drop(entering);
    let waits = || told.event(&Event::Queued);
    let is_given_up = || ticket.given_up().is_some();
    let turn = waiting.wait(is_given_up, waits);
    let (_in_work, planning) = turn.ok_or(RunError::Interrupted)?;
    if !is_planned {
        entered.announce();
    }
    thread::scope(|scope| {
        let _stops = ticket.children.stop_at_last();
        let beginning = Beginning {
            job,
            options,
            hands: shared.hands,
            owns: shared.owns,
            children: &ticket.children,
        };
        // The provers of this machine have the files at once.
        let may_begin = |tasks| shared.owns || entered.is_spread(tasks);
        let begun = beginning.begin(opened, scope, may_begin, planning, &mut told)?;
        let (prepared, usages) = match begun {
            Begun::Done(prepared) => {
                drop(entered);
                (*prepared, Vec::new())
            }
            Begun::Open(open) => {
                let (served, backend, truth) = open.served(due);
                let ended = entered.open(served, backend);
                if let Some(truth) = truth {
                    shared.runtime.spawn_blocking(truth);
                }
                told.pass_on();
                let ended = ended.blocking_recv().unwrap_or(Err(RunError::NetworkEnded))?;
                (ended.backend.into_prepared(), ended.usages)
            }
        };
        // Whatever still plans or executes does so for nobody.
        ticket.children.stop();
        prepared.conclude(job, options, &usages, &mut told)
    })
}
