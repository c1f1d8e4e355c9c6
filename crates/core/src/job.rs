//! One job: what is done, what can start, and who is at it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    ids::{Blob, JobId, Peer, TaskId},
    input::{Cost, JobSpec},
    ready::Ready,
    redundancy::{ONE, Redundancy, share},
    time::Time,
    tree::Tree,
};

/// Peers that are remembered for having failed at a task, and as many that held a lease of it: identities are free, and each may
/// have one. More machines than are at one task at a time in the largest fleets.
pub(crate) const FAILURES_MAX: usize = 256;
pub(crate) const FORMER_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub priority: i32,
    pub deadline: Option<Time>,
    /// When it was opened, in the order of all jobs.
    pub sequence: u64,
    pub tree: Tree,
    pub ready: Ready,
    /// Leases that peers hold.
    pub leases: usize,
    /// Tasks that are leased, being checked or being made durable.
    pub under_way: usize,
    /// What may be given to one more peer: open tasks that somebody is at, and of which no proof is on its way here. Those
    /// with the fewest holders come first, and of those the ones with the longest path above them.
    pub held: BTreeSet<(u32, Reverse<Duration>, TaskId)>,
    /// Of these, the ones all of whose holders are doubted.
    pub doubtful: BTreeSet<(Reverse<Duration>, TaskId)>,
    /// How many tasks can start as soon as what is being checked or made durable is done, if what proven peers claim is
    /// believed; by the memory that they need.
    soon: BTreeMap<u64, usize>,
    pub waste: Waste,
    tasks: Vec<Task>,
}

/// Work that is done more than once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waste {
    pub allowed: Duration,
    /// What the copies that are under way are expected to waste.
    pub expected: Duration,
    /// What was wasted.
    pub done: Duration,
}

impl Waste {
    pub(crate) fn left(&self) -> Duration {
        self.allowed.saturating_sub(self.expected + self.done)
    }
}

/// One task, as the job sees it.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub cost: Cost,
    /// The work of the longest path from here to the final proof, this task included.
    pub rank: Duration,
    pub state: TaskState,
    pub leases: BTreeMap<Peer, Lease>,
    /// When those got it that hold it no more, for proofs that come late.
    pub former: BTreeMap<Peer, Time>,
    /// Proofs that are being checked, and others that wait for it.
    pub claims: Vec<Claim>,
    pub failures: Vec<(Peer, String)>,
    /// Whose proof it is that is durable; none if an earlier run accepted it.
    pub maker: Option<Peer>,
    /// Whether it is the task that is to blame that nobody does it.
    pub suspicion: Suspicion,
    /// Proofs of it that were accepted, and over which no node can be made.
    pub refuted: Vec<Blob>,
    /// The last that was woken for it and has not answered yet, with its merit then.
    pub reserved: Option<(Peer, u32)>,
    /// How often in a row nobody came that was woken for it.
    pub overslept: u32,
    /// As how many holders it is in [`Job::held`].
    listed: Option<u32>,
    /// Whether it is in [`Job::doubtful`].
    doubted: bool,
    /// Whether its proof is believed to be there in a moment.
    arriving: bool,
    /// Of the tasks that it takes the proofs of, those that are.
    arriving_inputs: u32,
}

/// What is known of a task at which peers fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspicion {
    /// Those that have failed since the caller tried it last.
    pub failed: BTreeSet<Peer>,
    /// The caller is at it.
    pub trying: bool,
    /// How often it was not able to.
    pub unable: u32,
    /// When it is done by the caller if nobody is at it.
    pub due: Option<Time>,
}

/// Where a task is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A task above it is done.
    Unneeded,
    /// For this many others whose proofs it takes.
    Waiting(u32),
    Ready,
    /// By this many peers.
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
    /// Waits for so many children.
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
    /// What the task was expected to take here.
    pub expected: Duration,
    /// When the last progress was heard of, or the lease was granted.
    pub moved: Time,
    /// When the holder is late if nothing is heard; never for machines of the requester's own.
    pub doubt: Time,
    /// It was silent for too long, or takes longer than it should.
    pub late: bool,
    /// It is on probation, and should not be the only one at this task.
    pub on_trial: bool,
    /// What this copy was expected to waste.
    pub charge: Duration,
    /// The network that counts it; see [`Policy::unproven_per_origin`](crate::Policy).
    pub origin: Option<u64>,
}

impl Lease {
    /// Whether somebody else should be at the task too.
    pub(crate) fn is_doubted(&self) -> bool {
        self.late || self.on_trial
    }

    /// What the holder still needs: by its progress, or by what was expected.
    pub(crate) fn remaining(&self, now: Time) -> Duration {
        let elapsed = now - self.granted;
        if self.progress == 0 {
            return self.expected.saturating_sub(elapsed);
        }
        let heard = self.moved - self.granted;
        let total = heard * ONE / u32::from(self.progress);
        total.saturating_sub(elapsed)
    }

    /// The part of a task's work that was done in this lease, if the holder does what it says.
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
    /// From the lease to the submission.
    pub took: Duration,
    /// Whether a proof of this peer was accepted before.
    pub proven: bool,
    pub checking: bool,
    /// It is being checked, and nothing comes of it.
    pub stalled: bool,
}

impl Job {
    /// # Panics
    /// If there are not as many costs as tasks.
    pub(crate) fn new(spec: JobSpec, sequence: u64, redundancy: &Redundancy) -> (JobId, Self) {
        let JobSpec {
            id,
            tree,
            costs,
            priority,
            deadline,
            done,
            leased: _,
        } = spec;
        assert_eq!(costs.len(), tree.task_count(), "every task has a cost");
        let mut tasks: Vec<Task> = costs.into_iter().map(Task::new).collect();
        // Parents come after their children.
        for task in tree.tasks().collect::<Vec<_>>().into_iter().rev() {
            let above = tree
                .parent(task)
                .map_or(Duration::ZERO, |parent| tasks[tree.place(parent)].rank);
            let own = &mut tasks[tree.place(task)];
            own.rank = own.cost.work + above;
        }
        for (task, proof) in done.into_iter().filter(|(task, _)| tree.contains(*task)) {
            tasks[tree.place(task)].state = TaskState::Done(proof);
        }
        let mut job = Self {
            priority,
            deadline,
            sequence,
            tree,
            ready: Ready::default(),
            leases: 0,
            under_way: 0,
            held: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            soon: BTreeMap::new(),
            waste: Waste::default(),
            tasks,
        };
        job.find_needed(TaskId::Final);
        let needed = job.tasks.iter().filter(|task| task.is_needed());
        job.waste.allowed = redundancy.waste_allowed(needed.map(|task| task.cost.work).sum());
        (id, job)
    }

    /// Marks what a task still needs: not what lies below one that is done. Those that can start now.
    fn find_needed(&mut self, by: TaskId) -> Vec<TaskId> {
        let mut needed = vec![by];
        let mut freed = Vec::new();
        while let Some(task) = needed.pop() {
            if self.is_done(task) {
                continue;
            }
            let missing: Vec<_> = self.inputs(task).filter(|input| !self.is_done(*input)).collect();
            if missing.is_empty() {
                self.make_ready(task);
                freed.push(task);
            } else {
                let count = missing.len() as u32;
                self.change_waiting(task, |own| own.state = TaskState::Waiting(count));
            }
            for input in missing {
                if self.task(input).state == TaskState::Unneeded {
                    needed.push(input);
                }
            }
        }
        freed
    }

    /// The proof of a task is given up, and not accepted again if it was `refuted`: the tasks that can start now. Nobody may be at
    /// any that takes it.
    pub(crate) fn reopen(&mut self, task: TaskId, refuted: bool) -> Vec<TaskId> {
        let own = self.task_mut(task);
        if let TaskState::Done(proof) = own.state
            && refuted
        {
            own.refuted.push(proof);
        }
        own.state = TaskState::Unneeded;
        own.maker = None;
        own.former.clear();
        own.failures.clear();
        own.suspicion = Suspicion::default();
        for taker in self.takers(task) {
            self.change_waiting(taker, |own| {
                if let TaskState::Waiting(missing) = &mut own.state {
                    *missing += 1;
                }
            });
        }
        self.find_needed(task)
    }

    /// A task that is open has to wait again, for what is about to be [reopened](Self::reopen). Nobody holds a lease of it.
    pub(crate) fn suspend(&mut self, task: TaskId) {
        let own = self.task(task);
        let (memory, rank) = (own.cost.memory, own.rank);
        if !self.ready.remove(task, memory, rank) {
            self.under_way -= 1;
        }
        let own = self.task_mut(task);
        own.state = TaskState::Waiting(0);
        own.former.clear();
        own.failures.clear();
        own.suspicion = Suspicion::default();
        self.relist(task);
    }

    /// The tasks whose proofs a task takes: its children, and for the final proof the last segment
    /// too, which shows the public values.
    pub(crate) fn inputs(&self, task: TaskId) -> impl Iterator<Item = TaskId> + use<> {
        let last = (task == TaskId::Final).then_some(TaskId::Segment(self.tree.segments() - 1));
        self.tree.children(task).chain(last)
    }

    pub(crate) fn task(&self, task: TaskId) -> &Task {
        &self.tasks[self.tree.place(task)]
    }

    pub(crate) fn task_mut(&mut self, task: TaskId) -> &mut Task {
        &mut self.tasks[self.tree.place(task)]
    }

    pub(crate) fn is_done(&self, task: TaskId) -> bool {
        matches!(self.task(task).state, TaskState::Done(_))
    }

    /// The task can be worked at from now on, and nobody does.
    pub(crate) fn make_ready(&mut self, task: TaskId) {
        let own = self.task_mut(task);
        own.state = TaskState::Open;
        let (memory, rank) = (own.cost.memory, own.rank);
        self.ready.insert(task, memory, rank);
    }

    /// Somebody works at the task now.
    pub(crate) fn take_ready(&mut self, task: TaskId) {
        let own = self.task(task);
        let (memory, rank) = (own.cost.memory, own.rank);
        if self.ready.remove(task, memory, rank) {
            self.under_way += 1;
        }
    }

    /// Back to the ready tasks, if it is open and nobody is at it any more.
    pub(crate) fn release_if_idle(&mut self, task: TaskId) -> bool {
        let idle = self.task(task).is_idle();
        if idle {
            self.under_way -= 1;
            self.make_ready(task);
        }
        idle
    }

    /// The proof of a task is durable: the tasks that can start now.
    pub(crate) fn complete(&mut self, task: TaskId, proof: Blob, maker: Peer) -> Vec<TaskId> {
        self.set_arriving(task, false);
        let own = self.task_mut(task);
        (own.state, own.maker) = (TaskState::Done(proof), Some(maker));
        self.under_way -= 1;
        let mut freed = Vec::new();
        for waiting in self.takers(task) {
            self.change_waiting(waiting, |own| {
                if let TaskState::Waiting(missing) = &mut own.state {
                    *missing -= 1;
                }
            });
            if self.task(waiting).state == TaskState::Waiting(0) {
                self.make_ready(waiting);
                freed.push(waiting);
            }
        }
        freed
    }

    fn set_arriving(&mut self, task: TaskId, arriving: bool) {
        let before = std::mem::replace(&mut self.task_mut(task).arriving, arriving);
        if before == arriving {
            return;
        }
        for waiting in self.takers(task) {
            self.change_waiting(waiting, |own| {
                if arriving {
                    own.arriving_inputs += 1;
                } else {
                    own.arriving_inputs -= 1;
                }
            });
        }
    }

    /// Changes what a task waits for, and keeps the count of those that can start soon.
    fn change_waiting(&mut self, task: TaskId, change: impl FnOnce(&mut Task)) {
        let own = self.task_mut(task);
        let before = own.starts_soon();
        change(own);
        let (after, memory) = (own.starts_soon(), own.cost.memory);
        let count = self.soon.entry(memory).or_default();
        *count = *count + usize::from(after) - usize::from(before);
    }

    /// Tasks that fit into `memory` and can start as soon as what is being checked or made durable is done.
    pub(crate) fn about_to_start(&self, memory: u64) -> usize {
        self.soon.range(..=memory).map(|(_, count)| count).sum()
    }

    /// Puts a task where it belongs in [`Self::held`] and [`Self::doubtful`], and counts on its proof or not, after its
    /// holders or its claims have changed.
    pub(crate) fn relist(&mut self, task: TaskId) {
        let own = self.task_mut(task);
        let arriving = match own.state {
            // What strangers claim may be nothing, and take long to be found out.
            TaskState::Open => own.claims.iter().any(|claim| claim.proven && !claim.stalled),
            TaskState::Persisting(_) => true,
            TaskState::Unneeded | TaskState::Waiting(_) | TaskState::Done(_) => false,
        };
        let rank = Reverse(own.rank);
        let copyable = own.is_copyable();
        let listed = copyable.then_some((own.leases.len() + own.claims.len()) as u32);
        let doubted = copyable && own.leases.values().all(Lease::is_doubted);
        let before = (own.listed, own.doubted);
        (own.listed, own.doubted) = (listed, doubted);
        if before.0 != listed {
            if let Some(holders) = before.0 {
                self.held.remove(&(holders, rank, task));
            }
            if let Some(holders) = listed {
                self.held.insert((holders, rank, task));
            }
        }
        if doubted {
            self.doubtful.insert((rank, task));
        } else if before.1 {
            self.doubtful.remove(&(rank, task));
        }
        self.set_arriving(task, arriving);
    }

    /// The longest path above any task that somebody works at, or could.
    pub(crate) fn top_rank(&self) -> Duration {
        let mut top = self.ready.top_rank();
        let mut from = 0;
        while let Some(&(holders, Reverse(rank), _)) = self
            .held
            .range((from, Reverse(Duration::MAX), TaskId::Segment(0))..)
            .next()
        {
            top = top.max(rank);
            from = holders + 1;
        }
        top
    }

    /// Whether a task takes this proof of a child of its, which is accepted.
    pub(crate) fn is_made_of(&self, task: TaskId, child: TaskId, proof: Blob) -> bool {
        let of_task = self.tree.children(task).any(|other| other == child);
        of_task && self.task(child).state == TaskState::Done(proof)
    }

    /// Those that have failed at a task, as far as is remembered.
    pub(crate) fn failed_at(&self, task: TaskId) -> Vec<Peer> {
        self.task(task).failures.iter().map(|(peer, _)| *peer).collect()
    }

    /// The tasks that take this one's proof.
    pub(crate) fn takers(&self, task: TaskId) -> impl Iterator<Item = TaskId> + use<> {
        let last = task == TaskId::Segment(self.tree.segments() - 1);
        self.tree
            .parent(task)
            .into_iter()
            .chain(last.then_some(TaskId::Final))
    }

    /// All tasks that somebody holds a lease of, with the holders.
    pub(crate) fn leased(&self) -> Vec<(TaskId, Peer, Lease)> {
        self.tree
            .tasks()
            .flat_map(|task| {
                let leases = self.task(task).leases.iter();
                leases.map(move |(peer, lease)| (task, *peer, *lease))
            })
            .collect()
    }
}

impl Task {
    fn new(cost: Cost) -> Self {
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
            listed: None,
            doubted: false,
            arriving: false,
            arriving_inputs: 0,
        }
    }

    /// Whether all that it waits for is believed to be there in a moment.
    fn starts_soon(&self) -> bool {
        self.arriving_inputs > 0 && self.state == TaskState::Waiting(self.arriving_inputs)
    }

    fn is_needed(&self) -> bool {
        matches!(self.state, TaskState::Waiting(_) | TaskState::Open)
    }

    /// Whether somebody is at it, and no proof is on its way here but such as stall: they keep nobody from the task.
    pub(crate) fn is_copyable(&self) -> bool {
        let some = !self.leases.is_empty() || !self.claims.is_empty();
        self.state == TaskState::Open && some && self.claims.iter().all(|claim| claim.stalled)
    }

    /// Whether it can be worked at, and nobody does.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == TaskState::Open && self.leases.is_empty() && self.claims.is_empty()
    }

    /// Whether a peer is at it, or has claimed to have done it.
    pub(crate) fn is_with(&self, peer: Peer) -> bool {
        self.leases.contains_key(&peer) || self.claims.iter().any(|claim| claim.peer == peer)
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.state {
            TaskState::Unneeded => Stage::Unneeded,
            TaskState::Waiting(inputs) => Stage::Waiting(inputs),
            TaskState::Open if !self.claims.is_empty() => Stage::Checking,
            TaskState::Open if self.leases.is_empty() => Stage::Ready,
            TaskState::Open => Stage::Leased(self.leases.len()),
            TaskState::Persisting(_) => Stage::Persisting,
            TaskState::Done(_) => Stage::Done,
        }
    }

    /// Whether it is for another peer, with more merit, that was woken for it: among thousands that ask all the time somebody
    /// would else be faster than the one that should have it.
    pub(crate) fn is_reserved(&self, peer: Peer, merit: u32) -> bool {
        self.reserved
            .is_some_and(|(woken, more)| woken != peer && more > merit)
    }

    /// Notes that a peer has failed at it. When there are too many the oldest of those goes that `may_go`; it may try again.
    pub(crate) fn note_failure(&mut self, peer: Peer, message: String, may_go: impl Fn(Peer) -> bool) {
        if self.failures.len() >= FAILURES_MAX {
            let oldest = self.failures.iter().position(|(failed, _)| may_go(*failed));
            self.failures.remove(oldest.unwrap_or(0));
        }
        self.failures.push((peer, message));
    }

    /// Notes who held a lease of it that was `granted` then. When there are too many the one goes that got it first, of those that
    /// `may_go` if there are any; a proof of it comes too late.
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
