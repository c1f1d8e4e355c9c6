//! The events of one stream, as far back as there is room for them.

use std::{collections::VecDeque, sync::Arc};

use myriad_api::News;

/// How much a ring holds. The oldest events go first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub events: usize,
    pub bytes: usize,
}

impl Limits {
    pub(super) const JOB: Self = Self {
        events: 16_384,
        bytes: 8 << 20,
    };
    /// Of a job that is over. Readers that were nearly at the end come to it.
    pub(super) const OVER: Self = Self {
        events: 256,
        bytes: 512 << 10,
    };
    pub(super) const ALL: Self = Self {
        events: 65_536,
        bytes: 32 << 20,
    };
}

/// An event that was put into words once, for all readers.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub name: &'static str,
    pub data: Arc<str>,
}

impl Item {
    pub(super) fn new(at_ms: u64, job: Option<String>, news: News) -> Self {
        let name = news.name();
        let event = myriad_api::Event { at_ms, job, news };
        let data = serde_json::to_string(&event).expect("an event is plain data");
        Self {
            name,
            data: data.into(),
        }
    }
}

/// Events are counted from 1 on, or from where the rings before this one have ended.
#[derive(Debug)]
pub(super) struct Ring {
    items: VecDeque<Item>,
    bytes: usize,
    /// The count of the last event, also of one that no ring has any more; 0 before the first.
    last: u64,
    limits: Limits,
}

impl Ring {
    pub(super) const fn new(limits: Limits) -> Self {
        Self::after_all(limits, 0)
    }

    /// A ring whose first event comes after so many.
    pub(super) const fn after_all(limits: Limits, last: u64) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            last,
            limits,
        }
    }

    pub(super) fn push(&mut self, item: Item) {
        self.bytes += item.data.len();
        self.items.push_back(item);
        self.last += 1;
        self.shrink();
    }

    /// Holds no more than this from now on.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
        self.shrink();
        if self.items.capacity() > 2 * limits.events {
            self.items.shrink_to_fit();
        }
    }

    /// The newest event stays, however large it is.
    fn shrink(&mut self) {
        while self.items.len() > 1
            && (self.items.len() > self.limits.events || self.bytes > self.limits.bytes)
        {
            let gone = self.items.pop_front().expect("there are several");
            self.bytes -= gone.data.len();
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether all events after this one are here.
    pub(super) fn follows(&self, count: u64) -> bool {
        (self.last - self.items.len() as u64..=self.last).contains(&count)
    }

    /// The event after this one.
    pub(super) fn after(&self, count: u64) -> Option<&Item> {
        let first = self.last - self.items.len() as u64;
        self.items.get(usize::try_from(count.checked_sub(first)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(bytes: usize) -> Item {
        Item {
            name: "notice",
            data: "x".repeat(bytes).into(),
        }
    }

    #[test]
    fn a_ring_lets_go_of_the_oldest_by_number_and_by_bytes() {
        let mut ring = Ring::new(Limits { events: 3, bytes: 10 });
        assert!(ring.follows(0) && !ring.follows(1) && ring.after(0).is_none());
        for bytes in [1, 2, 3, 4] {
            ring.push(item(bytes));
        }
        assert_eq!(ring.last(), 4);
        assert!(!ring.follows(0) && ring.follows(1) && ring.follows(4) && !ring.follows(5));
        assert!(ring.after(0).is_none(), "it is gone");
        assert_eq!(ring.after(1).unwrap().data.len(), 2);
        assert_eq!(ring.after(3).unwrap().data.len(), 4);
        assert!(ring.after(4).is_none(), "it has not happened");
        ring.push(item(6));
        assert!(
            !ring.follows(2) && ring.follows(3),
            "three events would have 13 bytes"
        );
        ring.push(item(11));
        assert_eq!(ring.after(5).unwrap().data.len(), 11, "the newest stays");
        ring.limit(Limits { events: 1, bytes: 0 });
        assert!(ring.follows(5) && ring.follows(6) && !ring.follows(4));
    }
}
