//! Weights of the claims that queries add to WHIR's sumcheck.

use openvm_stark_backend::{
    p3_field::{ExtensionField, Field, PackedValue},
    p3_maybe_rayon::prelude::*,
    p3_util::log2_strict_usize,
    poly_common::Squarable,
};

use super::packed::Values;

/// Adds `gamma * eq(z, x)` for each pair of `z` and `gamma` to the weight of each point `x` of the
/// hypercube of `m` variables, where variable `i` of `z` stands for `z^(2^i)`.
pub(crate) fn add<F: Field, EF: ExtensionField<F>>(
    weights: &mut Values<F, EF>,
    m: usize,
    first: (EF, EF),
    points: &[(F, EF)],
) {
    let lanes = F::Packing::WIDTH;
    match weights {
        Values::Plain(weights) => {
            let all = points
                .iter()
                .map(|&(z, gamma)| (EF::from(z), gamma))
                .chain([first]);
            for (z, gamma) in all {
                for (weight, eq) in weights.iter_mut().zip(products(&powers(z, m))) {
                    *weight += gamma * eq;
                }
            }
        }
        Values::Packed(weights) => {
            let log_low = (m / 2).max(log2_strict_usize(lanes));
            let split = m - log_low;
            // Bits are reversed: the last variables are the lowest bits.
            let low: Vec<Vec<F>> = points
                .par_iter()
                .map(|&(z, _)| products(&powers(z, m)[split..]))
                .collect();
            let high: Vec<Vec<EF>> = points
                .par_iter()
                .map(|&(z, gamma)| {
                    let products = products(&powers(z, m)[..split]);
                    products.into_iter().map(|product| gamma * product).collect()
                })
                .collect();
            let first_powers = powers(first.0, m);
            let first_low: Vec<EF> = products(&first_powers[split..]);
            let first_high: Vec<EF> = products(&first_powers[..split]);
            let first_low: Vec<EF::ExtensionPacking> =
                first_low.chunks_exact(lanes).map(pack_slice::<F, EF>).collect();
            weights
                .par_chunks_exact_mut(first_low.len())
                .enumerate()
                .for_each(|(block, weights)| {
                    let factor = first_high[block] * first.1;
                    for (weight, &eq) in weights.iter_mut().zip(&first_low) {
                        *weight += eq * factor;
                    }
                    for (low, high) in low.iter().zip(&high) {
                        let factor = EF::ExtensionPacking::from(high[block]);
                        for (weight, &eq) in weights.iter_mut().zip(F::Packing::pack_slice(low)) {
                            *weight += factor * eq;
                        }
                    }
                });
        }
    }
}

fn pack_slice<F: Field, EF: ExtensionField<F>>(values: &[EF]) -> EF::ExtensionPacking {
    super::packed::pack::<F, EF>(|d| {
        F::Packing::from_fn(|lane| values[lane].as_basis_coefficients_slice()[d])
    })
}

fn powers<F: Field>(z: F, m: usize) -> Vec<F> {
    z.exp_powers_of_2().take(m).collect()
}

/// `eq(z, x)` for all `x`, with the bits of their index reversed.
fn products<F: Field>(z: &[F]) -> Vec<F> {
    let mut products = vec![F::ONE];
    for &z in z.iter().rev() {
        let high: Vec<F> = products.iter().map(|&product| product * z).collect();
        for (low, &high) in products.iter_mut().zip(&high) {
            *low -= high;
        }
        products.extend(high);
    }
    products
}
