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

/// The most bytes of files of a requester that has never signed for a proof: with a pause of ten
/// minutes between two of them, they take half a megabit a second.
const STRANGERS_BYTES_MAX: u64 = 32 << 20;
/// Requesters that have signed, and are remembered as such.
const PAYERS_MAX: usize = 4096;
/// A job's files are not asked for any more after this many attempts in vain.
const TRIES: u32 = 3;
/// The pause before a job's files are asked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// The least and the longest pause that a requester may ask for before it is asked again.
const LATER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// How far the files of a job are that has no tasks yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beforehand {
    /// The time since which the job is known to be executed.
    executed_since: Option<Instant>,
    /// The time from which it asks for a task without the files.
    asks_from: Option<Instant>,
    tries: u32,
    /// The time to ask again.
    next: Option<Instant>,
    state: State,
    /// It was heard of before it had tasks.
    was_without_tasks: bool,
    /// This machine has had a task of it.
    was_leased: bool,
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
        self.was_without_tasks |= !has_tasks;
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

    /// Whether its files are fetched beforehand. Those of a job that was heard of while it was
    /// executed still are when it has tasks, which may be few as long as it is cut; its requester
    /// says when it has all. A lease comes with its files.
    fn goes_on(&self, has_tasks: bool) -> bool {
        !has_tasks || self.was_without_tasks && !self.was_leased
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
    /// The files that this machine fetches next, if it should now. They are of a requester that
    /// executes a job which the owner lends for: of the owner's preferred ones the least-served. A
    /// machine that is `at_task` comes later.
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
                    job.files.goes_on(job.extent.is_some())
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

    /// This machine has a task of a job.
    pub(in crate::prover) fn leased(&mut self, requester: Peer, job: JobId) {
        let requester = self.requesters.get_mut(&requester);
        if let Some(job) = requester.and_then(|requester| requester.jobs.get_mut(&job)) {
            job.files.was_leased = true;
        }
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
mod tests;
