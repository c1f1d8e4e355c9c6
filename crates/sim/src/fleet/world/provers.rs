//! The machines of a world: they ask for tasks, get their inputs, work, go and come back.

use std::time::Duration;

use myriad_core::{Input, Return, TaskId, TaskRef, Time};

use super::{FromMachine, Occurrence, ToMachine, World, blob, block_of};
use crate::{
    fleet::machine::CurrentTask,
    peer::{GOOD, Habit, INVALID, LOST_AFTER, PROGRESS_MAX, RENEW_EVERY, WITHHELD},
};

impl World<'_> {
    /// Asks the next requester for a task, or waits until it may ask one.
    pub(super) fn asks(&mut self, place: usize) {
        let now = self.now;
        let machine = &mut self.machines[place];
        machine.alarm = Time::NEVER;
        if !machine.is_idle() {
            return;
        }
        match machine.next(&self.open, now) {
            Some(side) => {
                machine.offer_pending = true;
                self.say(place, side, FromMachine::Offer);
            }
            None => {
                machine.alarm = machine.earliest(&self.open);
                if machine.alarm < Time::NEVER {
                    let alarm = machine.alarm;
                    self.queue.push(alarm, Occurrence::Wakes { machine: place });
                }
                if !machine.listening && machine.listens() {
                    machine.listening = true;
                    self.listening.push(place);
                }
            }
        }
    }

    pub(super) fn say(&mut self, machine: usize, side: usize, say: FromMachine) {
        let from = &self.machines[machine];
        let way = match say {
            FromMachine::Offer if self.setup.file.what_if.ahead => Duration::ZERO,
            _ => from.link.one_way(&self.links[side]),
        };
        let reaches = self.now + way;
        let boot = from.boot;
        self.queue.push(
            reaches,
            Occurrence::Reaches {
                side,
                machine,
                boot,
                say,
            },
        );
    }

    pub(super) fn hears(&mut self, side: usize, place: usize, hear: ToMachine) {
        let now = self.now;
        let machine = &mut self.machines[place];
        match hear {
            ToMachine::Lease(task) => {
                machine.offer_pending = false;
                if machine.is_idle() {
                    machine.may_ask(side, now);
                    self.begins(side, place, task);
                }
            }
            ToMachine::Refused(wait) => {
                machine.offer_pending = false;
                machine.may_ask(side, now + wait);
                self.asks(place);
            }
            ToMachine::Parked => {
                machine.offer_pending = false;
                if let Some(met) = machine.met(side) {
                    met.parked = true;
                }
                self.asks(place);
            }
            ToMachine::Wake => {
                self.counts.woken += 1;
                machine.may_ask(side, now);
                if machine.doing.is_some() {
                    self.counts.declined += 1;
                    return self.say(place, side, FromMachine::Declines);
                }
                self.asks(place);
            }
            ToMachine::Revoked(task) => {
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
        let fetched = self.fetches(side, place, task);
        let early = self.executing(side, block_of(task.job));
        let workload = &self.setup.workloads[self.sides[side].table];
        let machine = &mut self.machines[place];
        let shape = workload.tasks.of(&workload.tree, task.task);
        let takes = shape.classes[machine.class].expect("it is given only what fits its memory");
        let kind = (side, task.task.kind());
        let is_warm = self.setup.file.what_if.warm || machine.last == Some(kind);
        let mut cold = if is_warm { Duration::ZERO } else { takes.cold };
        machine.last = Some(kind);
        let mut ready = fetched;
        let mut start = match task.task {
            TaskId::Segment(index) => {
                workload.execution[machine.class] * index / workload.tree.segments().max(1)
            }
            _ => Duration::ZERO,
        };
        if let (Some(began), TaskId::Segment(index)) = (early, task.task) {
            // It has executed while the requester did.
            let cut = began + workload.metering * (index + 1) / workload.tree.segments().max(1);
            ready = now.max(cut).max(fetched + machine.takes(start));
            (start, cold) = (Duration::ZERO, Duration::ZERO);
        }
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
        machine.doing = Some(CurrentTask {
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
                Occurrence::Ends {
                    machine: place,
                    lease,
                },
            );
        }
        if machine.habit != Habit::Silent {
            self.queue.push(
                now + RENEW_EVERY,
                Occurrence::Renews {
                    machine: place,
                    lease,
                },
            );
        }
    }

    pub(super) fn renews(&mut self, place: usize, lease: u64) {
        let machine = &self.machines[place];
        let Some(doing) = machine.doing.filter(|doing| doing.lease == lease) else {
            return;
        };
        let whole = (doing.end - doing.begun).as_micros().max(1);
        let share = (self.now - doing.begun).as_micros() * 1000 / whole;
        let renew = FromMachine::Renew(doing.task, share.min(PROGRESS_MAX.into()) as u16);
        self.queue.push(
            self.now + RENEW_EVERY,
            Occurrence::Renews {
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
        let proof = |quality| FromMachine::Submit(doing.task, blob(quality, place, worked));
        let say = match machine.habit {
            Habit::Garbage | Habit::Replays => proof(INVALID),
            Habit::Withholds => proof(WITHHELD),
            Habit::HandsBack => FromMachine::Return(doing.task, Return::Stopping),
            Habit::Fails => {
                let message = "no luck".into();
                FromMachine::Return(doing.task, Return::Failed { message })
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
        if let Some(met) = machine.met(doing.requester) {
            met.served += now - doing.leased;
        }
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
            .push(self.now + stays, Occurrence::Toggles { machine: place });
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
                self.input(doing.requester, back);
            }
            self.stops(place);
            self.counts.leavings += 1;
        }
        let machine = &mut self.machines[place];
        machine.online = !machine.online;
        machine.boot += 1;
        machine.offer_pending = false;
        let (online, boot, works) = (machine.online, machine.boot, machine.works());
        if works {
            self.timeline.online(self.now, if online { 1 } else { -1 });
        }
        if online {
            for met in &mut machine.met {
                (met.parked, met.next) = (false, self.now);
            }
            self.asks(place);
        } else {
            self.queue
                .push(self.now + LOST_AFTER, Occurrence::Lost { machine: place, boot });
        }
        self.plan_toggle(place);
    }
}
