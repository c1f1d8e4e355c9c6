//! Requesters whose programs never end, take all memory, or are not what they are called. A real
//! prover with a real engine child gives each of their tasks back, its owner sees why, and the next
//! job is done.
//!
//! Limits that are checked before anything is fetched are in
//! `what_requesters_demand_is_held_to_the_owners_limits` of `myriad-node`.

use std::{fs, path::Path, sync::mpsc::channel, time::Duration};

use myriad_core::{EngineId, JobId, TaskId, TaskRef};
use myriad_engine::{Input, MemoryBudget, Segment};
use myriad_net::{
    Event, Network,
    wire::{
        Announcement, Extent, Lease, PROTOCOL_VERSION, Refused, Request, Response, Returned, Role, Sources,
        Why, Work,
    },
};
use myriad_node::job_id;
use myriad_openvm::Program;
use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};

use crate::{
    LISTEN, guest, keys,
    peer::{engine, join, patiently},
    process::{Process, myriad},
    wait_for,
};

/// The memory that the prover lends: enough that it asks for these requesters' tasks.
const LENT: &str = "512MiB";
/// The limit of the prover's owner.
const INSTRUCTIONS_MAX: u64 = 3_000_000;
/// Rows of every trace, which are as many as one can have. They take more memory than the prover
/// lends.
const BOMB: u32 = 1 << 20;
/// Instructions of the bomb, no more than there are rows for.
const BOMB_INSTRUCTIONS: u64 = 1_700_000;
/// Instructions of the program that allocates, no more than there are rows for. It touches more
/// memory with each.
const ALLOCATING_INSTRUCTIONS: u64 = 1_000_000;
/// Items of one byte in an input of 64 MiB, nearly the largest beside which a segment fits:
/// decoded, they take 1 GiB.
const INPUT_BOMB_ITEMS: usize = (64 << 20) / ONE_BYTE.len();
/// The encoding of one.
const ONE_BYTE: [u8; 3] = [0, 1, 7];
/// Most memory of a node whose child is given such an input: the node passes the file on, and does
/// not look into it.
const NODE_BYTES_MAX: u64 = 96 << 20;
/// Input bytes for `misbehave`; see its source.
const SUCCEED: u8 = 0;
const LOOP_FOR_EVER: u8 = 3;
const ALLOCATE_WITHOUT_END: u8 = 5;

/// A requester's demand, and its prover's answer.
struct Demand {
    name: &'static str,
    behaviour: u8,
    /// The first instruction of the segment, and its number of instructions. Without it, it is the
    /// first segment of the plan.
    segment: Option<(u64, u64)>,
    /// Whether its traces have [`BOMB`] rows each.
    bomb: bool,
    /// Whether the job has another name than its program and input give it.
    renamed: bool,
    /// The number of one-byte items in the job's input, if it is not 0 and the input not the one
    /// that the program reads.
    items: usize,
    /// A part of the refusal that the requester hears; none where it gets a proof.
    refused: Option<&'static str>,
}

const DEMANDS: [Demand; 7] = [
    Demand {
        name: "a segment behind all limits of a program that never ends",
        behaviour: LOOP_FOR_EVER,
        segment: Some((INSTRUCTIONS_MAX, 1000)),
        bomb: false,
        renamed: false,
        items: 0,
        refused: Some("the segment ends after 3001000 instructions, and 3000000 are allowed"),
    },
    Demand {
        name: "a segment that is too long for its traces, of a program that never ends",
        behaviour: LOOP_FOR_EVER,
        segment: Some((0, BOMB_INSTRUCTIONS)),
        bomb: false,
        renamed: false,
        items: 0,
        refused: Some("segment 0 could not be proven"),
    },
    Demand {
        name: "traces that no memory holds",
        behaviour: LOOP_FOR_EVER,
        segment: Some((0, BOMB_INSTRUCTIONS)),
        bomb: true,
        renamed: false,
        items: 0,
        refused: Some("bytes of memory, and 536870912 are lent"),
    },
    Demand {
        name: "a program that allocates without end",
        behaviour: ALLOCATE_WITHOUT_END,
        segment: Some((0, ALLOCATING_INSTRUCTIONS)),
        bomb: true,
        renamed: false,
        items: 0,
        // The child meets one of two limits first: the lent memory, or the kernel's for its
        // allocations.
        refused: Some("of memory"),
    },
    Demand {
        name: "another program than the job's name says",
        behaviour: SUCCEED,
        segment: None,
        bomb: false,
        renamed: true,
        items: 0,
        refused: Some("but its program and input give it the name"),
    },
    Demand {
        name: "an input that takes sixteen times its size when it is decoded",
        behaviour: SUCCEED,
        segment: None,
        bomb: false,
        renamed: true,
        items: INPUT_BOMB_ITEMS,
        refused: Some("the input has 22369621 items, and 1048576 are allowed"),
    },
    Demand {
        name: "what it may demand",
        behaviour: SUCCEED,
        segment: None,
        bomb: false,
        renamed: false,
        items: 0,
        refused: None,
    },
];

/// The answer to a demand.
#[derive(Debug)]
enum Answer {
    Proof,
    Returned(Returned),
}

/// A requester with one demand. The prover would not listen to a second demand of the same
/// requester.
struct Requester {
    network: Network,
    events: UnboundedReceiver<Event>,
    image: Vec<u8>,
}

impl Requester {
    /// The lease that `demand` is about.
    fn lease(&mut self, demand: &Demand) -> Lease {
        let input = Input::from_bytes(vec![demand.behaviour]).unwrap();
        let program = Program::load(&self.image, None).unwrap();
        let segment = segment(&self.image, demand);
        let here = |bytes: &[u8]| {
            let blob = self.network.blobs().put(bytes).unwrap();
            self.network.source(blob, [self.network.peer()])
        };
        let encoded = match demand.items {
            0 => input.encode(),
            items => {
                let mut encoded = postcard::to_stdvec(&(items as u64)).unwrap();
                encoded.extend(ONE_BYTE.repeat(items));
                encoded
            }
        };
        let job = if demand.renamed {
            JobId([0x66; 32])
        } else {
            job_id(&program.loaded(&input))
        };
        Lease {
            task: TaskRef {
                job,
                task: TaskId::Segment(0),
            },
            lease_ms: 120_000,
            work_ms: 10_000,
            memory: 1 << 29,
            sources: Sources {
                program: here(&self.image),
                program_config: None,
                input: here(&encoded),
                engine: EngineId {
                    fingerprint: *program.config().fingerprint().as_bytes(),
                    ..myriad_openvm::facts().id
                },
            },
            instructions: 1000,
            work: Work::Segment(postcard::to_stdvec(&segment).unwrap()),
        }
    }

    async fn start(dir: &Path) -> Self {
        let (network, events) = join(dir, Role::Requester, &[]);
        while network.listening().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        Self {
            network,
            events,
            image: fs::read(guest("misbehave")).unwrap(),
        }
    }

    /// Gives one lease, and waits for what becomes of it.
    async fn demand(&mut self, demand: &Demand) -> Answer {
        let mut lease = Some(Box::new(self.lease(demand)));
        self.network.announce(Announcement {
            version: PROTOCOL_VERSION,
            job: lease.as_ref().unwrap().task.job,
            requester: self.network.peer(),
            sequence: 1,
            open: true,
            engine: myriad_openvm::facts().id,
            extent: Some(Extent {
                instructions: 1000,
                memory_min: 1 << 29,
            }),
            bytes: 1000,
            record: Vec::new(),
        });
        loop {
            let event = self.events.recv().await.expect("the network goes on");
            let Event::Request { request, reply, .. } = event else {
                continue;
            };
            match request {
                Request::Offer(_) => reply.send(match lease.take() {
                    Some(lease) => Response::Lease(lease),
                    None => Response::Refused(Refused {
                        why: Why::NoWork,
                        reason: "there is no more".into(),
                        retry_ms: Some(200),
                    }),
                }),
                Request::Renew { .. } => reply.send(Response::Extended { lease_ms: 120_000 }),
                Request::Return { why, .. } => {
                    reply.send(Response::Received);
                    return Answer::Returned(why);
                }
                Request::Submit { .. } => {
                    reply.send(Response::Received);
                    return Answer::Proof;
                }
                Request::Prepare { .. } | Request::Notice(_) => reply.send(Response::Received),
            }
        }
    }
}

/// The segment that is demanded. Heights follow from a plan, so that they are of a kind that the VM
/// knows.
fn segment(image: &[u8], demand: &Demand) -> Segment {
    let mut engine = engine();
    let input = Input::from_bytes(vec![SUCCEED]).unwrap();
    engine.load(image.to_vec(), None, input).unwrap();
    let (plan, _) = engine.plan(MemoryBudget::from_bytes(4 << 30), 1_000_000).unwrap();
    let mut segment = plan.segments[0].clone();
    if let Some((start, instructions)) = demand.segment {
        (segment.instret_start, segment.num_insns) = (start, instructions);
        segment.last = false;
    }
    if demand.bomb {
        // To the requester they are bytes.
        let mut heights: Vec<u32> = postcard::from_bytes(&segment.details).unwrap();
        heights.fill(BOMB);
        segment.details = postcard::to_stdvec(&heights).unwrap();
    }
    segment
}

/// The largest resident set of a process so far.
fn peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    kib << 10
}

fn is_alive(owner: &Path) -> bool {
    let status = myriad()
        .args(["status", "--json", "--data-dir"])
        .arg(owner)
        .output()
        .unwrap();
    status.status.success()
}

pub fn bombs_are_given_back_and_the_next_job_is_done() {
    // Kept if this fails.
    let dir = tempfile::tempdir().unwrap().keep();
    eprintln!("logs in {}", dir.display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = async {
        let mut requesters = Vec::new();
        for place in 0..DEMANDS.len() {
            requesters.push(Requester::start(&dir.join(place.to_string())).await);
        }
        requesters
    };
    let requesters = runtime.block_on(patiently("all listen", start));
    let (lines, said) = channel();
    let mut command = myriad();
    let owner = dir.join("prover");
    command
        .args(["prover", "--memory", LENT, "--nice", "0", "--no-mdns"])
        .args(["--max-instructions", &INSTRUCTIONS_MAX.to_string()])
        .args(["--listen", LISTEN, "--keys"])
        .arg(keys())
        .arg("--data-dir")
        .arg(&owner);
    for requester in &requesters {
        command.args(["--bootstrap", &requester.network.listening()[0]]);
    }
    let prover = Process::start(1, command, &dir.join("prover.log"), lines);
    for (demand, mut requester) in DEMANDS.iter().zip(requesters) {
        let name = demand.name;
        let answer = runtime.block_on(patiently(name, requester.demand(demand)));
        eprintln!("{name}: {answer:?}");
        match (answer, demand.refused) {
            (Answer::Proof, None) => {}
            (
                Answer::Returned(Returned::Unwilling { reason } | Returned::Failed { message: reason }),
                Some(refused),
            ) => {
                assert!(reason.contains(refused), "{name}: {reason}");
                // The owner reads the same.
                let start: String = reason.chars().take(40).collect();
                wait_for(&said, &start);
            }
            (answer, _) => panic!("{name}: {answer:?}"),
        }
        assert!(is_alive(&owner));
    }
    let peak = peak_bytes(prover.pid());
    eprintln!("the node took {peak} bytes of memory at most");
    assert!(peak < NODE_BYTES_MAX, "the node took {peak} bytes of memory");
    prover.kill();
    fs::remove_dir_all(&dir).unwrap();
}
