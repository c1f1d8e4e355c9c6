//! What a requester says of its peers while they work.

use myriad_core::{JobId, TaskRef};
use myriad_node::requester::{Jobs, PeerRegard, PeerView};
use tokio::join;

use super::*;
use crate::testbed::{AJob, Ledger, driver};

/// How a prover is shown while it is at a task: before it has delivered any, and then. A bystander
/// is there, too.
async fn looks(jobs: &Jobs<Ledger>, [prover, bystander]: [Peer; 2]) -> (PeerView, PeerView) {
    jobs.listen();
    let (mut stranger, mut proven) = (None, None);
    while stranger.is_none() || proven.is_none() {
        let now = jobs.overview().await.unwrap();
        let leases: usize = now.peers.iter().map(|peer| peer.leases.len()).sum();
        assert_eq!(now.leases, leases);
        assert_eq!(now.connected, now.peers.len());
        if now.connected == 2 && leases > 0 {
            let [first, second] = &now.peers[..] else {
                panic!("{now:?}")
            };
            assert_eq!((first.peer, second.peer), (prover, bystander));
            assert_eq!(
                (second.serves, second.regard, second.speed),
                (false, PeerRegard::Stranger, None)
            );
            match first.regard {
                PeerRegard::Stranger => stranger = Some(first.clone()),
                PeerRegard::Proven => proven = Some(first.clone()),
                other => panic!("{other:?}"),
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
    (stranger.unwrap(), proven.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_shown_with_their_tasks_and_what_they_have_delivered() {
    const SEED: u8 = 0xd0;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let busy = Prover::start(&at, Pretender::new(TASK * 3, Fault::None));
    let elsewhere = tempfile::tempdir().unwrap();
    let (bystander, _its_events) = start(elsewhere.path(), Role::Requester, &at);
    let request = ask_once(SEED, 4);
    let (driver, jobs) = driver(&network, events, &request);
    let mut job = AJob::new(&network, request);
    let ends = async {
        let both = join!(job.run(&jobs), looks(&jobs, [busy.peer(), bystander.peer()]));
        drop(jobs);
        both
    };
    let all = async { join!(ends, driver.run(std::future::pending())) };
    let ((result, (stranger, proven)), _) = timeout(PATIENCE, all).await.unwrap();
    result.unwrap();
    assert!(stranger.serves && proven.serves);
    assert_eq!(stranger.engines, [engine().name]);
    let task = TaskRef {
        job: JobId([SEED; 32]),
        task: TaskId::Segment(0),
    };
    assert_eq!(
        (stranger.leases, stranger.speed, stranger.accepted),
        (vec![task], None, 0)
    );
    assert!(proven.accepted > 0 && proven.speed.is_some());
    for (_, event) in job.seen() {
        if let Event::Joined { peer, .. } = event {
            assert_eq!(peer, busy.peer());
        }
    }
}
