//! The progress of a task, as its requester is told.

/// How much of a task is done, in thousandths, from CPU time taken and expected. Near the end it
/// rises ever more slowly: what is expected may be too little, and only the proof itself is all of
/// it.
pub(super) fn share_done(taken: f64, expected: f64) -> u16 {
    let share = taken / expected.max(0.001);
    let thousandths = if share < 0.9 {
        1000.0 * share
    } else {
        900.0 + 95.0 * (1.0 - (-(share - 0.9) / 0.5).exp())
    };
    thousandths as u16
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
