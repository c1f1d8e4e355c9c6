//! Copies: leased tasks that one more machine may have, as the [policy](crate::Redundancy) decides.

use std::{cmp::Reverse, time::Duration};

use super::Requester;
use crate::{
    ids::{JobId, Peer, TaskId, TaskRef},
    input::Trust,
    job::{Job, Lease},
    peers::PeerState,
    redundancy::{Holder, Question, Redundancy, Worth},
    time::Time,
};

/// Tasks that are looked at for one offer: the most urgent ones, of which the best is taken.
const LOOKED_AT_MAX: usize = 16;
/// The chance that a late holder delivers after all is this part of what it was.
const DOUBTED_PART: u32 = 4;
/// How long a fetch that stalls goes on, about, before it is given up.
const STALLED_FOR: Duration = Duration::from_secs(20);

/// How long a fruitless search for copies stands for other machines.
const FRUITLESS_FOR: Duration = Duration::from_secs(1);

/// Notes that nothing was worth a copy a moment ago for a machine that is proven or not, with this
/// much memory and merit. The note covers lesser machines too. Thousands of idle machines ask all
/// the time, and a search for each would be most of a requester's work. An event that makes a copy
/// worth it at once, such as a doubt, wakes the best machine itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fruitless([Option<(Time, u64, u32)>; 2]);

impl Fruitless {
    pub(super) fn covers(&self, now: Time, (proven, memory, merit): (bool, u64, u32)) -> bool {
        self.0[usize::from(proven)]
            .is_some_and(|(until, most, best)| now < until && memory <= most && merit <= best)
    }

    pub(super) fn note(&mut self, now: Time, like: (bool, u64, u32)) {
        let (proven, memory, merit) = like;
        let noted = &mut self.0[usize::from(proven)];
        // One that has less of either than the one before does not replace it; the next second
        // begins again.
        let lesser = noted.is_some_and(|(until, most, best)| now < until && (memory < most || merit < best));
        if !lesser {
            *noted = Some((now + FRUITLESS_FOR, memory, merit));
        }
    }
}

/// A copy that is worth it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub task: TaskId,
    pub rank: Duration,
    pub worth: Worth,
}

impl Requester {
    /// The task of a job of which one more copy, at this peer, is worth most: among the `doubtful`
    /// tasks alone, or among all.
    pub(super) fn best_copy(&self, now: Time, job: &Job, peer: Peer, doubtful: bool) -> Option<Copy> {
        let state = self.peers.get(&peer)?;
        let first = job.doubtful.iter().map(|(_, task)| *task).take(LOOKED_AT_MAX);
        let all = if doubtful { 0 } else { LOOKED_AT_MAX };
        let (latest, fewest) = match self.policy.redundancy {
            Redundancy::Adaptive(_) => (all, 0),
            Redundancy::Fixed(_) => (0, all),
        };
        let latest = job.latest.iter().map(|(_, task)| *task).take(latest);
        let fewest = job.held.iter().map(|(.., task)| *task).take(fewest);
        let tasks = first.chain(latest).chain(fewest);
        let top = job.top_rank();
        let merit = state.merit(self.newcomers);
        tasks
            .filter(|task| {
                let own = job.task(*task);
                let reserved = own.is_reserved(peer, merit);
                let failed = state.offer.trust == Trust::Stranger && own.failed_on(peer);
                let barred = own.is_with(peer) || failed || reserved;
                own.cost.memory <= state.offer.memory && !barred
            })
            .filter_map(|task| {
                let worth = self.worth(now, job, task, state, top)?;
                let rank = job.task(task).rank;
                Some(Copy { task, rank, worth })
            })
            // The first one of copies with equal worth.
            .max_by_key(|copy| (copy.worth.gain, copy.rank, Reverse(copy.task)))
    }

    fn worth(
        &self,
        now: Time,
        job: &Job,
        task: TaskId,
        candidate: &PeerState,
        top: Duration,
    ) -> Option<Worth> {
        let own = job.task(task);
        let kind = task.kind();
        let mut holders: Vec<Holder> = own
            .leases
            .iter()
            .filter_map(|(peer, lease)| Some(self.holder(now, self.peers.get(peer)?, lease)))
            .collect();
        let stalled = own.claims.iter().filter_map(|claim| {
            let state = self.peers.get(&claim.peer)?;
            Some(Holder {
                proven: state.is_proven(),
                delivers: state.delivers(self.newcomers) / DOUBTED_PART,
                remaining: STALLED_FOR,
            })
        });
        holders.extend(stalled);
        holders.sort_unstable_by_key(|holder| holder.remaining);
        let are_late = own.leases.values().all(|lease| lease.late);
        let lasts = own.leases.values().map(|lease| lease.until - now);
        let last = lasts.max().unwrap_or(STALLED_FOR);
        self.policy.redundancy.copy(&Question {
            holders: &holders,
            candidate: Holder {
                proven: candidate.is_proven(),
                delivers: candidate.delivers(self.newcomers),
                // A peer's claims alone earn it no copy.
                remaining: candidate.seen_to_take(kind, own.cost),
            },
            again: last.saturating_add(own.cost.work),
            spare: top.saturating_sub(own.rank),
            work: own.cost.work,
            waste_left: job
                .waste
                .left(self.newcomers.deliver(), candidate.is_proven() || are_late),
        })
    }

    fn holder(&self, now: Time, state: &PeerState, lease: &Lease) -> Holder {
        let delivers = state.delivers(self.newcomers);
        Holder {
            proven: state.is_proven(),
            delivers: if lease.late {
                delivers / DOUBTED_PART
            } else {
                delivers
            },
            remaining: lease.remaining(now),
        }
    }

    /// Wakes the peer that would be best for one more copy of a task, if it is worth one.
    pub(super) fn wake_for_copy(&mut self, now: Time, task: TaskRef) {
        let Some(job) = self.jobs.get(&task.job) else {
            return;
        };
        let own = job.task(task.task);
        if !own.is_copyable() {
            return;
        }
        let candidate = self.parked.best_for(task.job, own.cost);
        let worth = candidate
            .filter(|peer| !own.is_with(*peer))
            .and_then(|peer| self.peers.get(&peer))
            .and_then(|state| self.worth(now, job, task.task, state, job.top_rank()));
        if worth.is_some() {
            self.wake(task, now);
        }
    }

    /// The best copy among the jobs in this order.
    pub(super) fn copy_of_any(
        &self,
        now: Time,
        jobs: &[(&JobId, &Job)],
        peer: Peer,
    ) -> Option<(TaskRef, Copy)> {
        jobs.iter().find_map(|(id, job)| {
            let copy = self.best_copy(now, job, peer, false)?;
            let task = TaskRef {
                job: **id,
                task: copy.task,
            };
            Some((task, copy))
        })
    }

    /// The chance that a peer keeps to a lease, in thousandths.
    pub(super) fn delivers(&self, peer: Peer) -> u32 {
        self.peers
            .get(&peer)
            .map_or(0, |state| state.delivers(self.newcomers))
    }

    /// The speed at which peers that wait are compared.
    pub(super) fn merit(&self, peer: Peer) -> u32 {
        self.peers
            .get(&peer)
            .map_or(0, |state| state.merit(self.newcomers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_in_vain_stands_for_lesser_machines_and_for_a_second() {
        let now = Time(1);
        let mut fruitless = Fruitless::default();
        assert!(!fruitless.covers(now, (true, 0, 0)));
        fruitless.note(now, (true, 8, 500));
        let covered = |fruitless: &Fruitless, like| fruitless.covers(now, like);
        assert!(covered(&fruitless, (true, 8, 500)) && covered(&fruitless, (true, 1, 100)));
        for other in [(true, 9, 500), (true, 8, 501), (false, 1, 100)] {
            assert!(!covered(&fruitless, other), "{other:?}");
        }
        // One with more memory and less merit says less than the one before.
        fruitless.note(now, (true, 16, 100));
        assert!(covered(&fruitless, (true, 8, 500)) && !covered(&fruitless, (true, 16, 100)));
        assert!(!fruitless.covers(now + FRUITLESS_FOR, (true, 1, 100)));
        fruitless.note(now + FRUITLESS_FOR, (true, 4, 100));
        assert!(
            !fruitless.covers(now + FRUITLESS_FOR, (true, 8, 100)),
            "it was forgotten"
        );
    }
}
