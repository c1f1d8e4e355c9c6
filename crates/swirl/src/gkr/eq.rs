//! The equality polynomial on the hypercube, in tables of square-root size.

use openvm_stark_backend::{
    p3_field::{ExtensionField, Field},
    poly_common::evals_eq_hypercube_serial,
};

use crate::packed::{ExtPack, ext_from_fn, index_of_lane, log_width};

/// `log2` of the packs of one block, which is a thread's piece of work: its table stays in the
/// first cache.
pub(crate) const LOG_BLOCK_MAX: usize = 7;

/// `eq(point, y)` for all `y`, where the lowest bits of `y` are lanes.
pub(crate) struct SplitEq<F: Field, EF: ExtensionField<F>> {
    /// The factor of each lane.
    pub lanes: ExtPack<F, EF>,
    /// The factor of a pack by its place in its block.
    pub low: Vec<EF>,
    /// The factor of each block.
    pub high: Vec<EF>,
}

impl<F: Field, EF: ExtensionField<F>> SplitEq<F, EF> {
    /// The tables of packs in this phase; `point` has at least as many coordinates as there are
    /// lane bits.
    pub(crate) fn new(point: &[EF], phase: usize) -> Self {
        Self::with_block(point, phase, LOG_BLOCK_MAX)
    }

    /// [`Self::new`] with blocks of at most `2^log_block` packs.
    pub(crate) fn with_block(point: &[EF], phase: usize, log_block: usize) -> Self {
        let (lanes, packs) = point.split_at(log_width::<F>());
        let lanes = evals_eq_hypercube_serial(lanes);
        let (low, high) = packs.split_at(packs.len().min(log_block));
        Self {
            lanes: ext_from_fn::<F, EF>(|lane| lanes[index_of_lane::<F>(phase, lane)]),
            low: evals_eq_hypercube_serial(low),
            high: evals_eq_hypercube_serial(high),
        }
    }

    /// Packs of a block, a power of two.
    pub(crate) fn block(&self) -> usize {
        self.low.len()
    }

    /// The factor of a pack by its place among all.
    #[inline(always)]
    pub(crate) fn of_pack(&self, index: usize) -> EF {
        let block = self.block();
        // A processor takes longer to divide than to multiply the two.
        self.low[index & (block - 1)] * self.high[index >> block.trailing_zeros()]
    }
}

/// The table of a single pack, for a point of fewer coordinates than there are lane bits: lanes
/// past the hypercube have the factor zero.
pub(crate) fn small_eq<F: Field, EF: ExtensionField<F>>(point: &[EF], phase: usize) -> SplitEq<F, EF> {
    let values = evals_eq_hypercube_serial(point);
    SplitEq {
        lanes: ext_from_fn::<F, EF>(|lane| {
            let index = index_of_lane::<F>(phase, lane);
            values.get(index).copied().unwrap_or(EF::ZERO)
        }),
        low: vec![EF::ONE],
        high: vec![EF::ONE],
    }
}

/// The sum of `eq(point, y)` over all `y < end`.
pub(crate) fn eq_prefix<EF: Field>(point: &[EF], end: usize) -> EF {
    if end >> point.len() != 0 {
        return EF::ONE;
    }
    let mut sum = EF::ZERO;
    let mut factor = EF::ONE;
    for (bit, &x) in point.iter().enumerate().rev() {
        if (end >> bit) & 1 == 1 {
            // All that have a zero here are below.
            sum += factor * (EF::ONE - x);
            factor *= x;
        } else {
            factor *= EF::ONE - x;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::p3_field::PrimeCharacteristicRing;
    use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

    use super::*;

    #[test]
    fn prefixes_are_sums_of_the_table() {
        let point: Vec<EF> = (3..8).map(|i| EF::from_usize(i * i * 7919)).collect();
        let table = evals_eq_hypercube_serial(&point);
        for end in 0..=table.len() {
            assert_eq!(
                eq_prefix(&point, end),
                table[..end].iter().copied().sum::<EF>(),
                "below {end}"
            );
        }
    }
}
