//! The queue of future events, in order of time.

use std::{cmp::Reverse, collections::BinaryHeap};

use myriad_core::Time;

/// Events by their time; those of the same time in the order in which they were put in.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    /// For each event its time, its place in the order of all, and its index in `events`. An event
    /// may have hundreds of bytes, and must not move each time that the order of others changes.
    heap: BinaryHeap<Reverse<(Time, u64, u32)>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    next: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            next: 0,
        }
    }
}

impl<E> Queue<E> {
    pub(crate) fn push(&mut self, time: Time, event: E) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            u32::try_from(self.events.len() - 1).expect("memory holds fewer events")
        });
        self.events[slot as usize] = Some(event);
        self.heap.push(Reverse((time, self.next, slot)));
        self.next += 1;
    }

    pub(crate) fn peek(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((time, ..))| *time)
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, E)> {
        let Reverse((time, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let event = self.events[slot as usize].take();
        Some((time, event.expect("what is in the heap has an event")))
    }
}
