//! Cuts a long execution so that segments can be told of as they are cut: those that were told of
//! stay as they are.

use myriad_engine::{ExecuteError, Plan, Segment, worker::Reports};

use super::{CUTS_MAX, Refusal, Search, Seen, Segmented, too_small};
use crate::memory::NO_PROOF;

/// After as many segments that did not fit, the rest is cut for the least that there is.
const MISFITS_MAX: u32 = 24;
/// The step down is the excess of a segment, doubled for each misfit before it, at most this many
/// times.
const MISFITS_SHIFT_MAX: u32 = 16;

/// One execution that tells of segments.
pub(super) enum Passed {
    /// It told of none: it is short.
    Short(Segmented),
    /// It is long, and ended early: of its first segments, the one with these rows takes most, and
    /// does not fit.
    Misfit { peak: u64, details: Vec<u8> },
    /// It told of all its segments, with more executions if one did not fit.
    Long(Result<Plan, Refusal>),
}

/// Executes, cuts for `bytes`, and tells of segments once there are so many that the execution is
/// long. If one of these does not fit, it ends there: an execution may take hours, and none of it
/// could be told of. When one does not fit afterwards, the execution is cut again: the same up to
/// that segment, and for less from there on.
pub(super) fn pass(
    search: &Search,
    bytes: u64,
    reports: &mut Reports<'_>,
    run: &mut impl FnMut(&[(usize, u64)], usize, Seen<'_>) -> Result<Segmented, ExecuteError>,
) -> Result<Passed, ExecuteError> {
    let segments_max = search.segments_max.saturating_add(1);
    // The segments that were told of, all of which fit.
    let mut told = 0;
    let mut misfit = None;
    let mut first: Vec<Segment> = Vec::new();
    let mut cut = run(&[(0, bytes)], segments_max, &mut |segment| {
        if told > 0 {
            return advance(search, segment, reports, &mut told, &mut misfit);
        }
        first.push(segment.clone());
        if first.len() <= reports.from || first.len() > search.segments_max {
            return true;
        }
        let largest = first.iter().max_by_key(|segment| segment.peak_bytes);
        misfit = largest
            .filter(|segment| segment.peak_bytes > search.within)
            .map(|segment| (segment.peak_bytes, segment.details.clone()));
        if misfit.is_none() {
            (reports.tell)(&first);
            told = first.len();
            first.clear();
        }
        misfit.is_none()
    })?;
    if told == 0 {
        return Ok(match misfit {
            Some((peak, details)) => Passed::Misfit { peak, details },
            None => Passed::Short(cut),
        });
    }
    let mut sums = vec![(0, bytes)];
    let (mut misfits, mut tries) = (0, 0);
    while let Some((peak, details)) = misfit.take() {
        let (from, bytes) = sums[sums.len() - 1];
        // It is the same segment again.
        tries = if from == told { tries + 1 } else { 0 };
        let last = tries + 2 >= CUTS_MAX || misfits >= MISFITS_MAX;
        let shift = tries.max(misfits.min(MISFITS_SHIFT_MAX));
        misfits += 1;
        let Some(less) = search.less(bytes, peak, shift, last) else {
            return Ok(Passed::Long(Err(match peak {
                NO_PROOF => Refusal::Rows { details },
                peak => too_small(peak),
            })));
        };
        if from == told {
            sums.pop();
        }
        sums.push((told, less));
        let mut place = 0;
        cut = run(&sums, segments_max, &mut |segment| {
            place += 1;
            place <= told || advance(search, segment, reports, &mut told, &mut misfit)
        })?;
    }
    let few = cut.whole && cut.plan.segments.len() <= search.segments_max;
    Ok(Passed::Long(if few {
        Ok(cut.plan)
    } else {
        Err(Refusal::Segments)
    }))
}

/// Tells of a segment that fits, or notes the one that does not, with its rows. Returns whether to
/// go on. The one that is too many is not told of: it says that there is no plan.
fn advance(
    search: &Search,
    segment: &Segment,
    reports: &mut Reports<'_>,
    told: &mut usize,
    misfit: &mut Option<(u64, Vec<u8>)>,
) -> bool {
    let fits = segment.peak_bytes <= search.within;
    if fits && *told == search.segments_max {
        return false;
    }
    if fits {
        (reports.tell)(std::slice::from_ref(segment));
        *told += 1;
    } else {
        *misfit = Some((segment.peak_bytes, segment.details.clone()));
    }
    fits
}
