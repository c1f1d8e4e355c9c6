//! The journal of a long job, and a requester's steps before its first lease, for
//! `benches/restart.rs` alone.

use std::time::{Duration, Instant};

use myriad_core::{Input, Offer, Output, Peer, Policy, Requester, SPEED_ONE, TaskId, Time, Trust};
use myriad_engine::{Boundary, Plan, Segment};

use crate::{
    Event, Job, Options, RunError,
    job::{Hands, Opened, allowed, prepare},
    open_blobs,
    records::Recorder,
    store::{Planned, TaskKey},
};

/// Bytes of what only the engine reads of a segment: of OpenVM, the rows of some 30 chips.
const DETAILS_BYTES: usize = 90;

/// Leaves a journal of `segments` segments behind, of which every other one is proven.
///
/// # Errors
/// If the disk fails.
pub fn leave_journal(
    job: &Job,
    options: &Options,
    segments: u32,
    boundary: Boundary,
) -> Result<(), RunError> {
    let blobs = open_blobs(&options.data_dir, u64::MAX)?;
    let opened = Opened::new(job, options, blobs)?;
    let segment = |index| Segment {
        index,
        instret_start: u64::from(index) * 1000,
        num_insns: 1000,
        details: vec![0x80; DETAILS_BYTES],
        last: index + 1 == segments,
        cells: 1,
        interactions: 1,
        peak_bytes: 1 << 30,
    };
    let plan = Plan {
        segments: (0..segments).map(segment).collect(),
        public_values: Vec::new(),
        instructions: u64::from(segments) * 1000,
    };
    let arities = allowed(opened.loaded(), options.memory)?;
    let store = opened.store();
    store.set_planned(&Planned {
        memory_bytes: options.memory.bytes(),
        engine: opened.loaded().engine,
        arities: *arities.last().expect("some arity is allowed"),
        plan,
    })?;
    for index in (0..segments).step_by(2) {
        let proof = crate::store::Accepted {
            boundary,
            proof: index.to_le_bytes().repeat(256),
        };
        store.put(TaskKey::segment(u64::from(index) * 1000, 1000), &proof)?;
    }
    Ok(())
}

/// Measures the time from the start until a prover that asks has a lease, and says how many tasks
/// are left.
///
/// # Errors
/// If the disk fails.
pub fn restart(job: &Job, options: &Options) -> Result<(usize, usize, Duration), RunError> {
    let start = Instant::now();
    let blobs = open_blobs(&options.data_dir, u64::MAX)?;
    let opened = Opened::new(job, options, blobs.clone())?;
    let nobody = |_: &Event| {};
    let recorder = &mut Recorder::begin(opened.id, job, options, &blobs, (false, nobody))?;
    let hands = Hands {
        children: 8,
        threads: 2,
        cores: 16,
    };
    let (prepared, planner) = prepare(opened, job, options, hands, recorder)?;
    assert!(planner.is_none(), "the plan is in the journal");
    let (tasks, done) = (prepared.tree.task_count(), prepared.done.len());
    let mut requester = Requester::new(Policy::default());
    let spec = prepared.spec(options, Vec::new());
    requester.handle_input(Time::default(), Input::Open(Box::new(spec)));
    let offer = Offer {
        memory: u64::MAX,
        speed: SPEED_ONE,
        trust: Trust::Stranger,
        origin: None,
    };
    let peer = Peer([1; 32]);
    requester.handle_input(Time::default(), Input::Offer { peer, offer });
    let leased = std::iter::from_fn(|| requester.poll_output()).find_map(|output| match output {
        Output::Lease { task, .. } => Some(task.task),
        _ => None,
    });
    assert!(matches!(leased, Some(TaskId::Segment(_))), "{leased:?}");
    Ok((tasks, done, start.elapsed()))
}
