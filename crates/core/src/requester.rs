//! The state machine of a requester.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    time::Duration,
};

use crate::{
    ids::{Blob, JobId, Peer, TaskId, TaskRef},
    input::{Input, JobSpec, Offer, Return, Trust, Verdict},
    job::{Claim, Job, Lease, Stage, TaskState},
    output::{Event, Output, Refusal, Revocation},
    peers::PeerState,
    policy::Policy,
    ready::Parked,
    time::Time,
};

/// How long a peer that was woken may take to make its offer before another one is woken.
const WOKEN_PATIENCE: Duration = Duration::from_secs(2);
/// All of a task, in the thousandths of [`Input::Renewed`].
const PROGRESS_ONE: u16 = 1000;

/// Hands out the tasks of its jobs, and keeps what comes back.
///
/// Driven from outside: tell it what happened with [`Self::handle_input`], do what
/// [`Self::poll_output`] says until it says nothing more, and come back with [`Input::Timeout`] at the
/// time that [`Self::poll_timeout`] gives. Two that are told the same say the same.
#[derive(Clone, Debug, Default)]
pub struct Requester {
    policy: Policy,
    jobs: BTreeMap<JobId, Job>,
    jobs_opened: u64,
    peers: BTreeMap<Peer, PeerState>,
    parked: Parked,
    /// Peers that were woken and have not made an offer since.
    woken: BTreeMap<Peer, Time>,
    alarms: BTreeSet<(Time, Alarm)>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Lease(Peer, TaskRef),
    Woken(Peer),
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Leases that peers hold.
    pub leases: usize,
    /// Tasks that are leased, being checked or being made durable.
    pub under_way: usize,
    /// Whether a task waits for a peer.
    pub has_ready: bool,
}

impl Requester {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// Takes note of what happened at `now`, which is no earlier than that of the call before.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        match input {
            Input::Open(spec) => self.open(now, *spec),
            Input::Offer { peer, offer } => self.offered(now, peer, offer),
            Input::Renewed { peer, task, progress } => self.renewed(now, peer, task, progress),
            Input::Returned { peer, task, why } => self.returned(now, peer, task, why),
            Input::Submitted { peer, task, proof } => self.submitted(now, peer, task, proof),
            Input::Checked {
                peer,
                task,
                proof,
                verdict,
            } => self.checked(now, peer, task, proof, verdict),
            Input::Persisted { task, proof } => self.persisted(now, task, proof),
            Input::PeerLost { peer } => self.peer_lost(now, peer),
            Input::Cancel { job } => self.close(job, Revocation::Cancelled),
            Input::Timeout => self.timeout(now),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`] if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.alarms.first().map(|(time, _)| *time)
    }

    /// The accepted and durable proof of a task of an open job.
    pub fn proof(&self, task: TaskRef) -> Option<Blob> {
        let job = self.jobs.get(&task.job)?;
        match job.tree.contains(task.task).then(|| job.task(task.task).state)? {
            TaskState::Done(proof) => Some(proof),
            _ => None,
        }
    }

    /// The tasks whose proofs a task of an open job takes, in the order in which it takes them.
    pub fn inputs(&self, task: TaskRef) -> Vec<TaskId> {
        match self.jobs.get(&task.job) {
            Some(job) if job.tree.contains(task.task) => job.inputs(task.task).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a proof of a task would be looked at if it came from this peer.
    pub fn may_submit(&self, peer: Peer, task: TaskRef) -> bool {
        let own = self
            .jobs
            .get(&task.job)
            .filter(|job| job.tree.contains(task.task));
        own.map(|job| job.task(task.task)).is_some_and(|own| {
            let leased = own.leases.contains_key(&peer) || own.former.contains_key(&peer);
            let claimed = own.claims.iter().any(|claim| claim.peer == peer);
            leased && !claimed && own.state == TaskState::Open
        })
    }

    /// How far an open job is.
    pub fn progress(&self, job: JobId) -> Option<Progress> {
        self.jobs.get(&job).map(|job| Progress {
            leases: job.leases,
            under_way: job.under_way,
            has_ready: !job.ready.is_empty(),
        })
    }

    /// Where every task of an open job is, in the order of [`crate::Tree::tasks`].
    pub fn stages(&self, job: JobId) -> Vec<(TaskId, Stage)> {
        let Some(job) = self.jobs.get(&job) else {
            return Vec::new();
        };
        job.tree
            .tasks()
            .map(|task| (task, job.task(task).stage()))
            .collect()
    }

    fn open(&mut self, now: Time, spec: JobSpec) {
        if self.jobs.contains_key(&spec.id) {
            return;
        }
        let (id, job) = Job::new(spec, self.jobs_opened);
        self.jobs_opened += 1;
        if job.is_done(TaskId::Final) {
            self.outputs.push_back(Output::Event(Event::JobDone { job: id }));
            return;
        }
        let ready: Vec<TaskId> = job
            .tree
            .tasks()
            .filter(|task| job.task(*task).state == TaskState::Open)
            .collect();
        self.jobs.insert(id, job);
        self.outputs.push_back(Output::Announce { job: id, open: true });
        // Announcing reaches those who do not wait here.
        for task in ready {
            if self.parked.is_empty() {
                break;
            }
            self.wake(TaskRef { job: id, task }, now);
        }
    }

    fn offered(&mut self, now: Time, peer: Peer, offer: Offer) {
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
            let speed = self.peers[&peer].speed(crate::Kind::Segment);
            self.parked.insert(peer, offer.memory, speed);
        }
        self.outputs.push_back(Output::Refuse { peer, why });
    }

    /// The task that a peer should get: of the most important job, and of those alike of the one with
    /// the fewest peers at it, the task with the longest path above it.
    fn pick(&self, peer: Peer, offer: &Offer) -> Result<TaskRef, Refusal> {
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

    fn grant(&mut self, now: Time, peer: Peer, task: TaskRef) {
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

    /// Takes a lease away; none if the peer does not hold it.
    fn end_lease(&mut self, peer: Peer, task: TaskRef) -> Option<Lease> {
        let job = self.jobs.get_mut(&task.job)?;
        if !job.tree.contains(task.task) {
            return None;
        }
        let own = job.task_mut(task.task);
        let lease = own.leases.remove(&peer)?;
        own.former.insert(peer, lease.granted);
        job.leases -= 1;
        self.alarms.remove(&(lease.until, Alarm::Lease(peer, task)));
        if let Some(state) = self.peers.get_mut(&peer) {
            state.leases.remove(&task);
        }
        Some(lease)
    }

    fn revoke(&mut self, peer: Peer, task: TaskRef, why: Revocation) {
        if self.end_lease(peer, task).is_some() {
            self.outputs.push_back(Output::Revoke { peer, task, why });
        }
    }

    /// Lets others have a task that nobody is at any more.
    fn release(&mut self, now: Time, task: TaskRef) {
        let released = self
            .jobs
            .get_mut(&task.job)
            .is_some_and(|job| job.release_if_idle(task.task));
        if released {
            self.wake(task, now);
        }
    }

    /// Wakes a peer for a task that is ready; false if none waits that has the memory for it.
    fn wake(&mut self, task: TaskRef, now: Time) -> bool {
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

    fn forget_woken(&mut self, peer: Peer) -> bool {
        match self.woken.remove(&peer) {
            Some(patience) => self.alarms.remove(&(patience, Alarm::Woken(peer))),
            None => false,
        }
    }

    /// Somebody who was woken did not take a task: wakes somebody else for what is still ready.
    fn wake_another(&mut self, now: Time) {
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

    fn refuse(&mut self, peer: Peer, why: Refusal) {
        self.outputs.push_back(Output::Refuse { peer, why });
    }

    fn renewed(&mut self, now: Time, peer: Peer, task: TaskRef, progress: u16) {
        let policy = self.policy;
        let lease = self
            .jobs
            .get_mut(&task.job)
            .filter(|job| job.tree.contains(task.task))
            .and_then(|job| job.task_mut(task.task).leases.get_mut(&peer));
        let Some(lease) = lease else {
            return self.refuse(peer, Refusal::NotLeased);
        };
        let progress = progress.min(PROGRESS_ONE);
        // Only progress renews: to be alive is not enough.
        if progress > lease.progress {
            lease.progress = progress;
            let elapsed = now - lease.granted;
            let remaining = elapsed * u32::from(PROGRESS_ONE - progress) / u32::from(progress);
            let until = now + (remaining * policy.slack).max(policy.lease_min);
            let until = until.min(lease.latest).max(lease.until);
            self.alarms.remove(&(lease.until, Alarm::Lease(peer, task)));
            if until < Time::NEVER {
                self.alarms.insert((until, Alarm::Lease(peer, task)));
            }
            lease.until = until;
        }
        let until = lease.until;
        self.outputs.push_back(Output::Extended { peer, task, until });
    }

    fn returned(&mut self, now: Time, peer: Peer, task: TaskRef, why: Return) {
        if self.end_lease(peer, task).is_none() {
            return self.refuse(peer, Refusal::NotLeased);
        }
        if let Return::Failed { message } = why {
            self.failed(now, peer, task, message);
        }
        self.release(now, task);
    }

    /// A peer could not do a task. What cannot be done by anyone is the job's error.
    fn failed(&mut self, now: Time, peer: Peer, task: TaskRef, message: String) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let failures = &mut job.task_mut(task.task).failures;
        failures.push((peer, message.clone()));
        self.outputs
            .push_back(Output::Event(Event::TaskFailed { task, peer, message }));
        // What strangers say of a task only keeps it from themselves: identities are free.
        let own = failures
            .iter()
            .filter(|(failed, _)| self.peers.get(failed).is_some_and(PeerState::is_own))
            .count();
        if own >= self.policy.failures_max {
            let failures = failures.clone();
            self.close(task.job, Revocation::JobFailed);
            self.outputs.push_back(Output::Event(Event::JobFailed {
                job: task.job,
                task: task.task,
                failures,
            }));
        } else if let Some(state) = self.peers.get_mut(&peer) {
            state.disappoint(now, &self.policy);
        }
    }

    fn submitted(&mut self, now: Time, peer: Peer, task: TaskRef, proof: Blob) {
        if let Some(reason) = self.peers.get(&peer).and_then(|state| state.banned.clone()) {
            return self.refuse(peer, Refusal::Banned { reason });
        }
        let known = self
            .jobs
            .get(&task.job)
            .filter(|job| job.tree.contains(task.task));
        let Some(own) = known.map(|job| job.task(task.task)) else {
            return self.refuse(peer, Refusal::NoSuchTask);
        };
        let granted = match own.leases.get(&peer) {
            Some(lease) => Some(lease.granted),
            None => own.former.get(&peer).copied(),
        };
        let Some(granted) = granted else {
            return self.refuse(peer, Refusal::NotLeased);
        };
        if own.state != TaskState::Open {
            return self.refuse(peer, Refusal::Done);
        }
        if own.claims.iter().any(|claim| claim.peer == peer) {
            return self.refuse(peer, Refusal::Submitted);
        }
        self.end_lease(peer, task);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.unchecked.insert(task);
        }
        let job = self.jobs.get_mut(&task.job).expect("seen above");
        // A late proof may come while the task waits for somebody else.
        job.take_ready(task.task);
        let own = job.task_mut(task.task);
        own.claims.push(Claim {
            peer,
            proof,
            took: now - granted,
        });
        if own.claims.len() == 1 {
            self.outputs.push_back(Output::Check { peer, task, proof });
        }
    }

    fn checked(&mut self, now: Time, peer: Peer, task: TaskRef, proof: Blob, verdict: Verdict) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.unchecked.remove(&task);
        }
        // A job that was closed meanwhile has no use for it, not even if it was opened again.
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        if !job.tree.contains(task.task) {
            return;
        }
        let own = job.task_mut(task.task);
        let asked = |claim: &Claim| claim.peer == peer && claim.proof == proof;
        if !own.claims.first().is_some_and(asked) {
            return;
        }
        let claim = own.claims.remove(0);
        match verdict {
            Verdict::Accepted => {
                own.state = TaskState::Persisting(claim);
                // What others have submitted is as good as this or worse; nobody looks.
                let passed_over: Vec<Peer> = own.claims.drain(..).map(|claim| claim.peer).collect();
                let cost = own.cost;
                let others: Vec<Peer> = own.leases.keys().copied().collect();
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.accepted += 1;
                    state.setbacks = 0;
                    state.learn(task.task.kind(), cost, claim.took);
                }
                for other in passed_over {
                    if let Some(state) = self.peers.get_mut(&other) {
                        state.unchecked.remove(&task);
                    }
                }
                self.outputs.push_back(Output::Persist {
                    peer,
                    task,
                    proof: claim.proof,
                });
                for other in others {
                    self.revoke(other, task, Revocation::Done);
                }
                return;
            }
            // A machine of one's own does not lie; it is broken, or the job is.
            Verdict::Invalid { reason } if self.is_own(peer) => self.failed(now, peer, task, reason),
            Verdict::Invalid { reason } => self.ban(now, peer, task, reason),
            Verdict::Unavailable { reason } => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.disappoint(now, &self.policy);
                }
                self.outputs.push_back(Output::Event(Event::TaskFailed {
                    task,
                    peer,
                    message: reason,
                }));
            }
        }
        let next = self
            .jobs
            .get(&task.job)
            .and_then(|job| job.task(task.task).claims.first().copied());
        match next {
            Some(Claim { peer, proof, .. }) => {
                self.outputs.push_back(Output::Check { peer, task, proof });
            }
            None => self.release(now, task),
        }
    }

    fn is_own(&self, peer: Peer) -> bool {
        self.peers.get(&peer).is_some_and(PeerState::is_own)
    }

    /// Never gives the peer anything again, and takes away what it has.
    fn ban(&mut self, now: Time, peer: Peer, task: TaskRef, reason: String) {
        self.parked.remove(peer);
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        state.banned = Some(reason.clone());
        let leases = state.leases.clone();
        self.outputs
            .push_back(Output::Event(Event::Banned { peer, task, reason }));
        for lease in leases {
            self.revoke(peer, lease, Revocation::Banned);
            self.release(now, lease);
        }
    }

    fn persisted(&mut self, now: Time, task: TaskRef, durable: Blob) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        if !job.tree.contains(task.task) {
            return;
        }
        let TaskState::Persisting(Claim { peer, proof, took }) = job.task(task.task).state else {
            return;
        };
        if proof != durable {
            return;
        }
        let freed = job.complete(task.task, proof);
        self.outputs
            .push_back(Output::Event(Event::TaskDone { task, peer, took }));
        for input in job.inputs(task.task) {
            if job.is_done(input) && job.takers(input).all(|taker| job.is_done(taker)) {
                self.outputs.push_back(Output::Obsolete {
                    task: TaskRef {
                        job: task.job,
                        task: input,
                    },
                });
            }
        }
        for freed in freed {
            self.wake(
                TaskRef {
                    job: task.job,
                    task: freed,
                },
                now,
            );
        }
        if task.task == TaskId::Final {
            self.close(task.job, Revocation::Done);
            self.outputs
                .push_back(Output::Event(Event::JobDone { job: task.job }));
        }
    }

    fn peer_lost(&mut self, now: Time, peer: Peer) {
        self.parked.remove(peer);
        let leases = self.peers.get(&peer).map(|state| state.leases.clone());
        for task in leases.unwrap_or_default() {
            self.end_lease(peer, task);
            self.release(now, task);
        }
        if self.forget_woken(peer) {
            self.wake_another(now);
        }
    }

    /// Forgets a job, and tells those who are at it.
    fn close(&mut self, id: JobId, why: Revocation) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        for state in self.peers.values_mut() {
            state.unchecked.retain(|task| task.job != id);
        }
        for (task, peer, _) in job.leased() {
            self.revoke(peer, TaskRef { job: id, task }, why.clone());
        }
        self.jobs.remove(&id);
        self.outputs.push_back(Output::Announce { job: id, open: false });
    }

    fn timeout(&mut self, now: Time) {
        while let Some(&(time, alarm)) = self.alarms.first()
            && time <= now
        {
            self.alarms.pop_first();
            match alarm {
                Alarm::Lease(peer, task) => {
                    if let Some(state) = self.peers.get_mut(&peer) {
                        state.was_late(task.task.kind());
                        state.disappoint(now, &self.policy);
                    }
                    self.revoke(peer, task, Revocation::Expired);
                    self.release(now, task);
                }
                Alarm::Woken(peer) => {
                    self.woken.remove(&peer);
                    self.wake_another(now);
                }
            }
        }
    }
}
