//! A machine of the fleet: its class, its task, and the requester that it asks next.

use std::{collections::VecDeque, time::Duration};

use myriad_core::{Kind, Offer, Peer, TaskRef, Time};

use super::link::Link;
use crate::peer::Habit;

/// Blocks whose inputs a machine still has.
const INPUTS_KEPT: usize = 8;
/// The rule of `myriad-node`: another requester has its turn when it was served less by so much.
const TURN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Machine {
    pub peer: Peer,
    pub class: usize,
    pub habit: Habit,
    /// Beside its profile, in thousandths.
    pub speed: u64,
    pub link: Link,
    pub behind_nat: bool,
    pub online: bool,
    /// Raised whenever it comes back, so that what was meant for it before does not reach it.
    pub boot: u32,
    pub doing: Option<Doing>,
    /// An offer is on its way.
    pub asking: bool,
    /// When it asks again, if nobody wakes it before.
    pub alarm: Time,
    /// The requester and the kind of its last task: its tools are those of that one.
    pub last: Option<(usize, Kind)>,
    /// How each requester stands with it.
    pub asked: Vec<Asked>,
    pub inputs: VecDeque<(usize, u32)>,
}

/// A requester, as a machine sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub offer: Offer,
    /// It is not asked before this.
    pub next: Time,
    pub served: Duration,
    pub has_program: bool,
}

/// A task under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing {
    pub requester: usize,
    pub task: TaskRef,
    pub leased: Time,
    /// Its inputs are there.
    pub begun: Time,
    pub end: Time,
    /// Tells this task from another that it gets later.
    pub lease: u64,
}

impl Machine {
    pub(crate) fn works(&self) -> bool {
        self.habit.works()
    }

    /// The requester to ask now: of those with open blocks the one that was served least, but for whose turn it is.
    pub(crate) fn next(&self, open: &[bool], now: Time) -> Option<usize> {
        let ready = |&requester: &usize| open[requester] && self.asked[requester].next <= now;
        let serving = self.last.map(|(requester, _)| requester);
        (0..open.len()).filter(ready).min_by_key(|&requester| {
            let served = self.asked[requester].served;
            let turn = if serving == Some(requester) {
                Duration::ZERO
            } else {
                TURN
            };
            (served + turn, requester)
        })
    }

    /// When it would ask one that it may not ask yet.
    pub(crate) fn earliest(&self, open: &[bool]) -> Time {
        let waiting = (0..open.len()).filter(|&requester| open[requester]);
        waiting
            .map(|requester| self.asked[requester].next)
            .min()
            .unwrap_or(Time::NEVER)
    }

    /// What it has to fetch before it can do a task of a block, beside proofs, and has from then on: whether the requester's
    /// program, and whether the block's input.
    pub(crate) fn lacks(&mut self, block: (usize, u32)) -> (bool, bool) {
        let requester = &mut self.asked[block.0];
        let program = !std::mem::replace(&mut requester.has_program, true);
        let input = !self.inputs.contains(&block);
        if input {
            if self.inputs.len() == INPUTS_KEPT {
                self.inputs.pop_front();
            }
            self.inputs.push_back(block);
        }
        (program, input)
    }

    /// What work takes here that takes so long at the speed of its profile.
    pub(crate) fn takes(&self, work: Duration) -> Duration {
        work * 1000 / self.speed.max(1) as u32
    }
}
