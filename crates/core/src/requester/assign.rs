//! Which task a peer gets, and who is woken for one.

use std::{cmp::Reverse, collections::btree_map::Entry, time::Duration};

use super::{Alarm, Requester};
use crate::{
    ids::{Kind, Peer, TaskRef},
    input::{Offer, Trust},
    job::Lease,
    output::{Output, Refusal},
    peers::PeerState,
    time::Time,
};

/// How long a peer that was woken may take to make its offer before another one is woken.
const WOKEN_PATIENCE: Duration = Duration::from_secs(2);

impl Requester {
    pub(super) fn offered(&mut self, now: Time, peer: Peer, offer: Offer) {
        self.parked.remove(peer);
        let woken = self.forget_woken(peer);
        let state = match self.peers.entry(peer) {
            Entry::Vacant(entry) => entry.insert(PeerState::new(offer)),
            Entry::Occupied(entry) => {
                let state = entry.into_mut();
                state.offer = offer;
                state
            }
        };
        let (held, allowed) = (state.held(), state.leases_allowed(&self.policy));
        let refusal = if let Some(reason) = &state.banned {
            Some(Refusal::Banned {
                reason: reason.clone(),
            })
        } else if now < state.cooling_until {
            Some(Refusal::Cooling {
                setbacks: state.setbacks,
                remaining: state.cooling_until - now,
            })
        } else if held >= allowed {
            Some(Refusal::TooManyLeases { held, allowed })
        } else {
            None
        };
        let picked = match refusal {
            Some(why) => Err(why),
            None => self.pick(peer, &offer),
        };
        let why = match picked {
            Ok(task) => return self.grant(now, peer, task),
            Err(why) => why,
        };
        if woken {
            // The task that it was woken for is still there, and others may wait.
            self.wake_another(now);
        }
        // Those who cannot use what is ready would be woken for it again and again: they come by themselves.
        if matches!(
            why,
            Refusal::NoJob | Refusal::Waiting { .. } | Refusal::Memory { .. }
        ) {
            let speed = self.peers[&peer].speed(Kind::Segment);
            self.parked.insert(peer, offer.memory, speed);
        }
        self.outputs.push_back(Output::Refuse { peer, why });
    }

    /// The task that a peer should get: of the most important job, and of those alike of the one with
    /// the fewest peers at it, the task with the longest path above it.
    pub(super) fn pick(&self, peer: Peer, offer: &Offer) -> Result<TaskRef, Refusal> {
        let mut jobs: Vec<_> = self.jobs.iter().collect();
        jobs.sort_unstable_by_key(|(_, job)| (Reverse(job.priority), job.leases, job.sequence));
        for &(&id, job) in &jobs {
            // Its own machines may try again what failed on them: there may be no others.
            let barred = |task| offer.trust == Trust::Stranger && job.task(task).failed_on(peer);
            if let Some(task) = job.ready.best(offer.memory, barred) {
                return Ok(TaskRef { job: id, task });
            }
        }
        let least = jobs.iter().filter_map(|(_, job)| job.ready.least_memory()).min();
        Err(match least {
            _ if jobs.is_empty() => Refusal::NoJob,
            None => Refusal::Waiting {
                under_way: jobs.iter().map(|(_, job)| job.under_way).sum(),
            },
            Some(needed) if needed > offer.memory => Refusal::Memory {
                offered: offer.memory,
                needed,
            },
            Some(_) => Refusal::FailedHere,
        })
    }

    pub(super) fn grant(&mut self, now: Time, peer: Peer, task: TaskRef) {
        let job = self.jobs.get_mut(&task.job).expect("it was picked");
        job.take_ready(task.task);
        job.leases += 1;
        let state = self.peers.get_mut(&peer).expect("it has made an offer");
        let own = job.task_mut(task.task);
        let expected = state.expected(task.task.kind(), own.cost);
        let length = match state.offer.trust {
            // If it ends, its owner is told by the system, and nobody else has use for the time.
            Trust::Own => Duration::MAX,
            Trust::Stranger => expected
                .saturating_mul(self.policy.slack)
                .max(self.policy.lease_min),
        };
        let until = now + length;
        let lease = Lease {
            granted: now,
            until,
            latest: now + length.saturating_mul(self.policy.stretch_max),
            progress: 0,
        };
        own.leases.insert(peer, lease);
        state.leases.insert(task);
        if until < Time::NEVER {
            self.alarms.insert((until, Alarm::Lease(peer, task)));
        }
        self.outputs.push_back(Output::Lease { peer, task, until });
    }

    /// Wakes a peer for a task that is ready; false if none waits that has the memory for it.
    pub(super) fn wake(&mut self, task: TaskRef, now: Time) -> bool {
        let memory = self.jobs[&task.job].task(task.task).cost.memory;
        let Some(peer) = self.parked.take(memory) else {
            return false;
        };
        let patience = now + WOKEN_PATIENCE;
        self.woken.insert(peer, patience);
        self.alarms.insert((patience, Alarm::Woken(peer)));
        self.outputs.push_back(Output::Wake { peer });
        true
    }

    pub(super) fn forget_woken(&mut self, peer: Peer) -> bool {
        match self.woken.remove(&peer) {
            Some(patience) => self.alarms.remove(&(patience, Alarm::Woken(peer))),
            None => false,
        }
    }

    /// Somebody who was woken did not take a task: wakes somebody else for what is still ready.
    pub(super) fn wake_another(&mut self, now: Time) {
        let ready: Vec<TaskRef> = self
            .jobs
            .iter()
            .flat_map(|(&job, state)| {
                // Who has not the memory for the most urgent one may have it for the smallest.
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
