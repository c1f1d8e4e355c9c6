//! A machine of the fleet: what it is, what it is at, and whom it asks next.

use std::{collections::VecDeque, time::Duration};

use myriad_core::{Kind, Offer, Peer, TaskRef, Time};

use super::link::Link;
use crate::scenario::Habit;

/// Blocks whose program and input a machine still has.
const SHARED_KEPT: usize = 8;

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
    /// Of which requester and kind its last task was: its tools are those of that one.
    pub last: Option<(usize, Kind)>,
    /// How each requester stands with it.
    pub asked: Vec<Asked>,
    pub shared: VecDeque<(usize, u32)>,
}

/// A requester, as a machine sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub offer: Offer,
    /// It is not asked before this.
    pub next: Time,
    pub served: Duration,
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
    pub fn works(&self) -> bool {
        self.habit.works()
    }

    /// The requester to ask now: of those with open blocks the one that was served least.
    pub fn next(&self, open: &[bool], now: Time) -> Option<usize> {
        let ready = |&requester: &usize| open[requester] && self.asked[requester].next <= now;
        (0..open.len())
            .filter(ready)
            .min_by_key(|&requester| (self.asked[requester].served, requester))
    }

    /// When it would ask one that it may not ask yet.
    pub fn earliest(&self, open: &[bool]) -> Time {
        let waiting = (0..open.len()).filter(|&requester| open[requester]);
        waiting
            .map(|requester| self.asked[requester].next)
            .min()
            .unwrap_or(Time::NEVER)
    }

    /// Notes that it has program and input of a block; whether it had not.
    pub fn lacks_shared(&mut self, block: (usize, u32)) -> bool {
        if self.shared.contains(&block) {
            return false;
        }
        if self.shared.len() == SHARED_KEPT {
            self.shared.pop_front();
        }
        self.shared.push_back(block);
        true
    }

    /// What work takes here that takes so long at the speed of its profile.
    pub fn takes(&self, work: Duration) -> Duration {
        work * 1000 / self.speed.max(1) as u32
    }
}
