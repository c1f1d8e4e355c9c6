//! Blocks whose segments are given out while they are executed.

use myriad_core::{Input, Time, Tree};

use super::{Occurrence, World, job_id};
use crate::fleet::{machine::Machine, setup::Workloads};

/// A block is opened when so many of its segments are known and there are more, and when it is
/// executed if there are no more: a small one may be executed again, to be cut finer.
pub(super) const STREAMED_FROM: u32 = 64;

/// When so many segments are known of an execution that began then, and it goes on: segments are
/// alike, and each is known when it is cut.
pub(super) fn known_at(workload: &Workloads, began: Time, segments: u32) -> Option<Time> {
    let all = workload.tree.segments();
    let is_before_end = segments < all;
    is_before_end.then(|| began + workload.metering * segments / all)
}

impl World<'_> {
    /// A block turns out not to be small: its first segments can be given out, once enough machines
    /// have its files.
    pub(super) fn streams(&mut self, side: usize, block: u32, began: Time, known: u32) {
        let workload = &self.setup.workloads[self.sides[side].table];
        let reachable = |machine: &&Machine| machine.online && machine.is_connected_to(side);
        let machines = self.machines.iter().filter(reachable).count();
        let enough_for = self.sides[side]
            .spreading
            .enough_for(job_id(side, block), machines);
        if enough_for >= known as usize {
            let costs = workload.costs[..known as usize].to_vec();
            self.opens(side, block, Tree::growing(known), costs);
            return self.next_grows(side, block, began, known + 1);
        }
        let next = known + 1;
        let (time, happens) = match known_at(workload, began, next) {
            Some(time) => (
                time,
                Occurrence::Streams {
                    side,
                    block,
                    began,
                    known: next,
                },
            ),
            None => (began + workload.metering, Occurrence::Opens { side, block }),
        };
        self.queue.push(time, happens);
    }

    /// One more segment of a block is cut. With the last one, the plan is there.
    pub(super) fn grows(&mut self, side: usize, block: u32, began: Time, known: u32) {
        let workload = &self.setup.workloads[self.sides[side].table];
        let new = known as usize - 1;
        let job = job_id(side, block);
        if known == workload.tree.segments() {
            self.is_spread(side, block);
            let tree = workload.tree.clone();
            let costs = workload.costs[new..].to_vec();
            let done = Vec::new();
            let settle = Input::Settle {
                job,
                tree,
                costs,
                done,
            };
            return self.input(side, settle);
        }
        let costs = vec![workload.costs[new]];
        let done = Vec::new();
        self.input(side, Input::Grow { job, costs, done });
        self.next_grows(side, block, began, known + 1);
    }

    fn next_grows(&mut self, side: usize, block: u32, began: Time, known: u32) {
        let workload = &self.setup.workloads[self.sides[side].table];
        let ends = began + workload.metering;
        let time = known_at(workload, began, known).unwrap_or(ends);
        let grows = Occurrence::Grows {
            side,
            block,
            began,
            known,
        };
        self.queue.push(time, grows);
    }
}
