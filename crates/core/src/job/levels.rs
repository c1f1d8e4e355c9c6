//! The work that is left on each level of the aggregation tree, and the ready tasks that are left
//! for faster machines.

use std::time::Duration;

use super::{Job, TaskState};
use crate::{ids::TaskId, input::SPEED_ONE, redundancy::share, time::Time};

/// Tasks of one level, which are about alike.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    /// The longest path from one of them to the final proof, and the shortest.
    pub rank: Duration,
    pub least: Duration,
    /// Needed and not done.
    pub undone: u32,
    /// The undone tasks that no peer holds, and their work together.
    pub unstarted: u32,
    pub work: Duration,
    /// Since when those that are ready are left for faster machines, if they are.
    pub left: Option<Time>,
}

impl Level {
    /// A task with this rank is on it.
    pub(super) fn include(&mut self, rank: Duration) {
        self.rank = self.rank.max(rank);
        self.least = if self.least.is_zero() {
            rank
        } else {
            self.least.min(rank)
        };
    }
}

impl Job {
    /// A task is left for others, with those of its level; until when at most, unless they were
    /// before.
    pub(crate) fn leave(&mut self, task: TaskId, now: Time) -> Option<Time> {
        let work = self.task(task).cost.work;
        let level = self.level(task);
        let left = &mut self.levels[level].left;
        left.is_none().then(|| {
            *left = Some(now);
            now + work
        })
    }

    /// A peer that should have one got a task. If the others of its level were left and some are
    /// ready, they are left from now on; returns until when at most.
    pub(crate) fn leave_rest(&mut self, task: TaskId, now: Time) -> Option<Time> {
        let level = self.level(task);
        let Level { rank, left, .. } = self.levels[level];
        left?;
        let next = self.ready.first_from(rank);
        let next = next.filter(|next| self.level(*next) == level);
        self.levels[level].left = next.map(|_| now);
        next.map(|next| now + self.task(next).cost.work)
    }

    /// The first ready task of each level that is left for others.
    pub(crate) fn left(&self) -> impl Iterator<Item = TaskId> {
        let levels = self.levels.iter().filter(|level| level.left.is_some());
        levels.filter_map(|level| {
            let task = self.ready.first_from(level.rank)?;
            (self.levels[self.level(task)].rank == level.rank).then_some(task)
        })
    }

    pub(crate) fn level(&self, task: TaskId) -> usize {
        match task {
            TaskId::Segment(_) => 0,
            TaskId::Node(node) => node.level.into(),
            TaskId::Final => usize::from(self.tree.top().level) + 1,
        }
    }

    /// Counts a task on its level as what it is now. A task that is for the caller waits for no
    /// peer.
    pub(super) fn recount(&mut self, task: TaskId, started: bool) {
        let started = started || self.is_for_caller(task);
        let place = self.level(task);
        let own = self.task_mut(task);
        let undone = !matches!(own.state, TaskState::Unneeded | TaskState::Done(_));
        let unstarted = undone && !started;
        let was_undone = std::mem::replace(&mut own.undone, undone);
        let was_unstarted = std::mem::replace(&mut own.unstarted, unstarted);
        let work = own.cost.work;
        let level = &mut self.levels[place];
        level.undone = level.undone + u32::from(undone) - u32::from(was_undone);
        if unstarted && !was_unstarted {
            level.unstarted += 1;
            level.work += work;
        } else if was_unstarted && !unstarted {
            level.unstarted -= 1;
            level.work -= work;
        }
    }

    /// The work that other machines could begin within `window` from now on, beside what waits for
    /// a task of this level. It is the work of tasks that nobody holds and that can start by then,
    /// if everything below them takes what it takes on the `fastest` machine.
    pub(crate) fn demand(&self, level: Option<usize>, window: Duration, fastest: u32) -> Duration {
        let undone = self
            .levels
            .iter()
            .enumerate()
            .skip_while(|(_, level)| level.undone == 0);
        let top = undone
            .clone()
            .map(|(_, level)| level.rank)
            .next()
            .unwrap_or_default();
        let speed = fastest.max(1);
        let started = undone
            .filter(|(_, level)| level.unstarted > 0)
            .filter_map(|(place, of)| {
                // The task that is asked about can start now.
                let starts = if level == Some(place) {
                    Duration::ZERO
                } else {
                    top.saturating_sub(of.rank).saturating_mul(SPEED_ONE) / speed
                };
                let left = share(window.checked_sub(starts)?, speed);
                // One task waits for it on each level above.
                let waiting = u32::from(level.is_some_and(|level| level < place));
                Some(
                    left.min(of.work / of.unstarted)
                        .saturating_mul(of.unstarted - waiting),
                )
            });
        started.sum()
    }

    /// The shortest path from a task of the same level to the final proof.
    pub(crate) fn least_rank_beside(&self, task: TaskId) -> Duration {
        self.levels[self.level(task)].least
    }

    /// Whether tasks of the same level were left for others for as long as this one takes.
    pub(crate) fn was_left_for_long(&self, task: TaskId, now: Time) -> bool {
        let work = self.task(task).cost.work;
        self.levels[self.level(task)]
            .left
            .is_some_and(|left| left + work <= now)
    }
}
