//! Which announcements are new, and which are old, false or too many.

use std::collections::{BTreeMap, HashMap, VecDeque};

use myriad_core::{JobId, Peer};

use crate::wire::{Announcement, PROTOCOL_VERSION};

/// Jobs of one requester that are remembered. Further ones are not forwarded.
const JOBS_PER_REQUESTER_MAX: usize = 32;
/// Requesters that are remembered; the one that was silent for longest is forgotten first.
const REQUESTERS_MAX: usize = 1024;
/// How far ahead of this node's clock a sequence number may be, in milliseconds. A home machine's clock
/// may be an hour off, when its time zone is set wrongly.
const AHEAD_MAX_MS: u64 = 2 * 3600 * 1000;

/// What to do with an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Forward it and act on it.
    New,
    /// Neither forward nor blame: it is known, or of no use here.
    Old,
    /// Its author or who forwarded it is at fault.
    Invalid,
}

/// The latest announcement of each job.
#[derive(Default)]
pub(super) struct Jobs {
    of_requester: HashMap<Peer, BTreeMap<JobId, u64>>,
    /// Requesters in the order in which they were first heard of.
    order: VecDeque<Peer>,
}

impl Jobs {
    /// Judges an announcement that `author` has signed, at `now_ms` since 1970.
    pub(super) fn judge(
        &mut self,
        announcement: &Announcement,
        author: Option<Peer>,
        now_ms: u64,
    ) -> Judgement {
        let Announcement {
            requester,
            job,
            sequence,
            ..
        } = *announcement;
        if author != Some(requester) || sequence > now_ms.saturating_add(AHEAD_MAX_MS) {
            return Judgement::Invalid;
        }
        if announcement.version != PROTOCOL_VERSION {
            return Judgement::Old;
        }
        if !self.of_requester.contains_key(&requester) {
            if self.of_requester.len() == REQUESTERS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.of_requester.remove(&oldest);
            }
            self.order.push_back(requester);
        }
        let jobs = self.of_requester.entry(requester).or_default();
        match jobs.get_mut(&job) {
            Some(known) if sequence <= *known => Judgement::Old,
            Some(known) => {
                *known = sequence;
                Judgement::New
            }
            None => {
                if jobs.len() == JOBS_PER_REQUESTER_MAX {
                    let oldest = jobs
                        .iter()
                        .min_by_key(|(_, known)| **known)
                        .map(|(&job, &known)| (job, known));
                    match oldest {
                        Some((oldest, known)) if known < sequence => jobs.remove(&oldest),
                        _ => return Judgement::Old,
                    };
                }
                jobs.insert(job, sequence);
                Judgement::New
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn announcement(requester: u8, job: u64, sequence: u64) -> Announcement {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&job.to_le_bytes());
        Announcement {
            version: PROTOCOL_VERSION,
            job: JobId(id),
            requester: Peer([requester; 32]),
            sequence,
            open: true,
            engine: [0; 32],
            instructions: 1,
            memory_min: 1,
            bytes: 1,
            addresses: Vec::new(),
        }
    }

    fn judge(jobs: &mut Jobs, announcement: &Announcement) -> Judgement {
        jobs.judge(announcement, Some(announcement.requester), NOW)
    }

    #[test]
    fn only_later_ones_are_new() {
        let mut jobs = Jobs::default();
        assert_eq!(judge(&mut jobs, &announcement(1, 1, 5)), Judgement::New);
        assert_eq!(judge(&mut jobs, &announcement(1, 1, 5)), Judgement::Old);
        assert_eq!(judge(&mut jobs, &announcement(1, 1, 4)), Judgement::Old);
        assert_eq!(judge(&mut jobs, &announcement(1, 1, 6)), Judgement::New);
        assert_eq!(
            judge(&mut jobs, &announcement(2, 1, 5)),
            Judgement::New,
            "of another requester"
        );
    }

    #[test]
    fn nobody_speaks_for_another_or_from_the_future() {
        let mut jobs = Jobs::default();
        let said = announcement(1, 1, 5);
        assert_eq!(jobs.judge(&said, Some(Peer([2; 32])), NOW), Judgement::Invalid);
        assert_eq!(jobs.judge(&said, None, NOW), Judgement::Invalid);
        let future = announcement(1, 1, NOW + AHEAD_MAX_MS + 1);
        assert_eq!(judge(&mut jobs, &future), Judgement::Invalid);
        let other = Announcement { version: 2, ..said };
        assert_eq!(judge(&mut jobs, &other), Judgement::Old);
    }

    #[test]
    fn memory_is_bounded_whatever_is_announced() {
        let mut jobs = Jobs::default();
        for job in 0..1000 {
            judge(&mut jobs, &announcement(1, job, NOW + job));
        }
        assert_eq!(jobs.of_requester[&Peer([1; 32])].len(), JOBS_PER_REQUESTER_MAX);
        for requester in 0..3 * REQUESTERS_MAX as u32 {
            let mut said = announcement(1, 1, NOW);
            said.requester.0[..4].copy_from_slice(&requester.to_le_bytes());
            judge(&mut jobs, &said);
        }
        assert_eq!(jobs.of_requester.len(), REQUESTERS_MAX);
        assert_eq!(jobs.order.len(), REQUESTERS_MAX);
    }
}
