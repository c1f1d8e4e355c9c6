//! The announcements of open jobs: tells new ones from those that are old, false or too many.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use libp2p::PeerId;
use myriad_core::{JobId, Peer};

use crate::{
    peer::id_of,
    wire::{Announcement, PROTOCOL_VERSION},
};

/// Jobs of one requester that are remembered. Further ones are not forwarded.
const JOBS_PER_REQUESTER_MAX: usize = 32;
/// Requesters that are remembered; the one that was silent for longest is forgotten first.
const REQUESTERS_MAX: usize = 1024;
/// On average, a job can be news once in this time. Honest requesters announce it every 20 s, and
/// when it is closed.
const NEWS_PAUSE: Duration = Duration::from_secs(5);
/// A job can be news this many times at once; each pause allows one more. A job that is proven at
/// once is news three times: when it is begun, planned and closed. The same job may be requested a
/// few times in a row, and a requester that is killed and started again has another address.
pub(super) const NEWS_BURST: u32 = 6;

/// The treatment of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Forward it and act on it.
    New,
    /// It is neither forwarded nor a fault: it is known, too soon, or of no use here.
    Old,
    /// Its author or the peer that forwarded it is at fault.
    Invalid,
}

/// The latest announcement of each job.
#[derive(Default)]
pub(super) struct Jobs {
    requesters: HashMap<Peer, Requester>,
}

struct Requester {
    /// Its name in libp2p, which takes too long to find to be looked for at each announcement; none
    /// if nobody can have such a key.
    id: Option<PeerId>,
    /// The time of its last news.
    heard: Instant,
    jobs: BTreeMap<JobId, Known>,
}

struct Known {
    sequence: u64,
    open: bool,
    heard: Instant,
    /// The time until which its news so far would last, at one for each pause.
    spent: Instant,
}

impl Jobs {
    /// Judges an announcement that `author` has signed and that arrived at `now`. The clocks of
    /// both do not matter: later announcements of a requester have higher numbers, and their age
    /// counts from their arrival here. An announcement that a third party replays is known already,
    /// or is of a job that nobody here has heard of. The node asks the requester itself about such
    /// a job.
    pub(super) fn judge(
        &mut self,
        announcement: &Announcement,
        author: Option<Peer>,
        is_connected: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> Judgement {
        if author != Some(announcement.requester) {
            return Judgement::Invalid;
        }
        if announcement.version != PROTOCOL_VERSION {
            return Judgement::Old;
        }
        let requester = self.requester(announcement.requester, is_connected, now);
        if !requester.is_news(announcement, now) {
            return Judgement::Old;
        }
        requester.heard = now;
        Judgement::New
    }

    /// What is known of a requester. Anybody can announce jobs of any number of names, but not be
    /// connected by as many: what connected requesters have said is forgotten last.
    fn requester(
        &mut self,
        peer: Peer,
        is_connected: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> &mut Requester {
        if !self.requesters.contains_key(&peer) && self.requesters.len() >= REQUESTERS_MAX {
            let order = |(_, known): &(&Peer, &Requester)| {
                let connected = known.id.as_ref().is_some_and(&is_connected);
                (connected, known.heard)
            };
            let silent = self.requesters.iter().min_by_key(order);
            if let Some(silent) = silent.map(|(&peer, _)| peer) {
                self.requesters.remove(&silent);
            }
        }
        self.requesters.entry(peer).or_insert_with(|| Requester {
            id: id_of(peer),
            heard: now,
            jobs: BTreeMap::new(),
        })
    }
}

impl Requester {
    fn is_news(&mut self, said: &Announcement, now: Instant) -> bool {
        if let Some(known) = self.jobs.get_mut(&said.job) {
            return known.is_news(said, now);
        }
        if self.jobs.len() >= JOBS_PER_REQUESTER_MAX {
            let oldest = self.jobs.iter().min_by_key(|(_, known)| known.sequence);
            // A job gives way only to a later one, and only after a pause. Otherwise ever new jobs
            // would be news without end.
            let gives_way = |known: &Known| known.sequence < said.sequence && now - known.heard >= NEWS_PAUSE;
            match oldest.map(|(&job, known)| (job, gives_way(known))) {
                Some((job, true)) => self.jobs.remove(&job),
                _ => return false,
            };
        }
        let known = Known {
            sequence: said.sequence,
            open: said.open,
            heard: now,
            spent: now + NEWS_PAUSE,
        };
        self.jobs.insert(said.job, known);
        true
    }
}

impl Known {
    fn is_news(&mut self, said: &Announcement, now: Instant) -> bool {
        if said.sequence <= self.sequence {
            return false;
        }
        if self.spent > now + NEWS_PAUSE * (NEWS_BURST - 1) {
            return false;
        }
        self.spent = self.spent.max(now) + NEWS_PAUSE;
        (self.sequence, self.open, self.heard) = (said.sequence, said.open, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sequence;

    /// A number as good as any.
    const FIRST: u64 = 1_700_000_000_000;

    fn announcement(requester: u8, job: u64, sequence: u64) -> Announcement {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&job.to_le_bytes());
        Announcement {
            version: PROTOCOL_VERSION,
            job: JobId(id),
            requester: Peer([requester; 32]),
            sequence,
            open: true,
            engine: myriad_core::EngineId {
                name: "any".parse().unwrap(),
                fingerprint: [0; 32],
            },
            extent: None,
            bytes: 1,
            record: Vec::new(),
        }
    }

    /// A node that hears announcements at times.
    struct Ear {
        jobs: Jobs,
        connected: Option<Peer>,
        now: Instant,
    }

    impl Ear {
        fn new() -> Self {
            Self {
                jobs: Jobs::default(),
                connected: None,
                now: Instant::now(),
            }
        }

        fn wait(&mut self, time: Duration) {
            self.now += time;
        }

        fn hears(&mut self, said: &Announcement) -> Judgement {
            self.jobs.judge(
                said,
                Some(said.requester),
                |id| self.connected.and_then(id_of).as_ref() == Some(id),
                self.now,
            )
        }
    }

    #[test]
    fn only_later_ones_are_new() {
        let mut ear = Ear::new();
        assert_eq!(ear.hears(&announcement(1, 1, 5)), Judgement::New);
        ear.wait(NEWS_PAUSE);
        assert_eq!(ear.hears(&announcement(1, 1, 5)), Judgement::Old);
        assert_eq!(ear.hears(&announcement(1, 1, 4)), Judgement::Old);
        assert_eq!(ear.hears(&announcement(1, 1, 6)), Judgement::New);
        assert_eq!(
            ear.hears(&announcement(2, 1, 5)),
            Judgement::New,
            "of another requester"
        );
    }

    #[test]
    fn nobody_speaks_for_another_and_other_versions_are_left_alone() {
        let mut ear = Ear::new();
        let said = announcement(1, 1, 5);
        let other = Some(Peer([2; 32]));
        for author in [other, None] {
            assert_eq!(
                ear.jobs.judge(&said, author, |_| true, ear.now),
                Judgement::Invalid
            );
        }
        let other = Announcement {
            version: PROTOCOL_VERSION + 1,
            ..said
        };
        assert_eq!(ear.hears(&other), Judgement::Old);
        assert_eq!(ear.hears(&announcement(1, 1, 5)), Judgement::New);
    }

    /// Its clock may be hours ahead, or be corrected backwards in the middle of a job or between
    /// two starts: the number of the start goes on.
    #[test]
    fn the_order_is_that_of_starts_and_what_was_said_in_each() {
        let mut ear = Ear::new();
        let mut hears = |boot, number| {
            ear.wait(NEWS_PAUSE);
            ear.hears(&announcement(1, 1, sequence(boot, number)))
        };
        assert_eq!(hears(1_700_000_000, 1), Judgement::New);
        assert_eq!(hears(1_700_000_000, 2), Judgement::New);
        assert_eq!(hears(1_700_000_001, 1), Judgement::New, "started again");
        assert_eq!(hears(1_700_000_000, 3), Judgement::Old, "replayed by somebody");
        assert_eq!(hears(u32::MAX, u32::MAX), Judgement::New, "no number is too high");
    }

    #[test]
    fn a_job_is_news_once_in_a_while_however_high_the_numbers() {
        let mut ear = Ear::new();
        let step = Duration::from_millis(100);
        let mut sequence = 0;
        let mut news = 0;
        for _ in 0..600 {
            sequence += 1;
            news += u32::from(ear.hears(&announcement(1, 1, sequence)) == Judgement::New);
            ear.wait(step);
        }
        assert_eq!(news, 12 + NEWS_BURST - 1, "in a minute");
        // All announcements pass that come as often as those of honest requesters.
        for _ in 0..10 {
            ear.wait(Duration::from_secs(20));
            sequence += 1;
            assert_eq!(ear.hears(&announcement(1, 1, sequence)), Judgement::New);
        }
    }

    #[test]
    fn closing_is_news_at_once_but_not_again_and_again() {
        let mut ear = Ear::new();
        let said = |sequence: u64| Announcement {
            open: sequence % 2 == 1,
            ..announcement(1, 1, sequence)
        };
        assert_eq!(ear.hears(&said(1)), Judgement::New);
        assert_eq!(ear.hears(&said(2)), Judgement::New, "closed just after");
        assert_eq!(ear.hears(&said(3)), Judgement::New, "and opened again");
        let step = Duration::from_millis(100);
        let mut news = 0;
        for sequence in 4..604 {
            news += u32::from(ear.hears(&said(sequence)) == Judgement::New);
            ear.wait(step);
        }
        assert!((12..=12 + NEWS_BURST).contains(&news), "{news} in a minute");
        ear.wait(NEWS_PAUSE * NEWS_BURST);
        let open = ear.jobs.requesters[&Peer([1; 32])]
            .jobs
            .values()
            .next()
            .unwrap()
            .open;
        let close = Announcement {
            open: !open,
            ..announcement(1, 1, 1000)
        };
        assert_eq!(ear.hears(&close), Judgement::New);
    }

    #[test]
    fn ever_new_jobs_are_not_news_without_end() {
        let mut ear = Ear::new();
        let mut news = 0;
        for job in 0..1000 {
            news += usize::from(ear.hears(&announcement(1, job, job)) == Judgement::New);
        }
        assert_eq!(news, JOBS_PER_REQUESTER_MAX);
        ear.wait(NEWS_PAUSE);
        assert_eq!(ear.hears(&announcement(1, 2000, 2000)), Judgement::New);
    }

    /// Otherwise what it said before could be said again by anybody.
    #[test]
    fn a_connected_requester_is_not_forgotten_for_any_number_of_names() {
        for connected in [true, false] {
            let mut ear = Ear::new();
            ear.connected = connected.then_some(Peer([1; 32]));
            assert_eq!(ear.hears(&announcement(1, 1, 5)), Judgement::New);
            for stranger in 0..2 * REQUESTERS_MAX as u32 {
                let mut said = announcement(2, 1, FIRST);
                said.requester.0[..4].copy_from_slice(&stranger.to_le_bytes());
                ear.wait(Duration::from_millis(1));
                assert_eq!(ear.hears(&said), Judgement::New);
            }
            assert_eq!(ear.jobs.requesters.len(), REQUESTERS_MAX);
            let replayed = if connected { Judgement::Old } else { Judgement::New };
            assert_eq!(ear.hears(&announcement(1, 1, 4)), replayed);
        }
    }

    #[test]
    fn memory_is_bounded_and_the_longest_silent_peer_is_forgotten() {
        let mut ear = Ear::new();
        for job in 0..1000 {
            ear.hears(&announcement(1, job, FIRST + job));
            ear.wait(NEWS_PAUSE);
        }
        let first = Peer([1; 32]);
        assert_eq!(ear.jobs.requesters[&first].jobs.len(), JOBS_PER_REQUESTER_MAX);
        let strangers = 3 * REQUESTERS_MAX as u32;
        for stranger in 0..strangers {
            let mut said = announcement(2, 1, FIRST);
            said.requester.0[..4].copy_from_slice(&stranger.to_le_bytes());
            ear.hears(&said);
            ear.wait(NEWS_PAUSE);
            // It was the first of all, and still is heard of.
            ear.hears(&announcement(1, 999, FIRST + 1000 + u64::from(stranger)));
        }
        assert_eq!(ear.jobs.requesters.len(), REQUESTERS_MAX);
        // All its jobs are still known, so it was not forgotten in between.
        assert_eq!(ear.jobs.requesters[&first].jobs.len(), JOBS_PER_REQUESTER_MAX);
        let mut early = Peer([2; 32]);
        early.0[..4].copy_from_slice(&0_u32.to_le_bytes());
        assert!(!ear.jobs.requesters.contains_key(&early));
    }
}
