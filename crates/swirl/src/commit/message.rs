//! Makes the message that is encoded from the evaluations of a stacked column.
//!
//! A column is read in chunks of `2^l_skip` evaluations on a subgroup. Its message holds for each
//! chunk the coefficients of the polynomial through them, taken as coefficients of a multilinear
//! polynomial and evaluated on the hypercube: what `eval_to_coeff_rs_message` of OpenVM computes.
//! Both steps are linear and within a chunk; here they run over `WIDTH` chunks at once, in place.

use openvm_stark_backend::{
    p3_field::{PackedValue, PrimeCharacteristicRing, TwoAdicField},
    p3_maybe_rayon::prelude::*,
    p3_util::reverse_slice_index_bits,
};

use crate::packed::{PackedField, transpose};

/// Elements that one task of a parallel loop converts: 64 KiB, which stays in the cache.
const TASK: usize = 1 << 14;

pub(crate) struct Chunks<F> {
    log_size: usize,
    /// Twiddles of the inverse transform, those of the largest block first.
    inverse: Vec<Vec<F>>,
    /// Their inverses, by which messages become evaluations again.
    forward: Vec<Vec<F>>,
    size_inverse: F,
}

impl<F: PackedField + TwoAdicField> Chunks<F> {
    pub(crate) fn new(l_skip: usize) -> Self {
        let powers = |log_block: usize, root: F| root.powers().take(1 << log_block >> 1).collect();
        Self {
            log_size: l_skip,
            inverse: (1..=l_skip)
                .rev()
                .map(|log| powers(log, F::two_adic_generator(log).inverse()))
                .collect(),
            forward: (1..=l_skip)
                .map(|log| powers(log, F::two_adic_generator(log)))
                .collect(),
            size_inverse: F::ONE.halve().exp_u64(l_skip as u64),
        }
    }

    pub(crate) fn size(&self) -> usize {
        1 << self.log_size
    }

    /// Evaluations to message.
    pub(crate) fn encode(&self, values: &mut [F]) {
        self.for_all(values, |chunk| {
            self.interpolate(chunk);
            zeta(chunk);
        });
    }

    /// [`Self::encode`] by this thread alone.
    ///
    /// A thread that waits for its part of a loop takes up another's work: within a loop over
    /// columns it would begin with the next column, and hold both.
    pub(crate) fn encode_alone(&self, values: &mut [F]) {
        assert_eq!(values.len() % self.size(), 0, "a column of whole chunks");
        let mut packed = vec![F::Packing::ZERO; self.size()];
        self.convert(values, &mut packed, &|chunk: &mut [F::Packing]| {
            self.interpolate(chunk);
            zeta(chunk);
        });
    }

    /// Messages to the evaluations that they were made of.
    pub(crate) fn decode(&self, values: &mut [F]) {
        self.for_all(values, |chunk| {
            moebius(chunk);
            self.evaluate(chunk);
        });
    }

    /// Evaluations to the message, and the low variables of the message to the hypercube once more.
    pub(crate) fn encode_and_zeta(&self, values: &mut [F]) {
        self.for_all(values, |chunk| {
            self.interpolate(chunk);
            zeta(chunk);
            zeta(chunk);
        });
    }

    fn for_all(&self, values: &mut [F], convert: impl Fn(&mut [F::Packing]) + Sync) {
        let size = self.size();
        let lanes = F::Packing::WIDTH;
        assert_eq!(values.len() % size, 0, "a column of whole chunks");
        values.par_chunks_mut(TASK.max(size * lanes)).for_each_init(
            || vec![F::Packing::ZERO; size],
            |packed, values| self.convert(values, packed, &convert),
        );
    }

    #[inline(always)]
    fn convert(&self, values: &mut [F], packed: &mut [F::Packing], convert: &impl Fn(&mut [F::Packing])) {
        let size = self.size();
        let lanes = F::Packing::WIDTH;
        for group in values.chunks_mut(size * lanes) {
            if group.len() == size * lanes && size.is_multiple_of(lanes) {
                // Each lane takes a chunk, by as many packs of it as fill one.
                let parts = size / lanes;
                let group = F::Packing::pack_slice_mut(group);
                for (part, packed) in packed.chunks_exact_mut(lanes).enumerate() {
                    for (lane, pack) in packed.iter_mut().enumerate() {
                        *pack = group[lane * parts + part];
                    }
                    transpose::<F>(packed);
                }
                convert(packed);
                for (part, packed) in packed.chunks_exact_mut(lanes).enumerate() {
                    transpose::<F>(packed);
                    for (lane, pack) in packed.iter().enumerate() {
                        group[lane * parts + part] = *pack;
                    }
                }
                continue;
            }
            for (lane, chunk) in group.chunks_exact(size).enumerate() {
                for (slot, &value) in packed.iter_mut().zip(chunk) {
                    slot.as_slice_mut()[lane] = value;
                }
            }
            convert(packed);
            for (lane, chunk) in group.chunks_exact_mut(size).enumerate() {
                for (slot, value) in packed.iter().zip(chunk) {
                    *value = slot.as_slice()[lane];
                }
            }
        }
    }

    #[inline(always)]
    fn interpolate(&self, chunk: &mut [F::Packing]) {
        for twiddles in &self.inverse {
            let half = twiddles.len();
            for block in chunk.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((low, high), &twiddle) in low.iter_mut().zip(high).zip(twiddles) {
                    (*low, *high) = (*low + *high, (*low - *high) * twiddle);
                }
            }
        }
        reverse_slice_index_bits(chunk);
        for value in chunk {
            *value *= self.size_inverse;
        }
    }

    /// The input that [`Self::interpolate`] was given.
    #[inline(always)]
    fn evaluate(&self, chunk: &mut [F::Packing]) {
        reverse_slice_index_bits(chunk);
        for twiddles in &self.forward {
            let half = twiddles.len();
            for block in chunk.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((low, high), &twiddle) in low.iter_mut().zip(high).zip(twiddles) {
                    let turned = *high * twiddle;
                    (*low, *high) = (*low + turned, *low - turned);
                }
            }
        }
    }
}

/// Evaluations on the hypercube to multilinear coefficients.
#[inline(always)]
fn moebius<P: PrimeCharacteristicRing + Copy>(values: &mut [P]) {
    for_pairs(values, |low, high| *high -= low);
}

/// Multilinear coefficients to evaluations on the hypercube.
#[inline(always)]
fn zeta<P: PrimeCharacteristicRing + Copy>(values: &mut [P]) {
    for_pairs(values, |low, high| *high += low);
}

/// Combines, for each variable, each value whose index has a zero in it with the one that has a
/// one.
#[inline(always)]
fn for_pairs<P: Copy>(values: &mut [P], combine: impl Fn(P, &mut P)) {
    let mut half = 1;
    while half < values.len() {
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (&low, high) in low.iter().zip(high) {
                combine(low, high);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::{
        p3_field::PrimeCharacteristicRing,
        prover::poly::{Mle, eval_to_coeff_rs_message},
    };
    use openvm_stark_sdk::config::baby_bear_poseidon2::F;

    use super::Chunks;

    #[test]
    fn messages_are_those_of_openvm() {
        for (l_skip, log_height) in [(0, 3), (1, 1), (2, 9), (4, 4), (4, 7), (4, 12), (5, 6)] {
            let column: Vec<F> = (0..1u32 << log_height)
                .map(|i| F::from_u32(i * 77 + i * i))
                .collect();
            let expected = eval_to_coeff_rs_message(l_skip, &column);
            let chunks = Chunks::new(l_skip);
            let mut message = column.clone();
            chunks.encode(&mut message);
            assert_eq!(message, expected, "l_skip {l_skip}, height 2^{log_height}");
            chunks.decode(&mut message);
            assert_eq!(message, column, "l_skip {l_skip}, height 2^{log_height}");

            let mut twice = column.clone();
            chunks.encode_and_zeta(&mut twice);
            let mut expected = expected;
            expected
                .chunks_exact_mut(1 << l_skip)
                .for_each(Mle::coeffs_to_evals_inplace);
            assert_eq!(twice, expected, "l_skip {l_skip}, height 2^{log_height}");
        }
    }
}
