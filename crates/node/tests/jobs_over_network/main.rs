//! Requesters and provers over real connections on loopback; only proving is pretended.

mod beforehand;
mod byzantine;
mod disk;
mod final_form;
mod growing;
mod holding;
mod link;
mod malicious;
mod overview;
mod receipts;
mod rotting;
mod several;
mod suspended;
mod testbed;
mod time;
mod trickling;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use myriad_core::{Peer, Redundancy, TaskId, TaskRef};
use myriad_net::{
    Event as NetEvent, Network,
    blob::BlobRef,
    wire::{Lease, OfferMessage, Request as WireRequest, Response, Returned, Role, Spent, Work},
};
use myriad_node::{Event, RunError, prover::Activity};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

use testbed::{
    Fault, Journal, Kept, MEMORY, Outcome, Owed, PROOF_BYTES, Pretender, Prover, Request, address, engine,
    request, segment_proof, start, tree,
};

/// The time of a pretended task.
const TASK: Duration = Duration::from_millis(100);
/// Far more than any of these jobs takes, on a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(120);

fn honest() -> Pretender {
    Pretender::new(TASK, Fault::None)
}

fn ask(seed: u8, segments: u32) -> Request {
    Request {
        seed,
        segments,
        task: TASK,
        own: BTreeSet::new(),
        redundancy: Redundancy::default(),
        leases: Journal::default(),
        owed: Owed::default(),
        own_final: false,
        stop: Box::pin(std::future::pending()),
        execution: None,
        growth: None,
        priority: 0,
        due: None,
        files_of: None,
        kept: Kept::default(),
    }
}

/// [`ask`] with each task given to one prover at a time, so that one that is lost is missed.
fn ask_once(seed: u8, segments: u32) -> Request {
    Request {
        redundancy: Redundancy::Fixed(1),
        ..ask(seed, segments)
    }
}

/// Runs a requester in this folder until two provers are at work, and ends it.
async fn is_interrupted(dir: &Path, at: &[String], wanted: Request) {
    let (network, events) = start(dir, Role::Requester, at);
    address(&network).await;
    let journal = wanted.leases.clone();
    let at_work = async {
        while journal.lock().unwrap().len() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        outcome = request(network.clone(), events, wanted) => panic!("it is done already: {:?}", outcome.result),
        () = at_work => {}
    }
    network.close();
}

/// Gets a segment to prove, and says at once that its proof is what `keeps` says.
async fn claim(network: &Network, requester: Peer, keeps: impl FnOnce(&[u8]) -> BlobRef) {
    let lease = leased(network, requester).await;
    let Work::Segment(description) = &lease.work else {
        panic!("segments come first")
    };
    let proof = keeps(&segment_proof(description));
    submit(network, requester, lease.task, proof).await;
}

/// Offers until there is a lease.
async fn leased(network: &Network, requester: Peer) -> Lease {
    let offer = WireRequest::Offer(OfferMessage {
        memory: MEMORY,
        threads: 1,
        speed: 1000,
        engines: vec![engine().name],
        holds: Vec::new(),
    });
    loop {
        if let Ok(Response::Lease(lease)) = network.ask(requester, offer.clone()).await {
            return *lease;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn submit(network: &Network, requester: Peer, task: TaskRef, proof: BlobRef) {
    let spent = Spent::default();
    let submit = WireRequest::Submit { task, proof, spent };
    network.ask(requester, submit).await.unwrap();
}

/// Serves everybody with what `lease` gives, takes note of proofs and says nothing more, and keeps
/// with which reasons leases come back.
fn serves(
    mut events: UnboundedReceiver<NetEvent>,
    mut lease: impl FnMut() -> Lease + Send + 'static,
) -> Arc<Mutex<Vec<Returned>>> {
    let returns: Arc<Mutex<Vec<Returned>>> = Arc::default();
    let noted = Arc::clone(&returns);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let NetEvent::Request { request, reply, .. } = event else {
                continue;
            };
            reply.send(match request {
                WireRequest::Offer(_) => Response::Lease(Box::new(lease())),
                WireRequest::Renew { .. } => Response::Extended { lease_ms: 60_000 },
                WireRequest::Return { why, .. } => {
                    noted.lock().unwrap().push(why);
                    Response::Received
                }
                WireRequest::Submit { .. } | WireRequest::Prepare { .. } | WireRequest::Notice(_) => {
                    Response::Received
                }
            });
        }
    });
    returns
}

fn all_accepted_once(outcome: &Outcome, segments: u32) {
    outcome.result.as_ref().unwrap();
    let tasks: Vec<TaskId> = tree(segments).tasks().collect();
    assert_eq!(outcome.accepted.len(), tasks.len());
    assert!(outcome.accepted.values().all(|&times| times == 1));
}

async fn requester(dir: &tempfile::TempDir) -> (Network, UnboundedReceiver<NetEvent>, Vec<String>) {
    let (network, events) = start(dir.path(), Role::Requester, &[]);
    let address = address(&network).await;
    (network, events, vec![address])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provers_share_a_job_and_move_no_more_than_they_need() {
    const SEGMENTS: u32 = 24;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let provers: Vec<Prover> = (0..3).map(|_| Prover::start(&at, honest())).collect();
    let outcome = timeout(PATIENCE, request(network, events, ask(1, SEGMENTS)))
        .await
        .unwrap();
    all_accepted_once(&outcome, SEGMENTS);
    assert!(
        provers.iter().all(|prover| prover.begun() > 0),
        "all of them worked"
    );

    // Each proof comes to the requester once, and requests for the files go out beside it.
    let proofs = (tree(SEGMENTS).task_count() * PROOF_BYTES) as f64;
    let received = outcome.traffic.blob_bytes_in as f64;
    assert!(received < 1.1 * proofs, "{received} bytes for {proofs} of proofs");
    // Program and input go to each prover at most once, whichever peers have them. A prover needs
    // at most those of the children's proofs that it has not made itself.
    let files = 800_000.0;
    for prover in &provers {
        let received = prover.network.traffic().blob_bytes_in as f64;
        assert!(received < 1.1 * (files + proofs), "{received} bytes");
    }
    let sent = outcome.traffic.blob_bytes_out as f64;
    let all_children = proofs;
    assert!(
        sent < 3.0 * files + 0.2 * all_children,
        "{sent} bytes: proofs go from prover to prover"
    );
    for prover in provers {
        prover.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_prover_works_and_one_that_leaves_is_replaced() {
    const SEGMENTS: u32 = 40;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let slow = || Pretender::new(Duration::from_secs(1), Fault::None);
    let leaves = Prover::start(&at, slow());
    let dies = Prover::start(&at, Pretender::new(TASK, Fault::Hangs));
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let job = tokio::task::spawn_local(request(network, events, ask_once(2, SEGMENTS)));
            while leaves.begun() == 0 || dies.begun() == 0 {
                sleep(Duration::from_millis(10)).await;
            }
            let joins = Prover::start(&at, honest());
            let joined = async {
                while joins.begun() == 0 {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(5), joined)
                .await
                .expect("who joins gets work within 5 s");
            leaves.stop().await;
            dies.kill();
            let outcome = timeout(PATIENCE, job).await.unwrap().unwrap();
            all_accepted_once(&outcome, SEGMENTS);
            assert!(
                outcome
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Left { .. }))
            );
            joins.stop().await;
        })
        .await;
}

/// Nobody has to notice that it is gone, which would take longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_prover_hands_its_task_back() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let stopped = Prover::start(&at, Pretender::new(TASK, Fault::Hangs));
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let job = tokio::task::spawn_local(request(network, events, ask_once(8, 1)));
            while stopped.begun() == 0 {
                sleep(Duration::from_millis(10)).await;
            }
            let other = Prover::start(&at, honest());
            sleep(Duration::from_secs(1)).await;
            assert_eq!(other.begun(), 0, "there is one task, and it is taken");
            stopped.stop().await;
            let begins = async {
                while other.begun() == 0 {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(4), begins)
                .await
                .expect("it is handed back");
            let outcome = timeout(PATIENCE, job).await.unwrap().unwrap();
            all_accepted_once(&outcome, 1);
            other.stop().await;
        })
        .await;
}

/// As `kill -9` and the same command again: the provers have gone on meanwhile, and what they do is
/// not given to anybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_was_killed_finds_its_provers_at_work() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (bootstrap, _events) = start(dirs[0].path(), Role::Bootstrap, &[]);
    let at = vec![address(&bootstrap).await];
    let task = Duration::from_secs(8);
    let provers: Vec<Prover> = (0..2)
        .map(|_| Prover::start(&at, Pretender::new(task, Fault::None)))
        .collect();
    let journal = Journal::default();
    let wanted = || Request {
        task,
        leases: journal.clone(),
        ..ask_once(8, 2)
    };

    is_interrupted(dirs[1].path(), &at, wanted()).await;
    let idle = Prover::start(&at, Pretender::new(TASK, Fault::None));

    let (network, events) = start(dirs[1].path(), Role::Requester, &at);
    address(&network).await;
    let outcome = timeout(PATIENCE, request(network, events, wanted()))
        .await
        .unwrap();
    all_accepted_once(&outcome, 2);
    let begun: usize = provers.iter().chain([&idle]).map(Prover::begun).sum();
    assert_eq!(begun, tree(2).task_count(), "no task was begun twice");
    assert!(journal.lock().unwrap().is_empty(), "nobody is at a task any more");
    drop(provers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provers_hear_of_an_interrupted_job_and_leave_it() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Prover::start(&at, Pretender::new(PATIENCE, Fault::None));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let wanted = Request {
        stop: Box::pin(async { stopped.await.unwrap() }),
        ..ask(9, 1)
    };
    let begun = async {
        while prover.begun() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        stop.send(()).unwrap();
    };
    let both = async { tokio::join!(request(network, events, wanted), begun) };
    let (outcome, ()) = timeout(PATIENCE, both).await.unwrap();
    assert!(matches!(outcome.result, Err(RunError::Interrupted)));
    let leaves = async {
        while !matches!(prover.status.lock().unwrap().activity, Activity::Idle { .. }) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE / 2, leaves).await.expect("its task is revoked");
    prover.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_proof_wins_and_the_other_copies_stop_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let slow: Vec<Prover> = (0..2)
        .map(|_| Prover::start(&at, Pretender::new(TASK, Fault::Hangs)))
        .collect();
    let local = tokio::task::LocalSet::new();
    let job = Request {
        redundancy: Redundancy::Fixed(3),
        ..ask(15, 1)
    };
    local
        .run_until(async {
            let job = tokio::task::spawn_local(request(network, events, job));
            while slow.iter().any(|prover| prover.begun() == 0) {
                sleep(Duration::from_millis(10)).await;
            }
            let fast = Prover::start(&at, honest());
            while fast.status.lock().unwrap().accepted == 0 {
                sleep(Duration::from_millis(10)).await;
            }
            let stopped = async {
                while !slow.iter().all(Prover::was_stopped) {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(1), stopped)
                .await
                .expect("the engines of the other two are stopped");
            let outcome = timeout(PATIENCE, job).await.unwrap().unwrap();
            all_accepted_once(&outcome, 1);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_requesters_share_the_provers() {
    const SEGMENTS: u32 = 12;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (first, first_events, mut at) = requester(&dirs[0]).await;
    let (second, second_events, more) = requester(&dirs[1]).await;
    at.extend(more);
    let provers: Vec<Prover> = (0..3).map(|_| Prover::start(&at, honest())).collect();
    let both = async {
        tokio::join!(
            request(first, first_events, ask(3, SEGMENTS)),
            request(second, second_events, ask(4, SEGMENTS)),
        )
    };
    let (one, other) = timeout(PATIENCE, both).await.unwrap();
    all_accepted_once(&one, SEGMENTS);
    all_accepted_once(&other, SEGMENTS);
    // Neither waits until the other is done.
    let (shorter, longer) = (one.took.min(other.took), one.took.max(other.took));
    assert!(2 * shorter > longer, "{shorter:?} and {longer:?}");
    drop(provers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liars_are_banned_and_nobody_else() {
    const SEGMENTS: u32 = 12;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let faults = [
        Fault::WrongProof,
        Fault::WrongProof,
        Fault::AnothersProof,
        Fault::AnothersProof,
    ];
    let liars: Vec<Prover> = faults
        .into_iter()
        .map(|fault| Prover::start(&at, Pretender::new(TASK / 10, fault)))
        .collect();
    let fails = Prover::start(&at, Pretender::new(TASK, Fault::Fails));
    let helper = Prover::start(&at, honest());
    let outcome = timeout(PATIENCE, request(network, events, ask(5, SEGMENTS)))
        .await
        .unwrap();
    all_accepted_once(&outcome, SEGMENTS);
    let banned = outcome
        .events
        .iter()
        .filter(|event| matches!(event, Event::Notice { text } if text.contains("is banned")))
        .count();
    let lied = liars.iter().filter(|liar| liar.begun() > 0).count();
    assert_eq!(banned, lied, "each of them once, and nobody else");
    assert!(
        liars.iter().all(|liar| liar.begun() <= 1),
        "a banned prover gets nothing more"
    );
    drop((liars, fails, helper));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_on_its_owners_machine_is_the_jobs_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let own = Prover::start(&at, Pretender::new(TASK, Fault::Fails));
    let wanted = Request {
        own: [own.peer()].into(),
        ..ask(6, 2)
    };
    let outcome = timeout(PATIENCE, request(network, events, wanted)).await.unwrap();
    let error = outcome.result.unwrap_err().to_string();
    assert!(error.contains("it does not work here"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_says_why_it_has_nothing_to_do() {
    let prover = Prover::start(&[], honest());
    let why = |prover: &Prover| match &prover.status.lock().unwrap().activity {
        Activity::Idle { why } => why.clone(),
        other => format!("{other:?}"),
    };
    let waits = async {
        while !why(&prover).contains("--bootstrap") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, waits).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (network, _events) = start(dir.path(), Role::Bootstrap, &[address(&prover.network).await]);
    let waits = async {
        while !why(&prover).contains("none of the 1 connected nodes has a job") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, waits).await.unwrap();
    drop(network);
    prover.stop().await;
}

/// A requester that nobody knows an address of: it and the provers only know the bootstrap peer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_peer_is_enough() {
    const SEGMENTS: u32 = 4;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (bootstrap, _events) = start(dirs[0].path(), Role::Bootstrap, &[]);
    let at = vec![address(&bootstrap).await];
    let provers: Vec<Prover> = (0..2).map(|_| Prover::start(&at, honest())).collect();
    let (network, events) = start(dirs[1].path(), Role::Requester, &at);
    address(&network).await;
    let outcome = timeout(PATIENCE, request(network, events, ask(7, SEGMENTS)))
        .await
        .unwrap();
    all_accepted_once(&outcome, SEGMENTS);
    drop(provers);
}
