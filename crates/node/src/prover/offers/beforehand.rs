//! Decides whose files this machine fetches before there is a task to be done with them.
//!
//! Nobody pays for it, and identities are free. So each time counts as a setback until its
//! requester signs for a proof, and the pause before the next time doubles: for each requester that
//! has ever signed, and for all others together. The files of those others have to be small, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use myriad_core::{
    JobId, Peer,
    spreading::{AT_TASK_LATER, head_start},
};

use super::{Limits, Offers, Requester, allowed, fairness::Setbacks};

/// Most bytes of files of a requester that has never signed for a proof: with a pause of ten
/// minutes between two of them, they take half a megabit a second.
const STRANGERS_BYTES_MAX: u64 = 32 << 20;
/// Requesters that have signed, and are remembered as such.
const PAYERS_MAX: usize = 4096;
/// How often the files of a job are asked for in vain.
const TRIES: u32 = 3;
/// Before they are asked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// Nobody is put off for longer, or asked again sooner.
const LATER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// How far the files of a job are that has no tasks yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beforehand {
    /// Since when the job is known to be executed.
    executed_since: Option<Instant>,
    /// When to ask for a task without the files.
    asks_from: Option<Instant>,
    tries: u32,
    /// When to ask again.
    next: Option<Instant>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Missing,
    Coming,
    Here,
}

/// The standing of requesters by what they have signed for.
pub(super) struct Credit {
    payers: BTreeSet<Peer>,
    /// Those that have signed for so much that they are no strangers.
    useful: BTreeSet<Peer>,
    of_payers: BTreeMap<Peer, Setbacks>,
    /// The setbacks of all other requesters together.
    strangers: Setbacks,
}

/// Files that this machine is to fetch now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prover) struct Wanted {
    pub requester: Peer,
    pub job: JobId,
    /// How many bytes its requester has announced.
    pub bytes: u64,
}

/// The outcome of fetching them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::prover) enum Fetched {
    /// They are on the disk now.
    Here,
    /// They were there before.
    Had,
    /// Others come first.
    Later(Duration),
    /// They are more than is allowed.
    Unwilling,
    Failed,
}

impl Beforehand {
    /// The job was announced, with tasks or without.
    pub(super) fn heard(&mut self, has_tasks: bool, now: Instant) {
        match self.executed_since {
            Some(since) if has_tasks => {
                self.asks_from.get_or_insert(now + head_start(now - since));
            }
            None if has_tasks => {}
            _ if self.asks_from.take().is_some() => self.executed_since = Some(now),
            _ => {
                self.executed_since.get_or_insert(now);
            }
        }
    }

    /// Whether machines like this one fetch it by now.
    fn is_turn(&self, at_task: bool, now: Instant) -> bool {
        let since = self.executed_since.filter(|_| at_task);
        since.is_none_or(|since| since + AT_TASK_LATER <= now)
    }

    /// Its requester wants this machine now, with the files or without.
    pub(super) fn hurry(&mut self) {
        (self.executed_since, self.asks_from) = (None, None);
    }

    /// Whether it is this machine's turn to ask for a task of it, if there are any.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        self.state == State::Here || self.asks_from.is_none_or(|from| from <= now)
    }
}

impl Credit {
    pub(super) fn new(payers: impl IntoIterator<Item = Peer>) -> Self {
        let payers: BTreeSet<Peer> = payers.into_iter().take(PAYERS_MAX).collect();
        Self {
            useful: payers.clone(),
            payers,
            of_payers: BTreeMap::new(),
            strangers: Setbacks::default(),
        }
    }

    fn may_begin(&self, peer: Peer, bytes: u64, now: Instant) -> bool {
        if self.payers.contains(&peer) {
            let setbacks = self.of_payers.get(&peer);
            return setbacks.is_none_or(|setbacks| setbacks.remaining(now).is_zero());
        }
        bytes <= STRANGERS_BYTES_MAX && self.strangers.remaining(now).is_zero()
    }

    fn spend(&mut self, peer: Peer, now: Instant) {
        if self.payers.contains(&peer) {
            self.of_payers.entry(peer).or_default().add(now);
        } else {
            self.strangers.add(now);
        }
    }
}

impl Offers {
    /// The files that this machine fetches next, if it should now: of requesters that execute a job
    /// which its owner lends for, those of whom the owner prefers, and of those the one that was
    /// served least. A machine that is `at_task` comes later.
    pub(in crate::prover) fn next_beforehand(
        &mut self,
        limits: &Limits,
        at_task: bool,
        now: Instant,
    ) -> Option<Wanted> {
        let credit = &self.credit;
        let candidates = self
            .requesters
            .iter()
            .filter(|(peer, requester)| requester.connected && allowed(**peer, limits))
            .flat_map(|(&peer, requester)| {
                let jobs = requester.jobs.iter().filter(move |(_, job)| {
                    job.extent.is_none()
                        && job.unwilling(limits).is_none()
                        && job.files.state == State::Missing
                        && job.files.tries < TRIES
                        && job.files.is_turn(at_task, now)
                        && job.files.next.is_none_or(|next| next <= now)
                        && credit.may_begin(peer, job.bytes, now)
                });
                jobs.map(move |(&job, facts)| {
                    let order = (!limits.prefer.contains(&peer), (requester.served_s * 1e3) as i64);
                    let wanted = Wanted {
                        requester: peer,
                        job,
                        bytes: facts.bytes,
                    };
                    (order, facts.heard, wanted)
                })
            });
        let (.., wanted) = candidates.min_by_key(|&(order, heard, _)| (order, heard))?;
        self.files_of(wanted)?.state = State::Coming;
        Some(wanted)
    }

    fn files_of(&mut self, wanted: Wanted) -> Option<&mut Beforehand> {
        let requester = self.requesters.get_mut(&wanted.requester)?;
        requester.jobs.get_mut(&wanted.job).map(|job| &mut job.files)
    }

    /// Notes the outcome of fetching these files.
    pub(in crate::prover) fn fetched(&mut self, wanted: Wanted, what: &Fetched, now: Instant) {
        // A result counts even if the job has closed meanwhile.
        let mut closed = Beforehand::default();
        let files = self.files_of(wanted).unwrap_or(&mut closed);
        (files.state, files.next) = match what {
            Fetched::Here | Fetched::Had => (State::Here, None),
            Fetched::Later(pause) => (State::Missing, Some(now + (*pause).clamp(LATER.0, LATER.1))),
            Fetched::Unwilling => {
                files.tries = TRIES;
                (State::Missing, None)
            }
            Fetched::Failed => {
                files.tries += 1;
                (State::Missing, Some(now + PAUSE))
            }
        };
        if matches!(what, Fetched::Here | Fetched::Failed | Fetched::Unwilling) {
            self.credit.spend(wanted.requester, now);
        }
    }

    /// A requester has signed for a proof.
    pub(in crate::prover) fn paid(&mut self, peer: Peer) {
        let Credit {
            payers, of_payers, ..
        } = &mut self.credit;
        of_payers.remove(&peer);
        if payers.len() < PAYERS_MAX {
            payers.insert(peer);
        }
    }

    /// A requester has signed for much work. It was a stranger once, so that others are worth a
    /// try. A smaller receipt costs next to nothing, and says nothing of others.
    pub(in crate::prover) fn is_useful(&mut self, peer: Peer) {
        let Credit {
            useful, strangers, ..
        } = &mut self.credit;
        if useful.len() < PAYERS_MAX && useful.insert(peer) {
            *strangers = Setbacks::default();
        }
    }
}

impl Requester {
    /// That none of its jobs has tasks yet, in words for the machine's owner.
    pub(super) fn executes(&self) -> Option<String> {
        if self.jobs.values().any(|job| job.extent.is_some()) {
            return None;
        }
        let files = self.jobs.values().map(|job| job.files.state);
        let files = match files.max_by_key(|state| *state as u8) {
            Some(State::Here) => "has its files already",
            Some(State::Coming) => "fetches its files meanwhile",
            _ => "has not fetched its files",
        };
        Some(format!(
            "its job is being executed, which has to be done before there are tasks, and this machine {files}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use myriad_engine::MemoryBudget;
    use myriad_net::wire::Announcement;

    use super::{
        super::{Extent, fairness::SETBACK_PAUSE_MAX},
        *,
    };

    const ENGINE: [u8; 32] = [7; 32];

    fn limits() -> Limits {
        Limits {
            memory: MemoryBudget::from_bytes(4 << 30),
            threads: 2,
            max_instructions: 1000,
            max_input_bytes: 64 << 20,
            only: BTreeSet::new(),
            never: BTreeSet::new(),
            prefer: BTreeSet::new(),
        }
    }

    fn executed(requester: u8, job: u8, bytes: u64) -> Announcement {
        Announcement {
            version: 1,
            job: JobId([job; 32]),
            requester: Peer([requester; 32]),
            sequence: 1,
            open: true,
            engine: ENGINE,
            extent: None,
            bytes,
            record: Vec::new(),
        }
    }

    fn planned(requester: u8, job: u8, bytes: u64) -> Announcement {
        Announcement {
            extent: Some(Extent {
                instructions: 10,
                memory_min: 10,
            }),
            ..executed(requester, job, bytes)
        }
    }

    fn meets(offers: &mut Offers, requester: u8, job: u8, bytes: u64, now: Instant) {
        offers.greeted(Peer([requester; 32]), ENGINE, "myriad", now);
        offers.announced(&executed(requester, job, bytes), now);
    }

    /// How many prefetches of a day there are, and of how many bytes together, if each takes a
    /// second and `meets` is called before.
    fn day(offers: &mut Offers, start: Instant, mut meets: impl FnMut(&mut Offers, Instant)) -> (u32, u64) {
        let (mut count, mut bytes) = (0, 0);
        for second in 0..86_400 {
            let now = start + Duration::from_secs(second);
            meets(offers, now);
            if let Some(wanted) = offers.next_beforehand(&limits(), false, now) {
                offers.fetched(wanted, &Fetched::Here, now);
                count += 1;
                bytes += wanted.bytes;
            }
        }
        (count, bytes)
    }

    #[test]
    fn files_are_fetched_once_while_a_job_has_no_tasks_and_tasks_are_asked_for_when_it_has() {
        let now = Instant::now();
        let mut offers = Offers::new(ENGINE, [], now);
        meets(&mut offers, 1, 1, 1000, now);
        assert_eq!(offers.next(&limits(), now), None, "there are no tasks");
        let wanted = offers.next_beforehand(&limits(), false, now).unwrap();
        let expected = Wanted {
            requester: Peer([1; 32]),
            job: JobId([1; 32]),
            bytes: 1000,
        };
        assert_eq!(wanted, expected);
        let idle = |offers: &Offers| offers.why_idle(1, &limits(), now);
        assert!(
            idle(&offers).contains("being executed") && idle(&offers).contains("fetches its files meanwhile")
        );
        offers.fetched(wanted, &Fetched::Here, now);
        assert!(idle(&offers).contains("has its files already"));
        let later = now + SETBACK_PAUSE_MAX;
        assert_eq!(
            offers.next_beforehand(&limits(), false, later),
            None,
            "they are here"
        );

        offers.announced(&planned(1, 1, 1000), now);
        assert_eq!(offers.next(&limits(), now), Some(Peer([1; 32])));
    }

    #[test]
    fn those_who_have_the_files_ask_for_the_first_tasks() {
        let start = Instant::now();
        let asks_after = |executed_s: u64, has_files: bool| {
            let mut offers = Offers::new(ENGINE, [], start);
            meets(&mut offers, 1, 1, 1000, start);
            let wanted = offers.next_beforehand(&limits(), false, start).unwrap();
            if has_files {
                offers.fetched(wanted, &Fetched::Here, start);
            }
            let (said, now) = (planned(1, 1, 1000), start + Duration::from_secs(executed_s));
            offers.announced(&executed(1, 1, 1000), now);
            offers.announced(&said, now);
            // It is announced again and again.
            offers.announced(&said, now + PAUSE);
            let tenths = (0..100).map(|tenths| Duration::from_millis(100 * tenths));
            let mut asked = tenths.filter(|&waited| offers.next(&limits(), now + waited).is_some());
            asked.next().unwrap()
        };
        assert_eq!(asks_after(8, true), Duration::ZERO);
        assert_eq!(asks_after(8, false), Duration::from_secs(2));
        assert_eq!(asks_after(100, false), Duration::from_secs(3));
        assert_eq!(asks_after(0, false), Duration::ZERO);

        // One that is woken is waited for.
        let mut offers = Offers::new(ENGINE, [], start);
        meets(&mut offers, 1, 1, 1000, start);
        let now = start + Duration::from_secs(8);
        offers.announced(&planned(1, 1, 1000), now);
        assert_eq!(offers.next(&limits(), now), None);
        offers.woken(Peer([1; 32]));
        assert_eq!(offers.next(&limits(), now), Some(Peer([1; 32])));
    }

    #[test]
    fn a_machine_at_a_task_lets_free_ones_fetch_first() {
        let now = Instant::now();
        let mut offers = Offers::new(ENGINE, [], now);
        meets(&mut offers, 1, 1, 1000, now);
        assert_eq!(offers.next_beforehand(&limits(), true, now), None);
        let later = now + AT_TASK_LATER;
        assert!(offers.next_beforehand(&limits(), true, later).is_some());
    }

    #[test]
    fn what_its_owner_does_not_lend_for_is_not_fetched() {
        let now = Instant::now();
        let mut offers = Offers::new(ENGINE, [], now);
        let huge = limits().max_input_bytes + myriad_engine::PROGRAM_BYTES_MAX as u64 + 1;
        meets(&mut offers, 1, 1, huge, now);
        assert_eq!(offers.next_beforehand(&limits(), false, now), None);
        meets(&mut offers, 2, 1, 1000, now);
        let never = Limits {
            never: BTreeSet::from([Peer([2; 32])]),
            ..limits()
        };
        assert_eq!(offers.next_beforehand(&never, false, now), None);
        let only = Limits {
            only: BTreeSet::from([Peer([3; 32])]),
            ..limits()
        };
        assert_eq!(offers.next_beforehand(&only, false, now), None);
        offers.lost(Peer([2; 32]));
        assert_eq!(
            offers.next_beforehand(&limits(), false, now),
            None,
            "it is not there"
        );
        meets(&mut offers, 2, 1, 1000, now);
        assert!(offers.next_beforehand(&limits(), false, now).is_some());
    }

    #[test]
    fn strangers_take_little_of_a_day_together_however_many_they_are() {
        let start = Instant::now();
        let mut offers = Offers::new(ENGINE, [], start);
        let mut next = 0_u32;
        let (count, bytes) = day(&mut offers, start, |offers, now| {
            // Each comes with a new name when its last one is of no more use.
            let said = |number: u32, open: bool| {
                let mut id = [0; 32];
                id[..4].copy_from_slice(&number.to_be_bytes());
                Announcement {
                    requester: Peer(id),
                    open,
                    ..executed(0, 1, STRANGERS_BYTES_MAX)
                }
            };
            let (old, new) = (said(next, false), said(next + 1, true));
            next += 1;
            offers.announced(&old, now);
            offers.lost(old.requester);
            offers.greeted(new.requester, ENGINE, "myriad", now);
            offers.announced(&new, now);
        });
        assert!(count < 10 + 86_400 / 600, "{count}");
        assert!(bytes / 86_400 < 100_000, "{bytes} bytes");
        let mut offers = Offers::new(ENGINE, [], start);
        meets(&mut offers, 1, 1, STRANGERS_BYTES_MAX + 1, start);
        assert_eq!(offers.next_beforehand(&limits(), false, start), None);
    }

    #[test]
    fn a_small_receipt_ends_no_pause_of_others() {
        let now = Instant::now();
        let mut offers = Offers::new(ENGINE, [], now);
        let has_turn = |offers: &mut Offers, requester| {
            meets(offers, requester, 1, 1000, now);
            let wanted = offers.next_beforehand(&limits(), false, now);
            wanted.is_some_and(|wanted| {
                offers.fetched(wanted, &Fetched::Here, now);
                true
            })
        };
        assert!(has_turn(&mut offers, 1));
        offers.paid(Peer([1; 32]));
        assert!(!has_turn(&mut offers, 2), "it has signed for next to nothing");
        offers.is_useful(Peer([1; 32]));
        assert!(has_turn(&mut offers, 2));
        offers.is_useful(Peer([1; 32]));
        assert!(!has_turn(&mut offers, 3), "once");
    }

    #[test]
    fn a_requester_that_pays_has_each_of_its_jobs_fetched_and_one_that_stops_paying_has_not() {
        let start = Instant::now();
        let payer = Peer([1; 32]);
        let blocks = |pays: bool| {
            let mut offers = Offers::new(ENGINE, [payer], start);
            let mut second = 0_u32;
            let (count, _) = day(&mut offers, start, |offers, now| {
                // A block every 12 s, of more bytes than a stranger's may have.
                if second.is_multiple_of(12) {
                    let closed = Announcement {
                        open: false,
                        ..executed(1, 1, 0)
                    };
                    offers.announced(&closed, now);
                    meets(offers, 1, 1, 2 * STRANGERS_BYTES_MAX, now);
                    if pays {
                        offers.paid(payer);
                    }
                }
                second += 1;
            });
            count
        };
        assert_eq!(blocks(true), 7200);
        assert!(blocks(false) < 10 + 86_400 / 600, "{}", blocks(false));
    }

    #[test]
    fn one_that_gives_nothing_is_asked_a_few_times_and_one_that_puts_off_when_it_says() {
        let mut now = Instant::now();
        let mut offers = Offers::new(ENGINE, [], now);
        meets(&mut offers, 1, 1, 1000, now);
        for _ in 0..10 {
            let wanted = offers.next_beforehand(&limits(), false, now).unwrap();
            offers.fetched(wanted, &Fetched::Later(Duration::from_secs(3)), now);
            assert_eq!(offers.next_beforehand(&limits(), false, now), None);
            now += Duration::from_secs(3);
        }
        let mut tries = 0;
        for _ in 0..100 {
            if let Some(wanted) = offers.next_beforehand(&limits(), false, now) {
                offers.fetched(wanted, &Fetched::Failed, now);
                tries += 1;
            }
            now += PAUSE;
        }
        assert_eq!(tries, TRIES);
    }
}
