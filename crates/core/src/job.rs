//! One job: what is done, what can start, and who is at it.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    ids::{Blob, JobId, Peer, TaskId},
    input::{Cost, JobSpec},
    ready::Ready,
    time::Time,
    tree::Tree,
};

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub priority: i32,
    /// When it was opened, in the order of all jobs.
    pub sequence: u64,
    pub tree: Tree,
    pub ready: Ready,
    /// Leases that peers hold.
    pub leases: usize,
    /// Tasks that are leased, being checked or being made durable.
    pub under_way: usize,
    tasks: Vec<Task>,
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
    /// Proofs that wait to be checked; the first is being checked.
    pub claims: Vec<Claim>,
    pub failures: Vec<(Peer, String)>,
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
}

/// A proof that a peer has submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub peer: Peer,
    pub proof: Blob,
    /// From the lease to the submission.
    pub took: Duration,
}

impl Job {
    /// # Panics
    /// If there are not as many costs as tasks.
    pub(crate) fn new(spec: JobSpec, sequence: u64) -> (JobId, Self) {
        let JobSpec {
            id,
            tree,
            costs,
            priority,
            done,
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
            sequence,
            tree,
            ready: Ready::default(),
            leases: 0,
            under_way: 0,
            tasks,
        };
        job.find_needed();
        (id, job)
    }

    /// Marks what the final proof still needs: not what lies below a task that is done.
    fn find_needed(&mut self) {
        let mut needed = vec![TaskId::Final];
        while let Some(task) = needed.pop() {
            if self.is_done(task) {
                continue;
            }
            let missing: Vec<_> = self.inputs(task).filter(|input| !self.is_done(*input)).collect();
            if missing.is_empty() {
                self.make_ready(task);
            } else {
                self.task_mut(task).state = TaskState::Waiting(missing.len() as u32);
            }
            for input in missing {
                if self.task(input).state == TaskState::Unneeded {
                    needed.push(input);
                }
            }
        }
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
        let own = self.task(task);
        let idle = own.state == TaskState::Open && own.leases.is_empty() && own.claims.is_empty();
        if idle {
            self.under_way -= 1;
            self.make_ready(task);
        }
        idle
    }

    /// The proof of a task is durable: the tasks that can start now.
    pub(crate) fn complete(&mut self, task: TaskId, proof: Blob) -> Vec<TaskId> {
        self.task_mut(task).state = TaskState::Done(proof);
        self.under_way -= 1;
        let mut freed = Vec::new();
        for waiting in self.takers(task) {
            if let TaskState::Waiting(missing) = &mut self.task_mut(waiting).state {
                *missing -= 1;
                if *missing == 0 {
                    self.make_ready(waiting);
                    freed.push(waiting);
                }
            }
        }
        freed
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
        }
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

    /// Whether a peer has tried it and failed.
    pub(crate) fn failed_on(&self, peer: Peer) -> bool {
        self.failures.iter().any(|(failed, _)| *failed == peer)
    }
}
