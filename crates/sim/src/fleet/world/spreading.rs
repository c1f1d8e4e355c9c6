//! Machines that fetch a block's files while its requester executes it, from each other, by the
//! rules of `myriad-node`'s `requester/spreading.rs`.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use myriad_core::Time;

use super::{World, transfers::Turn};

/// Machines that the requester sends to at once, and copies that it sends at most.
const SENT_AT_ONCE: usize = 4;
const COPIES: u64 = 8;
/// Machines that one that has the files sends them to at once.
const FETCHING_AT_ONCE: usize = 1;
/// Machines that have not got the files leave the first tasks to others for a part of the time that
/// the execution took, and no longer than this, as in `myriad-node`'s `prover/offers`.
const HEAD_START: u32 = 4;
const HEAD_START_MAX: Duration = Duration::from_secs(3);

impl World<'_> {
    /// A block is announced before it is executed: all machines that work and are there fetch what
    /// they lack, in an order that nobody chooses, unless they did so in vain too often. At best:
    /// each turn that is free is taken at once.
    pub(super) fn spreads(&mut self, side: usize, block: u32, until: Time) {
        let now = self.now;
        let mut left: Vec<usize> = (0..self.machines.len())
            .filter(|&place| {
                let machine = &mut self.machines[place];
                machine.online && machine.works() && machine.met(side).is_some_and(|met| met.may_bet(now))
            })
            .collect();
        self.rng.shuffle(&mut left);
        // When each turn is free, and at whom; at the requester if at no machine.
        let mut turns: BinaryHeap<Reverse<(Time, Option<usize>)>> = BinaryHeap::new();
        turns.extend([Reverse((now, None)); SENT_AT_ONCE]);
        let mut copies = 0;
        for place in left {
            let Some(Reverse((free, from))) = turns.pop() else {
                break;
            };
            if free >= until {
                // From then on they are fetched with leases.
                break;
            }
            if from.is_some_and(|from| !self.is_reachable(place, from)) {
                // It fetches with its lease.
                turns.push(Reverse((free, from)));
                continue;
            }
            if let Some(met) = self.machines[place].met(side) {
                met.bet(now);
            }
            let Some(bytes) = self.lacking(side, place, (side, block)) else {
                turns.push(Reverse((free, from)));
                turns.extend([Reverse((now, Some(place))); FETCHING_AT_ONCE]);
                continue;
            };
            // It asks, and is told where.
            let asked = free + 2 * self.machines[place].link.one_way(&self.links[side]);
            let there = self.fetch(asked, side, place, from, bytes);
            copies += u64::from(from.is_none());
            if from.is_some() || copies + SENT_AT_ONCE as u64 <= COPIES {
                turns.push(Reverse((there, from)));
            }
            turns.extend([Reverse((there, Some(place))); FETCHING_AT_ONCE]);
            let turn = Turn {
                begins: asked,
                ends: there,
                bytes,
            };
            let shared = self.shared.entry((side, block)).or_default();
            shared.turns.insert(place, turn);
        }
        self.counts.input_copies += copies;
    }

    /// From when on a machine asks for a task of a block that has just been executed, or is being
    /// executed while its segments are given out. Then, too, those come first that have the files:
    /// what the others fetch with their leases would keep these from getting them.
    pub(super) fn head_start(&self, side: usize, block: u32, place: usize) -> Time {
        let now = self.now;
        let shared = self.shared.get(&(side, block));
        let began = self.sides[side].began.get(&block);
        match (shared.map(|shared| shared.turns.get(&place)), began) {
            (Some(turn), Some(&began)) if self.setup.file.what_if.announced => {
                let workload = &self.setup.workloads[self.sides[side].table];
                let executed = now.max(began + workload.metering);
                let late = executed + ((executed - began) / HEAD_START).min(HEAD_START_MAX);
                turn.map_or(late, |turn| turn.ends.max(now).min(late))
            }
            _ => now,
        }
    }

    /// A block has tasks: those that have its files by now are named with them.
    pub(super) fn is_spread(&mut self, side: usize, block: u32) {
        let Some(shared) = self.shared.get_mut(&(side, block)) else {
            return;
        };
        let there = shared.turns.iter().filter(|(_, turn)| turn.ends <= self.now);
        let mut there: Vec<(Time, usize)> = there.map(|(&place, turn)| (turn.ends, place)).collect();
        there.sort_unstable();
        there
            .into_iter()
            .for_each(|(since, place)| shared.hold(place, since));
    }
}
