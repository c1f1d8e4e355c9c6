//! Machines that fetch a block's files while its requester executes it, from each other, by the
//! rules of `myriad_core::spreading`.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use myriad_core::{
    Input, Time,
    spreading::{AT_TASK_LATER, Copies, FETCHING_AT_ONCE, head_start},
};

use super::{Happens, World, job_id, transfers::Turn};

/// Who sends next, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sender {
    Machine(usize),
    /// The requester has a place for one more copy.
    Requester,
    /// A copy that it has sent is there after so long.
    Sent(Duration),
}

impl World<'_> {
    /// A block is announced before it is executed: all machines that work and are there fetch what
    /// they lack, unless they did so in vain too often. Those that are at a task come later; else
    /// nobody chooses the order. At best: each turn that is free is taken at once.
    pub(super) fn spreads(&mut self, side: usize, block: u32, until: Time) {
        let now = self.now;
        let mut left: Vec<usize> = (0..self.machines.len())
            .filter(|&place| {
                let machine = &mut self.machines[place];
                machine.online && machine.works() && machine.met(side).is_some_and(|met| met.may_bet(now))
            })
            .collect();
        self.rng.shuffle(&mut left);
        // The last ones go first.
        left.sort_by_key(|&place| self.machines[place].is_idle());
        let mut copies = Copies::default();
        let mut turns: BinaryHeap<Reverse<(Time, Sender)>> = BinaryHeap::new();
        while copies.may_begin(true) {
            copies.begins();
            turns.push(Reverse((now, Sender::Requester)));
        }
        while let Some(Reverse((free, sender))) = turns.pop() {
            if free >= until {
                // From then on they are fetched with leases.
                break;
            }
            let from = match sender {
                Sender::Machine(from) => Some(from),
                Sender::Requester => None,
                Sender::Sent(took) => {
                    copies.has_come(took);
                    while copies.may_begin(false) {
                        copies.begins();
                        turns.push(Reverse((free, Sender::Requester)));
                    }
                    continue;
                }
            };
            let Some(place) = left.pop() else {
                break;
            };
            if !self.machines[place].is_idle() && free < now + AT_TASK_LATER {
                left.push(place);
                turns.push(Reverse((now + AT_TASK_LATER, sender)));
                continue;
            }
            if from.is_some_and(|from| !self.is_reachable(place, from)) {
                // It fetches with its lease.
                turns.push(Reverse((free, sender)));
                continue;
            }
            if let Some(met) = self.machines[place].met(side) {
                met.bet(now);
            }
            let Some(bytes) = self.lacking(side, place, (side, block)) else {
                turns.push(Reverse((free, sender)));
                turns.extend([Reverse((now, Sender::Machine(place))); FETCHING_AT_ONCE]);
                continue;
            };
            // It asks, is told where, and says that it has them.
            self.counts.messages += 4;
            let asked = free + 2 * self.machines[place].link.one_way(&self.links[side]);
            let there = self.fetch(asked, side, place, from, bytes);
            if from.is_some() {
                turns.push(Reverse((there, sender)));
            } else {
                self.counts.input_copies += 1;
                turns.push(Reverse((there, Sender::Sent(there - free))));
            }
            turns.extend([Reverse((there, Sender::Machine(place))); FETCHING_AT_ONCE]);
            let turn = Turn {
                begins: asked,
                ends: there,
                bytes,
            };
            let shared = self.shared.entry((side, block)).or_default();
            shared.turns.insert(place, turn);
        }
    }

    /// From when on a machine asks for a task of a block that has just been executed.
    pub(super) fn head_start(&self, side: usize, block: u32, place: usize) -> Time {
        let now = self.now;
        let shared = self.shared.get(&(side, block));
        let began = self.sides[side].began.get(&block);
        match (shared.map(|shared| shared.turns.get(&place)), began) {
            (Some(turn), Some(&began)) if self.setup.file.what_if.is_announced() => {
                let late = now + head_start(now - began);
                turn.map_or(late, |turn| turn.ends.max(now).min(late))
            }
            _ => now,
        }
    }

    /// A block has tasks: those that have its files by now are named with them, and the requester
    /// hears of each that it has them.
    pub(super) fn is_spread(&mut self, side: usize, block: u32) {
        let Some(shared) = self.shared.get_mut(&(side, block)) else {
            return;
        };
        let turns = shared.turns.iter();
        let mut ends: Vec<(Time, usize)> = turns.map(|(&place, turn)| (turn.ends, place)).collect();
        ends.sort_unstable();
        for &(since, place) in ends.iter().filter(|(ends, _)| *ends <= self.now) {
            shared.hold(place, since);
        }
        let job = job_id(side, block);
        for (since, place) in ends {
            let peer = self.machines[place].peer;
            let input = Input::HasFiles { peer, job };
            if since <= self.now {
                self.tell(side, input);
            } else {
                self.queue.push(since, Happens::Finds { side, input });
            }
        }
    }
}
