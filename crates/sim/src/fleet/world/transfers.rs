//! Transfers: programs and inputs, and the proofs that nodes take, each with its sender.

use std::collections::{HashMap, VecDeque};

use myriad_core::{TaskRef, Time, spreading::HOLDERS_NAMED_FROM};

use super::{World, block_of, made_by};
use crate::fleet::link::transfer;

/// Provers that a lease names for program and input, as in `myriad-node`.
const SOURCES: usize = 3;
/// Copies of an input that the requester sends if machines pass it on while they still get it, each
/// to one more.
const CHAINS: u64 = 8;
/// Bytes that are passed on at once.
const PIECE_BYTES: u64 = 64 << 10;

/// The machines that have program and input of a block, as far as the requester knows, and since
/// when.
#[derive(Debug, Default)]
pub(super) struct Shared {
    holders: VecDeque<(usize, Time)>,
    /// Sent by the requester.
    copies: u64,
    /// The machines that fetch them before they have a task.
    pub(super) turns: HashMap<usize, Turn>,
}

impl Shared {
    pub(super) fn hold(&mut self, place: usize, since: Time) {
        if self.holders.iter().any(|(holder, _)| *holder == place) {
            return;
        }
        if self.holders.len() == HOLDERS_NAMED_FROM {
            self.holders.pop_front();
        }
        self.holders.push_back((place, since));
    }
}

/// When a machine fetches program and input before it has a task, and what it lacks of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) begins: Time,
    pub(super) ends: Time,
    pub(super) bytes: u64,
}

impl World<'_> {
    /// When all that a task needs is there.
    pub(super) fn fetches(&mut self, side: usize, place: usize, task: TaskRef) -> Time {
        let mut ready = self.now;
        let block = (side, block_of(task.job));
        let shared = self.shared.entry(block).or_default();
        let mut lacking = None;
        match shared.turns.remove(&place) {
            Some(turn) if turn.begins <= ready => ready = ready.max(turn.ends),
            // Its lease was faster than its turn.
            Some(turn) => lacking = Some(turn.bytes),
            None => lacking = self.lacking(side, place, block),
        }
        if let Some(bytes) = lacking {
            self.counts.lacked += 1;
            let from = self.executing(side, block.1).unwrap_or(self.now);
            let source = if self.setup.file.what_if.swarm {
                self.chained(place, block)
            } else {
                self.named(place, block, from, bytes)
            };
            let mut there = self.fetch(from, side, place, source.map(|(source, _)| source), bytes);
            if let Some((source, since)) = source {
                // Its last piece comes after it has it itself.
                let link = self.machines[source].link;
                there = there.max(since + link.takes(PIECE_BYTES) + link.one_way(&self.machines[place].link));
            }
            ready = ready.max(there);
            let shared = self.shared.entry(block).or_default();
            if source.is_none() {
                shared.copies += 1;
                self.counts.input_copies += 1;
            }
            if self.setup.file.what_if.swarm {
                shared.holders.push_back((place, there));
            }
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
            // A proof that is not durable is the machine's own, and is still looked at.
            if maker.is_none_or(|maker| maker == place) {
                continue;
            }
            let from = maker.filter(|&maker| self.is_reachable(place, maker));
            ready = ready.max(self.fetch(self.now, side, place, from, bytes));
        }
        ready
    }

    /// The bytes of a block's program and input that a machine lacks, and has from then on; none if
    /// it has both.
    pub(super) fn lacking(&mut self, side: usize, place: usize, block: (usize, u32)) -> Option<u64> {
        let (program, input) = self.machines[place].lacks(block);
        let table = &self.setup.file.requesters[self.sides[side].table];
        let mb = [(program, table.program_mb), (input, table.input_mb)];
        let missing = mb.iter().filter(|(lacks, _)| *lacks);
        (program || input).then(|| missing.map(|(_, mb)| mb * 1e6).sum::<f64>() as u64)
    }

    /// A machine has reported progress with a task of a block: it has program and input, and is
    /// named to others.
    pub(super) fn holds(&mut self, side: usize, place: usize, task: TaskRef) {
        if self.setup.file.what_if.swarm {
            return;
        }
        let now = self.now;
        let shared = self.shared.entry((side, block_of(task.job))).or_default();
        shared.hold(place, now);
    }

    /// Whether one machine can fetch from another.
    pub(super) fn is_reachable(&self, place: usize, other: usize) -> bool {
        let (machine, other) = (&self.machines[place], &self.machines[other]);
        other.online && !(machine.behind_nat && other.behind_nat)
    }

    /// The prover of those that a lease names that has sent program and input first, and since when
    /// it has them.
    fn named(&mut self, place: usize, block: (usize, u32), now: Time, bytes: u64) -> Option<(usize, Time)> {
        let shared = self.shared.get_mut(&block)?;
        let count = SOURCES.min(shared.holders.len());
        let named: Vec<(usize, Time)> = shared.holders.iter().copied().take(count).collect();
        // The named holders change each time, so that none is asked by all.
        shared.holders.rotate_left(count);
        // It may have had them and thrown them away for other blocks'.
        let reachable = named
            .into_iter()
            .filter(|&(holder, _)| holder != place && self.is_reachable(place, holder));
        reachable.min_by_key(|&(holder, _)| (self.machines[holder].link.up.ends(now, bytes), holder))
    }

    /// The last machine of one of the chains along which program and input go, and when it has all.
    fn chained(&mut self, place: usize, block: (usize, u32)) -> Option<(usize, Time)> {
        let shared = self.shared.get_mut(&block)?;
        if shared.copies < CHAINS {
            return None;
        }
        let last = shared.holders.pop_front()?;
        (last.0 != place && self.is_reachable(place, last.0)).then_some(last)
    }

    /// The time when the bytes are there; they come from the requester if from no machine.
    pub(super) fn fetch(
        &mut self,
        now: Time,
        side: usize,
        place: usize,
        from: Option<usize>,
        bytes: u64,
    ) -> Time {
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
}
