//! A simulated prover, as the requester comes to know it: its messages, and their times.
//!
//! It does what `myriad-node`'s prover does, with the same pauses, but for proving, and but for
//! what its [`Habit`] adds.

use std::time::Duration;

use myriad_core::{Blob, Cost, Offer, Peer, Refusal, Return, SPEED_ONE, TaskRef, Time, Trust};

use super::scenario::Class;
use crate::{
    peer::{
        BANNED_FOR, BUSY_FOR, GOOD, Habit, INVALID, POISON, PROGRESS_MAX, RENEW_EVERY, WAIT, WITHHELD, name,
    },
    rng::Rng,
};

/// The times of `myriad-node`: how long a prover waits for an answer, and until it submits again.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const SUBMIT_EVERY: Duration = Duration::from_secs(3);

/// Says something to the requester.
#[derive(Clone, Debug)]
pub(crate) enum FromProver {
    Offer(Offer),
    Renew { task: TaskRef, progress: u16 },
    Submit { task: TaskRef, proof: Blob },
    Return { task: TaskRef, why: Return },
}

/// Hears something from it.
#[derive(Clone, Debug)]
pub(crate) enum ToProver {
    Lease {
        task: TaskRef,
        cost: Cost,
        /// No proof can be made of it, because of the proofs that it takes.
        poisoned: bool,
    },
    /// Its message is refused; `about` is the task of that message.
    Refused {
        why: Refusal,
        about: Option<TaskRef>,
    },
    Received {
        submitted: Option<TaskRef>,
    },
    Revoked(TaskRef),
    Wake,
}

/// The time of one task varies: it is this many thousandths of the expected time.
pub(super) const NOISE: std::ops::Range<u64> = 950..1100;
/// This many times in a thousand the machine has other work meanwhile, and the task takes twice as
/// long.
pub(super) const BUSY: u32 = 50;

/// This many of a thousand that have made an invalid proof hand it in without a look at it.
const NAIVE: u32 = 300;

#[derive(Clone, Debug)]
pub(crate) struct Prover {
    pub peer: Peer,
    pub class: usize,
    pub habit: Habit,
    pub offer: Offer,
    pub latency: Duration,
    pub(super) fetch: std::ops::Range<Duration>,
    /// Its speed in thousandths of the reference.
    pub(super) speed: u64,
    /// The speed of its clock, in thousandths.
    clock: u64,
    pub up: bool,
    pub reachable: bool,
    /// Raised with each start, so that messages to an earlier one are not heard.
    pub boot: u32,
    /// When it acts next by itself.
    pub alarm: Time,
    state: State,
    /// A proof that the requester has not answered for.
    unsent: Option<(TaskRef, Blob)>,
    /// Work that it has done, whether anybody wanted it or not.
    pub worked: Duration,
    rng: Rng,
}

#[derive(Clone, Debug)]
enum State {
    Idle,
    /// An offer is on its way.
    Offering,
    Working(CurrentTask),
}

#[derive(Clone, Debug)]
struct CurrentTask {
    task: TaskRef,
    begun: Time,
    end: Time,
    renew: Time,
    work: Duration,
    poisoned: bool,
}

impl Prover {
    pub(crate) fn new(index: usize, class: (usize, &Class), drift: u32, mut rng: Rng) -> Self {
        let (place, class) = class;
        let speed = rng.within(class.speed.clone()).max(1);
        let said = if class.habit == Habit::Boasts {
            10 * speed
        } else {
            speed
        };
        Self {
            peer: name(index),
            class: place,
            habit: class.habit,
            offer: Offer {
                memory: class.memory,
                speed: said as u32,
                trust: Trust::Stranger,
                origin: class
                    .per_origin
                    .map(|size| ((place as u64) << 32) + index as u64 / size.max(1)),
            },
            latency: rng.duration(class.latency.clone()),
            fetch: class.fetch.clone(),
            speed,
            clock: 1000 - u64::from(drift) / 2 + rng.below(u64::from(drift) + 1),
            up: true,
            reachable: true,
            boot: 0,
            alarm: Time::default(),
            state: State::Idle,
            unsent: None,
            worked: Duration::ZERO,
            rng,
        }
    }

    /// The machine goes down, and its work is lost.
    pub(crate) fn crash(&mut self, now: Time) {
        self.stop_work(now);
        self.up = false;
        self.unsent = None;
        self.alarm = Time::NEVER;
    }

    pub(crate) fn start(&mut self, now: Time) {
        self.up = true;
        self.boot += 1;
        self.state = State::Idle;
        self.alarm = now;
    }

    /// The requester has come back: it is asked at once, as `myriad-node` does when it hears of it.
    pub(crate) fn reconnected(&mut self, now: Time) {
        if !matches!(self.state, State::Working(_)) {
            self.state = State::Idle;
            self.alarm = now;
        }
    }

    /// The time when this much has passed by its own clock.
    fn after(&self, now: Time, wait: Duration) -> Time {
        now + wait * 1000 / self.clock as u32
    }

    fn wait(&mut self, now: Time, wait: Duration) {
        if !matches!(self.state, State::Working(_)) {
            self.state = State::Idle;
            self.alarm = self.after(now, wait);
        }
    }

    fn stop_work(&mut self, now: Time) {
        if let State::Working(doing) = &self.state {
            // Fetched blobs are not counted.
            let spent = doing.work.min(now - doing.begun);
            self.worked += spent * self.speed as u32 / SPEED_ONE;
        }
        self.state = State::Idle;
    }

    /// Its time has come: returns the messages that it sends.
    pub(crate) fn act(&mut self, now: Time) -> Vec<FromProver> {
        let mut says = Vec::new();
        if let Some((task, proof)) = self.unsent {
            says.push(FromProver::Submit { task, proof });
        }
        match &self.state {
            State::Idle | State::Offering => {
                says.push(FromProver::Offer(self.offer));
                self.state = State::Offering;
                let patience = if self.unsent.is_some() {
                    SUBMIT_EVERY
                } else {
                    ANSWER_WITHIN
                };
                self.alarm = self.after(now, patience);
            }
            State::Working(doing) if doing.end <= now => {
                let (task, poisoned) = (doing.task, doing.poisoned);
                let works = self.habit.works() || self.habit == Habit::Poisons;
                self.stop_work(now);
                if works && poisoned && !self.rng.chance(NAIVE) {
                    let message = "its new proof is invalid".into();
                    let why = Return::Failed { message };
                    says.push(FromProver::Return { task, why });
                } else if works || matches!(self.habit, Habit::Garbage | Habit::Replays | Habit::Withholds) {
                    let proof = self.proof(task, poisoned);
                    self.unsent = Some((task, proof));
                    says.push(FromProver::Submit { task, proof });
                } else {
                    let why = match self.habit {
                        Habit::Fails => Return::Failed {
                            message: "no luck".into(),
                        },
                        _ => Return::Stopping,
                    };
                    says.push(FromProver::Return { task, why });
                }
                says.push(FromProver::Offer(self.offer));
                self.state = State::Offering;
                self.alarm = self.after(now, SUBMIT_EVERY);
            }
            State::Working(doing) => {
                let (task, end) = (doing.task, doing.end);
                let share = (now - doing.begun).as_micros() * 1000 / doing.work.as_micros().max(1);
                let progress = (share as u64).min(PROGRESS_MAX) as u16;
                let renew = self.after(now, RENEW_EVERY);
                if self.habit != Habit::Silent {
                    says.push(FromProver::Renew { task, progress });
                }
                if let State::Working(doing) = &mut self.state {
                    doing.renew = renew;
                }
                self.alarm = renew.min(end);
            }
        }
        says
    }

    /// It hears something.
    pub(crate) fn hear(&mut self, now: Time, hear: ToProver) {
        match hear {
            ToProver::Lease { task, cost, poisoned } => self.begin(now, task, cost, poisoned),
            ToProver::Revoked(task) => {
                if matches!(&self.state, State::Working(doing) if doing.task == task) {
                    self.stop_work(now);
                    self.alarm = now;
                }
            }
            ToProver::Wake if matches!(self.state, State::Idle) => self.alarm = now,
            ToProver::Wake => {}
            ToProver::Received { submitted } => {
                self.unsent = self.unsent.filter(|(task, _)| Some(*task) != submitted);
            }
            ToProver::Refused { why, about } => match why {
                Refusal::NoJob | Refusal::Waiting { .. } | Refusal::Memory { .. } => self.wait(now, WAIT),
                Refusal::TooManyLeases { .. } => self.wait(now, BUSY_FOR),
                Refusal::Crowded { .. } => self.wait(now, WAIT),
                Refusal::Cooling { remaining, .. } => self.wait(now, remaining),
                Refusal::Banned { .. } => {
                    self.unsent = None;
                    self.wait(now, BANNED_FOR);
                }
                // It is submitted again as if the answer was lost.
                Refusal::NotYet => {}
                Refusal::NoSuchTask | Refusal::NotLeased | Refusal::Done | Refusal::Submitted => {
                    if self.unsent.is_some_and(|(task, _)| Some(task) == about) {
                        self.unsent = None;
                    }
                    if matches!(&self.state, State::Working(doing) if Some(doing.task) == about) {
                        self.stop_work(now);
                        self.alarm = now;
                    }
                }
            },
        }
    }

    fn begin(&mut self, now: Time, task: TaskRef, cost: Cost, poisoned: bool) {
        if matches!(self.state, State::Working(_)) {
            // An answer that came late; the lease will run out.
            return;
        }
        let fetch = self.rng.duration(self.fetch.clone());
        let busy = if self.rng.chance(BUSY) { 2 } else { 1 };
        let noise = self.rng.within(NOISE) as u32;
        let work = cost.work * SPEED_ONE / self.speed as u32 * noise / 1000 * busy;
        let begun = now + fetch;
        let end = match self.habit {
            Habit::Honest | Habit::Boasts | Habit::Poisons => begun + work,
            Habit::Silent | Habit::Pretends => Time::NEVER,
            // These machines have nothing to wait for.
            Habit::Garbage | Habit::Replays | Habit::Withholds | Habit::Fails => begun + work / 20,
            Habit::HandsBack => begun + work / 2,
        };
        let renew = self.after(now, RENEW_EVERY);
        self.alarm = renew.min(end);
        self.state = State::Working(CurrentTask {
            task,
            begun,
            end,
            renew,
            work,
            poisoned,
        });
    }

    fn proof(&self, task: TaskRef, poisoned: bool) -> Blob {
        let quality = match self.habit {
            Habit::Garbage | Habit::Replays => INVALID,
            Habit::Withholds => WITHHELD,
            _ if poisoned => INVALID,
            Habit::Poisons => POISON,
            _ => GOOD,
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.peer.0).update(&task.job.0);
        hasher.update(task.task.to_string().as_bytes());
        let mut blob = *hasher.finalize().as_bytes();
        blob[0] = quality;
        Blob(blob)
    }
}
