//! Decides which requester gets this machine's next offer, and says why there is none if there is
//! none.
//!
//! It reads no clock: its caller tells it the time.

mod beforehand;
mod engines;
mod fairness;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use myriad_core::{EngineId, EngineName, JobId, Peer};
use myriad_net::{
    short_name,
    wire::{Announcement, Extent, Refused, Why},
};

use self::{
    beforehand::{Beforehand, Credit},
    fairness::{PATIENCE, Setbacks, TURN},
};
pub(super) use self::{
    beforehand::{Fetched, Wanted},
    fairness::Outcome,
};
use super::Limits;

/// The pause before this machine asks again where a notice should come first.
const WAIT: Duration = Duration::from_secs(30);
/// The pause after a passing refusal that names none, or after no answer because the connection
/// broke.
const RETRY: Duration = Duration::from_secs(2);
/// The pause for a requester that does not want this machine, or that this machine does not want.
const LONG: Duration = Duration::from_secs(600);
/// The longest pause that a requester may ask for.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// Requesters that are remembered. Their announcements are signed, but identities cost nothing.
const REQUESTERS_MAX: usize = 1024;
/// A job that was not announced for so long counts as closed: open ones are announced every 20 s.
const JOB_SILENCE_MAX: Duration = Duration::from_secs(300);
/// The owner is told about this many requesters at once.
const REASONS_SHOWN: usize = 4;
/// Clocks that differ by less than this are not worth a word: a greeting may be on its way for half
/// of that time.
const CLOCK_APART_S: u64 = 60;
/// Jobs of one requester that are remembered.
const JOBS_MAX: usize = 64;

/// The requesters that this machine knows, and whose turn it is.
pub(super) struct Offers {
    requesters: BTreeMap<Peer, Requester>,
    /// The requester of the last offer. Among requesters that were served equally, the one after it
    /// comes next.
    last: Option<Peer>,
    /// The requester whose turn it is: the last one for which this machine made a proof.
    serving: Option<Peer>,
    /// The time at which the served seconds were last reckoned down.
    reckoned: Instant,
    /// The engines of this machine.
    engines: Vec<EngineId>,
    credit: Credit,
}

#[derive(Default)]
struct Requester {
    jobs: BTreeMap<JobId, JobFacts>,
    /// The engines that it greeted with last, if this machine has one of them.
    engines: Option<Vec<EngineId>>,
    connected: bool,
    /// The time of the offer to it that it has not answered yet.
    unanswered_since: Option<Instant>,
    next: Option<Instant>,
    /// It has said that it will wake this machine, and when to ask if it has not by then. A new job
    /// of its is no reason to ask.
    wakes: bool,
    /// It has woken this machine while its answer to an offer was under way.
    woken_meanwhile: bool,
    /// The reason for which this machine got no task from it.
    why: Option<String>,
    /// Seconds that this machine has worked for it or waited for it, lately: see
    /// [`Offers::worked`].
    served_s: f64,
    setbacks: Setbacks,
    /// How long this machine has waited for refusals since the last setback or proof.
    in_vain: Duration,
    /// The seconds that its clock was ahead of this machine's when it greeted, and the time of the
    /// greeting; none if the difference is not worth a word.
    clock_ahead: Option<(i64, Instant)>,
}

struct JobFacts {
    /// None while its requester executes the program, and so has no tasks yet.
    extent: Option<Extent>,
    bytes: u64,
    engine: EngineName,
    /// The engine that it has and this machine lacks, in words.
    lacks: Option<String>,
    heard: Instant,
    files: Beforehand,
}

impl Offers {
    /// `engines` are those that this build greets with, and `payers` are the requesters that have
    /// signed for proofs.
    pub(super) fn new(engines: Vec<EngineId>, payers: impl IntoIterator<Item = Peer>, now: Instant) -> Self {
        Self {
            requesters: BTreeMap::new(),
            last: None,
            serving: None,
            reckoned: now,
            engines,
            credit: Credit::new(payers),
        }
    }

    /// A requester that has these engines has greeted.
    pub(super) fn greeted(&mut self, peer: Peer, engines: &[EngineId], build: &str, now: Instant) {
        let other = engines::other(&self.engines, engines, build);
        // Where they have none in common, `other` says why, better than each job could.
        let known = other.is_none().then(|| engines.to_vec());
        let requester = self.requesters.entry(peer).or_default();
        requester.connected = true;
        requester.wakes = false;
        // Its process may be a new one, which does not know the holders of the files.
        for job in requester.jobs.values_mut() {
            job.files = Beforehand::default();
            job.lacks = engines::lacks(&self.engines, known.as_deref(), job.engine);
        }
        requester.engines = known;
        (requester.next, requester.why) = match other {
            None => (None, None),
            Some(why) => (Some(now + LONG), Some(why)),
        };
    }

    /// Notes by how many milliseconds the clock of a requester that greets is ahead of this
    /// machine's. Nothing depends on it.
    pub(super) fn has_clock(&mut self, peer: Peer, ahead_ms: i64, now: Instant) {
        if let Some(requester) = self.requesters.get_mut(&peer) {
            let ahead_s = ahead_ms / 1000;
            let is_apart = ahead_s.unsigned_abs() >= CLOCK_APART_S;
            requester.clock_ahead = is_apart.then_some((ahead_s, now));
        }
    }

    /// A line for the owner about each connected requester whose clock differs from this machine's.
    /// Either clock may have been set since: nobody hears of it before the next greeting.
    pub(super) fn clocks(&self, now: Instant) -> Vec<String> {
        let connected = self
            .requesters
            .iter()
            .filter(|(_, requester)| requester.connected);
        let apart = connected.filter_map(|(&peer, requester)| {
            let (ahead, found) = requester.clock_ahead?;
            let (minutes, side) = (ahead.unsigned_abs() / 60, if ahead > 0 { "ahead of" } else { "behind" });
            Some(format!(
                "the clock of requester {} was {} h {:02} min {side} this machine's when it greeted, {} min ago: one of the \
                 two was wrong, and its jobs are served all the same",
                short_name(peer),
                minutes / 60,
                minutes % 60,
                now.duration_since(found).as_secs() / 60
            ))
        });
        apart.take(REASONS_SHOWN).collect()
    }

    pub(super) fn lost(&mut self, peer: Peer) {
        if let Some(requester) = self.requesters.get_mut(&peer) {
            requester.connected = false;
            if requester.jobs.is_empty() {
                self.requesters.remove(&peer);
            }
        }
    }

    /// Notes what a requester says about a job; true if the job is closed.
    pub(super) fn announced(&mut self, said: &Announcement, now: Instant) -> bool {
        if !self.requesters.contains_key(&said.requester)
            && self.requesters.len() >= REQUESTERS_MAX
            && !self.make_room()
        {
            return false;
        }
        let least = self.least_served();
        let requester = self.requesters.entry(said.requester).or_default();
        let lacks = engines::lacks(&self.engines, requester.engines.as_deref(), said.engine.name);
        if said.open && requester.jobs.is_empty() {
            requester.served_s = requester.served_s.max(least);
        }
        if !said.open {
            requester.jobs.remove(&said.job);
            return true;
        }
        let known = requester.jobs.len() < JOBS_MAX || requester.jobs.contains_key(&said.job);
        if known {
            let before = requester.jobs.remove(&said.job);
            let had_tasks = before.as_ref().is_some_and(|job| job.extent.is_some());
            let mut files = before.map(|job| job.files).unwrap_or_default();
            files.heard(said.extent.is_some(), now);
            let facts = JobFacts {
                extent: said.extent,
                bytes: said.bytes,
                engine: said.engine.name,
                lacks,
                heard: now,
                files,
            };
            requester.jobs.insert(said.job, facts);
            if said.extent.is_some() && !had_tasks && !requester.wakes {
                // A requester that refused before may answer otherwise for this job.
                requester.next = None;
            }
        }
        false
    }

    /// Forgets the requester that was heard of longest ago and is not connected.
    /// Anybody can announce jobs of any number of identities, and only a connected requester can
    /// give a task.
    fn make_room(&mut self) -> bool {
        let away = self
            .requesters
            .iter()
            .filter(|(_, requester)| !requester.connected);
        let heard = |requester: &Requester| requester.jobs.values().map(|job| job.heard).max();
        let silent = away
            .min_by_key(|(_, requester)| heard(requester))
            .map(|(&peer, _)| peer);
        silent.is_some_and(|peer| self.requesters.remove(&peer).is_some())
    }

    /// Forgets the jobs of requesters that have fallen silent.
    pub(super) fn forget_silent(&mut self, now: Instant) {
        for requester in self.requesters.values_mut() {
            requester.jobs.retain(|_, job| now - job.heard < JOB_SILENCE_MAX);
        }
        self.requesters
            .retain(|_, requester| requester.connected || !requester.jobs.is_empty());
    }

    /// A requester has work again.
    pub(super) fn woken(&mut self, peer: Peer) {
        if let Some(requester) = self.requesters.get_mut(&peer) {
            (requester.next, requester.wakes) = (None, false);
            requester.jobs.values_mut().for_each(|job| job.files.hurry());
            // The answer to an offer may be under way, and say to wait.
            requester.woken_meanwhile = requester.unanswered_since.is_some();
        }
    }

    /// It gave a task, which this machine takes.
    pub(super) fn granted(&mut self, peer: Peer) {
        if let Some(requester) = self.requesters.get_mut(&peer) {
            (requester.unanswered_since, requester.next, requester.why) = (None, None, None);
            (requester.wakes, requester.woken_meanwhile) = (false, false);
        }
    }

    /// It gave a task when this machine had one already. That is nobody's fault, but it pays for
    /// the wait.
    pub(super) fn too_late(&mut self, peer: Peer, now: Instant) {
        self.answered(peer, now);
        if let Some(requester) = self.requesters.get_mut(&peer) {
            requester.next = Some(now + RETRY);
        }
    }

    /// The time that the requester took to answer, or to fail to. It is charged to the requester.
    fn answered(&mut self, peer: Peer, now: Instant) -> Duration {
        let requester = self.requesters.get_mut(&peer);
        let since = requester.and_then(|requester| requester.unanswered_since.take());
        let waited = since.map_or(Duration::ZERO, |since| now - since);
        self.charge(peer, waited, now);
        waited
    }

    /// It gave no task; `refused` is its answer, if there was one.
    pub(super) fn refused(&mut self, peer: Peer, refused: Option<&Refused>, now: Instant) {
        let waited = self.answered(peer, now);
        let Some(requester) = self.requesters.get_mut(&peer) else {
            return;
        };
        let pause = match refused {
            None => RETRY,
            Some(Refused { why, retry_ms, .. }) => {
                let wanted_pause = retry_ms.map(|ms| Duration::from_millis(ms).clamp(RETRY / 4, RETRY_MAX));
                wanted_pause.unwrap_or(match why {
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
        requester.next = Some(now + pause);
        requester.wakes = refused.is_some_and(|refused| {
            matches!(refused.why, Why::NoWork | Why::Memory) && refused.retry_ms.is_some()
        });
        // Refusals that each come just in time would otherwise never be a setback.
        requester.in_vain += waited;
        if refused.is_none() || requester.in_vain >= PATIENCE {
            requester.setbacks.add(now);
            requester.in_vain = Duration::ZERO;
        }
        if std::mem::take(&mut requester.woken_meanwhile) {
            (requester.next, requester.wakes) = (None, false);
        }
    }

    /// This machine does not want its job.
    pub(super) fn unwilling(&mut self, peer: Peer, why: String, now: Instant) {
        if let Some(requester) = self.requesters.get_mut(&peer) {
            requester.next = Some(now + LONG);
            requester.why = Some(why);
        }
    }

    /// The next requester to get an offer now, unless it is better to wait for the answers of
    /// others. Among the requesters that may have a task, those that the owner prefers come first.
    /// Among these comes the one that was served least, and the one whose turn it is has a head
    /// start of [`TURN`].
    pub(super) fn next(&mut self, limits: &Limits, now: Instant) -> Option<Peer> {
        if !self.may_ask(now) {
            return None;
        }
        let ready = |(peer, requester): &(&Peer, &Requester)| {
            requester.connected
                && requester.unanswered_since.is_none()
                && requester.setbacks.remaining(now).is_zero()
                && allowed(**peer, limits)
                && requester.next.is_none_or(|next| next <= now)
                && requester.jobs.values().any(|job| job.is_asked_for(limits, now))
        };
        let after = self.last.map_or(self.requesters.range(..), |last| {
            use std::ops::Bound::{Excluded, Unbounded};
            self.requesters.range((Excluded(last), Unbounded))
        });
        // The first of equals stays, and so all take turns.
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
        if let Some(requester) = next.and_then(|peer| self.requesters.get_mut(&peer)) {
            requester.unanswered_since = Some(now);
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

    /// The numbers of open jobs and of connected requesters.
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
    pub(super) fn why_idle(&self, peers: usize, limits: &Limits, now: Instant) -> String {
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
            } else if let Some(why) = requester.executes() {
                why
            } else {
                requester.why_not(now)
            };
            reasons.push(format!("requester {}: {why}", short_name(peer)));
        }
        reasons.truncate(REASONS_SHOWN);
        reasons.join("; ")
    }
}

impl Requester {
    /// The reason for which it gives no task, although it could be asked.
    fn why_not(&self, now: Instant) -> String {
        let waited = self.unanswered_since.map(|since| now - since);
        if let Some(waited) = waited.filter(|waited| *waited >= PATIENCE) {
            return format!("it does not answer, and was asked {} s ago", waited.as_secs());
        }
        let why = self.why.clone().unwrap_or_else(|| "it is being asked".into());
        let taken = match self.setbacks.count {
            0 => return why,
            1 => "once".into(),
            times => format!("{times} times in a row"),
        };
        let pause = match self.setbacks.remaining(now) {
            Duration::ZERO => String::new(),
            remaining => format!(", and is asked again in {} s", remaining.as_secs_f64().ceil()),
        };
        format!("{why}; it took this machine's time for nothing {taken}{pause}")
    }
}

fn allowed(peer: Peer, limits: &Limits) -> bool {
    !limits.never.contains(&peer) && (limits.only.is_empty() || limits.only.contains(&peer))
}

impl JobFacts {
    /// Whether it may have a task for this machine, and others do not come first.
    fn is_asked_for(&self, limits: &Limits, now: Instant) -> bool {
        self.extent.is_some() && self.unwilling(limits).is_none() && self.files.may_ask(now)
    }

    /// The reason for which this machine does not serve it, as far as the announcement tells.
    fn unwilling(&self, limits: &Limits) -> Option<String> {
        if let Some(lacks) = &self.lacks {
            return Some(lacks.clone());
        }
        let memory = limits.memory.bytes();
        let extent = self.extent.unwrap_or(Extent {
            instructions: 0,
            memory_min: 0,
        });
        if extent.memory_min > memory {
            return Some(format!(
                "its smallest task needs {} bytes of memory, and {memory} are lent: raise --memory",
                extent.memory_min
            ));
        }
        if extent.instructions > limits.max_instructions {
            return Some(format!(
                "its job has {} instructions, and {} are allowed: raise --max-instructions",
                extent.instructions, limits.max_instructions
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
