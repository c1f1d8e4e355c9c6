//! Wakes peers that wait: for a task that is ready, and instead of others that did not come.

use std::{collections::BTreeSet, time::Duration};

use super::{Alarm, Requester};
use crate::{
    ids::{JobId, Peer, TaskRef},
    output::Output,
    time::Time,
};

/// How long a peer that was woken may take to make its offer before others are woken.
const WOKEN_PATIENCE: Duration = Duration::from_secs(2);

/// How soon a peer that was woken may decline without having overslept.
const DECLINE_PATIENCE: Duration = Duration::from_millis(500);

/// Peers that are woken at once for one task, as a power of two: the number doubles each time that
/// none comes.
const WOKEN_LOG_MAX: u32 = 8;

impl Requester {
    /// A peer has a job's files. The word of a peer that has not delivered yet does not count.
    pub(super) fn files_held(&mut self, peer: Peer, job: JobId) {
        let is_own = self.is_own(peer);
        let standing = self.standing(peer);
        if is_own || standing.is_some_and(|standing| standing.is_proven() && standing.banned.is_none()) {
            self.parked.note_files(peer, job);
        }
    }

    /// Wakes a peer for a ready task, or several if nobody came before; false if none waits that
    /// has the memory for it, or if the job gives nothing out. The caller is asked to do its own
    /// tasks.
    pub(super) fn wake(&mut self, task: TaskRef, now: Time) -> bool {
        let job = &self.jobs[&task.job];
        if job.halted {
            return false;
        }
        if job.is_for_caller(task.task) {
            self.try_it(task);
            return true;
        }
        let own = job.task(task.task);
        let (cost, at_once) = (own.cost, 1usize << own.overslept.min(WOKEN_LOG_MAX));
        let mut woken = 0;
        while woken < at_once
            && let Some(best) = self.parked.best(cost.memory)
        {
            let holder = self.parked.best_for(task.job, cost);
            let candidates = holder.into_iter().chain([best]);
            let mut timely = candidates.filter(|peer| !self.is_left_on_waking(now, task, *peer));
            let Some(peer) = timely.next() else {
                // The others are no faster.
                self.leave(now, task);
                break;
            };
            self.parked.remove(peer);
            self.wake_for(peer, task, now);
            woken += 1;
        }
        woken > 0
    }

    fn wake_for(&mut self, peer: Peer, task: TaskRef, now: Time) {
        let patience = now + WOKEN_PATIENCE;
        self.woken.insert(peer, (patience, task));
        let merit = self.merit(peer);
        // Nothing is kept for a stranger that may not come: a peer that asks meanwhile has it.
        let comes = self
            .peers
            .get(&peer)
            .is_some_and(|state| state.is_proven() && state.overslept == 0);
        if comes && let Some(job) = self.jobs.get_mut(&task.job) {
            job.task_mut(task.task).reserved = Some((peer, merit));
        }
        self.alarms.insert((patience, Alarm::Woken(peer)));
        self.outputs.push_back(Output::Wake { peer });
    }

    /// The task that a peer was woken for, which is kept for it no more.
    pub(super) fn forget_woken(&mut self, peer: Peer) -> Option<TaskRef> {
        let (patience, task) = self.woken.remove(&peer)?;
        self.alarms.remove(&(patience, Alarm::Woken(peer)));
        if let Some(job) = self.jobs.get_mut(&task.job)
            && job.tree.contains(task.task)
        {
            let reserved = &mut job.task_mut(task.task).reserved;
            *reserved = reserved.filter(|(woken, _)| *woken != peer);
        }
        Some(task)
    }

    /// A peer that was woken has said that it does not come: others are woken at once, twice as
    /// many as before. It is no worse for it if it has said so promptly.
    pub(super) fn declined(&mut self, now: Time, peer: Peer) {
        // Saying so late costs as much as not coming.
        let prompt = self
            .woken
            .get(&peer)
            .is_some_and(|&(patience, _)| now + (WOKEN_PATIENCE - DECLINE_PATIENCE) <= patience);
        let woken = if prompt {
            self.forget_woken(peer)
        } else {
            self.oversleeps(peer)
        };
        let Some(task) = woken else {
            return;
        };
        let job = self.jobs.get_mut(&task.job);
        let mut job = job.filter(|job| job.tree.contains(task.task));
        if let Some(job) = &mut job {
            job.task_mut(task.task).overslept += 1;
        }
        match job {
            Some(job) if job.task(task.task).is_idle() => drop(self.wake(task, now)),
            Some(_) => self.wake_for_copy(now, task),
            None => self.wake_another(now),
        }
    }

    /// A peer was woken and did not come, which counts against it. Gives the task that it was woken
    /// for.
    pub(super) fn oversleeps(&mut self, peer: Peer) -> Option<TaskRef> {
        let task = self.forget_woken(peer)?;
        if let Some(state) = self.peers.get_mut(&peer) {
            state.overslept = state.overslept.saturating_add(1);
        }
        self.foresee(peer);
        Some(task)
    }

    /// None of the peers woken for these tasks came. Wakes others for them, or for the tasks that
    /// are still ready.
    pub(super) fn wake_instead(&mut self, now: Time, overslept: BTreeSet<TaskRef>) {
        let mut woken = false;
        for task in overslept {
            // Another one that was woken for it may still come.
            let waits = self.woken.values().any(|(_, other)| *other == task);
            let Some(job) = self.jobs.get_mut(&task.job).filter(|_| !waits) else {
                continue;
            };
            if !job.tree.contains(task.task) {
                continue;
            }
            let own = job.task_mut(task.task);
            own.overslept += 1;
            if own.is_idle() {
                woken |= self.wake(task, now);
            } else {
                self.wake_for_copy(now, task);
            }
        }
        if !woken {
            self.wake_another(now);
        }
    }

    /// A peer that was woken did not take a task: wakes another for the tasks that are still ready.
    pub(super) fn wake_another(&mut self, now: Time) {
        let ready: Vec<TaskRef> = self
            .jobs
            .iter()
            .flat_map(|(&job, state)| {
                // A peer without the memory for the most urgent task may have it for the smallest.
                let tasks = [state.ready.best(u64::MAX, |_| false), state.ready.smallest()];
                tasks.into_iter().flatten().map(move |task| TaskRef { job, task })
            })
            .collect();
        for task in ready {
            if self.wake(task, now) {
                break;
            }
        }
    }
}
