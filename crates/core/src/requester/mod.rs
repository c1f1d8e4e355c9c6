//! The state machine of a requester.

mod ahead;
mod assign;
mod copies;
mod growing;
mod leases;
mod proofs;
mod reopening;
mod suspicion;
mod waking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::copies::Fruitless;
use crate::{
    forecast::Forecast,
    ids::{Blob, JobId, Peer, TaskId, TaskRef},
    input::{Input, JobSpec},
    job::{Job, Stage, Task, TaskState},
    output::{Event, Output, Refusal, Revocation},
    peer_table::PeerTable,
    peers::{Newcomers, PeerState},
    policy::Policy,
    ready::Parked,
    standing::Standing,
    time::Time,
};

/// Hands out the tasks of its jobs, and keeps the proofs that come back.
///
/// Driven from outside: tell it what happened with [`Self::handle_input`], do what
/// [`Self::poll_output`] says until it says nothing more, and come back with [`Input::Timeout`] at
/// the time that [`Self::poll_timeout`] gives. Two requesters with the same inputs have the same
/// outputs.
#[derive(Clone, Debug, Default)]
pub struct Requester {
    policy: Policy,
    jobs: BTreeMap<JobId, Job>,
    jobs_opened: u64,
    peers: PeerTable,
    /// The standing of peers that an earlier run knew and that have made no offer yet.
    remembered: BTreeMap<Peer, Standing>,
    /// Peers that were banned because of a task. Some may be pardoned or forgotten since.
    banned: BTreeSet<Peer>,
    newcomers: Newcomers,
    /// Leases and unchecked proofs of strangers without an accepted proof, by where they call from.
    origins: BTreeMap<u64, usize>,
    /// Peers that may be forgotten, by when they were last seen.
    forgettable: BTreeSet<(Time, Peer)>,
    parked: Parked,
    /// Peers that were woken and have not made an offer since: until when they are waited for, and
    /// for which task.
    woken: BTreeMap<Peer, (Time, TaskRef)>,
    fruitless: Fruitless,
    forecast: Forecast,
    /// Jobs with ready tasks that a peer was refused, for the sake of faster machines.
    left: BTreeSet<JobId>,
    /// Proofs that the caller is asked to check, of tasks that have to wait again meanwhile.
    moot: BTreeSet<(Peer, TaskRef, Blob)>,
    alarms: BTreeSet<(Time, Alarm)>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Lease(Peer, TaskRef),
    Doubt(Peer, TaskRef),
    Suspicion(TaskRef),
    Deadline(JobId),
    Woken(Peer),
    Left(JobId),
}

/// The progress of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Leases that peers hold.
    pub leases: usize,
    /// Tasks that are leased, being checked, being made durable, or for the caller to do.
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

    /// A requester that remembers what peers did in earlier runs.
    pub fn with_standings(policy: Policy, standings: impl IntoIterator<Item = (Peer, Standing)>) -> Self {
        let remembered: BTreeMap<Peer, Standing> = standings
            .into_iter()
            .map(|(peer, standing)| (peer, standing.bounded()))
            .collect();
        let is_banned = |(_, standing): &(&Peer, &Standing)| standing.banned_for.is_some();
        Self {
            banned: remembered
                .iter()
                .filter(is_banned)
                .map(|(peer, _)| *peer)
                .collect(),
            remembered,
            ..Self::new(policy)
        }
    }

    /// The standing of a peer, to be remembered.
    pub fn standing(&self, peer: Peer) -> Option<&Standing> {
        match self.peers.get(&peer) {
            Some(state) => Some(&state.standing),
            None => self.remembered.get(&peer),
        }
    }

    /// Takes note of what happened at `now`, which is no earlier than that of the call before.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        match input {
            Input::Open(spec) => self.open(now, *spec),
            Input::Grow { job, costs, done } => self.grow(now, job, costs, done),
            Input::Settle {
                job,
                tree,
                costs,
                done,
            } => self.settle(now, job, (tree, costs), done),
            Input::Offer { peer, offer } => self.offered(now, peer, offer),
            Input::FilesHeld { peer, job, spares } => {
                self.files_held(peer, job);
                self.parked.set_spared(job, spares);
            }
            Input::Renewed { peer, task, progress } => self.renewed(now, peer, task, progress),
            Input::Returned { peer, task, why } => self.returned(now, peer, task, why),
            Input::Submitted { peer, task, proof } => self.submitted(now, peer, task, proof),
            Input::Checked {
                peer,
                task,
                proof,
                verdict,
            } => self.checked(now, peer, task, proof, verdict),
            Input::Stalled { peer, task, proof } => self.stalled(now, peer, task, proof),
            Input::Persisted { task, proof } => self.persisted(now, task, proof),
            Input::Lost { task, proof } => self.lost(now, task, proof),
            Input::Tried { task, outcome } => self.tried(now, task, outcome),
            Input::Declined { peer } => self.declined(now, peer),
            Input::PeerLost { peer } => self.peer_lost(now, peer),
            Input::Halt { job } => self.halt(job),
            Input::Cancel { job } => self.close(now, job, &Revocation::Cancelled),
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
        match self.own(task)?.state {
            TaskState::Done(proof) => Some(proof),
            _ => None,
        }
    }

    /// A task of an open job, as far as the job has it.
    fn own(&self, task: TaskRef) -> Option<&Task> {
        let job = self.jobs.get(&task.job)?;
        job.tree.contains(task.task).then(|| job.task(task.task))
    }

    /// The tasks whose proofs a task of an open job takes, in the order in which it takes them.
    pub fn inputs(&self, task: TaskRef) -> Vec<TaskId> {
        match self.jobs.get(&task.job) {
            Some(job) if job.tree.contains(task.task) => job.inputs(task.task).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a peer waits to be woken: it need not ask before.
    pub fn is_parked(&self, peer: Peer) -> bool {
        self.parked.contains(peer)
    }

    /// Whether a proof of a task would be looked at if it came from this peer.
    pub fn may_submit(&self, peer: Peer, task: TaskRef) -> bool {
        self.own(task).is_some_and(|own| {
            let leased = own.leases.contains_key(&peer) || own.former.contains_key(&peer);
            let claimed = own.claims.iter().any(|claim| claim.peer == peer);
            leased && !claimed && own.state == TaskState::Open
        })
    }

    /// Whether a proof that this peer says it has of a task is to be looked at, now or later.
    pub fn has_claim(&self, peer: Peer, task: TaskRef) -> bool {
        let own = self.own(task);
        own.is_some_and(|own| own.claims.iter().any(|claim| claim.peer == peer))
    }

    /// The number of peers remembered because of a task of an open job that they hold no more. It
    /// is bounded, however many come.
    pub fn remembered_for(&self, task: TaskRef) -> usize {
        let own = self.own(task);
        own.map_or(0, |own| own.former.len() + own.failures.len())
    }

    /// Whether the caller's finding about a proof still counts: it was asked to check the proof,
    /// and none of that task was accepted meanwhile.
    pub fn awaits(&self, peer: Peer, task: TaskRef, proof: Blob) -> bool {
        self.own(task).is_some_and(|own| {
            let mut claims = own.claims.iter();
            claims.any(|claim| claim.checking && claim.peer == peer && claim.proof == proof)
        })
    }

    /// Whether the caller's finding by doing a task still counts: it was asked to do it, and the
    /// task is not done meanwhile.
    pub fn is_trying(&self, task: TaskRef) -> bool {
        let own = self.own(task);
        own.is_some_and(|own| own.suspicion.trying && own.state == TaskState::Open)
    }

    /// Whether a task of an open job is for the caller to do, and for no peer: see
    /// [`JobSpec::own_final`](crate::JobSpec::own_final).
    pub fn is_for_caller(&self, task: TaskRef) -> bool {
        self.jobs
            .get(&task.job)
            .is_some_and(|job| job.is_for_caller(task.task))
    }

    /// The leases of an open job, each with the peer that holds it, in the order of
    /// [`crate::Tree::tasks`].
    pub fn leases(&self, job: JobId) -> Vec<(TaskId, Peer)> {
        let leased = self.jobs.get(&job).map(Job::leased).unwrap_or_default();
        leased.into_iter().map(|(task, peer, _)| (task, peer)).collect()
    }

    /// The leases of an earlier run that are waited for: of tasks to which the plan of an open job
    /// is not there yet.
    pub fn awaited(&self, job: JobId) -> Vec<(TaskId, Peer)> {
        let awaited = self.jobs.get(&job).map(Job::awaited);
        awaited.into_iter().flatten().copied().collect()
    }

    /// The peers that hold a task of an open job.
    pub fn holders(&self, task: TaskRef) -> Vec<Peer> {
        let leases = self.own(task).map(|own| &own.leases);
        leases
            .into_iter()
            .flat_map(|leases| leases.keys().copied())
            .collect()
    }

    /// The progress of an open job.
    pub fn progress(&self, job: JobId) -> Option<Progress> {
        self.jobs.get(&job).map(|job| Progress {
            leases: job.leases,
            under_way: job.under_way,
            has_ready: !job.ready.is_empty(),
        })
    }

    /// The stage of every task of an open job, in the order of [`crate::Tree::tasks`].
    pub fn stages(&self, job: JobId) -> Vec<(TaskId, Stage)> {
        let Some(job) = self.jobs.get(&job) else {
            return Vec::new();
        };
        job.tree.tasks().map(|task| (task, job.stage(task))).collect()
    }

    fn open(&mut self, now: Time, spec: JobSpec) {
        if self.jobs.contains_key(&spec.id) {
            return;
        }
        self.parked.set_salt(u64::from_le_bytes(
            *spec.id.0.first_chunk().expect("a hash is longer"),
        ));
        let (id, job) = Job::new(spec, self.jobs_opened, &self.policy.redundancy);
        self.jobs_opened += 1;
        if job.tree.contains(TaskId::Final) && job.is_done(TaskId::Final) {
            self.outputs.push_back(Output::Event(Event::JobDone { job: id }));
            return;
        }
        let ready: Vec<TaskId> = job
            .tree
            .tasks()
            .filter(|task| job.task(*task).state == TaskState::Open)
            .collect();
        if let Some(deadline) = job.deadline {
            self.alarms.insert((deadline, Alarm::Deadline(id)));
        }
        self.jobs.insert(id, job);
        self.outputs.push_back(Output::Announce { job: id, open: true });
        // Announcing reaches the peers that do not wait here.
        self.has_new(now, id, ready);
    }

    fn refuse(&mut self, peer: Peer, why: Refusal) {
        self.outputs.push_back(Output::Refuse { peer, why });
    }

    /// Forgets a job, and tells the holders of its tasks.
    fn close(&mut self, now: Time, id: JobId, why: &Revocation) {
        self.parked.forget_files(id);
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        if let Some(deadline) = job.deadline {
            self.alarms.remove(&(deadline, Alarm::Deadline(id)));
        }
        for (task, peer, _) in job.leased() {
            self.revoke(now, peer, TaskRef { job: id, task }, why.clone());
        }
        let submitters = self.jobs.remove(&id).map(|job| job.submitters);
        for peer in submitters.unwrap_or_default() {
            let of_job = |state: &PeerState| -> Vec<TaskRef> {
                state
                    .unchecked
                    .keys()
                    .filter(|task| task.job == id)
                    .copied()
                    .collect()
            };
            for task in self.peers.get(&peer).map(of_job).unwrap_or_default() {
                self.looked_at(peer, task);
            }
        }
        self.moot.retain(|(_, task, _)| task.job != id);
        self.left.remove(&id);
        self.outputs.push_back(Output::Announce { job: id, open: false });
    }

    fn timeout(&mut self, now: Time) {
        let mut overslept = BTreeSet::new();
        while let Some(&(time, alarm)) = self.alarms.first()
            && time <= now
        {
            self.alarms.pop_first();
            match alarm {
                Alarm::Lease(peer, task) => self.expired(now, peer, task),
                Alarm::Doubt(peer, task) => self.doubt(now, peer, task),
                Alarm::Suspicion(task) => self.still_suspicious(now, time, task),
                Alarm::Deadline(job) => {
                    self.outputs
                        .push_back(Output::Event(Event::DeadlineMissed { job }));
                }
                Alarm::Left(job) => self.was_left(now, job),
                Alarm::Woken(peer) => overslept.extend(self.oversleeps(peer)),
            }
        }
        if !overslept.is_empty() {
            self.wake_instead(now, overslept);
        }
    }
}
