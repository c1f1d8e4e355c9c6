//! Whom to offer this machine to next, and why there is nothing to do if there is nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use myriad_core::{JobId, Peer};
use myriad_net::{
    short_name,
    wire::{Announcement, Refused, Why},
};

use super::Limits;

/// How long to wait before asking again where a notice should come instead.
const WAIT: Duration = Duration::from_secs(30);
/// After an answer that speaks of none, for instance because the connection broke.
const RETRY: Duration = Duration::from_secs(2);
/// How long a requester is left alone that does not want this machine, or that this machine does not want.
const LONG: Duration = Duration::from_secs(600);
/// Longer pauses than this are not asked of anyone.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// Requesters that are remembered; their announcements are signed, but identities cost nothing.
const REQUESTERS_MAX: usize = 1024;
/// A job that was not announced for so long is taken for closed: open ones are every 20 s.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Jobs of one requester that are remembered.
const JOBS_MAX: usize = 64;

/// What was done for a requester counts half after so long: who had much yesterday need not wait today.
const SERVED_HALF_LIFE: Duration = Duration::from_secs(3600);

/// Another requester has its turn when it was served less by so much: to go from one to the other costs a machine the time to
/// fetch and load another job, and between tasks of seconds that would be most of what it does.
const TURN: Duration = Duration::from_secs(60);

/// What is known of the requesters.
pub(super) struct Offers {
    requesters: BTreeMap<Peer, Requester>,
    /// Who was offered to last: among those that had as much the next one follows in order.
    last: Option<Peer>,
    /// Whose turn it is: whom this machine worked for last, and not in vain.
    serving: Option<Peer>,
    /// When what was served was last reckoned down.
    reckoned: Instant,
    engine: [u8; 32],
}

#[derive(Default)]
struct Requester {
    jobs: BTreeMap<JobId, JobFacts>,
    connected: bool,
    next: Option<Instant>,
    /// Why it got no task from there.
    why: Option<String>,
    /// Seconds that this machine has worked for it, lately: see [`Offers::worked`].
    served_s: f64,
}

struct JobFacts {
    instructions: u64,
    bytes: u64,
    memory_min: u64,
    heard: Instant,
}

impl Offers {
    /// `engine` is the fingerprint that this build greets with.
    pub(super) fn new(engine: [u8; 32]) -> Self {
        Self {
            requesters: BTreeMap::new(),
            last: None,
            serving: None,
            reckoned: Instant::now(),
            engine,
        }
    }

    /// A requester has greeted, with this engine.
    pub(super) fn greeted(&mut self, peer: Peer, engine: [u8; 32], build: &str) {
        let same = engine == self.engine;
        let requester = self.requesters.entry(peer).or_default();
        requester.connected = true;
        (requester.next, requester.why) = if same {
            (None, None)
        } else {
            let why = format!("it has another engine ({build}): one of the two builds has to be updated");
            (Some(Instant::now() + LONG), Some(why))
        };
    }

    pub(super) fn lost(&mut self, peer: Peer) {
        if let Some(requester) = self.requesters.get_mut(&peer) {
            requester.connected = false;
            if requester.jobs.is_empty() {
                self.requesters.remove(&peer);
            }
        }
    }

    /// Notes what a requester says of a job; true if it is closed.
    pub(super) fn announced(&mut self, said: &Announcement) -> bool {
        if !self.requesters.contains_key(&said.requester) && self.requesters.len() >= REQUESTERS_MAX {
            return false;
        }
        let least = self.least_served();
        let requester = self.requesters.entry(said.requester).or_default();
        if said.open && requester.jobs.is_empty() {
            requester.served_s = requester.served_s.max(least);
        }
        if !said.open {
            requester.jobs.remove(&said.job);
            return true;
        }
        let known = requester.jobs.len() < JOBS_MAX || requester.jobs.contains_key(&said.job);
        if known {
            let facts = JobFacts {
                instructions: said.instructions,
                bytes: said.bytes,
                memory_min: said.memory_min,
                heard: Instant::now(),
            };
            if requester.jobs.insert(said.job, facts).is_none() {
                // What was refused before may be different with this job.
                requester.next = None;
            }
        }
        false
    }

    /// Forgets the jobs of requesters that have fallen silent.
    pub(super) fn forget_silent(&mut self) {
        for requester in self.requesters.values_mut() {
            requester.jobs.retain(|_, job| job.heard.elapsed() < SILENCE_MAX);
        }
        self.requesters
            .retain(|_, requester| requester.connected || !requester.jobs.is_empty());
    }

    /// A requester has work again.
    pub(super) fn woken(&mut self, peer: Peer) {
        if let Some(requester) = self.requesters.get_mut(&peer) {
            requester.next = None;
        }
    }

    /// It gave a task.
    pub(super) fn granted(&mut self, peer: Peer) {
        if let Some(requester) = self.requesters.get_mut(&peer) {
            (requester.next, requester.why) = (None, None);
        }
    }

    /// This machine was busy for it so long, from the offer on, whatever came of it: leases that fail at once take time,
    /// too. Who has a job for the first time begins with what the
    /// one has that was served least: a new identity is worth one turn, and no more. The turn ends with a task that failed.
    pub(super) fn worked(&mut self, peer: Peer, time: Duration, in_vain: bool) {
        self.worked_at(peer, time, in_vain, Instant::now());
    }

    fn worked_at(&mut self, peer: Peer, time: Duration, in_vain: bool, now: Instant) {
        let half_lives = (now - self.reckoned).as_secs_f64() / SERVED_HALF_LIFE.as_secs_f64();
        self.reckoned = now;
        for requester in self.requesters.values_mut() {
            requester.served_s *= 0.5_f64.powf(half_lives);
        }
        if let Some(requester) = self.requesters.get_mut(&peer) {
            requester.served_s += time.as_secs_f64();
            self.serving = (!in_vain).then_some(peer);
        }
    }

    /// What the one was served that was served least, of those with a job.
    fn least_served(&self) -> f64 {
        let with_jobs = self
            .requesters
            .values()
            .filter(|requester| !requester.jobs.is_empty());
        let least = with_jobs
            .map(|requester| requester.served_s)
            .min_by(f64::total_cmp);
        least.unwrap_or(0.0)
    }

    /// It gave none; `refused` is its answer, if there was one.
    pub(super) fn refused(&mut self, peer: Peer, refused: Option<&Refused>) {
        let Some(requester) = self.requesters.get_mut(&peer) else {
            return;
        };
        let pause = match refused {
            None => RETRY,
            Some(Refused { why, retry_ms, .. }) => {
                let told = retry_ms.map(|ms| Duration::from_millis(ms).clamp(RETRY / 4, RETRY_MAX));
                told.unwrap_or(match why {
                    Why::NoWork | Why::Memory => WAIT,
                    Why::Banned | Why::NotServed => LONG,
                    Why::NotNow | Why::NotLeased | Why::TooFast => RETRY,
                })
            }
        };
        requester.why = Some(match refused {
            // In quotes and escaped: it is a stranger's text.
            Some(refused) => format!("{:?}", refused.reason),
            None => "it does not answer".into(),
        });
        requester.next = Some(Instant::now() + pause);
    }

    /// This machine does not want its job.
    pub(super) fn unwilling(&mut self, peer: Peer, why: String) {
        if let Some(requester) = self.requesters.get_mut(&peer) {
            requester.next = Some(Instant::now() + LONG);
            requester.why = Some(why);
        }
    }

    /// The next requester to offer to: of those that may have something the ones that the owner prefers, if there are
    /// any, and of those the one that was served least, but for whose turn it is.
    pub(super) fn next(&mut self, limits: &Limits) -> Option<Peer> {
        let now = Instant::now();
        let ready = |(peer, requester): &(&Peer, &Requester)| {
            requester.connected
                && allowed(**peer, limits)
                && requester.next.is_none_or(|next| next <= now)
                && requester.jobs.values().any(|job| job.unwilling(limits).is_none())
        };
        let after = self.last.map_or(self.requesters.range(..), |last| {
            use std::ops::Bound::{Excluded, Unbounded};
            self.requesters.range((Excluded(last), Unbounded))
        });
        // Of those that are the same in both the first one stays, and so all take turns.
        let order = |(peer, requester): &(&Peer, &Requester)| {
            let preferred = limits.prefer.contains(peer);
            let turn = if self.serving == Some(**peer) {
                TURN
            } else {
                Duration::ZERO
            };
            let served_s = requester.served_s - turn.as_secs_f64();
            (!preferred, (served_s * 1e3) as i64)
        };
        let next = after
            .chain(self.requesters.iter())
            .filter(ready)
            .min_by_key(order)
            .map(|(&peer, _)| peer);
        if next.is_some() {
            self.last = next;
        }
        next
    }

    /// Whether a requester has this job open, as far as is known.
    pub(super) fn has_job(&self, peer: Peer, job: JobId) -> bool {
        self.requesters
            .get(&peer)
            .is_some_and(|requester| requester.jobs.contains_key(&job))
    }

    /// Jobs that are open, and requesters that are connected.
    pub(super) fn counts(&self) -> (usize, usize) {
        let jobs = self
            .requesters
            .values()
            .map(|requester| requester.jobs.len())
            .sum();
        (
            jobs,
            self.requesters
                .values()
                .filter(|requester| requester.connected)
                .count(),
        )
    }

    /// Why there is nothing to do, in words for the machine's owner.
    pub(super) fn why_idle(&self, peers: usize, limits: &Limits) -> String {
        if self
            .requesters
            .values()
            .all(|requester| requester.jobs.is_empty())
        {
            return match peers {
                0 => "no other node has been found yet: name one with --bootstrap, unless one is on the local network".into(),
                _ => format!("none of the {peers} connected nodes has a job"),
            };
        }
        let mut reasons = Vec::new();
        for (&peer, requester) in self
            .requesters
            .iter()
            .filter(|(_, requester)| !requester.jobs.is_empty())
        {
            let unwilling = || requester.jobs.values().find_map(|job| job.unwilling(limits));
            let why = if !allowed(peer, limits) {
                "its jobs are not served, as the flags --only and --never say".into()
            } else if let Some(why) = unwilling() {
                why
            } else if !requester.connected {
                "it cannot be reached".into()
            } else {
                requester
                    .why
                    .clone()
                    .unwrap_or_else(|| "it is being asked".into())
            };
            reasons.push(format!("requester {}: {why}", short_name(peer)));
        }
        reasons.truncate(4);
        reasons.join("; ")
    }
}

fn allowed(peer: Peer, limits: &Limits) -> bool {
    !limits.never.contains(&peer) && (limits.only.is_empty() || limits.only.contains(&peer))
}

impl JobFacts {
    fn unwilling(&self, limits: &Limits) -> Option<String> {
        let memory = limits.memory.bytes();
        if self.memory_min > memory {
            return Some(format!(
                "its smallest task needs {} bytes of memory, and {memory} are lent: raise --memory",
                self.memory_min
            ));
        }
        if self.instructions > limits.max_instructions {
            return Some(format!(
                "its job has {} instructions, and {} are allowed: raise --max-instructions",
                self.instructions, limits.max_instructions
            ));
        }
        let bytes_max = limits.max_input_bytes + myriad_engine::PROGRAM_BYTES_MAX as u64;
        (self.bytes > bytes_max).then(|| {
            format!(
                "its job has {} bytes of program and input, and {bytes_max} are allowed: raise --max-input",
                self.bytes
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use myriad_engine::MemoryBudget;

    use super::*;

    fn limits() -> Limits {
        Limits {
            memory: MemoryBudget::from_bytes(4 << 30),
            threads: 2,
            max_instructions: 1000,
            max_input_bytes: 1000,
            only: BTreeSet::new(),
            never: BTreeSet::new(),
            prefer: BTreeSet::new(),
        }
    }

    fn job(requester: u8) -> Announcement {
        Announcement {
            version: 1,
            job: JobId([requester; 32]),
            requester: Peer([requester; 32]),
            sequence: 1,
            open: true,
            engine: [0; 32],
            instructions: 10,
            memory_min: 1 << 30,
            bytes: 10,
            addresses: Vec::new(),
        }
    }

    fn offers(requesters: &[u8]) -> Offers {
        let mut offers = Offers::new([7; 32]);
        for &requester in requesters {
            offers.greeted(Peer([requester; 32]), [7; 32], "myriad");
            offers.announced(&job(requester));
        }
        offers
    }

    #[test]
    fn requesters_take_turns() {
        let mut offers = offers(&[1, 2, 3]);
        let order: Vec<u8> = (0..6).map(|_| offers.next(&limits()).unwrap().0[0]).collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 3]);
        let closed = Announcement {
            open: false,
            ..job(2)
        };
        assert!(offers.announced(&closed));
        let order: Vec<u8> = (0..4).map(|_| offers.next(&limits()).unwrap().0[0]).collect();
        assert_eq!(order, [1, 3, 1, 3]);
    }

    #[test]
    fn work_is_shared_evenly_whatever_a_task_takes() {
        let mut offers = offers(&[1, 2]);
        let mut served = [0, 0];
        let (mut before, mut changes) = (None, 0);
        let now = offers.reckoned;
        for _ in 0..120 {
            let peer = offers.next(&limits()).unwrap();
            // The first one's tasks take four times as long.
            let seconds = if peer.0[0] == 1 { 40 } else { 10 };
            served[usize::from(peer.0[0]) - 1] += seconds;
            offers.worked_at(peer, Duration::from_secs(seconds), false, now);
            changes += u32::from(before.replace(peer).is_some_and(|before| before != peer));
            let most = 40 + TURN.as_secs();
            assert!(served[0].abs_diff(served[1]) <= most, "{served:?}");
        }
        // One goes on until it is a minute ahead, and so for two from where the other was.
        assert!((12..=18).contains(&changes), "{changes} of 120");
        // Somebody new has one turn before the others, and not all until it has had as much.
        offers.greeted(Peer([3; 32]), [7; 32], "myriad");
        offers.announced(&job(3));
        let mut turns = 0;
        for _ in 0..30 {
            let peer = offers.next(&limits()).unwrap();
            turns += u32::from(peer == Peer([3; 32]));
            offers.worked_at(peer, Duration::from_secs(10), false, now);
        }
        assert!((9..=12).contains(&turns), "{turns} of 30");
        offers.worked_at(Peer([1; 32]), Duration::ZERO, false, now + 20 * SERVED_HALF_LIFE);
        assert!(
            offers
                .requesters
                .values()
                .all(|requester| requester.served_s < 0.01)
        );
    }

    #[test]
    fn tasks_that_come_to_nothing_keep_nobody_else_waiting() {
        let mut offers = offers(&[1, 2]);
        let now = offers.reckoned;
        let order: Vec<u8> = (0..4)
            .map(|_| {
                let peer = offers.next(&limits()).unwrap();
                offers.worked_at(peer, Duration::from_micros(1), true, now);
                peer.0[0]
            })
            .collect();
        assert_eq!(order, [1, 2, 1, 2]);
    }

    #[test]
    fn whom_the_owner_prefers_goes_first() {
        let mut offers = offers(&[1, 2]);
        let prefer = Limits {
            prefer: [Peer([2; 32])].into(),
            ..limits()
        };
        offers.worked(Peer([2; 32]), Duration::from_secs(1000), false);
        assert_eq!(offers.next(&prefer), Some(Peer([2; 32])));
        let refused = Refused {
            why: Why::NoWork,
            reason: "all tasks wait".into(),
            retry_ms: None,
        };
        offers.refused(Peer([2; 32]), Some(&refused));
        assert_eq!(
            offers.next(&prefer),
            Some(Peer([1; 32])),
            "nobody else is kept waiting"
        );
    }

    #[test]
    fn who_refuses_is_left_alone_until_it_wakes() {
        let mut offers = offers(&[1]);
        let peer = Peer([1; 32]);
        let refused = Refused {
            why: Why::NoWork,
            reason: "all tasks wait".into(),
            retry_ms: None,
        };
        offers.refused(peer, Some(&refused));
        assert_eq!(offers.next(&limits()), None);
        assert!(offers.why_idle(1, &limits()).contains("all tasks wait"));
        offers.woken(peer);
        assert_eq!(offers.next(&limits()), Some(peer));
        offers.lost(peer);
        assert_eq!(offers.next(&limits()), None);
        assert!(offers.why_idle(1, &limits()).contains("cannot be reached"));
    }

    #[test]
    fn the_owner_decides() {
        let mut offers = offers(&[1, 2]);
        let only = Limits {
            only: [Peer([2; 32])].into(),
            ..limits()
        };
        assert_eq!(offers.next(&only), Some(Peer([2; 32])));
        assert_eq!(offers.next(&only), Some(Peer([2; 32])));
        let never = Limits {
            never: [Peer([2; 32]), Peer([1; 32])].into(),
            ..limits()
        };
        assert_eq!(offers.next(&never), None);
        assert!(offers.why_idle(2, &never).contains("--never"));
        for (limits, flag) in [
            (
                Limits {
                    max_instructions: 9,
                    ..limits()
                },
                "--max-instructions",
            ),
            (
                Limits {
                    memory: MemoryBudget::from_bytes(1 << 29),
                    ..limits()
                },
                "--memory",
            ),
        ] {
            assert_eq!(offers.next(&limits), None);
            assert!(offers.why_idle(2, &limits).contains(flag));
        }
    }

    #[test]
    fn another_engine_is_told_and_not_offered_to() {
        let mut offers = offers(&[1]);
        offers.greeted(Peer([1; 32]), [8; 32], "myriad 9");
        assert_eq!(offers.next(&limits()), None);
        assert!(offers.why_idle(1, &limits()).contains("myriad 9"));
    }

    #[test]
    fn nothing_is_found_without_peers() {
        let offers = offers(&[]);
        assert!(offers.why_idle(0, &limits()).contains("--bootstrap"));
        assert!(offers.why_idle(3, &limits()).contains("none of the 3"));
    }
}
