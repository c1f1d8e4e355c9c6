//! When which requester is to be told the time.

use std::collections::BTreeSet;

use myriad_core::Time;

pub(super) struct Timeouts {
    of: Vec<Time>,
    order: BTreeSet<(Time, usize)>,
}

impl Timeouts {
    pub fn new(sides: usize) -> Self {
        Self {
            of: vec![Time::NEVER; sides],
            order: BTreeSet::new(),
        }
    }

    pub fn set(&mut self, side: usize, time: Time) {
        let before = std::mem::replace(&mut self.of[side], time);
        if before == time {
            return;
        }
        self.order.remove(&(before, side));
        if time < Time::NEVER {
            self.order.insert((time, side));
        }
    }

    pub fn first(&self) -> Option<(Time, usize)> {
        self.order.first().copied()
    }
}
