//! One job: which tasks are done, which can start, and which peers hold them.

mod growth;
mod levels;
mod order;
mod task;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use self::levels::Level;
pub(crate) use self::order::precedence;
pub use self::task::Stage;
pub(crate) use self::task::{Claim, Lease, Suspicion, Task, TaskState};
use crate::{
    ids::{Blob, Peer, TaskId},
    ready::Ready,
    redundancy::{ONE, share},
    time::Time,
    tree::Tree,
};

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub priority: i32,
    pub deadline: Option<Time>,
    /// Whether the caller makes the final proof, and no peer does.
    pub own_final: bool,
    /// When it was opened, in the order of all jobs.
    pub sequence: u64,
    pub tree: Tree,
    /// Whether no peer gets a task of it any more.
    pub halted: bool,
    pub ready: Ready,
    /// Leases that peers hold.
    pub leases: usize,
    /// Tasks that are leased, being checked, being made durable, or for the caller to do.
    pub under_way: usize,
    /// Tasks that one more peer may get: open tasks that a peer holds, and of which no proof is on
    /// its way here. Tasks with the fewest holders come first, and among these the ones with the
    /// longest path above them.
    pub held: BTreeSet<(u32, Reverse<Duration>, TaskId)>,
    /// The tasks of [`Self::held`] by when they and all above them will be done if everything goes
    /// on as it does, the last first.
    pub latest: BTreeSet<(Reverse<Time>, TaskId)>,
    /// The tasks of [`Self::held`] all of whose holders are doubted.
    pub doubtful: BTreeSet<(Reverse<Duration>, TaskId)>,
    /// For each memory size, how many tasks that need it can start as soon as what is being checked
    /// or made durable is done. The claims of proven peers are believed.
    soon: BTreeMap<u64, usize>,
    pub waste: Waste,
    /// Peers that have handed in a proof.
    pub submitters: BTreeSet<Peer>,
    /// The work that is left on each level: segments, nodes from the lowest level on, the final
    /// proof.
    levels: Vec<Level>,
    tasks: Vec<Task>,
    /// Leases of an earlier run, of tasks that the job does not have yet.
    leased_before: BTreeSet<(TaskId, Peer)>,
}

/// Work that is done more than once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waste {
    /// The work that was needed when the job got its tasks, and that of the longest task.
    pub needed: Duration,
    pub longest: Duration,
    pub allowed: Duration,
    /// Waste that is allowed in addition where strangers never deliver.
    pub allowed_unsure: Duration,
    /// Work that came to nothing without a copy. Copies may cost that much more than was thought.
    pub in_vain: Duration,
    /// Waste that is expected of the copies that are under way.
    pub expected: Duration,
    /// Waste that has happened.
    pub done: Duration,
}

impl Waste {
    /// The waste that is still allowed where strangers deliver with this chance, in thousandths.
    /// `allowed` is kept for `serious` copies, those of a proven machine or beside a late one: a
    /// stranger beside a stranger helps only where strangers do not deliver.
    pub(crate) fn left(&self, newcomers: u32, serious: bool) -> Duration {
        let unsure = share(self.allowed_unsure, ONE.saturating_sub(newcomers));
        let allowed = if serious { self.allowed } else { Duration::ZERO };
        (allowed + unsure + self.in_vain).saturating_sub(self.expected + self.done)
    }
}

impl Job {
    /// Marks the tasks that a task still needs: none below one that is done. Returns those that can
    /// start now.
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
                self.recount(task, false);
            }
            for input in missing {
                if self.task(input).state == TaskState::Unneeded {
                    needed.push(input);
                }
            }
        }
        freed
    }

    /// The proof of a task is given up, and not accepted again if it was `refuted`: the tasks that
    /// can start now. Nobody may be at any that takes it.
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

    /// An open task has to wait again, for one that is about to be [reopened](Self::reopen). Nobody
    /// holds a lease of it.
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
        self.recount(task, false);
        self.relist(task);
    }

    /// The tasks whose proofs a task takes: its children, and for the final proof the last segment
    /// too, which shows the public values.
    pub(crate) fn inputs(&self, task: TaskId) -> impl Iterator<Item = TaskId> + use<> {
        let last = (task == TaskId::Final).then(|| TaskId::Segment(self.tree.segments() - 1));
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

    /// The task can be worked at from now on, and no peer does. A task that is the caller's is
    /// under way at once.
    pub(crate) fn make_ready(&mut self, task: TaskId) {
        let by_caller = self.is_for_caller(task);
        let own = self.task_mut(task);
        own.state = TaskState::Open;
        if by_caller {
            self.under_way += 1;
        } else {
            let (memory, rank) = (own.cost.memory, own.rank);
            self.ready.insert(task, memory, rank);
        }
        self.recount(task, by_caller);
    }

    /// The stage that a task has come to.
    pub(crate) fn stage(&self, task: TaskId) -> Stage {
        self.task(task).stage(self.is_for_caller(task))
    }

    /// Whether the caller does a task, and no peer.
    pub(crate) fn is_for_caller(&self, task: TaskId) -> bool {
        self.own_final && task == TaskId::Final
    }

    /// Somebody works at the task now.
    pub(crate) fn take_ready(&mut self, task: TaskId) {
        let own = self.task(task);
        let (memory, rank) = (own.cost.memory, own.rank);
        if self.ready.remove(task, memory, rank) {
            self.under_way += 1;
            self.recount(task, true);
        }
    }

    /// Puts the task back among the ready ones, if it is open and nobody holds it any more.
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
        self.recount(task, true);
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

    /// Changes the state of a task that waits, and keeps the count of those that can start soon.
    fn change_waiting(&mut self, task: TaskId, change: impl FnOnce(&mut Task)) {
        let own = self.task_mut(task);
        let before = own.starts_soon();
        change(own);
        let (after, memory) = (own.starts_soon(), own.cost.memory);
        let count = self.soon.entry(memory).or_default();
        *count = *count + usize::from(after) - usize::from(before);
    }

    /// The number of tasks that fit into `memory` and can start as soon as what is being checked or
    /// made durable is done.
    pub(crate) fn about_to_start(&self, memory: u64) -> usize {
        self.soon.range(..=memory).map(|(_, count)| count).sum()
    }

    /// Puts a task where it belongs in [`Self::held`] and [`Self::doubtful`], and counts on its
    /// proof or not, after its holders or its claims have changed.
    pub(crate) fn relist(&mut self, task: TaskId) {
        let place = self.tree.place(task);
        let own = &mut self.tasks[place];
        let arriving = match own.state {
            // A stranger's claim may be a lie that takes long to be found out.
            TaskState::Open => own.claims.iter().any(|claim| claim.proven && !claim.stalled),
            TaskState::Persisting(_) => true,
            TaskState::Unneeded | TaskState::Waiting(_) | TaskState::Done(_) => false,
        };
        let rank = Reverse(own.rank);
        let copyable = own.is_copyable();
        let listed = copyable.then_some((own.leases.len() + own.claims.len()) as u32);
        let doubted = copyable && own.leases.values().all(Lease::is_doubted);
        let above = own.rank.saturating_sub(own.cost.work);
        let in_time = own.leases.values().filter(|lease| !lease.late);
        let soonest = in_time.map(|lease| lease.ends + above).min();
        let ends = copyable.then(|| soonest.unwrap_or(Time::NEVER));
        if own.ends != ends {
            if let Some(before) = std::mem::replace(&mut own.ends, ends) {
                self.latest.remove(&(Reverse(before), task));
            }
            if let Some(ends) = ends {
                self.latest.insert((Reverse(ends), task));
            }
        }
        let own = &mut self.tasks[place];
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

    /// The longest path above any task that a peer works at, or could.
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

    /// The peers that have failed at a task, as far as is remembered.
    pub(crate) fn failed_at(&self, task: TaskId) -> Vec<Peer> {
        self.task(task).failures.iter().map(|(peer, _)| *peer).collect()
    }

    /// The tasks that take this one's proof, as far as they are known.
    pub(crate) fn takers(&self, task: TaskId) -> impl Iterator<Item = TaskId> + use<> {
        let last = !self.tree.is_growing() && task == TaskId::Segment(self.tree.segments() - 1);
        self.tree
            .parent(task)
            .into_iter()
            .chain(last.then_some(TaskId::Final))
    }

    /// All tasks that are leased, with the holders.
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
