//! Peers that only take the time of others: it is charged to them, and nobody else waits for long.
//! And machines for which time stood still.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use myriad_core::JobId;
use myriad_net::{Event as NetEvent, wire::Request};

use super::*;
use crate::testbed::{announcement, start_with_clock};

/// A requester that announces a job and answers no offer.
struct Silent {
    network: Network,
    at: String,
    offers: Arc<Mutex<usize>>,
    _dir: tempfile::TempDir,
}

impl Silent {
    async fn start(seed: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (network, mut events) = start(dir.path(), Role::Requester, &[]);
        let at = address(&network).await;
        let offers: Arc<Mutex<usize>> = Arc::default();
        tokio::spawn({
            let offers = Arc::clone(&offers);
            async move {
                let mut unanswered = Vec::new();
                while let Some(event) = events.recv().await {
                    if let NetEvent::Request { request, reply, .. } = event {
                        *offers.lock().unwrap() += usize::from(matches!(request, Request::Offer(_)));
                        unanswered.push(reply);
                    }
                }
            }
        });
        network.announce(announcement(&network, JobId([seed; 32])));
        Self {
            network,
            at,
            offers,
            _dir: dir,
        }
    }

    fn was_asked(&self) -> bool {
        *self.offers.lock().unwrap() > 0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requesters_that_never_answer_keep_no_prover_from_others() {
    let silent = [Silent::start(0x71).await, Silent::start(0x72).await];
    let dir = tempfile::tempdir().unwrap();
    let (network, events, mut at) = requester(&dir).await;
    at.extend(silent.iter().map(|requester| requester.at.clone()));
    let prover = Prover::start(&at, honest());
    let one_is_asked = async {
        while !silent.iter().any(Silent::was_asked) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, one_is_asked).await.unwrap();
    let outcome = timeout(PATIENCE, request(network, events, ask(13, 4)))
        .await
        .unwrap();
    all_accepted_once(&outcome, 4);
    // One unanswered offer alone would take 20 s.
    assert!(outcome.took < Duration::from_secs(12), "{:?}", outcome.took);
    // The owner sees the requester that does not answer.
    let seen = async {
        loop {
            let activity = prover.status.lock().unwrap().activity.clone();
            if let Activity::Idle { why } = activity
                && why.contains("it does not answer")
            {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, seen).await.expect("the owner sees why");
    drop(silent.map(|requester| requester.network));
}

/// The clock of a machine that was suspended for as many seconds as the second one says.
pub fn suspendable() -> (impl Fn() -> Option<Duration> + Send + 'static, Arc<AtomicU64>) {
    let suspended: Arc<AtomicU64> = Arc::default();
    let since_boot = {
        let (suspended, start) = (Arc::clone(&suspended), Instant::now());
        move || Some(start.elapsed() + Duration::from_secs(suspended.load(Ordering::SeqCst)))
    };
    (since_boot, suspended)
}

/// The lid of the requester is closed and opened an hour later: it opens its connections again, its
/// user is told, and its provers go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_was_suspended_finds_its_provers_again_within_seconds() {
    const SEGMENTS: u32 = 12;
    const HOUR: u64 = 3600;
    let dir = tempfile::tempdir().unwrap();
    let (since_boot, suspended) = suspendable();
    let (network, events) = start_with_clock(dir.path(), Role::Requester, &[], since_boot);
    let at = vec![address(&network).await];
    let slow = || Pretender::new(Duration::from_millis(400), Fault::None);
    let provers = [Prover::start(&at, slow()), Prover::start(&at, slow())];
    let begun = || provers.iter().map(Prover::begun).sum::<usize>();
    let job = request(network, events, ask(15, SEGMENTS));
    let lid = async {
        while begun() < 4 {
            sleep(Duration::from_millis(10)).await;
        }
        suspended.store(HOUR, Ordering::SeqCst);
        begun()
    };
    let (outcome, before) = tokio::join!(timeout(Duration::from_secs(60), job), lid);
    let outcome = outcome.expect("it goes on");
    all_accepted_once(&outcome, SEGMENTS);
    assert!(begun() > before);
    let told = outcome.events.iter().any(
        |event| matches!(event, Event::NoticeToAll { text, .. } if text.contains("suspended for 3600 s")),
    );
    assert!(told, "its user is told");
    let blamed = |event: &Event| matches!(event, Event::Retrying { .. });
    assert!(!outcome.events.iter().any(blamed), "{:?}", outcome.events);
}

/// The lid is closed while a prover is at work, and opened an hour later: it finds its requester
/// again at once, hands in what it has, goes on, and its owner is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_that_was_suspended_is_at_work_again_within_seconds() {
    const SEGMENTS: u32 = 12;
    const HOUR: u64 = 3600;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let own = tempfile::tempdir().unwrap();
    let (since_boot, suspended) = suspendable();
    let joined = start_with_clock(own.path(), Role::Prover, &at, since_boot);
    let slow = Pretender::new(Duration::from_millis(400), Fault::None);
    let prover = Prover::run(own, joined, slow);
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let job = tokio::task::spawn_local(request(network, events, ask(14, SEGMENTS)));
            while prover.begun() < 3 {
                sleep(Duration::from_millis(10)).await;
            }
            suspended.store(HOUR, Ordering::SeqCst);
            let told = async {
                loop {
                    let remarks = prover.status.lock().unwrap().remarks.clone();
                    if remarks
                        .iter()
                        .any(|remark| remark.contains("suspended for 3600 s"))
                    {
                        break;
                    }
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(10), told)
                .await
                .expect("its owner is told");
            let before = prover.begun();
            let goes_on = async {
                while prover.begun() < before + 3 {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(20), goes_on)
                .await
                .expect("it goes on");
            let outcome = timeout(PATIENCE, job).await.unwrap().unwrap();
            all_accepted_once(&outcome, SEGMENTS);
        })
        .await;
    prover.stop().await;
}
