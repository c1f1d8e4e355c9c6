//! Jobs that are announced before they are executed: provers have the files when there are tasks,
//! few of them from the requester; and a requester that never has a task costs them little.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use myriad_core::{JobId, TaskRef};
use myriad_net::{
    Event as NetEvent,
    blob::BlobRef,
    wire::{Refused, Request as WireRequest, Response, Sources, Why},
};

use super::*;
use crate::{
    holding::until,
    link::Link,
    testbed::{INPUT_BYTES, PROGRAM_BYTES, announcement, engine, files},
};

/// The most copies that a requester sends while others have the files.
const COPIES_MAX: f64 = 8.0;
/// The bytes on the wire for each byte of a blob.
const OVERHEAD: f64 = 1.1;
const FILES_BYTES: f64 = (PROGRAM_BYTES + INPUT_BYTES) as f64;

fn has_files(network: &Network, seed: u8) -> bool {
    let (program, input) = files(seed);
    [program, input]
        .iter()
        .all(|file| network.blobs().contains(&BlobRef::of(file).blob))
}

/// An execution that is done when all of these have the files of a job.
fn until_files_are_at(networks: Vec<Network>, seed: u8) -> Pin<Box<dyn Future<Output = bool>>> {
    Box::pin(async move {
        until("the files are there before the plan is", || {
            networks.iter().all(|network| has_files(network, seed))
        })
        .await;
        true
    })
}

fn idle_because(prover: &Prover, of: &str) -> bool {
    matches!(&prover.status.lock().unwrap().activity, Activity::Idle { why } if why.contains(of))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_on_a_provers_disk_before_the_job_is_planned() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Arc::new(Prover::start(&at, honest()));
    let there = until_files_are_at(vec![prover.network.clone()], 0x81);
    let seen = Arc::clone(&prover);
    let execution = async move {
        there.await;
        until("the owner sees why it waits", || {
            idle_because(&seen, "being executed") && idle_because(&seen, "has its files already")
        })
        .await;
        assert_eq!(seen.begun(), 0, "there are no tasks");
        true
    };
    let asked = Request {
        execution: Some(Box::pin(execution)),
        ..ask(0x81, 4)
    };
    let outcome = timeout(PATIENCE, request(network, events, asked)).await.unwrap();
    all_accepted_once(&outcome, 4);
    let sent = outcome.traffic.blob_bytes_out as f64;
    assert!(sent < FILES_BYTES * OVERHEAD, "{sent} bytes: nothing went twice");
}

/// The aim is that a requester's link carries eight copies at most, however many machines there
/// are. Each prover that has the files sends them to one other at a time, and the requester to no
/// more than four at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_provers_get_the_files_of_a_few_copies() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let provers: Vec<Prover> = (0..20).map(|_| Prover::start(&at, honest())).collect();
    let networks = provers.iter().map(|prover| prover.network.clone()).collect();
    let asked = Request {
        execution: Some(until_files_are_at(networks, 0x82)),
        ..ask(0x82, 4)
    };
    let outcome = timeout(PATIENCE, request(network, events, asked)).await.unwrap();
    all_accepted_once(&outcome, 4);
    // Proofs go out as well, of which each node of the tree takes some.
    let proofs = (tree(4).task_count() * PROOF_BYTES) as f64;
    let sent = outcome.traffic.blob_bytes_out as f64;
    assert!(
        sent < (COPIES_MAX * FILES_BYTES + proofs) * OVERHEAD,
        "{sent} bytes, and {FILES_BYTES} are a copy"
    );
    drop(provers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_at_a_task_fetches_the_files_of_the_next_job() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (first, first_events, mut at) = requester(&dirs[0]).await;
    let (second, second_events, more) = requester(&dirs[1]).await;
    at.extend(more);
    let prover = Arc::new(Prover::start(&at, Pretender::new(TASK, Fault::HangsOnce)));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let one = Request {
        stop: Box::pin(async { stopped.await.unwrap() }),
        ..ask(0x83, 1)
    };
    let (at_work, there) = (
        Arc::clone(&prover),
        until_files_are_at(vec![prover.network.clone()], 0x84),
    );
    let execution = async move {
        until("it is at the other job's task", || at_work.begun() == 1).await;
        there.await;
        assert_eq!(at_work.begun(), 1, "it still is");
        stop.send(()).unwrap();
        true
    };
    let other = async {
        // The first one's task is given out before there is another job.
        until("it has a task", || prover.begun() == 1).await;
        let asked = Request {
            execution: Some(Box::pin(execution)),
            ..ask(0x84, 2)
        };
        request(second, second_events, asked).await
    };
    let both = async { tokio::join!(request(first, first_events, one), other) };
    let (given_up, done) = timeout(PATIENCE, both).await.unwrap();
    assert!(matches!(given_up.result, Err(RunError::Interrupted)));
    all_accepted_once(&done, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_cannot_be_planned_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Arc::new(Prover::start(&at, honest()));
    let there = until_files_are_at(vec![prover.network.clone()], 0x85);
    let knows = Arc::clone(&prover);
    let execution = async move {
        there.await;
        until("it knows the job", || knows.status.lock().unwrap().jobs == 1).await;
        false
    };
    let asked = Request {
        execution: Some(Box::pin(execution)),
        ..ask(0x85, 1)
    };
    // It stays, as a process does that has more to do.
    let stays = network.clone();
    let outcome = timeout(PATIENCE, request(network, events, asked)).await.unwrap();
    assert!(outcome.result.is_err());
    until("it hears that there is no job", || {
        prover.status.lock().unwrap().jobs == 0
    })
    .await;
    drop(stays);
}

/// Ends the requester as `kill -9` would, in the middle of the execution, and runs the same command
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_is_killed_while_it_executes_loses_nothing() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (bootstrap, _events) = start(dirs[0].path(), Role::Bootstrap, &[]);
    let at = vec![address(&bootstrap).await];
    let provers: Vec<Prover> = (0..2).map(|_| Prover::start(&at, honest())).collect();
    let networks: Vec<Network> = provers.iter().map(|prover| prover.network.clone()).collect();

    let (network, events) = start(dirs[1].path(), Role::Requester, &at);
    address(&network).await;
    let executes = Request {
        execution: Some(Box::pin(std::future::pending())),
        ..ask(0x86, 4)
    };
    tokio::select! {
        _ = request(network.clone(), events, executes) => panic!("it executes for ever"),
        _ = until_files_are_at(networks.clone(), 0x86) => {}
    }
    network.close();
    drop(network);

    let (network, events) = start(dirs[1].path(), Role::Requester, &at);
    address(&network).await;
    let again = network.clone();
    let execution = async move {
        let is_back = || {
            again
                .peers()
                .iter()
                .filter(|peer| peer.role == Some(Role::Prover))
                .count()
                == 2
        };
        until("the provers find it again", is_back).await;
        true
    };
    let asked = Request {
        execution: Some(Box::pin(execution)),
        ..ask(0x86, 4)
    };
    let outcome = timeout(PATIENCE, request(network, events, asked)).await.unwrap();
    all_accepted_once(&outcome, 4);
    let proofs = (tree(4).task_count() * PROOF_BYTES) as f64;
    for prover in provers {
        let came = prover.network.traffic().blob_bytes_in as f64;
        assert!(
            came < (FILES_BYTES + proofs) * OVERHEAD,
            "{came} bytes: the files came once"
        );
        prover.stop().await;
    }
}

/// A question that waited for the plan would hold one of the places of unanswered requests, and
/// strangers could take all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_question_waits_for_the_plan() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (network, events, at) = requester(&dirs[0]).await;
    let (stranger, _events) = start(dirs[1].path(), Role::Prover, &at);
    let requester = network.peer();
    let question = |job: u8| WireRequest::Renew {
        task: TaskRef {
            job: JobId([job; 32]),
            task: TaskId::Segment(0),
        },
        progress: 1,
    };
    let answers = async {
        until("they are connected", || {
            stranger.peers().iter().any(|peer| peer.peer == requester)
        })
        .await;
        for job in [0x8f, 0x8e] {
            let answer = stranger.ask(requester, question(job)).await.unwrap();
            assert!(
                matches!(&answer, Response::Refused(refused) if refused.why == Why::NotLeased),
                "{answer:?}"
            );
        }
    };
    let executes = Request {
        execution: Some(Box::pin(std::future::pending())),
        ..ask(0x8f, 1)
    };
    tokio::select! {
        _ = request(network, events, executes) => panic!("it executes for ever"),
        answered = timeout(PATIENCE, answers) => answered.unwrap(),
    }
}

/// A requester that never has a task, and answers each peer that wants its files.
struct Idler {
    network: Network,
    at: String,
    asked: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

impl Idler {
    /// It announces jobs of `announced` bytes, and names an input of `bytes`, which are somewhere
    /// if `has` them.
    async fn start(seed: u8, announced: u64, bytes: usize, has: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (network, mut events) = start(dir.path(), Role::Requester, &[]);
        let at = address(&network).await;
        let input = vec![seed; bytes];
        let input = if has {
            network.blobs().put(&input).unwrap()
        } else {
            BlobRef::of(&input)
        };
        let program = network.blobs().put(&[seed; 100]).unwrap();
        let asked: Arc<AtomicUsize> = Arc::default();
        let source = |blob| network.source(blob, [network.peer()]);
        let sources = Sources {
            program: source(program),
            program_config: None,
            input: source(input),
            engine: engine(),
        };
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let NetEvent::Request { request, reply, .. } = event else {
                    continue;
                };
                reply.send(match request {
                    WireRequest::Prepare { .. } => {
                        count.fetch_add(1, Ordering::SeqCst);
                        Response::Files(Box::new(sources.clone()))
                    }
                    WireRequest::Offer(_) => Response::Refused(Refused {
                        why: Why::NotNow,
                        reason: "it executes".into(),
                        retry_ms: Some(500),
                    }),
                    _ => Response::Received,
                });
            }
        });
        let said = myriad_net::wire::Announcement {
            extent: None,
            bytes: announced,
            ..announcement(&network, JobId([seed; 32]))
        };
        network.announce(said);
        Self {
            network,
            at,
            asked,
            _dir: dir,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_was_announced_or_is_lent_for_is_not_fetched() {
    const MORE_THAN_LENT: usize = (1 << 20) + 1;
    let idlers = [
        Idler::start(0x87, 1000, 1 << 20, true).await,
        Idler::start(0x88, 2 << 20, MORE_THAN_LENT, true).await,
    ];
    for idler in &idlers {
        let prover = Prover::start(std::slice::from_ref(&idler.at), honest());
        until("it wants the files", || idler.asked() == 1).await;
        until("it does not want them", || {
            idle_because(&prover, "has not fetched its files")
        })
        .await;
        // Its pause is over, and it does not ask again.
        sleep(Duration::from_secs(4)).await;
        assert_eq!(idler.asked(), 1);
        assert_eq!(prover.network.traffic().blob_bytes_in, 0);
        prover.stop().await;
    }
    drop(idlers.map(|idler| idler.network));
}

/// Bytes that come far too slowly: the prover leaves them, a few times, and does the work of others
/// meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_trickle_are_left_and_others_are_served() {
    const TRIES: usize = 3;
    let idler = Idler::start(0x89, 2 << 20, 1 << 20, true).await;
    let link = Link::to(&idler.at, Some(16 << 10));
    let dir = tempfile::tempdir().unwrap();
    let (network, events, mut at) = requester(&dir).await;
    at.push(link.address());
    let prover = Prover::start(&at, honest());
    until("it wants the files", || idler.asked() == 1).await;
    let outcome = timeout(PATIENCE, request(network, events, ask(0x8a, 4)))
        .await
        .unwrap();
    all_accepted_once(&outcome, 4);
    until("it leaves them and tries again", || idler.asked() == TRIES).await;
    prover.stop().await;
}
