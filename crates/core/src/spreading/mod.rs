//! Decides which peer sends the files of a job to which other one, so that they go from peer to
//! peer like a tree, and the requester sends no more copies than its link has room for.
//!
//! ```text
//! no tasks yet: asks ─▶ fetches from a peer that has all, or from the requester, or asks later
//! with a lease: fetches from the one that is expected to have it there first
//! has all ─▶ it is named to others, and is woken before others (Input::FilesHeld)
//! ```
//!
//! The requester's link is known by the copies that it has sent: as long as each comes as fast as
//! from a peer at home, the requester is as good a sender, and sends one more at once. Peers say
//! themselves when they have got one. Those that have delivered before are believed about their
//! speed. Strangers are believed about the link where a few from different networks say it, up to
//! the slowest of them. A lie about the rest costs those that are sent to the liar one attempt.

mod job;
mod link;

use std::{collections::BTreeMap, time::Duration};

use self::{
    job::{Ended, Fetching, Holder, OfJob},
    link::{HOME_RATE, HOME_RATE_SPREAD, Link, from_peer, mean, rate},
};
use crate::{
    ids::{JobId, Peer},
    time::Time,
};

/// Peers that the requester sends to at once in the beginning. With more, over a home's link, each
/// of them would have the files later, and with it those that wait for them.
const AT_ONCE_MIN: usize = 4;
/// [`AT_ONCE_MIN`] over the fastest link.
const AT_ONCE_MAX: usize = 32;
/// Copies that the requester sends for each that it sends at once, before there are tasks and while
/// others have the files.
const COPIES_PER_PLACE: usize = 2;
/// Peers that fetch before there are tasks: more than most jobs have first tasks. Others would only
/// have the files in vain.
const ENOUGH: usize = 512;
/// The most peers that fetch from one holder at the same time, before there are tasks. A home
/// uploads more slowly than it downloads: of two peers served at once, both would finish only when
/// the second one of two served in turn does.
const LOAD_MAX: usize = 1;

/// When the requester's link is full, a peer with a lease still fetches from the requester if the
/// best other sender would take at least this many times as long.
const QUEUE_GAIN: u32 = 2;

/// After failed fetches by so many different peers in a row, nobody is sent to a holder any more.
const VAIN_MAX: usize = 3;
/// Peers of each kind that are remembered: twice as many as there are connections.
const PEERS_MAX: usize = 4096;
/// A peer that fetches may take so long, and a second for each [`SENDING_RATE_MIN`] bytes, before
/// another one gets its turn.
const START: Duration = Duration::from_secs(10);
/// The rate below which a sender counts as slow, in bytes a second. Peers that fetch leave slower
/// senders, too.
const SENDING_RATE_MIN: u64 = 256 << 10;
/// A peer whose turn has not come asks again after this time, and later by as much for each
/// [`WAITING_PER_RETRY`] peers that wait.
const RETRY: Duration = Duration::from_millis(500);
const WAITING_PER_RETRY: usize = 1024;
/// A peer that fetches leaves a sender that is silent for this long, and turns to the next one that
/// it was told of.
const HASTE: Duration = Duration::from_secs(5);
/// A peer that has not delivered and says sooner that it got nothing is not believed: it cannot
/// have tried.
const COMPLAINT_MIN: Duration = Duration::from_secs(2);
/// How often turns are looked at that have taken too long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A peer without the files leaves a job's first tasks to those that have them, for this part of
/// the time that the execution took, and no longer than [`HEAD_START_MAX`]: what it would fetch is
/// on its way to many others then.
const HEAD_START_PART: u32 = 4;
const HEAD_START_MAX: Duration = Duration::from_secs(3);
/// How long a peer that is at a task lets free ones fetch first. It will hardly be the one that
/// begins with the job, and what it passes on keeps its own proof waiting. By then those that are
/// free have the files, if any are.
pub const AT_TASK_LATER: Duration = Duration::from_secs(6);

/// How long peers without a job's files leave its first tasks to others, if the job was executed
/// for so long.
pub fn head_start(executed_for: Duration) -> Duration {
    (executed_for / HEAD_START_PART).min(HEAD_START_MAX)
}

/// A sender of a job's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    Requester,
    Peer(Peer),
}

/// The next step of a peer that wants the files before there are tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    From(Sender),
    /// It is to ask again after so long.
    Wait(Duration),
}

/// A peer that wants a job's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    pub peer: Peer,
    /// How many of their bytes it lacks.
    pub bytes: u64,
    /// Whether it has delivered, so that it is believed when it says that it has got them.
    pub believed: bool,
    /// The network that it calls from, if that may be one person's.
    pub origin: Option<u64>,
}

/// The peers that have the files of a requester's jobs, and those that are fetching them.
#[derive(Clone, Debug)]
pub struct Spreading {
    link: Link,
    /// Bytes a second that a peer sends.
    home: u64,
    jobs: BTreeMap<JobId, OfJob>,
    looked: Time,
}

impl Default for Spreading {
    fn default() -> Self {
        Self {
            link: Link::new(),
            home: HOME_RATE,
            jobs: BTreeMap::new(),
            looked: Time::default(),
        }
    }
}

impl Spreading {
    /// A job is there, or will be, whose files have so many bytes together.
    pub fn add(&mut self, job: JobId, bytes: u64) {
        self.jobs.entry(job).or_default().bytes = bytes;
    }

    /// A job is over.
    pub fn remove(&mut self, job: JobId) {
        self.link.sending -= self.jobs.remove(&job).map_or(0, |job| job.sending);
    }

    /// The peers that have said that they have all of a job's files.
    pub fn holders(&self, job: JobId) -> impl Iterator<Item = Peer> + '_ {
        let holders = self.jobs.get(&job).map(|job| job.holders.keys().copied());
        holders.into_iter().flatten()
    }

    /// How long a peer is expected to fetch all of a job's files now.
    pub fn takes(&self, job: JobId) -> Duration {
        self.jobs.get(&job).map_or(Duration::ZERO, |job| {
            let load = job.order.first().map(|(load, ..)| *load);
            let from_peer = load.map(|load| from_peer(job.bytes, load, self.home));
            let from_here = self.link.expects(job.bytes);
            from_peer.map_or(from_here, |from_peer| from_peer.min(from_here))
        })
    }

    /// How many tasks of a job can be given out without most of their peers fetching the files
    /// first: as many as have them, and any number if half of the `peers` that there are do. Others
    /// would fetch the files with their leases, and keep the rest from getting them in their turn.
    /// Anybody can say that it has them: where peers have them that are known, only these count.
    pub fn enough_for(&self, job: JobId, peers: usize) -> usize {
        let count = |job: &OfJob| match job.holders.len() - job.unknown {
            0 => job.holders.len(),
            known => known,
        };
        match self.jobs.get(&job).map_or(0, count) {
            holders if holders > 0 && 2 * holders >= peers => usize::MAX,
            holders => holders,
        }
    }

    /// The source of a job's files for a peer, before there are tasks. A peer that asks again has
    /// not got them where it was sent.
    pub fn turn(&mut self, now: Time, id: JobId, wants: Wants) -> Turn {
        self.end_late(now);
        let fetching = self.jobs.get(&id).and_then(|job| job.fetching.get(&wants.peer));
        let is_rash = fetching.is_some_and(|before| !before.believed && now - before.since < COMPLAINT_MIN);
        let ended = if is_rash { Ended::Otherwise } else { Ended::Failed };
        self.end(now, id, wants.peer, ended);
        let at_once = self.link.at_once(self.home);
        let Some(job) = self.jobs.get_mut(&id) else {
            return Turn::Wait(RETRY);
        };
        // Each job has a few first copies, whatever is sent of others.
        let has_room = self.link.sending < at_once || job.sending < AT_ONCE_MIN;
        // It has lost them since, if it ever had them.
        job.take(wants.peer);
        let free = job.order.first().filter(|(load, ..)| *load < LOAD_MAX);
        // Those of which nothing is known may have nothing.
        let surplus = job.unknown.saturating_sub(ENOUGH / 2);
        let is_enough = job.holders.len() - surplus + job.fetching.len() >= ENOUGH;
        let from = match free {
            Some(&(.., holder)) if !is_enough => Sender::Peer(holder),
            None if !is_enough && has_room && job.may_be_sent_to(&wants, at_once) => Sender::Requester,
            _ => return Turn::Wait(job.waits(wants.peer)),
        };
        if from == Sender::Requester {
            job.served.insert(wants.peer);
        }
        self.begin(now, id, wants, from, true);
        Turn::From(from)
    }

    /// The sources of a job's files that a peer gets with a lease: `count` peers at most and the
    /// requester, the best one first.
    pub fn sources(&mut self, now: Time, id: JobId, wants: Wants, count: usize) -> Vec<Sender> {
        self.end_late(now);
        let Some(job) = self.jobs.get(&id) else {
            return vec![Sender::Requester];
        };
        let others = job.order.iter().filter(|(.., holder)| *holder != wants.peer);
        let load = others.clone().next().map(|(load, ..)| *load);
        let from_peer = load.map(|load| from_peer(wants.bytes, load, self.home));
        // Anybody can say that it has them: such peers must not take all the room.
        let mut unknown = 0;
        let others = others.filter(|(_, is_unknown, ..)| {
            unknown += usize::from(*is_unknown);
            !is_unknown || unknown == 1
        });
        let others = others.take(count).map(|&(.., holder)| Sender::Peer(holder));
        let mut sources: Vec<Sender> = others.collect();
        let from_here = self.link.expects(wants.bytes);
        // A queue there would keep the next job's first copies waiting, so it has to be worth it.
        let has_room = self.link.sending < self.link.as_fast_as(self.home);
        let least_gain = if has_room { 1 } else { QUEUE_GAIN };
        if from_peer.is_some_and(|from_peer| from_peer < least_gain * from_here) {
            sources.push(Sender::Requester);
        } else {
            sources.insert(0, Sender::Requester);
        }
        if let Some(&Fetching { from, .. }) = job.fetching.get(&wants.peer) {
            // It has begun there already.
            sources.retain(|source| *source != from);
            sources.insert(0, from);
            // That peer may be none of the best, and a lease has no room for one more.
            let is_surplus = |source: &Sender| matches!(source, Sender::Peer(_));
            if sources.len() > count + 1
                && let Some(last) = sources.iter().rposition(is_surplus)
            {
                sources.remove(last);
            }
        } else if wants.bytes > 0 && job.fetching.len() < PEERS_MAX {
            self.begin(now, id, wants, sources[0], false);
        }
        sources
    }

    /// A peer has all of a job's files, as it says; it is `believed` if it has delivered.
    pub fn has_all(&mut self, now: Time, id: JobId, peer: Peer, believed: bool) {
        if let Some(fetching) = self.end(now, id, peer, Ended::Complete) {
            self.learn(&fetching, now - fetching.since);
            if fetching.from == Sender::Requester && fetching.alone && !fetching.believed {
                self.link
                    .stranger_has(now, fetching.since, fetching.bytes, fetching.origin);
            }
        }
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.waiting.remove(&peer);
        let record = job.records.get(&peer);
        let vain = record.map_or(0, |record| record.failed.len());
        let is_unknown = !believed && !record.is_some_and(|record| record.has_sent);
        if !is_unknown && job.holders.get(&peer).is_some_and(|before| before.is_unknown) {
            if let Some(before) = job.take(peer) {
                job.put(peer, Holder { is_unknown, ..before });
            }
        } else if job.holders.len() < PEERS_MAX && vain < VAIN_MAX && !job.holders.contains_key(&peer) {
            // It comes behind those that were named before, however often it says so.
            let holder = Holder {
                load: 0,
                is_unknown,
                vain,
                turn: job.turns,
            };
            job.put(peer, holder);
        }
    }

    /// A peer was told where to fetch, and cannot reach the one that has the files. Nobody is to
    /// blame.
    pub fn cannot_reach(&mut self, now: Time, job: JobId, peer: Peer) {
        self.end(now, job, peer, Ended::Otherwise);
    }

    /// A peer is gone.
    pub fn forget(&mut self, peer: Peer) {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in jobs {
            // No time is read for a fetch that ends otherwise.
            self.end(Time::default(), id, peer, Ended::Otherwise);
            if let Some(job) = self.jobs.get_mut(&id) {
                job.take(peer);
                job.waiting.remove(&peer);
            }
        }
    }

    fn begin(&mut self, now: Time, id: JobId, wants: Wants, from: Sender, alone: bool) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let Wants {
            peer,
            bytes,
            believed,
            origin,
        } = wants;
        let expected = match from {
            Sender::Requester => self.link.expects(bytes),
            Sender::Peer(holder) => {
                let load = job.holders.get(&holder).map_or(0, |holder| holder.load);
                from_peer(bytes, load, self.home)
            }
        };
        let takes_turn = from == Sender::Requester && alone && !believed;
        let origin = origin.filter(|_| takes_turn);
        job.origins.extend(origin);
        job.waiting.remove(&peer);
        let beside = match from {
            Sender::Requester => {
                self.link.sending += 1;
                job.sending += 1;
                self.link.sending
            }
            Sender::Peer(holder) => {
                job.turns += 1;
                let turn = job.turns;
                match job.take(holder) {
                    Some(before) => {
                        let load = before.load + 1;
                        job.put(holder, Holder { load, turn, ..before });
                        load
                    }
                    None => 1,
                }
            }
        };
        let fetching = Fetching {
            from,
            bytes,
            believed,
            since: now,
            until: now + START + Duration::from_secs(bytes / SENDING_RATE_MIN),
            late: now + expected + HASTE,
            origin,
            beside,
            alone,
        };
        job.fetching.insert(peer, fetching);
    }

    /// A peer fetches no more.
    fn end(&mut self, now: Time, id: JobId, peer: Peer, ended: Ended) -> Option<Fetching> {
        let job = self.jobs.get_mut(&id)?;
        let mut fetching = job.fetching.remove(&peer)?;
        if let Some(origin) = fetching.origin {
            job.origins.remove(&origin);
        }
        match fetching.from {
            Sender::Requester => {
                fetching.beside = fetching.beside.min(self.link.sending);
                self.link.sending -= 1;
                job.sending -= 1;
            }
            Sender::Peer(from) => {
                if let Some(before) = job.take(from) {
                    let ended = match ended {
                        // Another one has sent them, or may have.
                        Ended::Complete if !fetching.alone && now > fetching.late => Ended::Failed,
                        Ended::Complete if !fetching.alone => Ended::Otherwise,
                        ended => ended,
                    };
                    let (vain, has_sent) = job.note(from, peer, fetching.believed, ended);
                    let holder = Holder {
                        load: before.load.saturating_sub(1),
                        is_unknown: before.is_unknown && !has_sent,
                        vain,
                        turn: before.turn,
                    };
                    if vain < VAIN_MAX {
                        job.put(from, holder);
                    }
                }
            }
        }
        Some(fetching)
    }

    /// A copy took so long, or has not come in this time.
    fn learn(&mut self, fetching: &Fetching, took: Duration) {
        let rate = rate(fetching.bytes, took);
        match fetching.from {
            Sender::Requester if fetching.believed => {
                self.link.has_sent(rate, fetching.beside, self.home);
            }
            Sender::Requester => self.link.has_slowly_sent(rate, fetching.beside, self.home),
            Sender::Peer(_) if !fetching.believed => {}
            Sender::Peer(_) => {
                let rate = rate.saturating_mul(fetching.beside as u64);
                let (least, most) = (HOME_RATE / HOME_RATE_SPREAD, HOME_RATE * HOME_RATE_SPREAD);
                self.home = mean(self.home, rate.clamp(least, most));
            }
        }
    }

    fn end_late(&mut self, now: Time) {
        if now - self.looked < LOOK_EVERY {
            return;
        }
        self.looked = now;
        let mut late = Vec::new();
        for (&id, job) in &self.jobs {
            let of_job = job.fetching.iter().filter(|(_, fetching)| fetching.until < now);
            late.extend(of_job.map(|(&peer, _)| (id, peer)));
        }
        for (id, peer) in late {
            if let Some(fetching) = self.end(now, id, peer, Ended::Failed) {
                self.learn(&fetching, now - fetching.since);
            }
        }
    }
}

#[cfg(test)]
mod tests;
