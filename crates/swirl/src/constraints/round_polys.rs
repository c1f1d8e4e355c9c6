//! The polynomials of the batch sumcheck's rounds, from the sums that they are made of.

use openvm_stark_backend::{
    FiatShamirTranscript,
    dft::Radix2BowersSerial,
    p3_field::{ExtensionField, Field, PrimeCharacteristicRing, TwoAdicField},
    p3_matrix::dense::RowMajorMatrix,
    p3_maybe_rayon::prelude::*,
    poly_common::{UnivariatePoly, eq_uni_poly},
    prover::{poly::eq_sharp_uni_poly, sumcheck::sumcheck_round0_deg},
};
use p3_dft::TwoAdicSubgroupDft;

use super::{
    air::{Air, CONSTRAINTS, DENOMINATORS, NUMERATORS, Weights},
    round0,
};
use crate::packed::PackedConfig;

/// The univariate polynomials of an AIR: of numerators, of denominators, of constraints.
pub(crate) type Round0<EF> = [Vec<EF>; 3];

/// The polynomials of all AIRs, without their factors `eq` in the univariate coordinate, by
/// coefficients.
pub(crate) fn round0<'p, SC>(
    airs: &[Air<'_, SC::F>],
    weights: &[Weights<SC::EF>],
    norms: &[SC::F],
    l_skip: usize,
    point: impl Fn(&Air<'_, SC::F>) -> &'p [SC::EF] + Sync,
) -> Vec<Round0<SC::EF>>
where
    SC: PackedConfig,
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
{
    let g = SC::F::GENERATOR;
    let size = 1usize << l_skip;
    airs.par_iter()
        .zip(weights)
        .zip(norms)
        .map(|((air, weights), &norm)| {
            let sums = round0::sums(air, weights, l_skip, point(air));
            let cosets = sums.len() / size;
            // The polynomial that has these values on the first `wanted` cosets.
            let poly = |target: usize, wanted: usize| -> Vec<SC::EF> {
                if wanted == 0 {
                    return vec![];
                }
                let values = sums
                    .chunks_exact(cosets)
                    .flat_map(|at| at[..wanted].iter().map(move |at| at[target]));
                let values = RowMajorMatrix::new(values.collect(), wanted);
                UnivariatePoly::from_geometric_cosets_evals_idft(values, g, g).into_coeffs()
            };
            let [numerators, denominators] = if air.has_interactions() {
                let scaled = poly(NUMERATORS, air.degree)
                    .into_iter()
                    .map(|c| c * norm)
                    .collect();
                [scaled, poly(DENOMINATORS, air.degree)]
            } else {
                [vec![], vec![]]
            };
            if air.degree == 0 {
                return [numerators, denominators, vec![]];
            }
            // Constraints vanish on the subgroup, so their sum is a multiple of what vanishes
            // there.
            let quotient = poly(CONSTRAINTS, air.degree - 1);
            let at = |i: usize| quotient.get(i).copied().unwrap_or(SC::EF::ZERO);
            let constraints = (0..=sumcheck_round0_deg(l_skip, air.degree))
                .map(|i| if i >= size { at(i - size) - at(i) } else { -at(i) })
                .collect();
            [numerators, denominators, constraints]
        })
        .collect()
}

/// The first message, and what follows from it.
pub(crate) struct Opening<EF> {
    pub numerators: Vec<EF>,
    pub denominators: Vec<EF>,
    pub mu_pows: Vec<EF>,
    pub s_0: UnivariatePoly<EF>,
}

/// Sends the sums of each AIR and the batched univariate polynomial.
pub(crate) fn first_message<SC, TS>(
    transcript: &mut TS,
    polys: &[Round0<SC::EF>],
    xi: &[SC::EF],
    l_skip: usize,
    degree: usize,
) -> Opening<SC::EF>
where
    SC: PackedConfig,
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
    TS: FiatShamirTranscript<SC>,
{
    let traces = polys.len();
    let sum_degree = sumcheck_round0_deg(l_skip, degree);
    let s_degree = sumcheck_round0_deg(l_skip, degree + 1);
    let domain = (s_degree + 1).next_power_of_two();
    let dft = Radix2BowersSerial;
    // Multiplies a polynomial by another one, given by its values on the domain.
    let product = |mut coeffs: Vec<SC::EF>, by: &[SC::EF]| {
        coeffs.truncate(sum_degree + 1);
        coeffs.resize(domain, SC::EF::ZERO);
        let mut values = dft.dft(coeffs);
        for (value, &by) in values.iter_mut().zip(by) {
            *value *= by;
        }
        dft.idft(values)
    };
    let on_domain = |mut coeffs: Vec<SC::EF>| {
        coeffs.resize(domain, SC::EF::ZERO);
        dft.dft(coeffs)
    };
    let eq_sharp = on_domain(eq_sharp_uni_poly(&xi[..l_skip]).into_coeffs());
    let logup: Vec<[Vec<SC::EF>; 2]> = polys
        .par_iter()
        .map(|[numerators, denominators, _]| {
            [numerators, denominators].map(|poly| product(poly.clone(), &eq_sharp))
        })
        .collect();
    let size = SC::F::from_usize(1 << l_skip);
    let (mut numerators, mut denominators) = (Vec::with_capacity(traces), Vec::with_capacity(traces));
    for pair in &logup {
        // The sum over the subgroup: only powers that are multiples of its order count.
        let [p, q] = [0, 1].map(|i| {
            let coeffs = pair[i][..=s_degree].iter().step_by(1 << l_skip);
            coeffs.copied().sum::<SC::EF>() * size
        });
        transcript.observe_ext(p);
        transcript.observe_ext(q);
        numerators.push(p);
        denominators.push(q);
    }
    let mu = transcript.sample_ext();
    let mu_pows: Vec<SC::EF> = mu.powers().take(3 * traces).collect();

    let mut constraints = vec![SC::EF::ZERO; sum_degree + 1];
    for (&mu, [_, _, poly]) in mu_pows[2 * traces..].iter().zip(polys) {
        for (sum, &coeff) in constraints.iter_mut().zip(poly) {
            *sum += mu * coeff;
        }
    }
    let eq_uni = on_domain(eq_uni_poly::<SC::F, _>(l_skip, xi[0]).into_coeffs());
    let mut s_0 = product(constraints, &eq_uni);
    s_0.truncate(s_degree + 1);
    for (mus, pair) in mu_pows.chunks_exact(2).zip(&logup) {
        for (mu, poly) in mus.iter().zip(pair) {
            for (sum, &coeff) in s_0.iter_mut().zip(poly) {
                *sum += *mu * coeff;
            }
        }
    }
    for &coeff in &s_0 {
        transcript.observe_ext(coeff);
    }
    Opening {
        numerators,
        denominators,
        mu_pows,
        s_0: UnivariatePoly::new(s_0),
    }
}

/// The polynomial of a round.
///
/// `head` has its values at one and after it, from the traces that have the round's variable,
/// without the factor `eq` in it; `tail` is the slope that the other traces add. The value at zero
/// follows from the claim.
pub(crate) fn round_poly<SC: PackedConfig>(
    head: &[SC::EF],
    xi: SC::EF,
    claim: SC::EF,
    tail: SC::EF,
) -> UnivariatePoly<SC::EF>
where
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
{
    let at_zero = SC::EF::ONE - xi;
    let degree = head.len();
    let mut values = vec![(claim - xi * head[0] - tail) * at_zero.inverse()];
    values.extend_from_slice(head);
    let points: Vec<SC::F> = (0..=degree).map(SC::F::from_usize).collect();
    let mut coeffs = UnivariatePoly::lagrange_interpolate(&points, &values).into_coeffs();
    coeffs.push(SC::EF::ZERO);
    let slope = xi - at_zero;
    for i in (0..=degree).rev() {
        coeffs[i + 1] = slope * coeffs[i] + at_zero * coeffs[i + 1];
    }
    coeffs[0] *= at_zero;
    coeffs[1] += tail;
    UnivariatePoly::new(coeffs)
}
