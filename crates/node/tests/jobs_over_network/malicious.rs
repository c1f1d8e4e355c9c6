//! Requesters that want more than a prover's owner lends, or are not what they say: the limits hold
//! before anything is fetched, the owner sees why, and honest requesters are served meanwhile.
//!
//! Programs that never end or take all memory, in the engine child, are in the tests of the engine
//! and of `myriad`.

use std::sync::{Arc, Mutex};

use myriad_core::{JobId, TaskRef};
use myriad_engine::PROGRAM_BYTES_MAX;
use myriad_net::{
    Event as NetEvent,
    blob::BlobRef,
    wire::{Lease, Returned, Sources, Work},
};

use super::*;
use crate::testbed::{MEMORY, announcement, engine};

/// Jobs that one requester announces at once.
const FLOOD: u32 = 500;

/// The demand of a lease.
#[derive(Clone, Copy, Debug)]
enum Demand {
    Memory,
    Instructions,
    Input,
    Program,
    /// A program whose bytes nobody has, by its hash.
    NoSuchProgram,
    /// An engine that the announcement did not name, and that nobody has.
    NoSuchEngine,
    /// Nothing beyond the limits, but hundreds of jobs are announced at once, and no segment is
    /// one.
    Flood,
}

impl Demand {
    const ALL: [Self; 7] = [
        Self::Memory,
        Self::Instructions,
        Self::Input,
        Self::Program,
        Self::NoSuchProgram,
        Self::NoSuchEngine,
        Self::Flood,
    ];

    /// A part of the reason with which the lease comes back.
    fn reason(self) -> &'static str {
        match self {
            Self::Memory => {
                "bytes of memory for the task: 4294967297, and 4294967296 are allowed; see --memory"
            }
            Self::Instructions => {
                "instructions of the job: 18446744073709551615, and 1000000 are allowed; see --max-instructions"
            }
            Self::Input => "bytes of the job's input: 1048577, and 1048576 are allowed; see --max-input",
            Self::Program => "bytes of the job's program",
            Self::NoSuchEngine => "this machine has no engine `other`, but `pretended`",
            Self::NoSuchProgram | Self::Flood => "",
        }
    }
}

/// A requester that gives everybody the same lease.
struct Malicious {
    demand: Demand,
    network: Network,
    at: String,
    returns: Arc<Mutex<Vec<Returned>>>,
    _dir: tempfile::TempDir,
}

impl Malicious {
    async fn start(demand: Demand) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (network, events) = start(dir.path(), Role::Requester, &[]);
        let at = address(&network).await;
        let lease = lease(&network, demand);
        let returns = serves(events, move || lease.clone());
        Self {
            demand,
            network,
            at,
            returns,
            _dir: dir,
        }
    }

    /// Says that it has a job, which seems to be within anybody's limits.
    fn announce(&self, job: u32) {
        let mut id = [0x66; 32];
        id[..4].copy_from_slice(&job.to_be_bytes());
        id[4] = self.demand as u8;
        self.network.announce(announcement(&self.network, JobId(id)));
    }
}

fn lease(network: &Network, demand: Demand) -> Lease {
    let here = |bytes: &[u8]| network.source(network.blobs().put(bytes).unwrap(), [network.peer()]);
    let elsewhere = |bytes: u64| {
        let blob = BlobRef {
            bytes,
            ..BlobRef::of(b"nothing that anybody has")
        };
        network.source(blob, [network.peer()])
    };
    let mut lease = Lease {
        task: TaskRef {
            job: JobId([0x66; 32]),
            task: TaskId::Segment(0),
        },
        lease_ms: 60_000,
        work_ms: 1000,
        memory: 1 << 30,
        sources: Sources {
            program: here(b"a program"),
            program_config: None,
            input: here(b"an input"),
            engine: engine(),
        },
        instructions: 1000,
        work: Work::Segment(vec![0xff; 100]),
    };
    match demand {
        Demand::Memory => lease.memory = MEMORY + 1,
        Demand::Instructions => lease.instructions = u64::MAX,
        Demand::Input => lease.sources.input = elsewhere((1 << 20) + 1),
        Demand::Program => lease.sources.program = elsewhere(PROGRAM_BYTES_MAX as u64 + 1),
        Demand::NoSuchProgram => lease.sources.program = elsewhere(24),
        Demand::NoSuchEngine => lease.sources.engine.name = "other".parse().unwrap(),
        Demand::Flood => {}
    }
    lease
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_requesters_demand_is_held_to_the_owners_limits() {
    let mut malicious = Vec::new();
    for demand in Demand::ALL {
        malicious.push(Malicious::start(demand).await);
    }
    let dir = tempfile::tempdir().unwrap();
    let (network, events, mut at) = requester(&dir).await;
    at.extend(malicious.iter().map(|requester| requester.at.clone()));
    let prover = Prover::start(&at, honest());
    let connected = async {
        while prover.network.peers().len() < at.len() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, connected).await.unwrap();
    for requester in &malicious {
        let jobs = if matches!(requester.demand, Demand::Flood) {
            FLOOD
        } else {
            1
        };
        (0..jobs).for_each(|job| requester.announce(job));
    }
    // The first lease that demands too much comes back with the reason.
    for requester in &malicious {
        let answered = async {
            while requester.returns.lock().unwrap().is_empty() && !matches!(requester.demand, Demand::Flood) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, answered)
            .await
            .unwrap_or_else(|_| panic!("{:?} is not answered", requester.demand));
        let returns = requester.returns.lock().unwrap();
        match (requester.demand, returns.first()) {
            (Demand::Flood, _) | (Demand::NoSuchProgram, Some(Returned::Failed { .. })) => {}
            (demand, Some(Returned::Unwilling { reason })) => {
                assert!(reason.contains(demand.reason()), "{demand:?}: {reason}");
            }
            (demand, other) => panic!("{demand:?}: {other:?}"),
        }
    }
    // The owner sees as much.
    let seen = async {
        loop {
            let activity = prover.status.lock().unwrap().activity.clone();
            if let Activity::Idle { why } = activity
                && why.contains("are allowed")
            {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, seen).await.expect("the owner sees why");
    // And the others' jobs are done.
    let outcome = timeout(PATIENCE, request(network, events, ask(12, 4)))
        .await
        .unwrap();
    all_accepted_once(&outcome, 4);
}

/// A hundred peers of another version, and as many provers with another engine: the first of them
/// are told of, and the job is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_of_no_use_do_not_fill_the_screen() {
    const PEERS: u8 = 100;
    /// The most that a job tells of (`STRANGERS_TOLD_MAX` of `myriad-node`).
    const TOLD_MAX: usize = 16;
    let dir = tempfile::tempdir().unwrap();
    let (network, mut events, at) = requester(&dir).await;
    let (sender, with_more) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut told = false;
        while let Some(event) = events.recv().await {
            // From the first offer on, the plan is there.
            if !told && matches!(event, NetEvent::Request { .. }) {
                told = true;
                for number in 0..PEERS {
                    let strange = NetEvent::OtherVersion {
                        peer: Peer([number; 32]),
                        theirs: 99,
                        build: "somebody's".into(),
                    };
                    sender.send(strange).unwrap();
                }
            }
            if sender.send(event).is_err() {
                break;
            }
        }
    });
    let prover = Prover::start(&at, honest());
    let outcome = timeout(PATIENCE, request(network, with_more, ask(24, 4)))
        .await
        .unwrap();
    all_accepted_once(&outcome, 4);
    let is_of_stranger = |event: &&Event| matches!(event, Event::NoticeToAll { text, .. } if text.contains("speaks version 99"));
    assert_eq!(outcome.events.iter().filter(is_of_stranger).count(), TOLD_MAX);
    prover.stop().await;
}
