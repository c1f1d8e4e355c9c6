//! A plan put to the test: the state machine itself gives the tasks out, in virtual time.
//!
//! The machines take for each task what the planner reckoned with, so that what differs is how tasks are given out:
//! list scheduling on paper, [`Requester`] here, with its leases, copies and trials. Machines that are not honest take
//! tasks and are not heard of again. For worlds with all that may go wrong there is [`crate::run`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use myriad_core::{
    Blob, Cost, Event, Input, JobId, JobSpec, Kind, Offer, Output, Peer, Policy, Refusal, Requester,
    SPEED_ONE, TaskRef, Time, Tree, Trust, Verdict,
};
use serde::Serialize;
use thiserror::Error;

use super::{
    Plan,
    candidates::{Candidate, candidates},
    paper::{Times, shape},
    question::{PlanError, Question},
};

/// Most machines of a rehearsal: with more it takes minutes.
pub const MACHINES_REHEARSED_MAX: u64 = 50_000;
/// How often a prover tells of its progress, as in `myriad-node`.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// When a prover asks again that was told that there is no work, unless it is woken before.
const WAIT: Duration = Duration::from_secs(30);
/// After a refusal that holds for moments.
const BUSY_FOR: Duration = Duration::from_millis(500);
/// No job takes longer than this many times what was planned, unless nobody gets it done.
const PATIENCE: f64 = 100.0;

/// How a job went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rehearsal {
    /// From the request to the final proof, with what the plan says of start and requester.
    pub simulated_s: f64,
    /// What the plan expects, as a part of that.
    pub planned_to_simulated: f64,
    pub leases: u64,
    /// Leases that ran out.
    pub expired: u64,
    /// Working time of machines that deliver.
    pub machine_s: f64,
}

/// Why there is none.
#[derive(Debug, Error)]
pub enum RehearsalError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(
        "{actual} machines are more than the {MACHINES_REHEARSED_MAX} that are simulated here; `myriad simulate` takes more"
    )]
    Machines { actual: u64 },
    #[error("the job was not done after {seconds:.0} s of virtual time")]
    Late { seconds: f64 },
}

/// Does the job of a plan with the state machine.
///
/// # Errors
/// See [`RehearsalError`].
pub fn rehearse(question: &Question, plan: &Plan) -> Result<Rehearsal, RehearsalError> {
    if plan.machines > MACHINES_REHEARSED_MAX {
        return Err(RehearsalError::Machines {
            actual: plan.machines,
        });
    }
    let chosen = candidates(question)?.into_iter().find(|candidate| {
        candidate.memory_bytes == plan.segment.memory_bytes
            && u64::from(candidate.tree.segments()) == plan.segment.segments
            && candidate.arities == plan.arities()
    });
    let chosen = chosen.ok_or(PlanError::NoMachines)?;
    let limit_s = PATIENCE * plan.expected_s;
    let (end_s, stage) =
        perform(question, &chosen, limit_s).ok_or(RehearsalError::Late { seconds: limit_s })?;
    let parts = &plan.parts;
    let simulated_s = parts.execute_s + parts.distribute_s + parts.requester_s + end_s;
    Ok(Rehearsal {
        simulated_s,
        planned_to_simulated: plan.expected_s / simulated_s,
        leases: stage.leases,
        expired: stage.expired,
        machine_s: stage.busy_us as f64 / 1e6,
    })
}

/// From the first offer to the final proof; none if that takes longer than `limit_s`.
pub(super) fn perform<'a>(
    question: &Question,
    candidate: &'a Candidate,
    limit_s: f64,
) -> Option<(f64, Stage<'a>)> {
    let mut stage = Stage::new(question, &candidate.times, candidate.tree.clone());
    let end = stage.play(Time::default() + Duration::from_secs_f64(limit_s))?;
    Some((end.0 as f64 / 1e6, stage))
}

/// A machine.
struct Machine {
    class: usize,
    honest: bool,
    offer: Offer,
    /// What it did last.
    last: Option<Kind>,
    doing: Option<Doing>,
}

#[derive(Clone, Copy)]
struct Doing {
    task: TaskRef,
    begun: Time,
    takes: u64,
    /// Tells this task from another that it gets later.
    lease: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Offers,
    Renews { lease: u64 },
    Delivers { lease: u64 },
}

/// The requester and its machines.
pub(super) struct Stage<'a> {
    times: &'a Times,
    tree: Tree,
    requester: Requester,
    machines: Vec<Machine>,
    places: BTreeMap<Peer, usize>,
    /// What comes when, to which machine; what was decided first comes first.
    agenda: BinaryHeap<Reverse<(Time, u64, usize, Happens)>>,
    decided: u64,
    leases: u64,
    expired: u64,
    busy_us: u64,
    done: bool,
}

impl<'a> Stage<'a> {
    fn new(question: &Question, times: &'a Times, tree: Tree) -> Self {
        let mut machines = Vec::new();
        for (index, class) in question.classes.iter().enumerate() {
            let honest = question.honest_of(class);
            let offer = Offer {
                memory: class.memory_bytes,
                speed: speed(times, index),
                trust: Trust::Stranger,
                origin: None,
            };
            for place in 0..class.machines {
                // Spread evenly among the others, whom nobody can tell from them.
                let upto = |place: u64| u128::from(place) * u128::from(honest) / u128::from(class.machines);
                machines.push(Machine {
                    class: index,
                    honest: upto(place + 1) > upto(place),
                    offer,
                    last: None,
                    doing: None,
                });
            }
        }
        let places = (0..machines.len()).map(|place| (peer(place), place)).collect();
        Self {
            times,
            tree,
            requester: Requester::new(Policy::default()),
            machines,
            places,
            agenda: BinaryHeap::new(),
            decided: 0,
            leases: 0,
            expired: 0,
            busy_us: 0,
            done: false,
        }
    }

    /// When the final proof is there; none if that is not before `limit`.
    fn play(&mut self, limit: Time) -> Option<Time> {
        let spec = JobSpec {
            id: JobId([1; 32]),
            costs: self
                .tree
                .tasks()
                .map(|task| self.cost(shape(&self.tree, task)))
                .collect(),
            tree: self.tree.clone(),
            priority: 0,
            deadline: None,
            done: Vec::new(),
            leased: Vec::new(),
        };
        self.tell(Time::default(), Input::Open(Box::new(spec)));
        for machine in 0..self.machines.len() {
            self.later(Time::default(), machine, Happens::Offers);
        }
        let mut now = Time::default();
        while !self.done {
            let next = self.agenda.peek().map(|Reverse((time, ..))| *time);
            let timeout = self.requester.poll_timeout();
            now = now.max(next.into_iter().chain(timeout).min()?);
            if now > limit {
                return None;
            }
            if timeout.is_some_and(|timeout| timeout <= now) {
                self.tell(now, Input::Timeout);
                continue;
            }
            if let Some(Reverse((_, _, machine, happens))) = self.agenda.pop() {
                self.happens(now, machine, happens);
            }
        }
        Some(now)
    }

    /// What the requester believes that a task takes: what it does on the fastest class, which has speed one.
    fn cost(&self, shape: (Kind, u32)) -> Cost {
        let place = self.times.shapes[&shape];
        Cost {
            work: Duration::from_micros(self.times.fastest(place).unwrap_or(0)),
            memory: self.needed(place),
        }
    }

    /// The memory of the smallest machine that can do it: all that matters is who can.
    fn needed(&self, shape: usize) -> u64 {
        let able = self.machines.iter();
        let able = able.filter(|machine| self.times.classes[machine.class].tasks[shape].is_some());
        able.map(|machine| machine.offer.memory).min().unwrap_or(u64::MAX)
    }

    fn later(&mut self, at: Time, machine: usize, happens: Happens) {
        self.decided += 1;
        self.agenda.push(Reverse((at, self.decided, machine, happens)));
    }

    fn happens(&mut self, now: Time, place: usize, happens: Happens) {
        let machine = &mut self.machines[place];
        match (happens, machine.doing) {
            (Happens::Offers, None) => {
                let offer = machine.offer;
                let peer = peer(place);
                self.tell(now, Input::Offer { peer, offer });
            }
            (Happens::Renews { lease }, Some(doing)) if doing.lease == lease => {
                let share = (now - doing.begun).as_micros() * 1000 / u128::from(doing.takes.max(1));
                let renewed = Input::Renewed {
                    peer: peer(place),
                    task: doing.task,
                    progress: (share as u16).min(980),
                };
                self.later(now + RENEW_EVERY, place, happens);
                self.tell(now, renewed);
            }
            (Happens::Delivers { lease }, Some(doing)) if doing.lease == lease => {
                machine.doing = None;
                self.busy_us += doing.takes;
                let (peer, task, proof) = (peer(place), doing.task, Blob([1; 32]));
                // Fetching, verifying and keeping it are part of the task's time.
                self.tell(now, Input::Submitted { peer, task, proof });
                self.later(now, place, Happens::Offers);
            }
            // Of a task that it has no more, or an offer of one that is at work.
            _ => {}
        }
    }

    fn tell(&mut self, now: Time, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.requester.handle_input(now, input);
            while let Some(output) = self.requester.poll_output() {
                match output {
                    Output::Lease { peer, task, .. } => self.lease(now, self.places[&peer], task),
                    Output::Check { peer, task, proof } => inputs.push(Input::Checked {
                        peer,
                        task,
                        proof,
                        verdict: Verdict::Accepted,
                    }),
                    Output::Persist { task, proof, .. } => inputs.push(Input::Persisted { task, proof }),
                    Output::Wake { peer } => self.later(now, self.places[&peer], Happens::Offers),
                    Output::Revoke { peer, task, why } => {
                        self.expired += u64::from(why == myriad_core::Revocation::Expired);
                        self.revoked(now, self.places[&peer], task);
                    }
                    Output::Refuse { peer, why } => {
                        let wait = match why {
                            Refusal::Cooling { remaining, .. } => remaining,
                            Refusal::TooManyLeases { .. } => BUSY_FOR,
                            _ => WAIT,
                        };
                        self.later(now + wait, self.places[&peer], Happens::Offers);
                    }
                    Output::Event(Event::JobDone { .. }) => self.done = true,
                    _ => {}
                }
            }
        }
    }

    fn lease(&mut self, now: Time, place: usize, task: TaskRef) {
        self.leases += 1;
        let lease = self.leases;
        let machine = &mut self.machines[place];
        let class = &self.times.classes[machine.class];
        let kind = task.task.kind();
        let shape = self.times.shapes[&shape(&self.tree, task.task)];
        let cold = if machine.last == Some(kind) {
            0
        } else {
            class.cold[kind as usize]
        };
        machine.last = Some(kind);
        let takes = cold + class.tasks[shape].expect("it is given only what fits its memory");
        let doing = Doing {
            task,
            begun: now,
            takes,
            lease,
        };
        machine.doing = Some(doing);
        if machine.honest {
            self.later(
                now + Duration::from_micros(takes),
                place,
                Happens::Delivers { lease },
            );
            self.later(now + RENEW_EVERY, place, Happens::Renews { lease });
        }
    }

    fn revoked(&mut self, now: Time, place: usize, task: TaskRef) {
        let machine = &mut self.machines[place];
        if let Some(doing) = machine.doing
            && doing.task == task
        {
            machine.doing = None;
            if machine.honest {
                self.busy_us += (now - doing.begun).as_micros() as u64;
            }
            self.later(now, place, Happens::Offers);
        }
    }
}

/// How fast a class is at segments, beside the fastest.
fn speed(times: &Times, class: usize) -> u32 {
    let relative = |shape: usize| {
        let own = times.classes[class].tasks[shape]?;
        Some(times.fastest(shape)? as f64 / own.max(1) as f64)
    };
    let all: Vec<f64> = (0..times.shapes.len()).filter_map(relative).collect();
    let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
    (f64::from(SPEED_ONE) * mean) as u32
}

/// Spread, so that the order of their names says nothing about them.
fn peer(place: usize) -> Peer {
    let mut id = [0; 32];
    id[..8].copy_from_slice(
        &(place as u64 + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_be_bytes(),
    );
    Peer(id)
}
