//! The times at which requesters are to hear the time.

use std::collections::BTreeSet;

use myriad_core::Time;

pub(super) struct Timeouts {
    of: Vec<Time>,
    order: BTreeSet<(Time, usize)>,
}

impl Timeouts {
    pub(crate) fn new(sides: usize) -> Self {
        Self {
            of: vec![Time::NEVER; sides],
            order: BTreeSet::new(),
        }
    }

    pub(crate) fn set(&mut self, side: usize, time: Time) {
        let before = std::mem::replace(&mut self.of[side], time);
        if before == time {
            return;
        }
        self.order.remove(&(before, side));
        if time < Time::NEVER {
            self.order.insert((time, side));
        }
    }

    pub(crate) fn first(&self) -> Option<(Time, usize)> {
        self.order.first().copied()
    }
}
