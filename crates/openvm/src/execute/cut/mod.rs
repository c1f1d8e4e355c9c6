//! Finds the number by which to cut an execution, so that each segment fits the memory budget and
//! there are few segments.

mod stream;

use myriad_engine::{ExecuteError, MemoryBudget, Plan, Segment, worker::Reports};

use crate::memory::NO_PROOF;
use stream::{Passed, pass};

/// This part of the budget is left free, in case a peak comes out above the expected one.
const MARGIN_SHARE: u64 = 32;
/// The number of first segments that settle the sum to cut by.
const LOOK_SEGMENTS: usize = 8;
/// The most looks.
const LOOKS_MAX: u32 = 3;
/// The largest of them may leave this part of the budget unused.
const SPARE: u64 = 32;
/// The most executions of a program, each cut for less than the one before, and the last one as
/// finely as possible. One is enough unless a segment comes out too large.
const CUTS_MAX: u32 = 7;
/// The sum to cut by stays between this part of the budget above an empty segment, and this many
/// times that, whatever a few segments show.
const SCRAPS: u64 = 10;
/// `log2` of the number of parts of the budget, of which one is too small to look for a cut in it.
const LOG_PARTS: u32 = 12;

/// A listener that hears of each segment, and says whether to go on.
type Seen<'a> = &'a mut dyn FnMut(&Segment) -> bool;

/// The segments of an execution, and whether it ended.
pub(super) struct Segmented {
    pub plan: Plan,
    /// Whether it was executed to its end.
    pub whole: bool,
}

/// The limits of a cut.
pub(super) struct Limits {
    pub budget: MemoryBudget,
    /// Bytes that a segment takes without an instruction.
    pub least: u64,
    pub segments_max: usize,
}

/// Why there is no cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Some segment takes more memory than the budget has, however finely the execution is cut.
    Memory {
        /// The least budget that was found to be enough, in bytes, or that would be for an empty
        /// segment.
        needed: u64,
    },
    /// Segments that fit are more than there may be.
    Segments,
    /// Some segment's traces are too high for a proof, however finely the execution is cut.
    Rows { details: Vec<u8> },
}

/// Has `run` execute and cut for a number of bytes, and into a limited number of segments, until no
/// segment takes more than the budget has room for.
///
/// `run` gets the sums to cut for, each with the first segment that it is for, and is told whether
/// to go on after each segment. It cuts by a sum over rows, which grows and falls with a segment's
/// memory, but is not equal to it. So the first segments are cut and looked at, and the sum is set
/// by their memory. Then all are cut.
///
/// OpenVM looks at its limit every thousand instructions, and not at the end. A segment can come
/// out larger by the growth of a trace in that many, which may be to twice its rows, or to more
/// than a proof allows. Then all are cut for that much less, and for twice as much less each
/// further time, but by no more than half of the rest. In the end they are cut for nothing, so that
/// each segment has a thousand instructions. If a cut fits, leaves much room, and is much finer
/// than one that does not fit, others between them are tried.
///
/// If finer cuts never take more memory, some cut is found wherever there is one. The exception is
/// where all that fit are within a few hundredths of each other and finer ones have too many
/// segments.
///
/// With `reports`, segments of a long execution are reported once it has shown to be long and the
/// first of them fit. They stay as they are: where a later one does not fit, only it and those
/// behind it are cut for less ([`stream`]).
pub(super) fn within(
    limits: Limits,
    reports: Option<Reports<'_>>,
    mut run: impl FnMut(&[(usize, u64)], usize, Seen<'_>) -> Result<Segmented, ExecuteError>,
) -> Result<Result<Plan, Refusal>, ExecuteError> {
    let Limits {
        budget,
        least,
        segments_max,
    } = limits;
    let within = budget.bytes() - budget.bytes() / MARGIN_SHARE;
    if least > within {
        return Ok(Err(too_small(least)));
    }
    let room = within - least;
    let mut bytes = within;
    let mut too_large: Option<u64> = None;
    for _ in 0..LOOKS_MAX {
        let segments_max = LOOK_SEGMENTS.min(segments_max);
        let Segmented { plan, whole } = run(&[(0, bytes)], segments_max, &mut |_| true)?;
        let peak = plan.peak_bytes();
        let fits = peak <= within;
        if whole && fits && (plan.segments.len() == 1 || within - peak <= room / SPARE) {
            return Ok(Ok(plan));
        }
        if !fits {
            too_large = Some(too_large.map_or(bytes, |known| known.min(bytes)));
        }
        // Segments that cannot be proven say nothing about the others.
        let peaks = plan.segments.iter().map(|segment| segment.peak_bytes);
        let Some(peak) = peaks.filter(|&peak| peak != NO_PROOF).max() else {
            break;
        };
        let taken = peak.saturating_sub(least).max(1);
        let scaled = u128::from(bytes.saturating_sub(least)) * u128::from(room) / u128::from(taken);
        let scaled = least.saturating_add(u64::try_from(scaled).unwrap_or(u64::MAX));
        let close = scaled.abs_diff(bytes) <= room / SPARE;
        bytes = scaled.clamp(least + room / SCRAPS, most(least, room));
        if close {
            break;
        }
    }
    let search = Search {
        within,
        least,
        segments_max,
        too_large,
        too_many: None,
        fits: None,
        needed: None,
        rows: None,
    };
    search.from(bytes, reports, run)
}

/// The most that is cut for.
fn most(least: u64, room: u64) -> u64 {
    least.saturating_add(room.saturating_mul(SCRAPS))
}

fn too_small(needed: u64) -> Refusal {
    Refusal::Memory {
        // The part that is kept free is included.
        needed: needed.saturating_add(needed / (MARGIN_SHARE - 1)),
    }
}

/// The findings of executions about the bytes that they were cut for.
struct Search {
    within: u64,
    least: u64,
    segments_max: usize,
    /// The least number for which a segment came out too large.
    too_large: Option<u64>,
    /// The largest number for which there were too many segments.
    too_many: Option<u64>,
    /// The largest number for which all segments fitted, and those segments.
    fits: Option<(u64, Plan)>,
    /// The least peak of a cut that did not fit.
    needed: Option<u64>,
    /// The rows of a segment that cannot be proven.
    rows: Option<Vec<u8>>,
}

/// The next step of the search.
enum Next {
    Cut(u64),
    Refuse(Refusal),
    Done,
}

impl Search {
    fn from(
        mut self,
        mut bytes: u64,
        mut reports: Option<Reports<'_>>,
        mut run: impl FnMut(&[(usize, u64)], usize, Seen<'_>) -> Result<Segmented, ExecuteError>,
    ) -> Result<Result<Plan, Refusal>, ExecuteError> {
        for tries in 0.. {
            // One more says that there are too many, as long as the execution has not ended.
            let segments_max = self.segments_max.saturating_add(1);
            let next = match &mut reports {
                None => {
                    let cut = run(&[(0, bytes)], segments_max, &mut |_| true)?;
                    self.learn(bytes, cut, tries)
                }
                Some(reports) => match pass(&self, bytes, reports, &mut run)? {
                    Passed::Short(cut) => self.learn(bytes, cut, tries),
                    Passed::Misfit { peak, details } => {
                        match peak {
                            NO_PROOF => self.rows = Some(details),
                            peak => self.needs(peak),
                        }
                        self.finer(bytes, peak, tries)
                    }
                    Passed::Long(result) => return Ok(result),
                },
            };
            match next {
                Next::Cut(next) => bytes = next,
                Next::Refuse(refusal) => return Ok(Err(refusal)),
                Next::Done => break,
            }
        }
        let (_, plan) = self.fits.expect("it is done when all fits");
        Ok(Ok(plan))
    }

    fn learn(&mut self, bytes: u64, Segmented { plan, whole }: Segmented, tries: u32) -> Next {
        let peak = plan.peak_bytes();
        let few = whole && plan.segments.len() <= self.segments_max;
        if peak <= self.within {
            if few {
                self.fits = Some((bytes, plan));
            } else {
                self.too_many = self.too_many.max(Some(bytes));
            }
            return self.between();
        }
        let finite = plan
            .segments
            .iter()
            .map(|s| s.peak_bytes)
            .filter(|&p| p != NO_PROOF);
        if peak != NO_PROOF && few {
            self.needs(peak);
        }
        if peak == NO_PROOF {
            let without = plan.segments.iter().find(|s| s.peak_bytes == NO_PROOF);
            self.rows = without.map(|segment| segment.details.clone());
        }
        if !few {
            // Neither a finer nor a coarser cut helps.
            return Next::Refuse(match finite.max() {
                Some(peak) if peak > self.within => too_small(peak),
                _ => self.refusal(),
            });
        }
        self.finer(bytes, peak, tries)
    }

    /// Notes the peak of a cut that did not fit.
    fn needs(&mut self, peak: u64) {
        self.needed = Some(self.needed.map_or(peak, |needed| needed.min(peak)));
    }

    /// A segment took `peak`, which is too much, when it was cut for `bytes`.
    fn finer(&mut self, bytes: u64, peak: u64, tries: u32) -> Next {
        self.too_large = Some(self.too_large.map_or(bytes, |known| known.min(bytes)));
        if self.fits.is_some() || self.too_many.is_some() {
            return self.between();
        }
        match self.less(bytes, peak, tries, tries + 2 >= CUTS_MAX) {
            Some(less) => Next::Cut(less),
            None => Next::Refuse(self.refusal()),
        }
    }

    /// The next sum to cut for, where a segment takes `peak` when it is cut for `bytes`; none where
    /// there is nothing less: less by the excess, doubled `doublings` times. `last` asks for the
    /// least.
    fn less(&self, bytes: u64, peak: u64, doublings: u32, last: bool) -> Option<u64> {
        let left = bytes.saturating_sub(self.least);
        if left == 0 {
            return None;
        }
        if last {
            return Some(self.least);
        }
        // The shift loses nothing: there are far fewer than 64 doublings.
        let excess = u128::from(peak - self.within) << doublings;
        let step = u64::try_from(excess).unwrap_or(u64::MAX).min(left / 2).max(1);
        Some(bytes - step)
    }

    /// The next try lies between a cut that was too coarse and one that fitted or was too fine.
    fn between(&self) -> Next {
        let room = self.within - self.least;
        let part = (room >> LOG_PARTS).max(1);
        if let Some((_, plan)) = &self.fits
            && self.within - plan.peak_bytes() <= room / SPARE
        {
            return Next::Done;
        }
        let fits = self.fits.as_ref().map(|(bytes, _)| *bytes);
        // A cut that has too many segments may be coarser than one that fits: limits are looked at
        // now and then only.
        let Some(low) = fits.max(self.too_many) else {
            return Next::Refuse(self.refusal());
        };
        let close = ((low - self.least) / SPARE).max(part);
        let Some(high) = self.too_large else {
            let most = most(self.least, room).max(low);
            return match fits {
                Some(_) => Next::Done,
                None if low == most => Next::Refuse(self.refusal()),
                None => Next::Cut(most),
            };
        };
        if high.saturating_sub(low) > close {
            return Next::Cut(low + (high - low) / 2);
        }
        match fits {
            Some(_) => Next::Done,
            None => Next::Refuse(self.refusal()),
        }
    }

    /// The reason for which nothing fits, as far as it is known.
    fn refusal(&self) -> Refusal {
        match (self.needed, &self.rows) {
            (Some(needed), _) => too_small(needed),
            (None, Some(details)) => Refusal::Rows {
                details: details.clone(),
            },
            (None, None) => Refusal::Segments,
        }
    }
}

#[cfg(test)]
mod tests;
