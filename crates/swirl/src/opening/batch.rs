//! The batched column: all stacked columns, weighted by powers of a challenge.

use openvm_stark_backend::{
    p3_field::{ExtensionField, Field, PackedValue, TwoAdicField},
    p3_maybe_rayon::prelude::*,
};

use super::packed::Values;
use crate::{commit::message::Chunks, packed::PackedField};

/// Rows that one task batches: its sums stay in the first-level cache.
pub(super) const ROWS: usize = 1 << 10;

/// A butterfly network below this size runs layer by layer, within the second-level cache.
const SERIAL: usize = 1 << 15;

/// Values on the hypercube of the multilinear polynomial whose coefficients are the message of
/// `sum_j mu^j * columns[j]`.
pub(crate) fn hypercube_values<F, EF>(columns: &[&[F]], mu: EF, l_skip: usize) -> Values<F, EF>
where
    F: PackedField + TwoAdicField,
    EF: ExtensionField<F>,
{
    let powers: Vec<EF> = mu.powers().take(columns.len()).collect();
    let mut planes = weighted_sum(columns, &powers);
    let chunks = Chunks::new(l_skip);
    for plane in &mut planes {
        chunks.encode_and_zeta(plane);
        zeta_from(plane, chunks.size());
    }
    Values::from_planes(&planes)
}

/// The basis coefficients of `sum_j weights[j] * columns[j]`.
fn weighted_sum<F: Field, EF: ExtensionField<F>>(columns: &[&[F]], weights: &[EF]) -> Vec<Vec<F>> {
    let height = columns[0].len();
    let mut planes: Vec<Vec<F>> = (0..EF::DIMENSION).map(|_| F::zero_vec(height)).collect();
    let mut parts: Vec<_> = planes.iter_mut().map(|plane| plane.chunks_mut(ROWS)).collect();
    let tasks: Vec<Vec<&mut [F]>> = (0..height.div_ceil(ROWS))
        .map(|_| parts.iter_mut().filter_map(Iterator::next).collect())
        .collect();
    tasks.into_par_iter().enumerate().for_each(|(task, mut sums)| {
        let start = task * ROWS;
        let end = start + sums[0].len();
        for (column, weight) in columns.iter().zip(weights) {
            for (sum, &weight) in sums.iter_mut().zip(weight.as_basis_coefficients_slice()) {
                add_multiple(sum, &column[start..end], weight);
            }
        }
    });
    drop(parts);
    planes
}

/// `sums += values * weight`.
#[inline(always)]
pub(crate) fn add_multiple<F: Field>(sums: &mut [F], values: &[F], weight: F) {
    if values.len().is_multiple_of(F::Packing::WIDTH) {
        let weight = F::Packing::from(weight);
        let sums = F::Packing::pack_slice_mut(sums).iter_mut();
        for (sum, &value) in sums.zip(F::Packing::pack_slice(values)) {
            *sum += value * weight;
        }
    } else {
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += value * weight;
        }
    }
}

/// Evaluations on the hypercube to multilinear coefficients.
pub(crate) fn moebius<F: Field>(values: &mut [F]) {
    butterflies(values, 1, &|low: &[F], high: &mut [F]| {
        combine(low, high, |low, high| *high -= low, |low, high| *high -= low);
    });
}

/// Multilinear coefficients to evaluations, in all variables but those below `first`.
fn zeta_from<F: Field>(values: &mut [F], first: usize) {
    butterflies(values, first, &|low: &[F], high: &mut [F]| {
        combine(low, high, |low, high| *high += low, |low, high| *high += low);
    });
}

#[inline(always)]
fn combine<F: Field>(
    low: &[F],
    high: &mut [F],
    packed: impl Fn(F::Packing, &mut F::Packing),
    plain: impl Fn(F, &mut F),
) {
    if low.len().is_multiple_of(F::Packing::WIDTH) {
        let high = F::Packing::pack_slice_mut(high).iter_mut();
        F::Packing::pack_slice(low)
            .iter()
            .zip(high)
            .for_each(|(&low, high)| packed(low, high));
    } else {
        low.iter().zip(high).for_each(|(&low, high)| plain(low, high));
    }
}

/// Halves first, so that all of a part's layers run while it is in the cache.
fn butterflies<F: Field>(values: &mut [F], first: usize, apply: &(impl Fn(&[F], &mut [F]) + Sync)) {
    if values.len() <= SERIAL.max(first) {
        let mut half = first;
        while half < values.len() {
            for block in values.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                apply(low, high);
            }
            half *= 2;
        }
        return;
    }
    let (low, high) = values.split_at_mut(values.len() / 2);
    join(
        || butterflies(low, first, apply),
        || butterflies(high, first, apply),
    );
    low.par_chunks(SERIAL)
        .zip(high.par_chunks_mut(SERIAL))
        .for_each(|(low, high)| apply(low, high));
}
