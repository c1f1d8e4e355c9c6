//! A local run from a job to its final proof: plan, drive, verify, write.

use myriad_core::TaskId;

use super::{
    child::{Shared, Stoppers},
    driver::{Usages, drive},
};
use crate::{
    Event, Job, Machine, Observer, Options, Outcome, RunError,
    job::{Hands, Opened, prepare},
    records::Recorder,
    store::open_blobs,
};

/// Proves `job`: executes, cuts, proves, aggregates, verifies, and writes the final proof.
///
/// Proofs that an earlier run of the same job has left in the store are not made again.
///
/// # Errors
/// See [`RunError`]. Accepted proofs stay in the store whatever happens.
pub fn run(job: &Job, options: &Options, observer: &mut dyn Observer) -> Result<Outcome, RunError> {
    let machine = Machine::detect();
    let children = machine
        .fitting(options.memory.bytes())
        .min(options.children)
        .max(1);
    let hands = Hands {
        children,
        threads: options.worker.threads,
        cores: machine.cores,
    };
    // The user's own blobs have no quota: only provers do.
    let blobs = open_blobs(&options.data_dir, u64::MAX)?;
    let opened = Opened::new(job, options, blobs.clone())?;
    let observer = |event: &Event| observer.event(event);
    let recorder = &mut Recorder::begin(opened.id, job, options, &blobs, (false, observer))?;
    let (prepared, planner) = prepare(opened, job, options, hands, recorder)?;
    let mut usages = Usages::new();
    if !prepared.done.contains_key(&TaskId::Final) {
        let shared = Shared {
            job,
            options,
            prepared: &prepared,
            statement: prepared.verifying.statement()?,
            stoppers: Stoppers::default(),
        };
        usages = drive(&shared, children, planner, recorder)?;
    }
    prepared.conclude(job, options, &usages, recorder)
}
