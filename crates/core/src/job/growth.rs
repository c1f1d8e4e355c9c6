//! How a job comes to its tasks: segment by segment while its execution goes on, and all others
//! when the plan is there. A job that is opened with its whole plan is settled at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Job, Level, Task, TaskState, Waste};
use crate::{
    ids::{Blob, JobId, Peer, TaskId},
    input::{Cost, JobSpec},
    ready::Ready,
    redundancy::Redundancy,
    tree::Tree,
};

impl Job {
    /// A job with the tasks of `spec`.
    ///
    /// # Panics
    /// If the number of costs is not the number of tasks.
    pub(crate) fn new(spec: JobSpec, sequence: u64, redundancy: &Redundancy) -> (JobId, Self) {
        let JobSpec {
            id,
            tree,
            costs,
            priority,
            deadline,
            own_final,
            done,
            leased,
        } = spec;
        assert_eq!(costs.len(), tree.task_count(), "every task has a cost");
        let mut job = Self {
            priority,
            deadline,
            own_final,
            sequence,
            tree: Tree::growing(0),
            halted: false,
            ready: Ready::default(),
            leases: 0,
            under_way: 0,
            held: BTreeSet::new(),
            latest: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            soon: BTreeMap::new(),
            waste: Waste::default(),
            submitters: BTreeSet::new(),
            levels: vec![Level::default()],
            tasks: Vec::new(),
            leased_before: leased.into_iter().collect(),
        };
        if tree.is_growing() {
            job.grow(costs, done, redundancy);
        } else {
            job.settle(tree, costs, done, redundancy);
        }
        (id, job)
    }

    /// The segments that follow those known so far have these costs, and these proofs of an earlier
    /// run: those that can start now.
    pub(crate) fn grow(
        &mut self,
        costs: Vec<Cost>,
        done: Vec<(TaskId, Blob)>,
        redundancy: &Redundancy,
    ) -> Vec<TaskId> {
        let known = self.tasks.len();
        let segments = u32::try_from(known + costs.len()).expect("segments are counted in 32 bits");
        self.tree = Tree::growing(segments);
        self.add(costs, done);
        for place in known..self.tasks.len() {
            let own = &mut self.tasks[place];
            // Whatever is above is above all of them.
            own.rank = own.cost.work;
            self.levels[0].include(own.rank);
        }
        let new = (known as u32..segments).map(TaskId::Segment);
        let freed = new.flat_map(|task| self.find_needed(task)).collect();
        self.allow_waste(known, redundancy);
        freed
    }

    /// The plan is there to its end: those that can start now, beside the segments that could
    /// before. What peers hold, have claimed and have delivered stays theirs. No task above a
    /// segment that a peer may be at is `done`.
    ///
    /// # Panics
    /// If the tree lacks a segment that the job has, or if there is not one cost for each task that
    /// the job does not have.
    pub(crate) fn settle(
        &mut self,
        tree: Tree,
        costs: Vec<Cost>,
        done: Vec<(TaskId, Blob)>,
        redundancy: &Redundancy,
    ) -> Vec<TaskId> {
        let known = self.tasks.len();
        assert!(!tree.is_growing(), "a plan is settled with its whole tree");
        assert!(
            tree.segments() as usize >= known,
            "the plan has {} segments, and {known} were known",
            tree.segments()
        );
        assert_eq!(
            known + costs.len(),
            tree.task_count(),
            "every further task has a cost"
        );
        self.unlist_all();
        self.tree = tree;
        self.add(costs, done);
        self.rank_all();
        let freed = self.find_needed(TaskId::Final);
        for segment in 0..known {
            self.list_again(TaskId::Segment(segment as u32));
        }
        self.allow_waste(known, redundancy);
        freed
    }

    /// The proofs of `done` that count when the plan is settled with this tree: those of further
    /// segments, and of nodes all of whose segments are done. A proof of another node would leave
    /// segments without use that peers are at.
    pub(crate) fn usable(&self, tree: &Tree, done: Vec<(TaskId, Blob)>) -> Vec<(TaskId, Blob)> {
        let known = self.tasks.len();
        let is_done = |task: &Task| matches!(task.state, TaskState::Done(_));
        let mut of_segment: Vec<bool> = self.tasks.iter().map(is_done).collect();
        of_segment.resize(tree.segments() as usize, false);
        for (task, _) in &done {
            if let TaskId::Segment(index) = *task
                && (known..of_segment.len()).contains(&(index as usize))
            {
                of_segment[index as usize] = true;
            }
        }
        let is_over_done = tree.covers_only(&of_segment);
        let counts = |task: TaskId| match task {
            TaskId::Segment(_) => true,
            TaskId::Node(_) => tree.contains(task) && is_over_done(task),
            TaskId::Final => false,
        };
        done.into_iter().filter(|(task, _)| counts(*task)).collect()
    }

    /// The leases of an earlier run that can go on now: their tasks are there.
    pub(crate) fn take_earlier_leases(&mut self) -> Vec<(TaskId, Peer)> {
        let tree = &self.tree;
        if !tree.is_growing() {
            // The others are of tasks that the plan does not have.
            let mut leased = std::mem::take(&mut self.leased_before);
            leased.retain(|(task, _)| tree.contains(*task));
            return leased.into_iter().collect();
        }
        let later = self
            .leased_before
            .split_off(&(TaskId::Segment(tree.segments()), Peer([0; 32])));
        std::mem::replace(&mut self.leased_before, later)
            .into_iter()
            .collect()
    }

    /// The leases of an earlier run, of tasks that the job does not have yet.
    pub(crate) fn awaited(&self) -> &BTreeSet<(TaskId, Peer)> {
        &self.leased_before
    }

    /// A peer is not at this task any more, which the job does not have yet.
    pub(crate) fn forget_awaited_of(&mut self, peer: Peer, task: TaskId) {
        self.leased_before.remove(&(task, peer));
    }

    /// A peer is gone that was at tasks which the job does not have yet.
    pub(crate) fn forget_awaited(&mut self, peer: Peer) {
        self.leased_before.retain(|(_, holder)| *holder != peer);
    }

    /// Adds tasks after those that are there, in the order of the tree, with the proofs of an
    /// earlier run. Nobody is known to need them.
    fn add(&mut self, costs: Vec<Cost>, done: Vec<(TaskId, Blob)>) {
        let known = self.tasks.len();
        self.tasks.extend(costs.into_iter().map(Task::new));
        for (task, proof) in done {
            if self.tree.contains(task) && self.tree.place(task) >= known {
                self.task_mut(task).state = TaskState::Done(proof);
            }
        }
    }

    /// Takes all tasks out of whatever orders or counts them by what is above them.
    fn unlist_all(&mut self) {
        self.ready = Ready::default();
        self.held.clear();
        self.latest.clear();
        self.doubtful.clear();
        for own in &mut self.tasks {
            (own.ends, own.listed, own.doubted) = (None, None, false);
            (own.undone, own.unstarted) = (false, false);
            // No task above counts on it yet.
            own.arriving = false;
        }
    }

    /// Finds the longest path above each task, and of the tasks of each level.
    fn rank_all(&mut self) {
        // Parents come after their children.
        for task in self.tree.tasks().collect::<Vec<_>>().into_iter().rev() {
            let parent = self.tree.parent(task);
            let above = parent.map_or(Duration::ZERO, |parent| self.task(parent).rank);
            let own = self.task_mut(task);
            own.rank = own.cost.work + above;
        }
        // How long segments were left for others is as true as before.
        let left = self.levels[0].left;
        self.levels = vec![Level::default(); self.level(TaskId::Final) + 1];
        self.levels[0].left = left;
        for task in self.tree.tasks() {
            let (level, rank) = (self.level(task), self.task(task).rank);
            self.levels[level].include(rank);
        }
    }

    /// Puts a segment that was there before where it belongs by its new rank.
    fn list_again(&mut self, segment: TaskId) {
        if self.task(segment).is_idle() {
            self.make_ready(segment);
        } else {
            self.recount(segment, true);
        }
        self.relist(segment);
    }

    /// Allows waste for the tasks from this place on.
    fn allow_waste(&mut self, from: usize, redundancy: &Redundancy) {
        let new = &self.tasks[from..];
        let needed = new.iter().filter(|task| task.is_needed());
        self.waste.needed += needed.map(|task| task.cost.work).sum::<Duration>();
        let longest = new.iter().map(|task| task.cost.work).max().unwrap_or_default();
        self.waste.longest = self.waste.longest.max(longest);
        let (allowed, unsure) = redundancy.waste_allowed(self.waste.needed);
        // One task may be done twice, however small the job is.
        self.waste.allowed = allowed.max(self.waste.longest);
        self.waste.allowed_unsure = unsure;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        job::{Claim, Lease},
        time::Time,
        tree::Arities,
    };

    const SEGMENTS: usize = 7;

    /// What becomes of a segment.
    #[derive(Clone, Copy, Debug)]
    enum Occurrence {
        Leased(u8),
        Late,
        Claimed(u8),
        Stalled,
        Accepted,
        Done,
        GivenBack,
        LeftForOthers,
    }

    fn happens() -> impl Strategy<Value = Occurrence> {
        prop_oneof![
            3 => (0..3u8).prop_map(Occurrence::Leased),
            1 => Just(Occurrence::Late),
            3 => (0..3u8).prop_map(Occurrence::Claimed),
            1 => Just(Occurrence::Stalled),
            2 => Just(Occurrence::Accepted),
            2 => Just(Occurrence::Done),
            1 => Just(Occurrence::GivenBack),
            1 => Just(Occurrence::LeftForOthers),
        ]
    }

    fn lease(granted: Time, expected: Duration) -> Lease {
        Lease {
            granted,
            until: granted + expected * 2,
            latest: granted + expected * 4,
            progress: 0,
            expected,
            heard: granted,
            doubt: Time::NEVER,
            late: false,
            on_trial: false,
            ends: granted + expected,
            charge: Duration::ZERO,
            origin: None,
        }
    }

    /// Does to a job what the requester's state machine would.
    fn apply(job: &mut Job, now: Time, segment: TaskId, happens: Occurrence) {
        let work = job.task(segment).cost.work;
        let state = job.task(segment).state;
        let is_open = state == TaskState::Open;
        match happens {
            Occurrence::Leased(by) if is_open => {
                job.take_ready(segment);
                let own = job.task_mut(segment);
                if own.leases.insert(Peer([by; 32]), lease(now, work)).is_none() {
                    job.leases += 1;
                }
            }
            Occurrence::Late => {
                let leases = job.task_mut(segment).leases.values_mut();
                leases.for_each(|lease| lease.late = true);
            }
            Occurrence::Claimed(by) if is_open => {
                job.take_ready(segment);
                job.task_mut(segment).claims.push(Claim {
                    peer: Peer([by; 32]),
                    proof: Blob([by; 32]),
                    took: work,
                    proven: by > 0,
                    checking: true,
                    stalled: false,
                });
            }
            Occurrence::Stalled => {
                let claims = job.task_mut(segment).claims.iter_mut();
                claims.for_each(|claim| claim.stalled = true);
            }
            Occurrence::Accepted if is_open => {
                let own = job.task_mut(segment);
                if let Some(&claim) = own.claims.first() {
                    own.state = TaskState::Persisting(claim);
                    own.claims.clear();
                    let ended = std::mem::take(&mut own.leases).len();
                    job.leases -= ended;
                }
            }
            Occurrence::Done => {
                if let TaskState::Persisting(claim) = state {
                    job.complete(segment, claim.proof, claim.peer);
                    return;
                }
            }
            Occurrence::GivenBack if is_open && !job.task(segment).is_idle() => {
                let own = job.task_mut(segment);
                own.claims.clear();
                let ended = std::mem::take(&mut own.leases).len();
                job.leases -= ended;
                job.relist(segment);
                job.release_if_idle(segment);
            }
            Occurrence::LeftForOthers if job.task(segment).is_idle() => drop(job.leave(segment, now)),
            _ => {}
        }
        job.relist(segment);
    }

    fn spec(works: &[u64]) -> JobSpec {
        let arities = Arities {
            leaf: 2,
            internal_for_leaf: 2,
            internal_recursive: 2,
        };
        let tree = Tree::new(SEGMENTS as u32, arities);
        let cost = |place: usize| Cost {
            work: Duration::from_secs(works.get(place).copied().unwrap_or(30)),
            memory: 1 << 30 << (place % 2),
        };
        JobSpec {
            id: JobId([1; 32]),
            costs: (0..tree.task_count()).map(cost).collect(),
            tree,
            priority: 0,
            deadline: None,
            own_final: false,
            done: vec![(TaskId::Segment(2), Blob([7; 32]))],
            leased: Vec::new(),
        }
    }

    /// Everything that a job orders or counts its tasks by.
    fn books(job: &Job) -> Vec<String> {
        let soon: Vec<_> = job.soon.iter().filter(|(_, count)| **count > 0).collect();
        let mut books = vec![
            format!("ready {:?}", job.ready.tasks().collect::<Vec<_>>()),
            format!("top {:?}", job.ready.top_rank()),
            format!("held {:?}", job.held),
            format!("latest {:?}", job.latest),
            format!("doubtful {:?}", job.doubtful),
            format!("soon {soon:?}"),
            format!("levels {:?}", job.levels),
            format!("waste {:?}", job.waste),
            format!("under way {}, leases {}", job.under_way, job.leases),
        ];
        books.extend(job.tree.tasks().map(|task| format!("{:?}", job.task(task))));
        books
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        /// Whatever happens to segments before the plan is there, a job is as if it had been opened
        /// with the whole plan.
        #[test]
        fn a_settled_job_is_one_that_was_opened_whole(
            works in prop::collection::vec(10..14u64, SEGMENTS),
            first in 0..=SEGMENTS,
            // How many segments come before each thing that happens, and to which of them it does.
            happens in prop::collection::vec((0..3usize, 0..SEGMENTS, happens()), 0..60),
        ) {
            let redundancy = Redundancy::default();
            let (_, mut whole) = Job::new(spec(&works), 0, &redundancy);
            let JobSpec { tree, costs, .. } = spec(&works);
            let growing = JobSpec {
                tree: Tree::growing(first as u32),
                costs: costs[..first].to_vec(),
                ..spec(&works)
            };
            let (_, mut grown) = Job::new(growing, 0, &redundancy);
            let mut known = first;
            for (second, (more, segment, happens)) in happens.into_iter().enumerate() {
                let next = SEGMENTS.min(known + more / 2);
                let done = vec![(TaskId::Segment(2), Blob([7; 32]))];
                grown.grow(costs[known..next].to_vec(), done, &redundancy);
                known = next;
                if segment < known {
                    let now = Time::default() + Duration::from_secs(second as u64);
                    for job in [&mut whole, &mut grown] {
                        apply(job, now, TaskId::Segment(segment as u32), happens);
                    }
                }
            }
            let done = vec![(TaskId::Segment(2), Blob([7; 32]))];
            grown.settle(tree, costs[known..].to_vec(), done, &redundancy);
            prop_assert_eq!(books(&grown), books(&whole));
        }
    }
}
