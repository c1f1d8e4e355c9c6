//! Leases ahead over real connections: inputs come while the machine is at another task, and the
//! maker of a node's last child has the node in the answer to its submission.

use std::sync::{Arc, Mutex};

use myriad_core::{JobId, NodeId, TaskRef};
use myriad_net::{
    Event as NetEvent,
    blob::BlobRef,
    wire::{Lease, Notice, Refused, Request as Wire, Returned, Sources, Why},
};
use myriad_node::engine_fingerprint;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::{holding::until, testbed::announcement};

const JOB: JobId = JobId([0x77; 32]);
const FIRST: TaskRef = TaskRef {
    job: JOB,
    task: TaskId::Segment(0),
};
const NEXT: TaskRef = TaskRef {
    job: JOB,
    task: TaskId::Node(NodeId { level: 1, index: 0 }),
};
/// Time for the next task's inputs to come while the first one is under way, on a machine that does
/// other work too.
const SLOW: Duration = Duration::from_secs(5);

/// A requester with one task, and one that comes next.
struct Giver {
    network: Network,
    at: Vec<String>,
    /// What it was asked, in order, but for renewals.
    asked: Arc<Mutex<Vec<Wire>>>,
    child: BlobRef,
    _dir: tempfile::TempDir,
}

impl Giver {
    /// The next task is `next`.
    async fn start(next: TaskRef) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (network, events, at) = requester(&dir).await;
        let child = network.blobs().put(&segment_proof(b"a segment")).unwrap();
        let asked: Arc<Mutex<Vec<Wire>>> = Arc::default();
        tokio::spawn(serve(network.clone(), events, (next, child), Arc::clone(&asked)));
        network.announce(announcement(&network, JOB));
        Self {
            network,
            at,
            asked,
            child,
            _dir: dir,
        }
    }

    /// What it was asked, in one word each.
    fn heard(&self) -> Vec<&'static str> {
        let word = |asked: &Wire| match asked {
            Wire::Offer(_) => "offer",
            Wire::OfferAhead(_) => "ahead",
            Wire::Submit { next: None, .. } => "submit",
            Wire::Submit { next: Some(_), .. } => "submit and offer",
            Wire::Return {
                why: Returned::Surplus,
                ..
            } => "surplus",
            Wire::Return {
                why: Returned::Stopping,
                ..
            } => "stopping",
            _ => "other",
        };
        self.asked.lock().unwrap().iter().map(word).collect()
    }

    async fn hears(&self, count: usize) -> Vec<&'static str> {
        until("it is asked", || self.asked.lock().unwrap().len() >= count).await;
        self.heard()
    }
}

async fn serve(
    network: Network,
    mut events: UnboundedReceiver<NetEvent>,
    (next, child): (TaskRef, BlobRef),
    asked: Arc<Mutex<Vec<Wire>>>,
) {
    let here = |bytes: &[u8]| network.source(network.blobs().put(bytes).unwrap(), [network.peer()]);
    let sources = Sources {
        program: here(b"a program"),
        openvm_toml: None,
        input: here(b"an input"),
        engine: engine_fingerprint(),
    };
    let lease = |task, work| {
        Response::Lease(Box::new(Lease {
            task,
            lease_ms: 60_000,
            work_ms: 10_000,
            memory: 1 << 30,
            sources: sources.clone(),
            instructions: 1000,
            work,
        }))
    };
    let nothing = || {
        Response::Refused(Refused {
            why: Why::NoWork,
            reason: "there is nothing".into(),
            retry_ms: Some(60_000),
        })
    };
    let (mut first, mut ahead) = (true, true);
    while let Some(event) = events.recv().await {
        let NetEvent::Asked { request, reply, .. } = event else {
            continue;
        };
        let answer = match &request {
            Wire::Renew { .. } => {
                reply.send(Response::Extended { lease_ms: 60_000 });
                continue;
            }
            Wire::Offer(_) if std::mem::take(&mut first) => lease(FIRST, Work::Segment(vec![1; 36])),
            Wire::OfferAhead(_) if std::mem::take(&mut ahead) => {
                let children = vec![network.source(child, [network.peer()])];
                lease(next, Work::Aggregate { level: 1, children })
            }
            Wire::Offer(_) | Wire::OfferAhead(_) => nothing(),
            _ => Response::Received,
        };
        asked.lock().unwrap().push(request);
        reply.send(answer);
    }
}

/// An engine that has done half of each task from the start.
fn half_done(delay: Duration) -> Pretender {
    Pretender {
        cpu: Duration::from_secs(5),
        ..Pretender::new(delay, Fault::None)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_tasks_inputs_come_while_a_machine_is_at_another_and_it_begins_without_a_word() {
    let giver = Giver::start(NEXT).await;
    let prover = Prover::start(&giver.at, half_done(SLOW));
    until("the next one's child is here", || {
        prover.network.blobs().contains(&giver.child.blob)
    })
    .await;
    assert_eq!((prover.begun(), giver.heard()), (1, vec!["offer", "ahead"]));
    until("it begins with the next one", || prover.begun() == 2).await;
    // An offer comes with the last submission.
    let heard = giver.hears(5).await;
    assert_eq!(heard[2..5], ["submit", "ahead", "submit and offer"], "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_task_that_is_revoked_is_not_begun_with() {
    let giver = Giver::start(NEXT).await;
    let prover = Prover::start(&giver.at, half_done(SLOW));
    until("the next one's child is here", || {
        prover.network.blobs().contains(&giver.child.blob)
    })
    .await;
    let revoke = Notice::Revoke {
        task: NEXT,
        reason: "a machine that was free has it".into(),
    };
    giver
        .network
        .ask(prover.peer(), Wire::Notice(revoke))
        .await
        .unwrap();
    let heard = giver.hears(3).await;
    assert_eq!(heard[2], "submit and offer", "{heard:?}");
    assert_eq!(prover.begun(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_gives_back_what_it_has_next() {
    let giver = Giver::start(NEXT).await;
    let prover = Prover::start(&giver.at, half_done(PATIENCE));
    until("the next one's child is here", || {
        prover.network.blobs().contains(&giver.child.blob)
    })
    .await;
    prover.stop().await;
    let returned: Vec<TaskRef> = giver
        .asked
        .lock()
        .unwrap()
        .iter()
        .filter_map(|asked| match asked {
            Wire::Return {
                task,
                why: Returned::Stopping,
            } => Some(*task),
            _ => None,
        })
        .collect();
    assert_eq!(returned.len(), 2, "{returned:?}");
    assert!(returned.contains(&FIRST) && returned.contains(&NEXT));
}

/// The files of another job would take the place of those that are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_task_of_another_job_goes_back() {
    let other = TaskRef {
        job: JobId([0x78; 32]),
        ..NEXT
    };
    let giver = Giver::start(other).await;
    let _prover = Prover::start(&giver.at, half_done(SLOW));
    let heard = giver.hears(3).await;
    assert_eq!(heard[..3], ["offer", "ahead", "surplus"], "{heard:?}");
}

/// A prover that says what it does by hand: it makes the right proofs of segments.
async fn submits(network: &Network, requester: Peer, lease: &Lease, next: bool) -> Response {
    let Work::Segment(description) = &lease.work else {
        panic!("segments come first")
    };
    let proof = network.blobs().put(&segment_proof(description)).unwrap();
    let submit = Wire::Submit {
        task: lease.task,
        proof,
        spent: Spent::default(),
        next: next.then(offer),
    };
    network.ask(requester, submit).await.unwrap()
}

fn offer() -> OfferMessage {
    OfferMessage {
        memory: MEMORY,
        threads: 1,
        speed: 1000,
        holds: Vec::new(),
    }
}

/// The requester names the maker's own proof, which it has not looked at, and takes the node when
/// it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_submits_the_last_child_has_the_node_in_the_answer() {
    const SEGMENTS: u32 = 2;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (network, events, at) = requester(&dirs[0]).await;
    let (maker, _maker_events) = start(dirs[1].path(), Role::Prover, &at);
    let requester = network.peer();
    let by_hand = async {
        let mut lease = loop {
            if let Ok(Response::Lease(lease)) = maker.ask(requester, Wire::Offer(offer())).await {
                break lease;
            }
            sleep(Duration::from_millis(50)).await;
        };
        // A newcomer gets nothing ahead.
        let answer = submits(&maker, requester, &lease, true).await;
        assert!(matches!(answer, Response::NoTask(_)), "{answer:?}");
        lease = loop {
            if let Ok(Response::Lease(lease)) = maker.ask(requester, Wire::Offer(offer())).await {
                break lease;
            }
            sleep(Duration::from_millis(50)).await;
        };
        let answer = submits(&maker, requester, &lease, true).await;
        let Response::Lease(node) = answer else {
            panic!("{answer:?}")
        };
        let Work::Aggregate { level: 1, children } = &node.work else {
            panic!("{node:?}")
        };
        assert_eq!(children.len(), SEGMENTS as usize);
        let own = children
            .iter()
            .filter(|child| maker.blobs().contains(&child.blob.blob));
        assert_eq!(own.count(), SEGMENTS as usize, "it has made both");
        // Others do the rest.
        let why = Returned::Stopping;
        let back = Wire::Return { task: node.task, why };
        assert_eq!(maker.ask(requester, back).await.unwrap(), Response::Received);
        Prover::start(&at, honest())
    };
    let both = async { tokio::join!(request(network, events, ask_once(0x79, SEGMENTS)), by_hand) };
    let (outcome, _prover) = timeout(PATIENCE, both).await.unwrap();
    all_accepted_once(&outcome, SEGMENTS);
}
