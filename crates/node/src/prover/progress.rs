//! The progress of a task, as its requester is told.

/// Up to this share, progress is the time taken divided by the expected time.
const EVEN_UNTIL: f64 = 0.9;
/// Beyond it, progress approaches this share and never reaches it.
const LIMIT: f64 = 0.995;
/// An excess of this much over [`EVEN_UNTIL`] makes the rest up to [`LIMIT`] smaller by a factor of
/// e.
const DECAY: f64 = 0.5;

/// The share of a task that is done, in thousandths, from CPU time taken and expected. Near the end
/// it rises ever more slowly: the expectation may be too low, and only the proof itself completes
/// it.
pub(super) fn share_done(taken: f64, expected: f64) -> u16 {
    let share = taken / expected.max(0.001);
    let shown = if share < EVEN_UNTIL {
        share
    } else {
        LIMIT - (LIMIT - EVEN_UNTIL) * (-(share - EVEN_UNTIL) / DECAY).exp()
    };
    (1000.0 * shown) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_rises_and_never_ends_before_the_proof() {
        let shares: Vec<u16> = (0..200).map(|taken| share_done(f64::from(taken), 20.0)).collect();
        assert!(shares.is_sorted());
        assert_eq!(shares[10], 500);
        assert!(shares[199] < 1000);
    }
}
