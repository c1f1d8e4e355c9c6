//! Machines that were away for so long that their connections and leases are gone elsewhere, and
//! machines whose clocks differ.

use std::{sync::atomic::Ordering, time::Instant};

use myriad_net::{Event as NetEvent, short_name};
use tokio::sync::mpsc;

use super::*;
use crate::{link::Link, testbed::start_with_clock, time::suspendable};

/// Twice the time for which a connection with a machine that is away is kept
/// (`CONNECTION_SILENCE_MAX` of `myriad-net`).
const GIVEN_UP: Duration = Duration::from_secs(30);
/// The machine that was away would notice no sooner by itself that nobody is left at the other end:
/// until it was given up it has heard of the other end, every 5 s.
const UNNOTICED: Duration = Duration::from_secs(8);

/// The lid of a prover is closed in the middle of a task. Its requester gives the connection up,
/// which the prover does not hear. When the lid is opened, the two meet again at once, what was
/// proven meanwhile is handed in, and the job is done by no other prover, and no task of it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_whose_connection_was_given_up_meanwhile_recovers_it_and_its_lease() {
    const SEGMENTS: u32 = 4;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let link = Link::to(&at[0], None);
    let own = tempfile::tempdir().unwrap();
    let (since_boot, suspended) = suspendable();
    let joined = start_with_clock(own.path(), Role::Prover, &[link.address()], since_boot);
    let prover = Prover::run(own, joined, Pretender::new(Duration::from_secs(1), Fault::None));
    let job = Request {
        // Their leases last longer than it is away.
        task: Duration::from_secs(120),
        ..ask_once(21, SEGMENTS)
    };
    let connected = |is: bool| {
        let network = network.clone();
        async move {
            let since = Instant::now();
            while network.peers().is_empty() == is {
                sleep(Duration::from_millis(10)).await;
            }
            since.elapsed()
        }
    };
    let lid = async {
        while prover.begun() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        link.silence();
        timeout(GIVEN_UP, connected(false)).await.expect("it is given up");
        let begun = prover.begun();
        suspended.store(3600, Ordering::SeqCst);
        let found = timeout(GIVEN_UP, connected(true))
            .await
            .expect("it is found again");
        (begun, found, Instant::now())
    };
    let (outcome, (begun, found, since)) =
        tokio::join!(timeout(PATIENCE, request(network.clone(), events, job)), lid);
    let outcome = outcome.unwrap();
    assert!(found < UNNOTICED, "it was found after {found:?}");
    assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
    all_accepted_once(&outcome, SEGMENTS);
    assert!(
        begun < tree(SEGMENTS).task_count(),
        "there was something left to do"
    );
    assert_eq!(prover.begun(), tree(SEGMENTS).task_count(), "its lease was kept");
    let blamed = |event: &Event| matches!(event, Event::Retrying { .. } | Event::Left { .. });
    assert!(!outcome.events.iter().any(blamed), "{:?}", outcome.events);
    prover.stop().await;
}

/// The owner of a prover learns that a requester's clock is wrong, and the jobs are served all the
/// same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_a_prover_is_told_of_a_requesters_clock() {
    const AHEAD_MS: i64 = 3 * 3_600_000 + 90_000;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let own = tempfile::tempdir().unwrap();
    let (prover_network, mut greeted) = start(own.path(), Role::Prover, &at);
    let (sender, prover_events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(mut event) = greeted.recv().await {
            if let NetEvent::Greeted { clock_ahead_ms, .. } = &mut event {
                assert!(clock_ahead_ms.abs() < 60_000, "the two have the same clock");
                *clock_ahead_ms += AHEAD_MS;
            }
            if sender.send(event).is_err() {
                break;
            }
        }
    });
    let prover = Prover::run(own, (prover_network, prover_events), honest());
    let first_remark = async {
        loop {
            let remarks = prover.status.lock().unwrap().remarks.clone();
            if let [remark] = remarks.as_slice() {
                break remark.clone();
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let remark = timeout(PATIENCE, first_remark).await.expect("the owner is told");
    let requester = short_name(network.peer());
    let expected = format!("the clock of requester {requester} was 3 h 01 min ahead of this machine's");
    assert!(remark.starts_with(&expected), "{remark}");
    let outcome = timeout(PATIENCE, request(network, events, ask(22, 4)))
        .await
        .unwrap();
    all_accepted_once(&outcome, 4);
    prover.stop().await;
}
