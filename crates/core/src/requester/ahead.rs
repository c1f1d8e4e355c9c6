//! Looks ahead: leaves a task for faster machines if they, once free, would finish all work that
//! can begin by then before the machine that asks would finish this one task.
//!
//! Only machines that have delivered count, at the speed that their proofs have shown, and only
//! while they are in time. So no claim keeps a peer from a task. If the faster machines do not
//! come, tasks are left for no longer than they take on the machine that costs are measured on,
//! counted from when the last one of their level was given out.

use std::time::Duration;

use super::{Alarm, Requester};
use crate::{
    forecast::{ForecastEntry, Question},
    ids::{JobId, Kind, Peer, TaskId, TaskRef},
    job::{Job, Lease, precedence},
    output::Revocation,
    peers::PeerState,
    redundancy::share,
    time::Time,
};

/// Tasks that are looked at for one that is better done by another machine.
const LOOKED_AT_MAX: usize = 16;
/// A machine has hardly begun with a task until this part of the time that it takes has passed.
const BEGUN_PART: u32 = 8;
/// How often a task is taken over at most: a peer that claims not to be slow may be lying.
pub(super) const TAKEN_OVER_MAX: u32 = 3;
/// The machine that takes a task over ends it sooner by this part of the time that it needs, in
/// thousandths.
const SOONER_BY: u32 = 400;

impl Requester {
    /// Whether a ready task is better left for others than given to this peer. `before` are the
    /// jobs whose tasks come before those of `job`.
    fn is_better_left<'a>(
        &self,
        now: Time,
        before: impl Iterator<Item = &'a Job>,
        (job, task): (&Job, TaskId),
        peer: Peer,
    ) -> bool {
        let cost = job.task(task).cost;
        let Some(fastest) = self
            .forecast
            .fastest(cost.memory)
            .filter(|_| self.policy.look_ahead)
        else {
            return false;
        };
        let Some(state) = self.peers.get(&peer) else {
            return false;
        };
        let question = Question {
            speed: state.seen_speed(task.kind()),
            work: cost.work,
            memory: cost.memory,
        };
        if fastest <= question.speed {
            return false;
        }
        let window = question.takes();
        let others = before.map(|other| other.demand(None, window, fastest));
        let demand = others.sum::<Duration>() + job.demand(Some(job.level(task)), window, fastest);
        self.forecast.is_sooner(now, &question, demand)
    }

    /// [`Self::is_better_left`] for a peer that makes an offer; `jobs` are all jobs in their order.
    pub(super) fn is_left_by(
        &self,
        now: Time,
        jobs: &[(&JobId, &Job)],
        (job, task): (&Job, TaskId),
        peer: Peer,
    ) -> bool {
        let before = jobs.iter().map(|&(_, other)| other);
        let before = before.take_while(|other| precedence(other) < precedence(job));
        self.is_better_left(now, before, (job, task), peer)
    }

    /// [`Self::is_better_left`] for a peer that is about to be woken.
    pub(super) fn is_left_on_waking(&self, now: Time, task: TaskRef, peer: Peer) -> bool {
        let job = &self.jobs[&task.job];
        if job.was_left_for_long(task.task, now) {
            return false;
        }
        let before = self.jobs.values().filter(|other| !other.halted);
        let before = before.filter(|other| precedence(other) < precedence(job));
        self.is_better_left(now, before, (job, task.task), peer)
    }

    /// A task waits for faster machines, though not for ever.
    pub(super) fn leave(&mut self, now: Time, task: TaskRef) {
        let job = self.jobs.get_mut(&task.job);
        if let Some(until) = job.and_then(|job| job.leave(task.task, now)) {
            self.alarms.insert((until, Alarm::Left(task.job)));
        }
        self.left.insert(task.job);
    }

    /// The forecast may be another one now, or tasks were left for long enough: wakes those that
    /// should have them.
    pub(super) fn wake_left(&mut self, now: Time) {
        if self.left.is_empty() || self.parked.is_empty() {
            return;
        }
        for job in self.left.clone() {
            let left: Vec<TaskId> = self
                .jobs
                .get(&job)
                .map(|job| job.left().collect())
                .unwrap_or_default();
            if left.is_empty() {
                self.left.remove(&job);
            }
            for task in left {
                self.wake(TaskRef { job, task }, now);
            }
        }
    }

    /// Tasks of a job were left for others for long enough: any peer that is here may have them.
    pub(super) fn was_left(&mut self, now: Time, id: JobId) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let long = |task: &TaskId| job.was_left_for_long(*task, now);
        let ready: Vec<TaskId> = job.ready.tasks().filter(long).take(self.parked.count()).collect();
        self.wake_all(now, id, ready);
    }

    /// A task that this free peer should do in place of slower ones, which have hardly begun with
    /// it and would end it much later. Only a peer that is relied on gets the task of one that has
    /// delivered. Newcomers take over from newcomers, by their claims: among silent strangers that
    /// frees more tasks than boasts cost (`docs/SIMULATION.md`).
    pub(super) fn slower_ones(&self, now: Time, jobs: &[(&JobId, &Job)], peer: Peer) -> Option<TaskRef> {
        let state = self.peers.get(&peer).filter(|_| self.policy.look_ahead)?;
        let is_relied_on = state.is_relied_on(self.newcomers);
        let merit = state.merit(self.newcomers);
        jobs.iter().find_map(|&(&id, job)| {
            let top = job.top_rank();
            let mut tasks = job.latest.iter().take(LOOKED_AT_MAX).map(|&(_, task)| task);
            tasks
                .find(|&task| {
                    let own = job.task(task);
                    let barred = own.failed_on(peer) || own.is_reserved(peer, merit) || own.is_with(peer);
                    if barred || own.taken_over >= TAKEN_OVER_MAX || own.cost.memory > state.offer.memory {
                        return false;
                    }
                    let takes = state.seen_to_take(task.kind(), own.cost);
                    let spare = top.saturating_sub(own.rank);
                    let sooner = takes + share(takes, SOONER_BY) + spare;
                    let is_better = |(holder, lease): (&Peer, &Lease)| {
                        let may_lose =
                            |holder: &PeerState| !holder.is_own() && (is_relied_on || !holder.is_proven());
                        let whole = lease.ends - lease.granted;
                        let has_begun = (now - lease.granted).saturating_mul(BEGUN_PART) > whole;
                        sooner < lease.ends - now
                            && !has_begun
                            && self.peers.get(holder).is_some_and(may_lose)
                    };
                    own.claims.is_empty() && !own.leases.is_empty() && own.leases.iter().all(is_better)
                })
                .map(|task| TaskRef { job: id, task })
        })
    }

    /// Takes a task from the machines that are at it for a faster one.
    pub(super) fn take_over(&mut self, now: Time, task: TaskRef) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let own = job.task_mut(task.task);
        own.taken_over += 1;
        let work = own.cost.work;
        let done = own
            .leases
            .values()
            .map(|lease| lease.done(work, now))
            .sum::<Duration>();
        let holders: Vec<Peer> = own.leases.keys().copied().collect();
        job.waste.done += done;
        for holder in holders {
            self.revoke(now, holder, task, Revocation::Faster);
        }
    }

    /// Puts a peer where it belongs in the forecast, after its leases or its standing have changed.
    /// Machines that wait are in no forecast: the best of them is woken for a task that is ready,
    /// so none of them is a reason to keep the task from a machine that is here.
    pub(super) fn foresee(&mut self, peer: Peer) {
        if !self.policy.look_ahead {
            return;
        }
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        let is_at_work = !state.leases.is_empty() && state.is_relied_on(self.newcomers);
        let free_at = Some(state.free_at).filter(|free_at| is_at_work && *free_at < Time::NEVER);
        let foreseen = free_at.map(|free_at| ForecastEntry {
            speed: state.seen_speed(Kind::Segment),
            memory: state.offer.memory,
            free_at,
        });
        let before = std::mem::replace(&mut state.foreseen, foreseen);
        if before != foreseen {
            if let Some(machine) = before {
                self.forecast.remove(peer, machine);
            }
            if let Some(machine) = foreseen {
                self.forecast.insert(peer, machine);
            }
        }
    }
}
