//! A requester that is told what its peers do, for tests.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::time::Duration;

use myriad_core::{
    Arities, Blob, Cost, Input, JobId, JobSpec, Offer, Output, Peer, Policy, Redundancy, Refusal, Requester,
    SPEED_ONE, TaskRef, Time, Tree, Trust, Verdict,
};

pub const GIB: u64 = 1 << 30;
pub const JOB: JobId = JobId([7; 32]);
pub const WORK: Duration = Duration::from_secs(20);

pub fn peer(number: u32) -> Peer {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Peer(id)
}

pub fn offer(origin: Option<u64>) -> Offer {
    Offer {
        memory: GIB,
        speed: SPEED_ONE,
        trust: Trust::Stranger,
        origin,
    }
}

pub fn spec(segments: u32) -> JobSpec {
    let arities = Arities {
        leaf: 2,
        internal_for_leaf: 2,
        internal_recursive: 2,
    };
    let tree = Tree::new(segments, arities);
    let cost = Cost {
        work: WORK,
        memory: GIB,
    };
    JobSpec {
        id: JOB,
        costs: vec![cost; tree.task_count()],
        tree,
        priority: 0,
        deadline: None,
        own_final: false,
        done: Vec::new(),
        leased: Vec::new(),
    }
}

/// Each task to one peer, and only when a peer asks.
pub fn once() -> Policy {
    Policy {
        redundancy: Redundancy::Fixed(1),
        ..Policy::default()
    }
}

pub struct Desk {
    pub requester: Requester,
    pub now: Time,
}

impl Desk {
    pub fn new(policy: Policy, spec: JobSpec) -> Self {
        let mut desk = Self {
            requester: Requester::new(policy),
            now: Time(1),
        };
        desk.input(Input::Open(Box::new(spec)));
        desk
    }

    pub fn input(&mut self, input: Input) -> Vec<Output> {
        self.requester.handle_input(self.now, input);
        std::iter::from_fn(|| self.requester.poll_output()).collect()
    }

    /// The task that a peer gets, or why not.
    pub fn ask(&mut self, peer: Peer, offer: Offer) -> Result<TaskRef, Refusal> {
        let outputs = self.input(Input::Offer { peer, offer });
        let answer = outputs.into_iter().find_map(|output| match output {
            Output::Lease { task, .. } => Some(Ok(task)),
            Output::Refuse { why, .. } => Some(Err(why)),
            _ => None,
        });
        answer.expect("an offer is answered")
    }

    pub fn pass(&mut self, wait: Duration) -> Vec<Output> {
        let end = self.now + wait;
        let mut outputs = Vec::new();
        while let Some(due) = self.requester.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            outputs.extend(self.input(Input::Timeout));
        }
        self.now = end;
        outputs
    }

    pub fn deliver(&mut self, peer: Peer, task: TaskRef) -> Vec<Output> {
        self.submit(peer, task);
        self.checked(peer, task, Verdict::Accepted);
        let proof = claimed(peer);
        self.input(Input::Persisted { task, proof })
    }

    /// Submits a proof, and returns the peer whose proof is looked at now.
    pub fn submit(&mut self, peer: Peer, task: TaskRef) -> Option<Peer> {
        let proof = claimed(peer);
        looked_at(&self.input(Input::Submitted { peer, task, proof }))
    }

    pub fn checked(&mut self, peer: Peer, task: TaskRef, verdict: Verdict) -> Vec<Output> {
        let proof = claimed(peer);
        self.input(Input::Checked {
            peer,
            task,
            proof,
            verdict,
        })
    }
}

/// The proof that a peer claims to have.
pub fn claimed(peer: Peer) -> Blob {
    Blob(peer.0)
}

pub fn looked_at(outputs: &[Output]) -> Option<Peer> {
    outputs.iter().find_map(|output| match output {
        Output::Check { peer, .. } => Some(*peer),
        _ => None,
    })
}

pub fn invalid() -> Verdict {
    let reason = "it does not hold".into();
    Verdict::Invalid { reason }
}
