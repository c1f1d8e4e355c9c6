//! Transfers: programs and inputs, and the proofs that nodes take, each with its sender.

use std::collections::VecDeque;

use myriad_core::{TaskRef, Time, spreading::Sender};

use super::{World, block_of, job_id, made_by};
use crate::{fleet::link::transfer, peer::index};

/// Provers that a lease names for program and input, as in `myriad-node`.
const SOURCES: usize = 3;
/// Copies of an input that the requester sends if machines pass it on while they still get it, each
/// to one more.
const CHAINS: u64 = 8;
/// Bytes that are passed on at once.
const PIECE_BYTES: u64 = 64 << 10;

/// The ends of the chains along which a block's files go, and since when each has them.
#[derive(Debug, Default)]
pub(super) struct Chains {
    ends: VecDeque<(usize, Time)>,
    /// Sent by the requester.
    copies: u64,
}

impl World<'_> {
    /// When all that a task needs is there.
    pub(super) fn fetches(&mut self, side: usize, place: usize, task: TaskRef) -> Time {
        let mut ready = self.now;
        let block = (side, block_of(task.job));
        if let Some(bytes) = self.lacking(side, place, block) {
            let asked = self.executing(side, block.1).unwrap_or(self.now);
            let there = if self.setup.file.what_if.swarm {
                self.chained(asked, block, place, bytes)
            } else {
                let from = self.first_source(block, place, bytes);
                self.fetches_files(asked, block, place, from, bytes)
            };
            ready = ready.max(there);
        } else if let Some(there) = self
            .shared
            .get(&block)
            .and_then(|shared| shared.there.get(&place))
        {
            ready = ready.max(*there);
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
            let there = self.fetch(self.now, side, place, from, bytes);
            if !self.setup.file.what_if.at_hand {
                ready = ready.max(there);
            }
        }
        ready
    }

    /// The bytes of a block's program and input that a machine lacks; none if it has both.
    pub(super) fn lacking(&self, side: usize, place: usize, block: (usize, u32)) -> Option<u64> {
        let (program, input) = self.machines[place].lacks(block);
        let table = &self.setup.file.requesters[self.sides[side].table];
        let mb = [(program, table.program_mb), (input, table.input_mb)];
        let missing = mb.iter().filter(|(lacks, _)| *lacks);
        (program || input).then(|| missing.map(|(_, mb)| mb * 1e6).sum::<f64>() as u64)
    }

    /// Whether one machine can fetch from another.
    pub(super) fn is_reachable(&self, place: usize, other: usize) -> bool {
        let (machine, other) = (&self.machines[place], &self.machines[other]);
        other.online && !(machine.behind_nat && other.behind_nat)
    }

    /// The machine from which one gets a block's files with its lease; none if from the requester.
    fn first_source(&mut self, block: (usize, u32), place: usize, bytes: u64) -> Option<usize> {
        let (side, number) = block;
        let (job, wants) = (job_id(side, number), self.wants(side, place, bytes));
        let sources = self.sides[side].spreading.sources(self.now, job, wants, SOURCES);
        let machines = sources.into_iter().map(|sender| match sender {
            Sender::Requester => None,
            Sender::Peer(peer) => Some(index(peer)),
        });
        let is_there = |from: &Option<usize>| from.is_none_or(|from| self.is_reachable(place, from));
        machines.into_iter().find(is_there).flatten()
    }

    /// A machine gets a block's files from the last one of one of the chains along which they go.
    fn chained(&mut self, asked: Time, block: (usize, u32), place: usize, bytes: u64) -> Time {
        let chains = self.chains.entry(block).or_default();
        let last = if chains.copies < CHAINS {
            None
        } else {
            chains.ends.pop_front()
        };
        let last = last.filter(|&(last, _)| last != place && self.is_reachable(place, last));
        let mut there = self.fetch(asked, block.0, place, last.map(|(last, _)| last), bytes);
        self.machines[place].gets(block);
        if let Some((last, since)) = last {
            // Its last piece comes after it has it itself.
            let link = self.machines[last].link;
            there = there.max(since + link.takes(PIECE_BYTES) + link.one_way(&self.machines[place].link));
        }
        let chains = self.chains.entry(block).or_default();
        if last.is_none() {
            chains.copies += 1;
            self.counts.input_copies += 1;
        }
        chains.ends.push_back((place, there));
        there
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
