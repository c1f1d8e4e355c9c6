//! One task of a job: the peers that hold it, and the facts about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    ids::{Blob, Peer},
    input::Cost,
    redundancy::{ONE, share},
    time::Time,
};

/// Peers that are remembered for having failed at a task, and as many that held a lease of it:
/// identities are free, and each may have one. More machines than are at one task at a time in the
/// largest fleets.
pub(crate) const FAILURES_MAX: usize = 256;
pub(crate) const FORMER_MAX: usize = 256;

/// One task, as the job sees it.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub cost: Cost,
    /// The work of the longest path from here to the final proof, this task included.
    pub rank: Duration,
    pub state: TaskState,
    pub leases: BTreeMap<Peer, Lease>,
    /// Former holders, and when each got its lease: a late proof may still come.
    pub former: BTreeMap<Peer, Time>,
    /// Proofs that are being checked, and others that wait for it.
    pub claims: Vec<Claim>,
    pub failures: Vec<(Peer, String)>,
    /// The peer that made the durable proof; none if an earlier run accepted it.
    pub maker: Option<Peer>,
    /// Signs that the task itself is to blame if nobody does it.
    pub suspicion: Suspicion,
    /// Proofs of it that were accepted, and over which no node can be made.
    pub refuted: Vec<Blob>,
    /// The last that was woken for it and has not answered yet, with its merit then.
    pub reserved: Option<(Peer, u32)>,
    /// How often in a row no peer came that was woken for it.
    pub overslept: u32,
    /// How often it was taken from a machine for a faster one.
    pub taken_over: u32,
    /// When it and all above it will be done, in [`Job::latest`](super::Job::latest).
    pub(super) ends: Option<Time>,
    /// The number of holders under which it is in [`Job::held`](super::Job::held).
    pub(super) listed: Option<u32>,
    /// Whether it is in [`Job::doubtful`](super::Job::doubtful).
    pub(super) doubted: bool,
    /// Whether its proof is expected in a moment.
    pub(super) arriving: bool,
    /// How many of the tasks whose proofs it takes are [`Self::arriving`].
    pub(super) arriving_inputs: u32,
    /// Whether it counts as not yet done in [`Job::levels`](super::Job::levels), and as not yet
    /// begun.
    pub(super) undone: bool,
    pub(super) unstarted: bool,
}

/// The suspicion against a task at which peers fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspicion {
    /// Peers that have failed since the caller tried it last.
    pub failed: BTreeSet<Peer>,
    /// The caller is doing the task.
    pub trying: bool,
    /// How often the caller was not able to do it.
    pub unable: u32,
    /// When the caller does it if nobody holds it then.
    pub due: Option<Time>,
}

/// The stage that a task has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A task above it is done.
    Unneeded,
    /// It waits for this many others whose proofs it takes.
    Waiting(u32),
    Ready,
    /// It is for the caller to do, and for no peer.
    Own,
    /// This many peers hold it.
    Leased(usize),
    /// A submitted proof is being looked at.
    Checking,
    /// Its accepted proof is being made durable.
    Persisting,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// Not needed: a task above it is done.
    Unneeded,
    /// It waits for this many children.
    Waiting(u32),
    /// Can be worked at, by as many as hold a lease; without any it is in the ready queue.
    Open,
    /// Accepted; the caller is making it durable.
    Persisting(Claim),
    Done(Blob),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub granted: Time,
    pub until: Time,
    /// No renewal goes beyond this.
    pub latest: Time,
    pub progress: u16,
    /// The time that the task was expected to take here.
    pub expected: Duration,
    /// When the last progress was heard of, or the lease was granted.
    pub heard: Time,
    /// When the holder is late if nothing is heard; never for machines of the requester's own.
    pub doubt: Time,
    /// It was silent for too long, or takes longer than it should.
    pub late: bool,
    /// It is on probation, and should not be the only one at this task.
    pub on_trial: bool,
    /// When it will be done, by its progress or by what was expected.
    pub ends: Time,
    /// The waste that was expected of this copy.
    pub charge: Duration,
    /// The network that counts it; see [`Policy::unproven_per_origin`](crate::Policy).
    pub origin: Option<u64>,
}

impl Lease {
    /// Whether another peer should do the task too.
    pub(crate) fn is_doubted(&self) -> bool {
        self.late || self.on_trial
    }

    /// The time that the holder still needs, by its progress or by what was expected.
    pub(crate) fn remaining(&self, now: Time) -> Duration {
        let elapsed = now - self.granted;
        if self.progress == 0 {
            return self.expected.saturating_sub(elapsed);
        }
        let spent = self.heard - self.granted;
        let total = spent * ONE / u32::from(self.progress);
        total.saturating_sub(elapsed)
    }

    /// The part of the task's work that was done in this lease, if the holder's reports are true.
    pub(crate) fn done(&self, work: Duration, now: Time) -> Duration {
        if self.late {
            return Duration::ZERO;
        }
        let elapsed = (now - self.granted).as_micros() * u128::from(ONE);
        let thousandths = elapsed / self.expected.as_micros().max(1);
        share(work, thousandths.min(ONE.into()) as u32)
    }
}

/// A proof that a peer has submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub peer: Peer,
    pub proof: Blob,
    /// The time from the lease to the submission.
    pub took: Duration,
    /// Whether a proof of this peer was accepted before.
    pub proven: bool,
    pub checking: bool,
    /// It is being checked, and nothing comes of it.
    pub stalled: bool,
}

impl Task {
    pub(super) fn new(cost: Cost) -> Self {
        Self {
            cost,
            rank: Duration::ZERO,
            state: TaskState::Unneeded,
            leases: BTreeMap::new(),
            former: BTreeMap::new(),
            claims: Vec::new(),
            failures: Vec::new(),
            maker: None,
            suspicion: Suspicion::default(),
            refuted: Vec::new(),
            reserved: None,
            overslept: 0,
            taken_over: 0,
            ends: None,
            listed: None,
            doubted: false,
            arriving: false,
            arriving_inputs: 0,
            undone: false,
            unstarted: false,
        }
    }

    /// Whether all proofs that it waits for are expected in a moment.
    pub(super) fn starts_soon(&self) -> bool {
        self.arriving_inputs > 0 && self.state == TaskState::Waiting(self.arriving_inputs)
    }

    pub(super) fn is_needed(&self) -> bool {
        matches!(self.state, TaskState::Waiting(_) | TaskState::Open)
    }

    /// Whether a peer holds it, and every proof that is on its way here has stalled. Stalled proofs
    /// keep nobody from the task.
    pub(crate) fn is_copyable(&self) -> bool {
        let some = !self.leases.is_empty() || !self.claims.is_empty();
        self.state == TaskState::Open && some && self.claims.iter().all(|claim| claim.stalled)
    }

    /// Whether it can be worked at, and nobody does.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == TaskState::Open && self.leases.is_empty() && self.claims.is_empty()
    }

    /// Whether a peer holds it, or has claimed to have done it.
    pub(crate) fn is_with(&self, peer: Peer) -> bool {
        self.leases.contains_key(&peer) || self.claims.iter().any(|claim| claim.peer == peer)
    }

    /// The stage of the task; `for_caller` says that the caller does it.
    pub(super) fn stage(&self, for_caller: bool) -> Stage {
        match self.state {
            TaskState::Unneeded => Stage::Unneeded,
            TaskState::Waiting(inputs) => Stage::Waiting(inputs),
            TaskState::Open if !self.claims.is_empty() => Stage::Checking,
            TaskState::Open if for_caller => Stage::Own,
            TaskState::Open if self.leases.is_empty() => Stage::Ready,
            TaskState::Open => Stage::Leased(self.leases.len()),
            TaskState::Persisting(_) => Stage::Persisting,
            TaskState::Done(_) => Stage::Done,
        }
    }

    /// Whether it is for another peer, with more merit, that was woken for it: among thousands that
    /// ask all the time somebody would else be faster than the one that should have it.
    pub(crate) fn is_reserved(&self, peer: Peer, merit: u32) -> bool {
        self.reserved
            .is_some_and(|(woken, more)| woken != peer && more > merit)
    }

    /// Notes that a peer has failed at it. When there are too many, the oldest failure of a peer
    /// that `may_go` is forgotten, and that peer may try again.
    pub(crate) fn note_failure(&mut self, peer: Peer, message: String, may_go: impl Fn(Peer) -> bool) {
        if self.failures.len() >= FAILURES_MAX {
            let oldest = self.failures.iter().position(|(failed, _)| may_go(*failed));
            self.failures.remove(oldest.unwrap_or(0));
        }
        self.failures.push((peer, message));
    }

    /// Notes a peer that held a lease of it, `granted` then. When there are too many, the earliest
    /// holder is forgotten, if possible one that `may_go`. A proof of it comes too late.
    pub(crate) fn note_former(&mut self, peer: Peer, granted: Time, may_go: impl Fn(Peer) -> bool) {
        if self.former.len() >= FORMER_MAX && !self.former.contains_key(&peer) {
            let first = self
                .former
                .iter()
                .min_by_key(|(peer, granted)| (!may_go(**peer), **granted))
                .map(|(&peer, _)| peer);
            first.and_then(|first| self.former.remove(&first));
        }
        self.former.insert(peer, granted);
    }

    /// Whether a peer has tried it and failed.
    pub(crate) fn failed_on(&self, peer: Peer) -> bool {
        self.failures.iter().any(|(failed, _)| *failed == peer)
    }
}
