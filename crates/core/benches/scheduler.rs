//! Measures how many decisions the state machine makes in a second on one core: 10,000 peers share
//! ten jobs of 100,000 tasks together, in virtual time.
//!
//! ```text
//! cargo bench -p myriad-core --bench scheduler -- [PEERS] [TASKS]
//! ```
//!
//! A decision is the answer to one thing that a peer says: an offer, a renewal, a submission. The
//! peers differ in speed and memory, a tenth never answers, and every task is renewed once.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fs,
    time::{Duration, Instant},
};

use myriad_core::{
    Arities, Blob, Cost, Event, Input, JobId, JobSpec, Kind, Offer, Output, Peer, Policy, Refusal, Requester,
    SPEED_ONE, TaskRef, Time, Tree, Trust, Verdict,
};

const JOBS: usize = 10;
const GIB: u64 = 1 << 30;
const ARITIES: Arities = Arities {
    leaf: 2,
    internal_for_leaf: 3,
    internal_recursive: 3,
};

/// The next thing that a peer does, ordered by the peer's number where times are equal.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Offer(usize),
    Renew(usize, TaskRef),
    Submit(usize, TaskRef),
}

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse::<usize>().ok());
    let (peers, tasks) = (args.next().unwrap_or(10_000), args.next().unwrap_or(100_000));
    let mut requester = Requester::new(Policy::default());
    let mut bench = Bench::new(peers);
    let start = Instant::now();
    let mut total = 0;
    for job in 0..JOBS {
        let spec = job_of(job, tasks / JOBS);
        total += spec.tree.task_count();
        bench.input(&mut requester, Input::Open(Box::new(spec)));
    }
    let opened = start.elapsed();
    while bench.jobs_done < JOBS {
        bench.step(&mut requester);
    }
    let took = start.elapsed() - opened;
    let rate = bench.decisions as f64 / took.as_secs_f64();
    println!("| peers | tasks | opening s | decisions | s | decisions/s | expired | peak MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    println!(
        "| {peers} | {total} | {:.2} | {} | {:.2} | {rate:.0} | {} | {} |",
        opened.as_secs_f64(),
        bench.decisions,
        took.as_secs_f64(),
        bench.revoked,
        peak_mib()
    );
}

struct Bench {
    now: Time,
    next: BinaryHeap<Reverse<(Time, Next)>>,
    inputs: VecDeque<Input>,
    peers: usize,
    decisions: u64,
    revoked: u64,
    jobs_done: usize,
}

fn peer_of(index: usize) -> Peer {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(index as u64).to_be_bytes());
    Peer(id)
}

fn index_of(peer: Peer) -> usize {
    u64::from_be_bytes(*peer.0.first_chunk().expect("an id is longer")) as usize
}

fn job_of(index: usize, tasks: usize) -> JobSpec {
    // A segment brings 1/2 + 1/6 + 1/18 + ... = 3/4 of a node.
    let segments = (tasks * 4 / 7).max(1) as u32;
    let tree = Tree::new(segments, ARITIES);
    let costs = tree.tasks().enumerate().map(|(place, task)| {
        let (seconds, mib) = match task.kind() {
            Kind::Segment => (20, 2_000 + 97 * (place as u64 % 17)),
            Kind::Leaf => (35, 2_500),
            Kind::InternalForLeaf => (55, 3_900),
            _ => (30, 2_000),
        };
        Cost {
            work: Duration::from_secs(seconds),
            memory: mib << 20,
        }
    });
    JobSpec {
        id: JobId([index as u8 + 1; 32]),
        costs: costs.collect(),
        tree,
        priority: index as i32 % 2,
        deadline: None,
        own_final: false,
        done: Vec::new(),
        leased: Vec::new(),
    }
}

impl Bench {
    fn new(peers: usize) -> Self {
        let next = (0..peers).map(|peer| Reverse((Time(peer as u64), Next::Offer(peer))));
        Self {
            now: Time(0),
            next: next.collect(),
            inputs: VecDeque::new(),
            peers,
            decisions: 0,
            revoked: 0,
            jobs_done: 0,
        }
    }

    /// A tenth of the machines is silent; the others take from half to three times the reference.
    fn takes(&self, peer: usize, kind: Kind) -> Option<Duration> {
        let reference = match kind {
            Kind::Segment => 20_000,
            Kind::Leaf => 35_000,
            Kind::InternalForLeaf => 55_000,
            _ => 30_000,
        };
        (peer % 10 != 9).then(|| Duration::from_millis(reference * (5 + peer as u64 % 26) / 10))
    }

    fn later(&mut self, wait: Duration, next: Next) {
        self.next.push(Reverse((self.now + wait, next)));
    }

    fn step(&mut self, requester: &mut Requester) {
        let due = requester.poll_timeout();
        let Some(Reverse((time, _))) = self.next.peek() else {
            self.now = due.expect("a job that is open waits for somebody");
            return self.input(requester, Input::Timeout);
        };
        if due.is_some_and(|due| due < *time) {
            self.now = due.expect("just seen");
            return self.input(requester, Input::Timeout);
        }
        let Some(Reverse((time, next))) = self.next.pop() else {
            return;
        };
        self.now = time;
        self.decisions += 1;
        let input = match next {
            Next::Offer(index) => Input::Offer {
                peer: peer_of(index),
                offer: Offer {
                    memory: (2 + index as u64 % 3 * 2) * GIB,
                    speed: SPEED_ONE,
                    trust: Trust::Stranger,
                    origin: None,
                },
            },
            Next::Renew(index, task) => Input::Renewed {
                peer: peer_of(index),
                task,
                progress: 500,
            },
            Next::Submit(index, task) => {
                self.later(Duration::from_millis(1), Next::Offer(index));
                Input::Submitted {
                    peer: peer_of(index),
                    task,
                    proof: Blob([1; 32]),
                }
            }
        };
        self.input(requester, input);
    }

    fn input(&mut self, requester: &mut Requester, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            requester.handle_input(self.now, input);
            while let Some(output) = requester.poll_output() {
                self.output(output);
            }
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Lease { peer, task, .. } => {
                let index = index_of(peer);
                if let Some(wait) = self.takes(index, task.task.kind()) {
                    self.later(wait / 2, Next::Renew(index, task));
                    self.later(wait, Next::Submit(index, task));
                }
            }
            Output::Wake { peer } => self.later(Duration::from_millis(1), Next::Offer(index_of(peer))),
            // A peer that is told to wait comes back; the silent ones ask again and again.
            Output::Refuse {
                peer,
                why: Refusal::Cooling { remaining, .. },
            } => self.later(remaining, Next::Offer(index_of(peer))),
            Output::Check { peer, task, proof } => self.inputs.push_back(Input::Checked {
                peer,
                task,
                proof,
                verdict: Verdict::Accepted,
            }),
            Output::Persist { task, proof, .. } => {
                self.inputs.push_back(Input::Persisted { task, proof });
            }
            Output::Revoke { peer, .. } => {
                self.revoked += 1;
                let index = index_of(peer) % self.peers;
                self.later(Duration::from_millis(1), Next::Offer(index));
            }
            Output::Event(Event::JobDone { .. }) => self.jobs_done += 1,
            _ => {}
        }
    }
}

fn peak_mib() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or_else(|| "unknown".into(), |kib| (kib >> 10).to_string())
}
