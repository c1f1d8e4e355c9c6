//! Decides whether a leased task also goes to one more machine.
//!
//! A policy sees one question at a time: which peers hold the task, which peer could take it too,
//! and the value of the time. It answers with the gain of the job. The task with the largest gain
//! is given out. Nothing else of the state machine depends on how the policy comes to its answer.

use std::time::Duration;

/// The whole of a quantity, in thousandths.
pub(crate) const ONE: u32 = 1000;

/// How often the same task is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redundancy {
    /// Copies where they are worth it.
    Adaptive(Adaptive),
    /// Each task to this many machines, as soon as they are there: the classical 1:k.
    Fixed(u32),
}

/// Copies where the expected gain is worth the expected waste.
///
/// The expected end of a task is, with holders sorted by the time `r` that each still needs and `d`
/// the chance that it delivers at all,
///
/// ```text
///   E = sum over i of  r_i * d_i * (1 - d_1) * ... * (1 - d_{i-1})   +   again * (1 - d_1) * ... * (1 - d_n)
/// ```
///
/// where `again` is the time until the lease of the last holder has run out and another peer has
/// done the task.
///
/// The gain of a copy is the difference of `E` without and with it, as far as the job feels it:
/// time that the task has to spare counts for nothing. The expected waste of a copy is its work
/// times the chance that some present holder delivers. Where holders are reliable, that is nearly
/// all of its work, and [`Self::waste_max`] binds. Where most are not, copies are nearly free, and
/// there are many.
///
/// The real waste is known later, when holders have delivered or not: each lease that comes to
/// nothing adds the work of its task to the waste that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    /// Work that may be done twice, in thousandths of the work of the job.
    pub waste_max: u32,
    /// Work that may be done twice beyond that, in thousandths of the work of the job, where
    /// strangers never deliver. Where some deliver, it shrinks to the share of those that do not.
    pub waste_unsure: u32,
    /// The least gain, in thousandths of the time that the candidate needs: below it, the estimates
    /// are not that good.
    pub gain_min: u32,
    /// The least gain, in thousandths of the work that is expected to be wasted. It keeps the
    /// allowed waste for the best copies.
    pub gain_per_waste: u32,
    /// Holders that deliver with no more than this chance together, in thousandths, keep nobody
    /// else from the task, whatever was wasted before.
    pub hardly: u32,
    /// Machines without an accepted proof that may hold a task at once. Others are counted apart,
    /// so that thousands of made-up identities cannot keep them out.
    pub unproven_max: u32,
    /// Proven machines that may hold a task at once.
    pub proven_max: u32,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            waste_max: 30,
            waste_unsure: 50,
            gain_min: 100,
            gain_per_waste: 400,
            hardly: 250,
            unproven_max: 8,
            proven_max: 3,
        }
    }
}

/// A machine that holds a task, or could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Whether a proof of it was accepted before.
    pub proven: bool,
    /// The chance that it delivers, in thousandths.
    pub delivers: u32,
    /// The time that it still needs.
    pub remaining: Duration,
}

/// The question whether a task is worth one more copy.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Sorted by the time that they still need.
    pub holders: &'a [Holder],
    pub candidate: Holder,
    /// The time until another peer has done the task, if no present holder delivers.
    pub again: Duration,
    /// How late the task may be before the job is.
    pub spare: Duration,
    /// The work of the task.
    pub work: Duration,
    /// The work that may still be wasted on this job.
    pub waste_left: Duration,
}

/// The value of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worth {
    /// The time by which the job is expected to end earlier; `Duration::MAX` where time is not the
    /// question.
    pub gain: Duration,
    /// The work that is expected to be done in vain.
    pub waste: Duration,
}

impl Default for Redundancy {
    fn default() -> Self {
        Self::Adaptive(Adaptive::default())
    }
}

impl Redundancy {
    /// The value of one more copy; none if there should be none.
    pub fn copy(&self, question: &Question<'_>) -> Option<Worth> {
        match self {
            Self::Adaptive(adaptive) => adaptive.copy(question),
            Self::Fixed(copies) => (question.holders.len() < *copies as usize).then_some(Worth {
                gain: Duration::MAX,
                waste: Duration::ZERO,
            }),
        }
    }

    /// The waste that is allowed on a job with this much work, and the further waste where
    /// strangers never deliver.
    pub(crate) fn waste_allowed(&self, work: Duration) -> (Duration, Duration) {
        match self {
            Self::Adaptive(adaptive) => (
                share(work, adaptive.waste_max),
                share(work, adaptive.waste_unsure),
            ),
            Self::Fixed(_) => (Duration::ZERO, Duration::ZERO),
        }
    }
}

impl Adaptive {
    fn copy(&self, question: &Question<'_>) -> Option<Worth> {
        let Question {
            holders,
            candidate,
            again,
            spare,
            work,
            waste_left,
        } = *question;
        let alike = holders
            .iter()
            .filter(|holder| holder.proven == candidate.proven)
            .count();
        let alike_max = if candidate.proven {
            self.proven_max
        } else {
            self.unproven_max
        };
        if alike >= alike_max as usize {
            return None;
        }
        let fails = holders.iter().fold(ONE, |fails, holder| {
            fails * (ONE - holder.delivers.min(ONE)) / ONE
        });
        let waste = share(work, ONE - fails);
        // A copy beside holders that hardly deliver is the first serious try, and no waste.
        if waste > waste_left && ONE - fails > self.hardly {
            return None;
        }
        let felt = |end: Duration| end.saturating_sub(spare);
        let without = expected_end(holders, again);
        let gain = felt(without).saturating_sub(felt(end_with(holders, candidate, again)));
        let enough = share(candidate.remaining, self.gain_min).max(share(waste, self.gain_per_waste));
        (gain > enough).then_some(Worth { gain, waste })
    }
}

/// See [`Adaptive`]; `holders` are sorted.
fn expected_end(holders: &[Holder], again: Duration) -> Duration {
    let (end, nobody_yet) = holders.iter().fold((Duration::ZERO, ONE), end_after);
    end.saturating_add(share(again, nobody_yet))
}

/// [`expected_end`] with one more holder, the candidate.
fn end_with(holders: &[Holder], candidate: Holder, again: Duration) -> Duration {
    let place = holders.partition_point(|holder| holder.remaining <= candidate.remaining);
    let (before, after) = holders.split_at(place);
    let all = before.iter().chain([&candidate]).chain(after);
    let (end, nobody_yet) = all.fold((Duration::ZERO, ONE), end_after);
    end.saturating_add(share(again, nobody_yet))
}

/// Adds a holder to the expected end of those before it, and to the chance that none of them
/// delivers.
fn end_after((end, nobody_yet): (Duration, u32), holder: &Holder) -> (Duration, u32) {
    let next = nobody_yet * (ONE - holder.delivers.min(ONE)) / ONE;
    (end + share(holder.remaining, nobody_yet - next), next)
}

/// Some thousandths of a duration.
pub(crate) fn share(whole: Duration, thousandths: u32) -> Duration {
    match whole.checked_mul(thousandths) {
        // Exactly, however long it is.
        _ if thousandths == ONE => whole,
        Some(product) => product / ONE,
        None => whole / ONE * thousandths,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn holder(delivers: u32, seconds: u32) -> Holder {
        Holder {
            proven: true,
            delivers,
            remaining: SECOND * seconds,
        }
    }

    fn question(holders: &[Holder], candidate: Holder) -> Question<'_> {
        Question {
            holders,
            candidate,
            again: SECOND * 100,
            spare: Duration::ZERO,
            work: SECOND * 20,
            waste_left: SECOND * 1000,
        }
    }

    fn adaptive(question: &Question<'_>) -> Option<Worth> {
        Redundancy::default().copy(question)
    }

    #[test]
    fn the_expected_end_is_that_of_the_formula() {
        // 0.5 * 10 + 0.5 * 0.8 * 20 + 0.5 * 0.2 * 100, whichever is the candidate.
        let holders = [holder(500, 10), holder(800, 20)];
        assert_eq!(expected_end(&holders, SECOND * 100), SECOND * 23);
        assert_eq!(end_with(&holders[..1], holders[1], SECOND * 100), SECOND * 23);
        assert_eq!(end_with(&holders[1..], holders[0], SECOND * 100), SECOND * 23);
        assert_eq!(expected_end(&[], SECOND * 100), SECOND * 100);
        assert_eq!(expected_end(&[holder(0, 1)], Duration::MAX), Duration::MAX);
    }

    #[test]
    fn a_fast_machine_takes_over_from_a_slow_one() {
        let slow = [holder(1000, 60)];
        let worth = adaptive(&question(&slow, holder(1000, 20))).unwrap();
        assert_eq!(worth.gain, SECOND * 40);
        assert_eq!(worth.waste, SECOND * 20, "the slow one will have worked in vain");
        assert_eq!(adaptive(&question(&slow, holder(1000, 60))), None);
        assert_eq!(
            adaptive(&question(&slow, holder(1000, 57))),
            None,
            "a gain within the error"
        );
    }

    #[test]
    fn what_nobody_waits_for_is_not_copied() {
        let slow = [holder(1000, 60)];
        let patient = Question {
            spare: SECOND * 60,
            ..question(&slow, holder(1000, 20))
        };
        assert_eq!(adaptive(&patient), None);
    }

    #[test]
    fn copies_of_what_likely_fails_are_nearly_free() {
        let worth = |delivers, waste_left| {
            let holders = [holder(delivers, 20)];
            adaptive(&Question {
                waste_left: SECOND * waste_left,
                ..question(&holders, holder(900, 20))
            })
        };
        assert_eq!(worth(300, 1000).unwrap().waste, SECOND * 6);
        assert_eq!(worth(300, 1), None, "too much was wasted before");
        assert!(worth(200, 0).is_some(), "nobody who counts is at it");
    }

    #[test]
    fn the_unproven_cannot_keep_the_proven_out() {
        let unproven = Holder {
            proven: false,
            ..holder(200, 20)
        };
        let crowd = [unproven; 8];
        assert_eq!(adaptive(&question(&crowd, unproven)), None);
        assert!(adaptive(&question(&crowd, holder(950, 20))).is_some());
    }

    #[test]
    fn fixed_asks_for_nothing_else() {
        let fixed = Redundancy::Fixed(2);
        let perfect = [holder(1000, 1); 2];
        assert!(fixed.copy(&question(&perfect[..1], holder(1, 1000))).is_some());
        assert_eq!(fixed.copy(&question(&perfect, holder(1000, 1))), None);
    }
}
