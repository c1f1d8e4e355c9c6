//! The machines of a world: they ask for tasks, get their inputs, work, go and come back.

use std::time::Duration;

use myriad_core::{Input, Refusal, Return, TaskId, TaskRef, Time};

use super::{Happens, Hear, Say, World, blob, block_of, made_by};
use crate::{
    fleet::{link::transfer, machine::Doing},
    peer::{
        BANNED_FOR, BUSY_FOR, GOOD, Habit, INVALID, LOST_AFTER, PROGRESS_MAX, RENEW_EVERY, WAIT, WITHHELD,
    },
};

/// Provers that are looked at to fetch program and input from, as many as a lease names.
const SOURCES: usize = 3;

impl World<'_> {
    /// Asks the next requester for a task, or waits until it may ask one.
    pub(super) fn asks(&mut self, place: usize) {
        let now = self.now;
        let machine = &mut self.machines[place];
        machine.alarm = Time::NEVER;
        if !machine.online || machine.doing.is_some() || machine.asking {
            return;
        }
        match machine.next(&self.open, now) {
            Some(side) => {
                machine.asking = true;
                self.say(place, side, Say::Offer);
            }
            None => {
                machine.alarm = machine.earliest(&self.open);
                if machine.alarm < Time::NEVER {
                    let alarm = machine.alarm;
                    self.queue.push(alarm, Happens::Wakes { machine: place });
                }
            }
        }
    }

    pub(super) fn say(&mut self, machine: usize, side: usize, say: Say) {
        let from = &self.machines[machine];
        let reaches = self.now + from.link.one_way(&self.links[side]);
        let boot = from.boot;
        self.queue.push(
            reaches,
            Happens::Reaches {
                side,
                machine,
                boot,
                say,
            },
        );
    }

    pub(super) fn hears(&mut self, side: usize, place: usize, hear: Hear) {
        let now = self.now;
        let machine = &mut self.machines[place];
        match hear {
            Hear::Lease(task) => {
                machine.asking = false;
                if machine.online && machine.doing.is_none() {
                    machine.asked[side].next = now;
                    self.begins(side, place, task);
                }
            }
            Hear::Refused(why) => {
                machine.asking = false;
                let wait = match why {
                    Refusal::TooManyLeases { .. } => BUSY_FOR,
                    Refusal::Cooling { remaining, .. } => remaining,
                    Refusal::Banned { .. } => BANNED_FOR,
                    _ => WAIT,
                };
                machine.asked[side].next = now + wait;
                self.asks(place);
            }
            Hear::Wake => {
                machine.asked[side].next = now;
                self.asks(place);
            }
            Hear::Revoked(task) => {
                if machine.doing.is_some_and(|doing| doing.task == task) {
                    self.stops(place);
                    self.asks(place);
                }
            }
        }
    }

    /// Gets a task's inputs, and begins with it.
    fn begins(&mut self, side: usize, place: usize, task: TaskRef) {
        let now = self.now;
        let ready = self.fetches(side, place, task);
        let workload = &self.setup.workloads[self.sides[side].table];
        let machine = &mut self.machines[place];
        let shape = workload.tasks.of(&workload.tree, task.task);
        let takes = shape.classes[machine.class].expect("it is given only what fits its memory");
        let kind = (side, task.task.kind());
        let cold = if machine.last == Some(kind) {
            Duration::ZERO
        } else {
            takes.cold
        };
        machine.last = Some(kind);
        let start = match task.task {
            TaskId::Segment(index) => {
                workload.execution[machine.class] * index / workload.tree.segments().max(1)
            }
            _ => Duration::ZERO,
        };
        let busy = (1000.0 * self.setup.file.machines[machine.class].busy) as u32;
        let times = if self.rng.chance(busy) { 2 } else { 1 };
        let work = machine.takes(takes.work + cold + start) * times;
        let end = match machine.habit {
            Habit::Honest | Habit::Boasts | Habit::Poisons => ready + work,
            Habit::Silent | Habit::Pretends => Time::NEVER,
            Habit::Garbage | Habit::Replays | Habit::Withholds | Habit::Fails => ready + work / 20,
            Habit::HandsBack => ready + work / 2,
        };
        self.leases += 1;
        let lease = self.leases;
        machine.doing = Some(Doing {
            requester: side,
            task,
            leased: now,
            begun: ready,
            end: ready + work,
            lease,
        });
        if end < Time::NEVER {
            self.queue.push(
                end,
                Happens::Ends {
                    machine: place,
                    lease,
                },
            );
        }
        if machine.habit != Habit::Silent {
            self.queue.push(
                now + RENEW_EVERY,
                Happens::Renews {
                    machine: place,
                    lease,
                },
            );
        }
    }

    /// When all that a task needs is there.
    fn fetches(&mut self, side: usize, place: usize, task: TaskRef) -> Time {
        let mut ready = self.now;
        let block = (side, block_of(task.job));
        let (program, input) = self.machines[place].lacks(block);
        if program || input {
            let table = &self.setup.file.requesters[self.sides[side].table];
            let mb = [(program, table.program_mb), (input, table.input_mb)];
            let bytes = mb
                .iter()
                .filter(|(lacks, _)| *lacks)
                .map(|(_, mb)| mb * 1e6)
                .sum::<f64>() as u64;
            let (source, at) = self.source(side, place, block, bytes);
            ready = ready.max(self.fetch(at, side, place, source, bytes));
            self.shared.entry(block).or_default().push((place, ready));
        }
        let workload = &self.setup.workloads[self.sides[side].table];
        let inputs: Vec<(Option<usize>, u64)> = self.sides[side]
            .state
            .inputs(task)
            .into_iter()
            .map(|child| {
                let bytes = workload.tasks.of(&workload.tree, child).proof_bytes;
                let child = TaskRef { task: child, ..task };
                let maker = self.sides[side].state.proof(child).map(|proof| made_by(proof).0);
                (maker, bytes)
            })
            .collect();
        for (maker, bytes) in inputs {
            if maker == Some(place) {
                continue;
            }
            let from = maker.filter(|&maker| self.is_reachable(place, maker));
            ready = ready.max(self.fetch(self.now, side, place, from, bytes));
        }
        ready
    }

    /// Whether one machine can fetch from another.
    fn is_reachable(&self, place: usize, other: usize) -> bool {
        let (machine, other) = (&self.machines[place], &self.machines[other]);
        other.online && !(machine.behind_nat && other.behind_nat)
    }

    /// The machine to fetch program and input from, and when: of the requester and some provers that have them, or will, the one that has
    /// sent them first.
    fn source(
        &mut self,
        side: usize,
        place: usize,
        block: (usize, u32),
        bytes: u64,
    ) -> (Option<usize>, Time) {
        let mut best = (self.links[side].up.ends(self.now, bytes), None, self.now);
        let Some(holders) = self.shared.get(&block) else {
            return (None, self.now);
        };
        for _ in 0..SOURCES {
            let (holder, since) = *self.rng.pick(holders);
            let at = since.max(self.now);
            let ends = self.machines[holder].link.up.ends(at, bytes);
            // It may have had them and thrown them away for other blocks'.
            if holder != place && ends < best.0 && self.is_reachable(place, holder) {
                best = (ends, Some(holder), at);
            }
        }
        (best.1, best.2)
    }

    /// When the bytes are there; from the requester if from nobody else.
    fn fetch(&mut self, now: Time, side: usize, place: usize, from: Option<usize>, bytes: u64) -> Time {
        match from {
            Some(from) => {
                self.counts.between_bytes += bytes;
                let [to, from] = self
                    .machines
                    .get_disjoint_mut([place, from])
                    .expect("nobody fetches from itself");
                transfer(&mut from.link, &mut to.link, now, bytes)
            }
            None => transfer(&mut self.links[side], &mut self.machines[place].link, now, bytes),
        }
    }

    pub(super) fn renews(&mut self, place: usize, lease: u64) {
        let machine = &self.machines[place];
        let Some(doing) = machine.doing.filter(|doing| doing.lease == lease) else {
            return;
        };
        let whole = (doing.end - doing.begun).as_micros().max(1);
        let share = (self.now - doing.begun).as_micros() * 1000 / whole;
        let renew = Say::Renew(doing.task, share.min(PROGRESS_MAX.into()) as u16);
        self.queue.push(
            self.now + RENEW_EVERY,
            Happens::Renews {
                machine: place,
                lease,
            },
        );
        self.say(place, doing.requester, renew);
    }

    pub(super) fn ends(&mut self, place: usize, lease: u64) {
        let machine = &self.machines[place];
        let Some(doing) = machine.doing.filter(|doing| doing.lease == lease) else {
            return;
        };
        let worked = self.now - doing.begun;
        let proof = |quality| Say::Submit(doing.task, blob(quality, place, worked));
        let say = match machine.habit {
            Habit::Garbage | Habit::Replays => proof(INVALID),
            Habit::Withholds => proof(WITHHELD),
            Habit::HandsBack => Say::Return(doing.task, Return::Stopping),
            Habit::Fails => {
                let message = "no luck".into();
                Say::Return(doing.task, Return::Failed { message })
            }
            Habit::Honest | Habit::Boasts | Habit::Silent | Habit::Pretends | Habit::Poisons => proof(GOOD),
        };
        self.stops(place);
        self.say(place, doing.requester, say);
        self.asks(place);
    }

    /// It is not at its task any more.
    pub(super) fn stops(&mut self, place: usize) {
        let now = self.now;
        let machine = &mut self.machines[place];
        let Some(doing) = machine.doing.take() else {
            return;
        };
        let worked = now - doing.begun;
        machine.asked[doing.requester].served += now - doing.leased;
        if machine.works() {
            self.counts.worked_s += worked.as_secs_f64();
            self.counts.fetching_s += (doing.begun.min(now) - doing.leased).as_secs_f64();
            self.timeline.worked(doing.begun.min(now), now);
        }
    }

    pub(super) fn plan_toggle(&mut self, place: usize) {
        let machine = &self.machines[place];
        let table = &self.setup.file.machines[machine.class];
        let Some(online_h) = table.online_h else {
            return;
        };
        let mean_h = if machine.online { online_h } else { table.offline_h };
        let stays = self
            .rng
            .duration(Duration::ZERO..Duration::from_secs_f64(2.0 * 3600.0 * mean_h));
        self.queue
            .push(self.now + stays, Happens::Toggles { machine: place });
    }

    pub(super) fn toggles(&mut self, place: usize) {
        let table = &self.setup.file.machines[self.machines[place].class];
        let vanishes = (1000.0 * table.vanishes) as u32;
        if self.machines[place].online {
            let doing = self.machines[place].doing;
            let silent = self.rng.chance(vanishes);
            if let (Some(doing), false) = (doing, silent) {
                let back = Input::Returned {
                    peer: self.machines[place].peer,
                    task: doing.task,
                    why: Return::Stopping,
                };
                self.tell(doing.requester, back);
            }
            self.stops(place);
            self.counts.leavings += 1;
        }
        let machine = &mut self.machines[place];
        machine.online = !machine.online;
        machine.boot += 1;
        machine.asking = false;
        let (online, boot, works) = (machine.online, machine.boot, machine.works());
        if works {
            self.timeline.online(self.now, if online { 1 } else { -1 });
        }
        if online {
            for asked in &mut machine.asked {
                asked.next = self.now;
            }
            self.asks(place);
        } else {
            self.queue
                .push(self.now + LOST_AFTER, Happens::Lost { machine: place, boot });
        }
        self.plan_toggle(place);
    }
}
