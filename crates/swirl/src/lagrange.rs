//! Interpolation over the subgroup of the rows that are skipped at once.

use openvm_stark_backend::p3_field::{ExtensionField, TwoAdicField};

/// Values at `u` of the Lagrange polynomials of the subgroup of `2^l_skip` elements.
pub(crate) fn lagrange_at<F: TwoAdicField, EF: ExtensionField<F>>(l_skip: usize, u: EF) -> Vec<EF> {
    // The i-th is the sum of `(u / w^i)^k / size` over all exponents below the size.
    let size = 1usize << l_skip;
    let scale = F::ONE.halve().exp_u64(l_skip as u64);
    F::two_adic_generator(l_skip)
        .inverse()
        .powers()
        .take(size)
        .map(|inverse| (u * inverse).powers().take(size).sum::<EF>() * scale)
        .collect()
}
