//! What happens to jobs: they are submitted, tell of themselves, and end.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use myriad_api::{JobState, News};
use myriad_core::JobId;
use myriad_node::{Event, Observer};

use super::{
    Board, End, Inner, NewEntry, NotEntered, OVER_MAX, Slot,
    job::{self, Live},
    lock,
    note::Note,
    ring::{Item, Limits},
};
use crate::time::now_ms;

/// Tells the board what happens to a job: the observer of its submission.
pub struct Reporter {
    board: Board,
    id: JobId,
    slot: Arc<Slot>,
    /// Another submission of the same job, later, has another number.
    number: u64,
}

impl Board {
    /// A job is about to be submitted. What was asked for is durable when this returns.
    ///
    /// # Errors
    /// It is not over, or the disk fails.
    pub fn enter(&self, id: JobId, entry: NewEntry) -> Result<Reporter, NotEntered> {
        let slot = self.slot(id);
        let mut inner = lock(&slot.inner);
        if inner.live.as_ref().is_some_and(|live| !live.state.is_over()) {
            return Err(NotEntered::There);
        }
        let now = now_ms();
        let earlier = self.0.history.note(id);
        let first = match (&inner.live, &earlier) {
            (Some(live), _) => live.submitted_ms,
            (None, Some(note)) => note.submitted_ms,
            (None, None) => self.0.history.job(id).map_or(now, |job| job.submitted_ms),
        };
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let mut live = Live::new(number, entry, earlier, (first, now));
        self.0.history.keep(id, &live.note())?;
        live.replaced = inner.live.take();
        lock(&self.0.index).set(id, first, live.state, true);
        inner.ring.limit(self.0.ring);
        let snapshot = News::Snapshot {
            now: Box::new(live.document(id)),
        };
        inner.live = Some(Box::new(live));
        self.tell(id, &slot, &mut inner, vec![snapshot], now);
        drop(inner);
        Ok(Reporter {
            board: self.clone(),
            id,
            slot,
            number,
        })
    }

    /// The job was entered, and the service did not take it: it is again what it was before.
    pub fn not_taken(&self, id: JobId) {
        let slot = self.slot(id);
        let mut inner = lock(&slot.inner);
        let Some(mut live) = inner.live.take() else { return };
        match &live.earlier {
            Some(note) => self.0.history.try_to_keep(id, note),
            None => self.0.history.forget(id),
        }
        inner.live = live.replaced.take();
        let before = self.document(id, &inner);
        {
            let mut index = lock(&self.0.index);
            match &before {
                Some(job) => index.set(id, job.submitted_ms, job.state, live.earlier.is_some()),
                None => index.remove(id),
            }
        }
        if let Some(job) = before {
            let now = Box::new(job);
            self.tell(id, &slot, &mut inner, vec![News::Snapshot { now }], now_ms());
        }
        if inner.live.is_some() {
            inner.ring.limit(Limits::OVER);
        }
        drop(inner);
        self.let_go(id, &slot, 2);
    }

    /// A job is about to be cancelled. That it is not wanted is durable when this returns.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn cancelling(&self, id: JobId) -> io::Result<()> {
        let Some(slot) = self.slot_if_any(id) else {
            return Ok(());
        };
        let inner = lock(&slot.inner);
        match inner.live.as_ref().filter(|live| !live.state.is_over()) {
            Some(live) => self.0.history.keep(id, &cancelled(live.note(), now_ms())),
            None => Ok(()),
        }
    }

    /// A job that nobody works on is not wanted any more. That is durable when this returns.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn cancel_interrupted(&self, id: JobId) -> io::Result<()> {
        let slot = self.slot(id);
        let mut inner = lock(&slot.inner);
        let now = now_ms();
        self.0.history.cancel(id)?;
        let note = match &inner.live {
            Some(live) => Some(live.note()),
            None => self.0.history.note(id),
        };
        if let Some(note) = note {
            self.0.history.keep(id, &cancelled(note, now))?;
        }
        let mut news: Vec<News> = Vec::new();
        news.extend(inner.live.as_mut().map(|live| live.end(id, End::Cancelled, now)));
        if let Some(job) = self.document(id, &inner) {
            lock(&self.0.index).turn(id, job.state);
            let now = Box::new(job);
            news.push(News::Snapshot { now });
        }
        self.tell(id, &slot, &mut inner, news, now);
        drop(inner);
        self.let_go(id, &slot, 2);
        Ok(())
    }

    /// A job has ended.
    pub fn ended(&self, id: JobId, end: End<'_>) {
        let slot = self.slot(id);
        let mut inner = lock(&slot.inner);
        let Some(live) = inner.live.as_mut().filter(|live| !live.state.is_over()) else {
            return;
        };
        let now = now_ms();
        let state = live.end(id, end, now);
        self.0.history.try_to_keep(id, &live.note());
        if live.state == JobState::Cancelled
            && let Err(e) = self.0.history.cancel(id)
        {
            tracing::warn!("{e}");
        }
        let snapshot = News::Snapshot {
            now: Box::new(live.document(id)),
        };
        lock(&self.0.index).turn(id, live.state);
        self.tell(id, &slot, &mut inner, vec![state, snapshot], now);
        inner.ring.limit(Limits::OVER);
        drop(inner);
        drop(slot);
        self.forget_oldest(id);
    }

    /// Puts what has happened to a job into its stream, and into that of the whole service.
    fn tell(&self, id: JobId, slot: &Slot, inner: &mut Inner, news: Vec<News>, at_ms: u64) {
        let job = Some(id.to_string());
        let mut is_for_all = false;
        for news in news {
            let for_all = job::for_all(&news);
            let is_same = for_all.as_ref() == Some(&news);
            let item = Item::new(at_ms, job.clone(), news);
            if let Some(for_all) = for_all {
                is_for_all = true;
                let item = if is_same {
                    item.clone()
                } else {
                    Item::new(at_ms, job.clone(), for_all)
                };
                lock(&self.0.all).push(item);
            }
            inner.ring.push(item);
        }
        slot.changed.notify_waiters();
        if is_for_all {
            self.0.changed.notify_waiters();
        }
    }

    /// Puts a notice that all jobs hear of into the stream of the whole service, for the first of
    /// them.
    fn tell_once(&self, number: u64, news: &[News], at_ms: u64) {
        if self.0.notices.fetch_max(number + 1, Ordering::Relaxed) > number {
            return;
        }
        for news in news {
            lock(&self.0.all).push(Item::new(at_ms, None, news.clone()));
        }
        self.0.changed.notify_waiters();
    }

    /// A job has ended: of those that ended long ago, only the disk tells.
    fn forget_oldest(&self, id: JobId) {
        let oldest = {
            let mut index = lock(&self.0.index);
            index.over.retain(|other| *other != id);
            index.over.push_back(id);
            let oldest = (index.over.len() > OVER_MAX).then(|| index.over.pop_front());
            oldest
                .flatten()
                .and_then(|id| Some((id, index.slots.get(&id).cloned()?)))
        };
        let Some((id, slot)) = oldest else { return };
        {
            let mut inner = lock(&slot.inner);
            if inner.live.as_ref().is_some_and(|live| !live.state.is_over()) {
                // It was submitted again.
                return;
            }
            inner.live = None;
            inner.snapshot = None;
        }
        self.let_go(id, &slot, 2);
    }
}

impl Observer for Reporter {
    fn event(&mut self, event: &Event) {
        let mut inner = lock(&self.slot.inner);
        let Some(live) = &mut inner.live else { return };
        if live.number != self.number || live.state.is_over() {
            // It was submitted again, or is over.
            return;
        }
        live.replaced = None;
        let now = now_ms();
        let before = live.state;
        let news = live.apply(event, now);
        if news.is_empty() {
            return;
        }
        let state = live.state;
        if state != before {
            lock(&self.board.0.index).turn(self.id, state);
        }
        if matches!(event, Event::Done { .. }) {
            self.board.0.accepted.fetch_add(1, Ordering::Relaxed);
        }
        match event {
            Event::NoticeToAll { number, .. } => {
                self.board.tell_once(*number, &news, now);
                let job = Some(self.id.to_string());
                for news in news {
                    inner.ring.push(Item::new(now, job.clone(), news));
                }
                self.slot.changed.notify_waiters();
            }
            _ => self.board.tell(self.id, &self.slot, &mut inner, news, now),
        }
    }
}

/// The note of a job that is not wanted any more.
fn cancelled(note: Note, now_ms: u64) -> Note {
    Note {
        end: Some(JobState::Cancelled),
        ended_ms: Some(now_ms),
        ..note
    }
}
