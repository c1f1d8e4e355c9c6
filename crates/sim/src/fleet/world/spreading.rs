//! Machines that fetch a block's files while its requester executes it, from each other, by the
//! rules of [`myriad_core::spreading`].

use std::collections::HashMap;

use myriad_core::{
    Input, Peer, Standing, Time,
    spreading::{AT_TASK_LATER, Sender, Turn, Wants, head_start},
};

use super::{Occurrence, World, job_id};
use crate::{fleet::machine::Machine, peer::index, rng::Rng};

/// The machines that have a block's files, and those that fetch them.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// When each machine that has fetched them has them.
    pub(super) there: HashMap<usize, Time>,
    /// The machines that may fetch them before there are tasks. None once there are tasks.
    inquiry: Option<Inquiry>,
}

/// The machines that ask for the files before there are tasks, in an order that nobody chooses:
/// first those that are free, then those that are at a task.
#[derive(Debug)]
struct Inquiry {
    began: Time,
    next: usize,
    step: usize,
    /// Machines that are left of this pass.
    left: usize,
    free_ones: bool,
    /// When it is looked again whether there is one.
    until: Time,
    /// The last time for which that is planned.
    planned: Time,
}

impl Inquiry {
    fn new(machines: usize, began: Time, rng: &mut Rng) -> Self {
        let step = loop {
            let step = 1 + rng.below(machines as u64) as usize;
            // Then each has its turn.
            if divisor(step, machines) == 1 {
                break step;
            }
        };
        Self {
            began,
            next: rng.below(machines as u64) as usize,
            step,
            left: machines,
            free_ones: true,
            until: began + AT_TASK_LATER,
            planned: began,
        }
    }

    /// The next that may fetch, if there is one by now.
    fn next(&mut self, now: Time, side: usize, machines: &mut [Machine]) -> Option<usize> {
        loop {
            while self.left > 0 {
                let place = self.next;
                self.next = (self.next + self.step) % machines.len();
                self.left -= 1;
                let machine = &mut machines[place];
                if machine.online
                    && machine.works()
                    && machine.is_idle() == self.free_ones
                    && machine.met(side).is_some_and(|met| met.may_bet(now))
                {
                    return Some(place);
                }
            }
            if !self.free_ones || now < self.began + AT_TASK_LATER {
                return None;
            }
            (self.free_ones, self.left) = (false, machines.len());
        }
    }

    /// The one that was the next asks again.
    const fn waits(&mut self, place: usize, until: Time) {
        self.left += 1;
        self.next = place;
        self.until = until;
    }
}

const fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

impl World<'_> {
    /// A machine that lacks this many bytes of a block's files.
    pub(super) fn wants(&self, side: usize, place: usize, bytes: u64) -> Wants {
        let peer = self.machines[place].peer;
        Wants {
            peer,
            bytes,
            believed: self.is_proven(side, peer),
            // Each is at home, and no two are one person's.
            origin: Some(place as u64),
        }
    }

    fn is_proven(&self, side: usize, peer: Peer) -> bool {
        let standing = self.sides[side].state.standing(peer);
        standing.is_some_and(Standing::is_proven)
    }

    /// A block is announced before it is executed: machines that work and are there fetch what they
    /// lack, unless they did so in vain too often.
    pub(super) fn spreads(&mut self, side: usize, block: u32) {
        let inquiry = Inquiry::new(self.machines.len(), self.now, &mut self.rng);
        self.shared.entry((side, block)).or_default().inquiry = Some(inquiry);
        self.spreads_on(side, block);
    }

    /// Each turn that is free is taken at once: that is at best.
    pub(super) fn spreads_on(&mut self, side: usize, block: u32) {
        let now = self.now;
        let job = job_id(side, block);
        let shared = self.shared.get_mut(&(side, block));
        let Some(mut inquiry) = shared.and_then(|shared| shared.inquiry.take()) else {
            return;
        };
        while let Some(place) = inquiry.next(now, side, &mut self.machines) {
            let Some(bytes) = self.lacking(side, place, (side, block)) else {
                self.has_files(side, block, place);
                continue;
            };
            let peer = self.machines[place].peer;
            let wants = self.wants(side, place, bytes);
            let sender = match self.sides[side].spreading.turn(now, job, wants) {
                Turn::From(sender) => sender,
                Turn::Wait(pause) => {
                    // It asks again then, or when another one has all.
                    inquiry.waits(place, now + pause);
                    break;
                }
            };
            if let Some(met) = self.machines[place].met(side) {
                met.bet(now);
            }
            let from = match sender {
                Sender::Requester => None,
                Sender::Peer(peer) => Some(index(peer)),
            };
            if from.is_some_and(|from| !self.is_reachable(place, from)) {
                // It fetches with its lease.
                self.sides[side].spreading.cannot_reach(now, job, peer);
                continue;
            }
            // It asks, and is told where.
            let asked = now + 2 * self.machines[place].link.one_way(&self.links[side]);
            self.fetches_files(asked, (side, block), place, from, bytes);
        }
        if inquiry.until > inquiry.planned.max(now) {
            inquiry.planned = inquiry.until;
            self.queue
                .push(inquiry.until, Occurrence::SpreadsOn { side, block });
        }
        self.shared.entry((side, block)).or_default().inquiry = Some(inquiry);
    }

    /// A machine fetches what it lacks of a block's files. Gives when they are there.
    pub(super) fn fetches_files(
        &mut self,
        asked: Time,
        block: (usize, u32),
        place: usize,
        from: Option<usize>,
        bytes: u64,
    ) -> Time {
        let there = self.fetch(asked, block.0, place, from, bytes);
        self.machines[place].gets(block);
        self.counts.input_copies += u64::from(from.is_none());
        self.shared.entry(block).or_default().there.insert(place, there);
        let heard = there + self.machines[place].link.one_way(&self.links[block.0]);
        let (side, block) = block;
        self.queue.push(
            heard,
            Occurrence::HasFiles {
                side,
                block,
                machine: place,
            },
        );
        there
    }

    /// A requester hears that a machine has the files.
    pub(super) fn has_files(&mut self, side: usize, block: u32, place: usize) {
        let now = self.now;
        if !self.sides[side].began.contains_key(&block) {
            // It is proven already.
            return;
        }
        let (job, peer) = (job_id(side, block), self.machines[place].peer);
        let is_proven = self.is_proven(side, peer);
        let spreading = &mut self.sides[side].spreading;
        spreading.has_all(now, job, peer, is_proven);
        let spares = spreading.takes(job);
        self.input(side, Input::FilesHeld { peer, job, spares });
    }

    /// The time from which a machine asks for a task of a block that has just been executed.
    pub(super) fn head_start(&self, side: usize, block: u32, place: usize) -> Time {
        let now = self.now;
        let there = self
            .shared
            .get(&(side, block))
            .map(|shared| shared.there.get(&place));
        let began = self.sides[side].began.get(&block);
        match (there, began) {
            (Some(there), Some(&began)) if self.setup.file.what_if.announced => {
                let late = now + head_start(now - began);
                there.map_or(late, |there| (*there).max(now).min(late))
            }
            _ => now,
        }
    }

    /// A block has all its tasks: from now on its files are fetched with leases.
    pub(super) fn is_spread(&mut self, side: usize, block: u32) {
        if let Some(shared) = self.shared.get_mut(&(side, block)) {
            shared.inquiry = None;
        }
    }
}
