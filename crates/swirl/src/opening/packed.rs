//! Vectors of extension elements for sumchecks, packed.
//!
//! A vector of `2^m` values on the hypercube is kept with the bits of its index reversed. The
//! variable that is bound first is the highest bit, so that both sides of a fold are contiguous.

use openvm_stark_backend::{
    p3_field::{
        BasedVectorSpace, ExtensionField, Field, PackedFieldExtension, PackedValue, PrimeCharacteristicRing,
    },
    p3_maybe_rayon::prelude::*,
    p3_util::{log2_strict_usize, reverse_bits_len},
};

/// Packed elements that a task of a parallel loop takes: enough that starting it costs nothing.
const TASK: usize = 1 << 9;

/// Values of a multilinear polynomial, in bit-reversed order.
pub(crate) enum Values<F: Field, EF: ExtensionField<F>> {
    Packed(Vec<EF::ExtensionPacking>),
    /// Fewer than fill one packed element.
    Plain(Vec<EF>),
}

impl<F: Field, EF: ExtensionField<F>> Values<F, EF> {
    /// `planes` holds the basis coefficients of the values, each in the natural order of indices.
    pub(crate) fn from_planes(planes: &[Vec<F>]) -> Self {
        let lanes = F::Packing::WIDTH;
        let log_len = log2_strict_usize(planes[0].len());
        let at = |i: usize| EF::from_basis_coefficients_fn(|d| planes[d][i]);
        if planes[0].len() < lanes {
            return Self::Plain(
                (0..1 << log_len)
                    .map(|i| at(reverse_bits_len(i, log_len)))
                    .collect(),
            );
        }
        let log_lanes = log2_strict_usize(lanes);
        let log_rest = log_len - log_lanes;
        let starts: Vec<usize> = (0..lanes)
            .map(|lane| reverse_bits_len(lane, log_lanes) << log_rest)
            .collect();
        Self::Packed(
            (0..1usize << log_rest)
                .into_par_iter()
                .with_min_len(TASK)
                .map(|i| {
                    let offset = reverse_bits_len(i, log_rest);
                    pack::<F, EF>(|d| F::Packing::from_fn(|lane| planes[d][starts[lane] + offset]))
                })
                .collect(),
        )
    }

    /// The basis coefficients, each in the natural order of indices.
    pub(crate) fn to_planes(&self) -> Vec<Vec<F>> {
        let values = self.to_plain();
        let log_len = log2_strict_usize(values.len());
        (0..EF::DIMENSION)
            .map(|d| {
                (0..values.len())
                    .map(|i| values[reverse_bits_len(i, log_len)].as_basis_coefficients_slice()[d])
                    .collect()
            })
            .collect()
    }

    /// The values, in bit-reversed order.
    pub(crate) fn to_plain(&self) -> Vec<EF> {
        match self {
            Self::Packed(values) => EF::ExtensionPacking::to_ext_iter(values.iter().copied()).collect(),
            Self::Plain(values) => values.clone(),
        }
    }

    /// `prod_i (pair(i).0 if the bit of variable i is 0, else pair(i).1)` for all points.
    pub(crate) fn products(pairs: &[(EF, EF)]) -> Self {
        let log_lanes = log2_strict_usize(F::Packing::WIDTH);
        // Variable `i` is bit `len - 1 - i`: the last variables are the lowest bits.
        let plain = |pairs: &[(EF, EF)]| {
            let mut values = vec![EF::ONE];
            for &(zero, one) in pairs.iter().rev() {
                let high: Vec<EF> = values.iter().map(|&v| v * one).collect();
                values.iter_mut().for_each(|v| *v *= zero);
                values.extend(high);
            }
            values
        };
        if pairs.len() < log_lanes {
            return Self::Plain(plain(pairs));
        }
        let (high, low) = pairs.split_at(pairs.len() - log_lanes);
        let mut values = EF::ExtensionPacking::zero_vec(1 << high.len());
        values[0] = EF::ExtensionPacking::from_ext_slice(&plain(low));
        for (bit, &(zero, one)) in high.iter().rev().enumerate() {
            let (low, high) = values[..2 << bit].split_at_mut(1 << bit);
            low.par_iter_mut()
                .zip(high)
                .with_min_len(TASK)
                .for_each(|(low, high)| (*low, *high) = (*low * zero, *low * one));
        }
        Self::Packed(values)
    }

    /// Binds the first variable to `point`.
    fn fold(self, point: EF) -> Self {
        match self.spread() {
            Self::Packed(mut values) => {
                let half = values.len() / 2;
                let (low, high) = values.split_at_mut(half);
                low.par_iter_mut()
                    .zip(&*high)
                    .with_min_len(TASK)
                    .for_each(|(low, &high)| *low += (high - *low) * point);
                values.truncate(half);
                values.shrink_to_fit();
                Self::Packed(values)
            }
            Self::Plain(mut values) => {
                let half = values.len() / 2;
                for i in 0..half {
                    let (low, high) = (values[i], values[i + half]);
                    values[i] = low + (high - low) * point;
                }
                values.truncate(half);
                Self::Plain(values)
            }
        }
    }

    /// One packed element cannot be folded as such.
    fn spread(self) -> Self {
        match self {
            Self::Packed(values) if values.len() == 1 => Self::Plain(Self::Packed(values).to_plain()),
            values => values,
        }
    }
}

/// Evaluations at 1 and 2 of the sum over all other variables of `f * w` in the first variable.
pub(crate) fn product_round<F: Field, EF: ExtensionField<F>>(
    f: &mut Values<F, EF>,
    w: &mut Values<F, EF>,
) -> [EF; 2] {
    *f = core::mem::replace(f, Values::Plain(Vec::new())).spread();
    *w = core::mem::replace(w, Values::Plain(Vec::new())).spread();
    match (f, w) {
        (Values::Packed(f), Values::Packed(w)) => {
            let (f0, f1) = f.split_at(f.len() / 2);
            let (w0, w1) = w.split_at(w.len() / 2);
            let zero = [EF::ExtensionPacking::ZERO; 2];
            f0.par_chunks(TASK)
                .zip(f1.par_chunks(TASK))
                .zip(w0.par_chunks(TASK).zip(w1.par_chunks(TASK)))
                .map(|((f0, f1), (w0, w1))| {
                    let mut sums = zero;
                    for ((&f0, &f1), (&w0, &w1)) in f0.iter().zip(f1).zip(w0.iter().zip(w1)) {
                        add_product(&mut sums, f0, f1, w0, w1);
                    }
                    sums
                })
                .reduce(|| zero, |a, b| [a[0] + b[0], a[1] + b[1]])
                .map(sum_lanes::<F, EF>)
        }
        (Values::Plain(f), Values::Plain(w)) => {
            let half = f.len() / 2;
            let mut sums = [EF::ZERO; 2];
            for i in 0..half {
                add_product(&mut sums, f[i], f[i + half], w[i], w[i + half]);
            }
            sums
        }
        _ => unreachable!("both have the same length"),
    }
}

/// Binds the first variable of both.
pub(crate) fn fold_both<F: Field, EF: ExtensionField<F>>(
    f: Values<F, EF>,
    w: Values<F, EF>,
    point: EF,
) -> (Values<F, EF>, Values<F, EF>) {
    (f.fold(point), w.fold(point))
}

#[inline(always)]
fn add_product<T: PrimeCharacteristicRing + Copy>(sums: &mut [T; 2], f0: T, f1: T, w0: T, w1: T) {
    sums[0] += f1 * w1;
    sums[1] += (f1 + f1 - f0) * (w1 + w1 - w0);
}

#[inline(always)]
pub(crate) fn pack<F: Field, EF: ExtensionField<F>>(
    plane: impl FnMut(usize) -> F::Packing,
) -> EF::ExtensionPacking {
    EF::ExtensionPacking::from_basis_coefficients_fn(plane)
}

pub(crate) fn sum_lanes<F: Field, EF: ExtensionField<F>>(packed: EF::ExtensionPacking) -> EF {
    let planes = packed.as_basis_coefficients_slice();
    EF::from_basis_coefficients_fn(|d| planes[d].as_slice().iter().copied().sum())
}
