//! Provers whose disks are full, by what they keep for others or by something else, or whose
//! machines lack something else: they give back what they cannot do or keep, say so to their
//! owners, and go on.

use std::sync::{Arc, Mutex};

use myriad_core::{JobId, TaskRef};
use myriad_net::wire::{Lease, Returned, Sources};

use super::*;
use crate::{
    holding::until,
    testbed::{announcement, engine, start_with_quota},
};

const MIB: u64 = 1 << 20;
/// Twice the room that a task needs besides its files: half of it may be kept for others.
const QUOTA: u64 = 34 * MIB;
/// More proofs than the quota has room for.
const TASKS: u32 = 400;

/// A requester with one segment after the other, which takes note of proofs and never says what
/// became of them.
struct Endless {
    network: Network,
    at: String,
    returns: Arc<Mutex<Vec<Returned>>>,
    _dir: tempfile::TempDir,
}

const JOB: JobId = JobId([0x61; 32]);

impl Endless {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (network, events) = start(dir.path(), Role::Requester, &[]);
        let at = address(&network).await;
        let here = |bytes: &[u8]| network.source(network.blobs().put(bytes).unwrap(), [network.peer()]);
        let sources = Sources {
            program: here(&[1; 1000]),
            program_config: None,
            input: here(&[2; 1000]),
            engine: engine(),
        };
        let mut next = 0;
        let returns = serves(events, move || {
            next += 1;
            lease(next, &sources)
        });
        network.announce(announcement(&network, JOB));
        Self {
            network,
            at,
            returns,
            _dir: dir,
        }
    }
}

fn lease(number: u32, sources: &Sources) -> Lease {
    Lease {
        task: TaskRef {
            job: JOB,
            task: TaskId::Segment(number),
        },
        lease_ms: 60_000,
        work_ms: 1000,
        memory: 1 << 30,
        sources: sources.clone(),
        instructions: 1000,
        work: Work::Segment(number.to_be_bytes().to_vec()),
    }
}

/// Each proof is for a requester that does not say what became of it, and would stay as long as its
/// job is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_prover_keeps_for_others_leaves_room_for_its_next_task() {
    let requester = Endless::start().await;
    let dir = tempfile::tempdir().unwrap();
    let joined = start_with_quota(
        dir.path(),
        Role::Prover,
        std::slice::from_ref(&requester.at),
        QUOTA,
    );
    let fast = Pretender::new(Duration::from_millis(1), Fault::None);
    let prover = Prover::run(dir, joined, fast);
    until("it goes on", || prover.begun() > TASKS as usize).await;
    assert_eq!(*requester.returns.lock().unwrap(), []);
    let blobs = prover.network.blobs();
    assert!(blobs.used_bytes() <= QUOTA, "{}", blobs.used_bytes());
    prover.kill();
    drop(requester.network);
}

/// There was room for the proof when the task was taken, and there is none when it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_whose_disk_is_full_gives_its_task_back_and_goes_on_when_there_is_room() {
    let requester = Endless::start().await;
    let slow = Pretender::new(Duration::from_millis(300), Fault::None);
    let prover = Prover::start(std::slice::from_ref(&requester.at), slow);
    until("it is at work", || prover.begun() == 1).await;
    // The node looks at its disk every second, and puts this right when the proof is there or soon
    // after.
    while requester.returns.lock().unwrap().is_empty() {
        prover.network.blobs().set_quota(10_000).unwrap();
        sleep(Duration::from_millis(2)).await;
    }
    let returns = requester.returns.lock().unwrap().clone();
    let [Returned::Unwilling { reason }] = returns.as_slice() else {
        panic!("{returns:?}");
    };
    assert!(reason.contains("no room for 100000 bytes"), "{reason}");
    let seen = || match &prover.status.lock().unwrap().activity {
        Activity::Idle { why } => why.contains("the disk is full: no room"),
        _ => false,
    };
    until("its owner sees it", seen).await;
    let before = prover.begun();
    until("it goes on", || prover.begun() > before + 2).await;
    assert_eq!(requester.returns.lock().unwrap().len(), 1);
    prover.kill();
    drop(requester.network);
}

/// Its requester is not blamed, nor is the task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_whose_machine_lacks_something_gives_its_task_back_and_says_so() {
    let requester = Endless::start().await;
    let unable = Pretender::new(Duration::from_millis(1), Fault::Unable);
    let prover = Prover::start(std::slice::from_ref(&requester.at), unable);
    until("its requester hears of it", || {
        !requester.returns.lock().unwrap().is_empty()
    })
    .await;
    let returns = requester.returns.lock().unwrap().clone();
    assert!(
        matches!(&returns[..], [Returned::Unwilling { reason }] if *reason == "its keys cannot be read"),
        "{returns:?}"
    );
    let seen = || {
        let status = prover.status.lock().unwrap();
        assert_eq!(status.failed, 0);
        matches!(&status.activity, Activity::Idle { why } if why == "its keys cannot be read")
    };
    until("its owner sees it", seen).await;
    assert_eq!(prover.begun(), 1, "it rests for a while");
    prover.kill();
    drop(requester.network);
}

/// The owner lends more than any disk has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_whose_disk_has_less_than_is_lent_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let joined = start_with_quota(dir.path(), Role::Prover, &[], u64::MAX);
    let prover = Prover::run(dir, joined, honest());
    let said = || {
        let status = prover.status.lock().unwrap();
        let remarks = &status.remarks;
        remarks
            .iter()
            .any(|remark| remark.contains("of --disk can be used"))
    };
    until("its owner sees it", said).await;
    assert!(prover.network.blobs().quota_bytes() < u64::MAX);
    prover.kill();
}
