//! Readers of streams. Each has a place in a ring that all of its readers share.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use myriad_api::{EventId, News};
use myriad_core::JobId;
use tokio::sync::Notify;

use super::{Board, Delivery, Slot, Stream, job, lock, ring::Item};

/// A place in a stream. A reader that is slow costs nothing more: when the ring has run over its
/// place, it gets a snapshot, and goes on from there.
pub struct Subscription {
    board: Board,
    source: Source,
    /// The last event that was delivered; none before the first snapshot.
    at: Option<u64>,
    /// The rest of a snapshot of several jobs.
    rest: VecDeque<Delivery>,
}

#[derive(Clone)]
enum Source {
    Job(JobId, Arc<Slot>),
    All,
}

impl Board {
    /// The events of a stream after this one. Where it is not known any more, or was never, a
    /// snapshot comes first. None if there is no such job.
    ///
    /// Reads from the disk where the service does not have the job in mind.
    pub fn subscribe(&self, of: Stream, after: Option<EventId>) -> Option<Subscription> {
        let after = after.filter(|id| id.start == self.0.start);
        let (source, at) = match of {
            Stream::Job(id) => {
                let slot = self.slot_of(id)?;
                let at = after.filter(|id| lock(&slot.inner).ring.follows(id.count));
                (Source::Job(id, slot), at)
            }
            Stream::All => {
                self.0.listeners.fetch_add(1, Ordering::Relaxed);
                let at = after.filter(|id| lock(&self.0.all).follows(id.count));
                (Source::All, at)
            }
        };
        self.0.subscribers.fetch_add(1, Ordering::Relaxed);
        Some(Subscription {
            board: self.clone(),
            source,
            at: at.map(|id| id.count),
            rest: VecDeque::new(),
        })
    }
}

impl Subscription {
    /// Waits for the next event. It may be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Delivery {
        let source = self.source.clone();
        let board = self.board.clone();
        let changed: &Notify = match &source {
            Source::Job(_, slot) => &slot.changed,
            Source::All => &board.0.changed,
        };
        loop {
            let mut told = std::pin::pin!(changed.notified());
            // What happens from here on wakes it.
            told.as_mut().enable();
            if let Some(delivery) = self.try_next() {
                return delivery;
            }
            told.await;
        }
    }

    /// The next event, if it has happened.
    pub fn try_next(&mut self) -> Option<Delivery> {
        if let Some(delivery) = self.rest.pop_front() {
            return Some(delivery);
        }
        match self.source.clone() {
            Source::Job(id, slot) => self.next_of_job(id, &slot),
            Source::All => self.next_of_all(),
        }
    }

    fn next_of_job(&mut self, id: JobId, slot: &Slot) -> Option<Delivery> {
        let mut inner = lock(&slot.inner);
        if let Some(at) = self.at.filter(|at| inner.ring.follows(*at)) {
            let item = inner.ring.after(at)?.clone();
            self.at = Some(at + 1);
            return Some(self.delivery(at + 1, item));
        }
        let last = inner.ring.last();
        let item = inner.snapshot(|inner| {
            self.board.document(id, inner).map(|now| {
                let now = Box::new(now);
                Item::new(
                    crate::time::now_ms(),
                    Some(id.to_string()),
                    News::Snapshot { now },
                )
            })
        })?;
        self.at = Some(last);
        Some(self.delivery(last, item))
    }

    fn next_of_all(&mut self) -> Option<Delivery> {
        let last = {
            let ring = lock(&self.board.0.all);
            if let Some(at) = self.at.filter(|at| ring.follows(*at)) {
                let item = ring.after(at)?.clone();
                self.at = Some(at + 1);
                return Some(self.delivery(at + 1, item));
            }
            ring.last()
        };
        // What happens meanwhile is told again, which changes nothing.
        self.at = Some(last);
        let (mut live, newest) = {
            let index = lock(&self.board.0.index);
            (index.live(), index.before(None, None, 1))
        };
        if live.is_empty() {
            live.extend(newest.into_iter().map(|(_, id)| id));
        }
        let jobs = live.into_iter().filter_map(|id| self.board.job(id));
        let items = jobs.map(|now| {
            let (id, now) = (now.id.clone(), Box::new(job::shortened(now)));
            Item::new(crate::time::now_ms(), Some(id), News::Snapshot { now })
        });
        self.rest = items
            .map(|Item { name, data }| Delivery { id: None, name, data })
            .collect();
        let id = self.id(last);
        if let Some(delivery) = self.rest.back_mut() {
            delivery.id = Some(id);
        }
        self.rest.pop_front().or_else(|| self.next_of_all_after(last))
    }

    /// There was nothing to take a snapshot of.
    fn next_of_all_after(&mut self, last: u64) -> Option<Delivery> {
        let item = lock(&self.board.0.all).after(last)?.clone();
        self.at = Some(last + 1);
        Some(self.delivery(last + 1, item))
    }

    fn id(&self, count: u64) -> EventId {
        EventId {
            start: self.board.0.start,
            count,
        }
    }

    fn delivery(&self, count: u64, Item { name, data }: Item) -> Delivery {
        Delivery {
            id: Some(self.id(count)),
            name,
            data,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.board.0.subscribers.fetch_sub(1, Ordering::Relaxed);
        match &self.source {
            Source::All => drop(self.board.0.listeners.fetch_sub(1, Ordering::Relaxed)),
            // The index has it, and so does this one.
            Source::Job(id, slot) => self.board.let_go(*id, slot, 2),
        }
    }
}
