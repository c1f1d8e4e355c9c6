//! Requesters that give a lease and never let go of the prover: it is free again by itself, its
//! owner sees why, and honest requesters are served. And several that give one at once.

use std::sync::{Arc, Mutex};

use myriad_core::{JobId, TaskRef};
use myriad_net::{
    Event as NetEvent,
    wire::{Lease, Refused, Request, Response, Returned, Sources, Why},
};
use myriad_node::prover::Calibration;

use super::*;
use crate::testbed::{announcement, engine};

/// How a requester holds on to a prover.
#[derive(Clone, Copy, Debug)]
pub struct Grip {
    /// The first time of the lease.
    pub lease_ms: u64,
    /// The answer to each renewal, if there is one.
    pub extends_ms: Option<u64>,
    /// How long it takes to answer an offer.
    pub answers_after: Duration,
    pub input_bytes: usize,
}

/// A requester with one lease for the first peer that asks, for a task like any other.
pub struct Holder {
    network: Network,
    pub at: String,
    returns: Arc<Mutex<Vec<Returned>>>,
    _dir: tempfile::TempDir,
}

impl Holder {
    pub async fn start(seed: u8, grip: Grip) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (network, mut events) = start(dir.path(), Role::Requester, &[]);
        let at = address(&network).await;
        let returns: Arc<Mutex<Vec<Returned>>> = Arc::default();
        let mut lease = Some(lease(&network, seed, grip));
        tokio::spawn({
            let returns = Arc::clone(&returns);
            async move {
                let mut unanswered = Vec::new();
                while let Some(event) = events.recv().await {
                    let NetEvent::Request { request, reply, .. } = event else {
                        continue;
                    };
                    let answer = match (request, grip.extends_ms) {
                        (Request::Offer(_), _) => {
                            let answer = match lease.take() {
                                Some(lease) => Response::Lease(Box::new(lease)),
                                None => Response::Refused(Refused {
                                    why: Why::NoWork,
                                    reason: "there was one".into(),
                                    retry_ms: Some(60_000),
                                }),
                            };
                            sleep(grip.answers_after).await;
                            answer
                        }
                        (Request::Renew { .. }, None) => {
                            unanswered.push(reply);
                            continue;
                        }
                        (Request::Renew { .. }, Some(lease_ms)) => Response::Extended { lease_ms },
                        (Request::Return { why, .. }, _) => {
                            returns.lock().unwrap().push(why);
                            Response::Received
                        }
                        (Request::Submit { .. } | Request::Prepare { .. } | Request::Notice(_), _) => {
                            Response::Received
                        }
                    };
                    reply.send(answer);
                }
            }
        });
        network.announce(announcement(&network, JobId([seed; 32])));
        Self {
            network,
            at,
            returns,
            _dir: dir,
        }
    }

    pub fn returns(&self) -> Vec<Returned> {
        self.returns.lock().unwrap().clone()
    }
}

fn lease(network: &Network, seed: u8, grip: Grip) -> Lease {
    let here = |bytes: &[u8]| network.source(network.blobs().put(bytes).unwrap(), [network.peer()]);
    Lease {
        task: TaskRef {
            job: JobId([seed; 32]),
            task: TaskId::Segment(0),
        },
        lease_ms: grip.lease_ms,
        work_ms: 1000,
        memory: 1 << 30,
        sources: Sources {
            program: here(&[seed; 100]),
            program_config: None,
            input: here(&vec![seed; grip.input_bytes]),
            engine: engine(),
        },
        instructions: 1000,
        work: Work::Segment(vec![seed; 36]),
    }
}

pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waited)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

/// A prover that is held is let go with `because`, the one that held it pays, and an honest job is
/// done.
async fn is_let_go(seed: u8, grip: Grip, mut engine: Pretender, because: &str) {
    let holder = Holder::start(seed, grip).await;
    engine.fault = Fault::HangsOnce;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, mut at) = requester(&dir).await;
    at.push(holder.at.clone());
    let prover = Prover::start(&at, engine);
    until("it is at work", || prover.begun() == 1).await;
    until("it is let go", || !holder.returns().is_empty()).await;
    assert!(prover.was_stopped(), "the engine was ended");
    let returns = holder.returns();
    let [Returned::Unwilling { reason }] = returns.as_slice() else {
        panic!("{returns:?}");
    };
    assert!(reason.contains(because), "{reason}");
    let pays = || match &prover.status.lock().unwrap().activity {
        Activity::Idle { why } => why.contains("took this machine's time for nothing once"),
        _ => false,
    };
    until("the owner sees who did it", pays).await;

    let outcome = timeout(PATIENCE, request(network, events, ask(seed ^ 0x0f, 4)))
        .await
        .unwrap();
    all_accepted_once(&outcome, 4);
    prover.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_falls_silent_holds_a_prover_as_long_as_its_lease() {
    let grip = Grip {
        lease_ms: 2000,
        extends_ms: None,
        answers_after: Duration::ZERO,
        input_bytes: 200,
    };
    is_let_go(0x41, grip, honest(), "its lease ran out").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_extends_for_ever_holds_a_prover_as_long_as_a_task_takes() {
    let grip = Grip {
        lease_ms: u64::MAX,
        extends_ms: Some(u64::MAX),
        answers_after: Duration::ZERO,
        input_bytes: 200,
    };
    // So fast that no task takes more than seconds.
    let mut engine = honest();
    engine.calibration = Calibration {
        core_speed: 1000.0,
        speed: 1000.0,
        memory_share: 1.0,
    };
    is_let_go(
        0x42,
        grip,
        engine,
        "nothing that fits into this machine takes longer",
    )
    .await;
}

/// Three requesters answer an offer with a lease at about the same time. One is served; the others
/// hear that they were second, not that this machine is being stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_prover_gets_beside_its_task_is_given_back_as_surplus() {
    let mut holders = Vec::new();
    for seed in 0x51..0x54 {
        // Slowly enough that others are asked meanwhile.
        let grip = Grip {
            lease_ms: 60_000,
            extends_ms: Some(60_000),
            answers_after: Duration::from_secs(4),
            input_bytes: 200,
        };
        holders.push(Holder::start(seed, grip).await);
    }
    let at: Vec<String> = holders.iter().map(|holder| holder.at.clone()).collect();
    let prover = Prover::start(&at, Pretender::new(TASK, Fault::Hangs));
    let surplus = || {
        let given_back = holders
            .iter()
            .filter(|holder| holder.returns() == [Returned::Surplus]);
        given_back.count() == 2
    };
    until("two leases are surplus", surplus).await;
    let served: Vec<_> = holders
        .iter()
        .filter(|holder| holder.returns().is_empty())
        .collect();
    assert_eq!(served.len(), 1);
    // Ctrl-C is what stops it.
    prover.stop().await;
    assert_eq!(served[0].returns(), [Returned::Stopping]);
    drop(holders.into_iter().map(|holder| holder.network));
}
