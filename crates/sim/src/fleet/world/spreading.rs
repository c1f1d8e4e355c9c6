//! Machines that fetch a block's files while its requester executes it, from each other, by the
//! rules of `myriad-node`'s `requester/spreading.rs`.

use std::{cmp::Reverse, collections::BinaryHeap};

use myriad_core::Time;

use super::World;

/// Machines that the requester sends to at once, and copies that it sends at most.
const SENT_AT_ONCE: usize = 4;
const COPIES: u64 = 8;
/// Machines that one that has the files sends them to at once.
const FETCHING_AT_ONCE: usize = 2;

impl World<'_> {
    /// A block is announced before it is executed: all machines that work and are there fetch what
    /// they lack, in an order that nobody chooses. At best: each turn that is free is taken at
    /// once, and requesters have paid, so that their files are fetched each time.
    pub(super) fn spreads(&mut self, side: usize, block: u32) {
        let now = self.now;
        let mut left: Vec<usize> = (0..self.machines.len())
            .filter(|&place| {
                let machine = &self.machines[place];
                machine.online && machine.works() && machine.is_connected_to(side)
            })
            .collect();
        self.rng.shuffle(&mut left);
        // When each turn is free, and at whom; at the requester if at no machine.
        let mut turns: BinaryHeap<Reverse<(Time, Option<usize>)>> = BinaryHeap::new();
        turns.extend([Reverse((now, None)); SENT_AT_ONCE]);
        let mut copies = 0;
        for place in left {
            let Some(Reverse((free, from))) = turns.pop() else {
                return;
            };
            if from.is_some_and(|from| !self.is_reachable(place, from)) {
                // It fetches with its lease.
                turns.push(Reverse((free, from)));
                continue;
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
            self.shared
                .entry((side, block))
                .or_default()
                .there
                .insert(place, there);
        }
        self.counts.input_copies += copies;
    }
}
