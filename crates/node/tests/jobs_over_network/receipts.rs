//! The receipts that provers get for their tasks.

use std::fs;

use super::*;
use crate::testbed::SEGMENT_INSTRUCTIONS;
use myriad_core::{Blob, JobId, Peer, TaskId, TaskRef};
use myriad_net::{
    Event as NetEvent, Receipt, peer_name,
    wire::{Notice, Request as WireRequest, Response},
};
use myriad_node::prover::Earned;
use tokio::sync::mpsc::UnboundedReceiver;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_signed_for_and_nothing_else() {
    const SEGMENTS: u32 = 6;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let name = peer_name(network.peer());
    let provers: Vec<Prover> = (0..2).map(|_| Prover::start(&at, honest())).collect();
    forge(&provers[0]).await;
    let outcome = timeout(PATIENCE, request(network, events, ask_once(10, SEGMENTS)));
    all_accepted_once(&outcome.await.unwrap(), SEGMENTS);

    let signed = || -> Vec<Earned> { provers.iter().flat_map(earned).collect() };
    let arrive = async {
        let tasks = || signed().iter().map(|earned| earned.tasks).sum::<u64>();
        while tasks() < tree(SEGMENTS).task_count() as u64 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, arrive).await.expect("each proof is signed for");
    assert!(signed().iter().all(|earned| earned.requester == name));
    let instructions: u64 = signed().iter().map(|earned| earned.instructions).sum();
    assert_eq!(instructions, u64::from(SEGMENTS) * SEGMENT_INSTRUCTIONS);
    for prover in provers {
        survives(prover).await;
    }
}

/// A prover that is away when its proof is accepted gets its receipt in the requester's next job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owed_is_given_in_a_later_job() {
    let owed = Owed::default();
    let job = |seed| Request {
        owed: Owed::clone(&owed),
        ..ask_once(seed, 2)
    };
    let [dir, home] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (network, events, at) = requester(&dir).await;
    let (leaves, heard) = start(home.path(), Role::Prover, &at);
    let leaves_after_one = proves_one(leaves.clone(), heard, network.peer());
    let stays = async {
        leaves_after_one.await;
        Prover::start(&at, honest())
    };
    let both = async { tokio::join!(stays, request(network, events, job(13))) };
    let (stays, outcome) = timeout(PATIENCE, both).await.unwrap();
    all_accepted_once(&outcome, 2);
    let receipts = owed.lock().unwrap().clone();
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].receipt.prover, leaves.peer());

    let (network, events) = start(dir.path(), Role::Requester, &[]);
    let at = [address(&network).await];
    let (_back, mut heard) = start(home.path(), Role::Prover, &at);
    let given = async {
        loop {
            if let Some(NetEvent::Request { request, reply, .. }) = heard.recv().await {
                reply.send(Response::Received);
                if let WireRequest::Notice(Notice::Receipt(signed)) = request {
                    return signed;
                }
            }
        }
    };
    let other = async {
        // A prover that is owed a receipt comes first: the job is over soon.
        let given = given.await;
        (given, Prover::start(&at, honest()))
    };
    let both = async { tokio::join!(other, request(network, events, job(14))) };
    let ((given, other), outcome) = timeout(PATIENCE, both).await.unwrap();
    all_accepted_once(&outcome, 2);
    assert_eq!(*given, receipts[0]);
    assert!(given.is_genuine());
    assert_eq!(*owed.lock().unwrap(), [], "it is paid");
    stays.stop().await;
    other.stop().await;
}

/// Does one task, and is gone as soon as it hears what became of it.
async fn proves_one(network: Network, mut heard: UnboundedReceiver<NetEvent>, requester: Peer) {
    claim(&network, requester, |proof| network.blobs().put(proof).unwrap()).await;
    loop {
        if let Some(NetEvent::Request { request, .. }) = heard.recv().await
            && let WireRequest::Notice(Notice::Verdict { .. } | Notice::Receipt(_)) = request
        {
            return network.close();
        }
    }
}

fn earned(prover: &Prover) -> Vec<Earned> {
    prover.status.lock().unwrap().earned.clone()
}

/// A receipt from a peer that never had anything done is heard, and that is all.
async fn forge(prover: &Prover) {
    let dir = tempfile::tempdir().unwrap();
    let at = [address(&prover.network).await];
    let (forger, mut events) = start(dir.path(), Role::Requester, &at);
    let greeted = async { while !matches!(events.recv().await, Some(myriad_net::Event::Greeted { .. })) {} };
    timeout(PATIENCE, greeted).await.unwrap();
    let forged = forger.sign(Receipt {
        requester: forger.peer(),
        prover: prover.peer(),
        task: TaskRef {
            job: JobId([1; 32]),
            task: TaskId::Segment(0),
        },
        proof: Blob([1; 32]),
        instructions: u64::MAX,
        work_ms: u64::MAX,
        accepted: 0,
    });
    let notice = WireRequest::Notice(Notice::Receipt(Box::new(forged)));
    assert_eq!(forger.ask(prover.peer(), notice).await, Ok(Response::Received));
}

/// All of it is there after a restart, but for a line that a crash has cut short.
async fn survives(prover: Prover) {
    let path = prover.dir().join("receipts.jsonl");
    let before = earned(&prover);
    let dir = prover.stop_and_keep().await;
    let whole = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        whole.lines().count() as u64,
        before.iter().map(|earned| earned.tasks).sum::<u64>()
    );
    fs::write(&path, format!("{whole}{}", &whole[..whole.len().min(40)])).unwrap();
    let again = Prover::start_in(dir, &[], honest());
    let read = async {
        while earned(&again) != before {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, read).await.expect("it is all there");
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    again.stop().await;
}
