//! Picks the task that a peer gets.

use std::time::Duration;

use super::{Alarm, Requester, ahead::TAKEN_OVER_MAX};
use crate::{
    ids::{JobId, Kind, Peer, TaskId, TaskRef},
    input::{Offer, SPEED_ONE, Trust},
    job::{Job, Lease, TaskState, precedence},
    output::{Output, Refusal},
    peers::PeerState,
    time::Time,
};

/// The task that a peer is to get, and how.
#[derive(Clone, Copy, Debug)]
struct Pick {
    task: TaskRef,
    /// The work that is expected to be wasted, because others are at it.
    charge: Duration,
    /// The task is taken from its present holders.
    takes_over: bool,
    /// It is not better left for others.
    timely: bool,
}

impl Pick {
    fn new(task: TaskRef, charge: Duration) -> Self {
        Self {
            task,
            charge,
            takes_over: false,
            timely: true,
        }
    }
}

/// The network that a peer's leases are counted for.
pub(super) fn unproven_origin(state: &PeerState) -> Option<u64> {
    state.offer.origin.filter(|_| !state.is_proven())
}

/// A task for a peer that failed at it before, of a job that leaves none for others: it may succeed
/// now, and there may be no others to try it.
fn failed_before(
    jobs: &[(&JobId, &Job)],
    offer: &Offer,
    left: &[TaskRef],
    (peer, merit): (Peer, u32),
) -> Option<TaskRef> {
    jobs.iter().find_map(|&(&id, job)| {
        if left.iter().any(|task| task.job == id) {
            return None;
        }
        let reserved = |task| job.task(task).is_reserved(peer, merit);
        let task = job.ready.best(offer.memory, reserved)?;
        Some(TaskRef { job: id, task })
    })
}

/// Why no task of these jobs is for an offer.
fn nothing_for(jobs: &[(&JobId, &Job)], offer: &Offer) -> Refusal {
    let least = jobs.iter().filter_map(|(_, job)| job.ready.least_memory()).min();
    match least {
        _ if jobs.is_empty() => Refusal::NoJob,
        Some(needed) if needed > offer.memory => Refusal::Memory {
            offered: offer.memory,
            needed,
        },
        // The ready tasks wait for a better peer that was woken for them, or that will be free.
        _ => Refusal::Waiting {
            under_way: jobs.iter().map(|(_, job)| job.under_way).sum(),
        },
    }
}

impl Requester {
    pub(super) fn offered(&mut self, now: Time, peer: Peer, offer: Offer) {
        self.parked.remove(peer);
        let woken = self.forget_woken(peer);
        self.remember(now, peer, offer);
        if woken.is_some()
            && let Some(state) = self.peers.get_mut(&peer)
        {
            state.overslept = 0;
        }
        let mut left = Vec::new();
        let picked = match self.refusal(now, peer) {
            Some(why) => Err(why),
            None => self.pick(now, peer, &offer, woken, &mut left),
        };
        for task in left {
            self.leave(now, task);
        }
        let why = match picked {
            Ok(pick) => {
                self.grant(now, peer, pick);
                // A task for which one peer is not enough may be worth a second one.
                return self.wake_for_copy(now, pick.task);
            }
            Err(why) => why,
        };
        if woken.is_some() {
            // The task that it was woken for is still there, and others may wait.
            self.wake_another(now);
        }
        // A peer that cannot use the ready tasks would be woken for them again and again. It asks
        // by itself.
        if matches!(
            why,
            Refusal::NoJob | Refusal::Waiting { .. } | Refusal::Memory { .. }
        ) {
            self.park(peer, offer.memory);
        }
        self.foresee(peer);
        self.outputs.push_back(Output::Refuse { peer, why });
    }

    /// Lets a peer wait until it is woken. A network's newcomers are few there, too.
    fn park(&mut self, peer: Peer, memory: u64) {
        let merit = self.merit(peer);
        let origin = self.peers.get(&peer).and_then(unproven_origin);
        if origin.is_none_or(|origin| self.parked.of_origin(origin) < self.policy.unproven_per_origin) {
            self.parked.insert(peer, memory, merit, origin);
        }
    }

    /// Takes note of an offer, and forgets another peer if there are too many.
    fn remember(&mut self, now: Time, peer: Peer, offer: Offer) {
        if let Some(state) = self.peers.get_mut(&peer) {
            if self.forgettable.remove(&(state.seen, peer)) {
                self.forgettable.insert((now, peer));
            }
            (state.offer, state.seen) = (offer, now);
        } else {
            let standing = self.remembered.remove(&peer).unwrap_or_default();
            let state = self.peers.insert(peer, PeerState::new(offer, standing));
            state.seen = now;
            if state.is_forgettable() {
                self.forgettable.insert((now, peer));
            }
        }
        while self.peers.len() > self.policy.peers_max {
            let Some((_, oldest)) = self.forgettable.pop_first() else {
                break;
            };
            self.parked.remove(oldest);
            self.banned.remove(&oldest);
            self.peers.remove(&oldest);
        }
    }

    /// Why a peer gets nothing, whatever there is.
    fn refusal(&self, now: Time, peer: Peer) -> Option<Refusal> {
        let state = self.peers.get(&peer)?;
        let (held, allowed) = (state.held(), state.leases_allowed(&self.policy));
        if let Some(reason) = &state.standing.banned {
            return Some(Refusal::Banned {
                reason: reason.clone(),
            });
        }
        if now < state.cooling_until {
            return Some(Refusal::Cooling {
                setbacks: state.setbacks,
                remaining: state.cooling_until - now,
            });
        }
        if held >= allowed {
            return Some(Refusal::TooManyLeases { held, allowed });
        }
        let allowed = self.policy.unproven_per_origin;
        let held = unproven_origin(state).and_then(|origin| self.origins.get(&origin).copied());
        held.filter(|held| *held >= allowed)
            .map(|held| Refusal::Crowded { held, allowed })
    }

    /// The task that a peer should get: in the most important job, among those alike the one due
    /// first, then the oldest, the task with the longest path above it.
    ///
    /// Tasks that others hold come after those that nobody holds, unless they are more urgent and
    /// their holders are doubted. A peer that was `woken` for a task may be meant to have a copy.
    /// Tasks that are left for others are added to `left`.
    fn pick(
        &mut self,
        now: Time,
        peer: Peer,
        offer: &Offer,
        woken: Option<TaskRef>,
        left: &mut Vec<TaskRef>,
    ) -> Result<Pick, Refusal> {
        let mut jobs: Vec<_> = self.jobs.iter().filter(|(_, job)| !job.halted).collect();
        jobs.sort_unstable_by_key(|(_, job)| precedence(job));
        let proven = self.peers.get(&peer).is_some_and(PeerState::is_proven);
        let merit = self.merit(peer);
        for &(&id, job) in &jobs {
            let barred = |task| {
                let own = job.task(task);
                own.failed_on(peer) || own.is_reserved(peer, merit)
            };
            let mut best = job.ready.best(offer.memory, barred);
            let mut timely = true;
            while let Some(ready) = best
                && self.is_left_by(now, &jobs, (job, ready), peer)
            {
                timely = !job.was_left_for_long(ready, now);
                if !timely {
                    break;
                }
                left.push(TaskRef { job: id, task: ready });
                let least = job.least_rank_beside(ready);
                best = job.ready.best_below(least, offer.memory, barred);
            }
            if best.is_none() {
                best = self
                    .still_for(now, &jobs, (id, job), woken, peer)
                    .filter(|&own| !barred(own));
                timely = best.is_none_or(|own| !job.was_left_for_long(own, now));
            }
            let Some(ready) = best else {
                continue;
            };
            let rank = job.task(ready).rank;
            let doubtful = job.doubtful.first().is_some_and(|(urgent, _)| urgent.0 > rank);
            let copy = (proven && doubtful)
                .then(|| self.best_copy(now, job, peer, true))
                .flatten()
                .filter(|copy| copy.rank > rank);
            let (task, charge) = match copy {
                Some(copy) => (copy.task, copy.worth.waste),
                None => (ready, Duration::ZERO),
            };
            let task = TaskRef { job: id, task };
            return Ok(Pick {
                timely,
                ..Pick::new(task, charge)
            });
        }
        let like = (proven, offer.memory, merit);
        if (woken.is_some() || !self.fruitless.covers(now, like)) && !self.is_soon_needed(&jobs, offer.memory)
        {
            if let Some(task) = self.slower_ones(now, &jobs, peer) {
                return Ok(Pick {
                    takes_over: true,
                    ..Pick::new(task, Duration::ZERO)
                });
            }
            if let Some((task, copy)) = self.copy_of_any(now, &jobs, peer) {
                return Ok(Pick::new(task, copy.worth.waste));
            }
            self.fruitless.note(now, like);
        }
        if let Some(task) = failed_before(&jobs, offer, left, (peer, merit)) {
            return Ok(Pick::new(task, Duration::ZERO));
        }
        Err(nothing_for(&jobs, offer))
    }

    /// The task that a peer was woken for, if it can have it. The first of a level that is left
    /// stands for all of it, but this one may be smaller: nobody would end it sooner. If the peer
    /// did not get it, the next one would be woken for it, and not get it either, and so on. As on
    /// waking, a task that was left for long is for anybody.
    fn still_for(
        &self,
        now: Time,
        jobs: &[(&JobId, &Job)],
        (id, job): (JobId, &Job),
        woken: Option<TaskRef>,
        peer: Peer,
    ) -> Option<TaskId> {
        let task = woken
            .filter(|own| own.job == id && job.tree.contains(own.task))?
            .task;
        let own = job.task(task);
        let memory = self.peers.get(&peer).map_or(0, |state| state.offer.memory);
        let left = || !job.was_left_for_long(task, now) && self.is_left_by(now, jobs, (job, task), peer);
        (own.is_idle() && own.cost.memory <= memory && !left()).then_some(task)
    }

    /// Whether a machine without a task of its own will have one in a moment. A machine that takes
    /// a copy now is busy when a task becomes ready that nobody does.
    fn is_soon_needed(&self, jobs: &[(&JobId, &Job)], memory: u64) -> bool {
        let soon = jobs.iter().map(|(_, job)| job.about_to_start(memory));
        soon.sum::<usize>() > self.parked.count()
    }

    fn grant(&mut self, now: Time, peer: Peer, pick: Pick) {
        if pick.takes_over {
            self.take_over(now, pick.task);
        }
        let until = self.begin_lease(now, peer, pick);
        let task = pick.task;
        self.outputs.push_back(Output::Lease { peer, task, until });
    }

    /// A peer was at a task when an earlier run ended, and may still be.
    pub(super) fn restore(&mut self, now: Time, peer: Peer, task: TaskRef) {
        let Some(job) = self
            .jobs
            .get(&task.job)
            .filter(|job| job.tree.contains(task.task))
        else {
            return;
        };
        let own = job.task(task.task);
        if own.state != TaskState::Open || own.is_with(peer) || job.is_for_caller(task.task) {
            return;
        }
        // It had the memory, and will say the rest.
        let offer = Offer {
            memory: own.cost.memory,
            speed: SPEED_ONE,
            trust: Trust::Stranger,
            origin: None,
        };
        if !self.peers.contains(&peer) {
            self.remember(now, peer, offer);
        }
        let banned = |state: &PeerState| state.standing.banned.is_some();
        if self.peers.get(&peer).is_some_and(|state| !banned(state)) {
            self.begin_lease(now, peer, Pick::new(task, Duration::ZERO));
            // The holder's progress is unknown.
            if let Some(job) = self.jobs.get_mut(&task.job) {
                job.task_mut(task.task).taken_over = TAKEN_OVER_MAX;
            }
        }
    }

    /// Notes that a task is a peer's from now on, and until when.
    fn begin_lease(&mut self, now: Time, peer: Peer, pick: Pick) -> Time {
        let Pick { task, charge, .. } = pick;
        let policy = self.policy;
        let job = self.jobs.get_mut(&task.job).expect("it was picked");
        job.take_ready(task.task);
        job.leases += 1;
        job.waste.expected += charge;
        let state = self.peers.get_mut(&peer).expect("it has made an offer");
        let own = job.task_mut(task.task);
        let kind = task.task.kind();
        let length = state.lease_length(kind, own.cost, &policy);
        let stretch = if state.is_proven() {
            policy.stretch_max
        } else {
            policy.stretch_on_probation
        };
        let mut lease = Lease {
            granted: now,
            until: now + length,
            latest: now + length.saturating_mul(stretch),
            progress: 0,
            expected: state.expected(kind, own.cost),
            heard: now,
            ends: now + state.expected(kind, own.cost),
            doubt: Time::NEVER,
            late: false,
            on_trial: false,
            charge,
            origin: unproven_origin(state),
        };
        if !state.is_own() {
            lease.doubt = lease.next_doubt(&policy);
            // A machine that is on probation should not be the only one at what many others wait
            // for.
            lease.on_trial = !state.is_proven() && kind != Kind::Segment;
        }
        state.leases.insert(task);
        state.free_at = state.free_at.max(now + lease.expected);
        self.forgettable.remove(&(state.seen, peer));
        if let Some(origin) = lease.origin {
            *self.origins.entry(origin).or_default() += 1;
        }
        for (time, alarm) in [
            (lease.until, Alarm::Lease(peer, task)),
            (lease.doubt, Alarm::Doubt(peer, task)),
        ] {
            if time < Time::NEVER {
                self.alarms.insert((time, alarm));
            }
        }
        let until = lease.until;
        own.leases.insert(peer, lease);
        own.overslept = 0;
        job.relist(task.task);
        let left_until = if pick.timely {
            job.leave_rest(task.task, now)
        } else {
            None
        };
        if let Some(until) = left_until {
            self.alarms.insert((until, Alarm::Left(task.job)));
        }
        self.foresee(peer);
        until
    }
}
