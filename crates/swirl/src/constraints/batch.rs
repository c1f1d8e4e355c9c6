//! The batch sumcheck. It proves that all constraints vanish, and that the fractions have their
//! claimed values.

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    FiatShamirTranscript,
    p3_field::{ExtensionField, Field, PrimeCharacteristicRing, TwoAdicField},
    p3_maybe_rayon::prelude::*,
    poly_common::{eval_eq_mle, eval_eq_sharp_uni, eval_eq_uni},
    proof::{BatchConstraintProof, column_openings_by_rot},
    prover::{DeviceMultiStarkProvingKey, stacked_pcs::StackedLayout},
};
use tracing::info_span;

use super::{
    air::{self, Air, CONSTRAINTS, DENOMINATORS, NUMERATORS, Weights},
    fold::{Folded, open, place_factors},
    program::Input,
    round_polys,
    round0::unit_eq,
};
use crate::{SwirlError, packed::PackedConfig};

pub(super) type Key<SC> = DeviceMultiStarkProvingKey<CpuBackend<SC>>;

/// The point at which the fractions are claimed, and its parts.
pub(super) struct Point<EF> {
    pub(super) xi: Vec<EF>,
    pub(super) l_skip: usize,
    pub(super) n_logup: usize,
    pub(super) n_max: usize,
}

impl<EF: Field> Point<EF> {
    /// The coordinates of the blocks of an AIR of `2^log_blocks` blocks, from this one on.
    fn blocks(&self, from: usize, log_blocks: usize) -> &[EF] {
        &self.xi[self.l_skip + from..self.l_skip + log_blocks]
    }

    /// `eq` of the place that each of an AIR's interactions has among all.
    fn eq_3b<F: Field>(
        &self,
        trace_idx: usize,
        interactions: usize,
        log_blocks: usize,
        layout: &StackedLayout,
    ) -> Vec<EF>
    where
        EF: ExtensionField<F>,
    {
        let place = |i: usize| {
            let row = layout
                .get(trace_idx, i)
                .expect("each interaction has its place")
                .row_idx;
            let bits = row >> (self.l_skip + log_blocks);
            let bits: Vec<EF> = (0..self.n_logup - log_blocks)
                .map(|bit| EF::from_bool((bits >> bit) & 1 == 1))
                .collect();
            eval_eq_mle(
                &self.xi[self.l_skip + log_blocks..self.l_skip + self.n_logup],
                &bits,
            )
        };
        (0..interactions).map(place).collect()
    }
}

/// Gives also the point of the claims about columns.
#[expect(
    clippy::too_many_lines,
    reason = "the messages of the protocol, in their order"
)]
pub(super) fn prove<SC, TS>(
    transcript: &mut TS,
    mpk: &Key<SC>,
    airs: &[Air<'_, SC::F>],
    point: &Point<SC::EF>,
    layout: &StackedLayout,
    beta: &[SC::EF],
) -> Result<(BatchConstraintProof<SC>, Vec<SC::EF>), SwirlError>
where
    SC: PackedConfig,
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
    TS: FiatShamirTranscript<SC>,
{
    let &Point {
        ref xi,
        l_skip,
        n_max,
        ..
    } = point;
    let degree = mpk.max_constraint_degree;
    let lambda = transcript.sample_ext();
    let constraints = airs
        .iter()
        .map(|air| air.dag.constraints.constraint_idx.len())
        .max();
    let lambda: Vec<SC::EF> = lambda.powers().take(constraints.unwrap_or(0)).collect();
    let weights: Vec<Weights<SC::EF>> = airs
        .par_iter()
        .enumerate()
        .map(|(trace_idx, air)| {
            let interactions = air.dag.interactions.len();
            let eq_3b = if interactions == 0 {
                vec![]
            } else {
                point.eq_3b::<SC::F>(trace_idx, interactions, air.trace.log_blocks(), layout)
            };
            Weights::new::<SC::F>(air, &lambda, &eq_3b, beta)
        })
        .collect();
    // Numerators of traces with fewer rows than are skipped at once count as often as they are
    // repeated.
    let norms: Vec<SC::F> = airs
        .iter()
        .map(|air| SC::F::from_usize(1 << air.log_repeated(l_skip)).inverse())
        .collect();

    let round0_span = info_span!("prover.batch_constraints.round0", phase = "prover").entered();
    let polys = round_polys::round0::<SC>(airs, &weights, &norms, point.l_skip, |air| {
        point.blocks(0, air.trace.log_blocks())
    });
    let opening = round_polys::first_message::<SC, TS>(transcript, &polys, xi, l_skip, degree);
    drop(round0_span);

    let mut r = vec![transcript.sample_ext()];
    let mut claim = opening.s_0.eval_at_point(r[0]);
    let fold_span = info_span!("prover.batch_constraints.fold_ple_evals", phase = "prover").entered();
    let factors = place_factors::<SC::F, SC::EF>(l_skip, r[0]);
    let mut folded: Vec<Folded<SC::F, SC::EF>> = airs
        .iter()
        .map(|air| Folded::new(air, l_skip, &factors))
        .collect();
    drop(fold_span);

    let omega_pows: Vec<SC::F> = SC::F::two_adic_generator(l_skip)
        .powers()
        .take(1 << l_skip)
        .collect();
    let mut eq_n = eval_eq_uni(l_skip, xi[0], r[0]);
    let mut eq_sharp_n = eval_eq_sharp_uni(&omega_pows, &xi[..l_skip], r[0]);
    // The sum of each trace whose variables are all bound, with the factors of `mu`.
    let mut tails: Vec<Option<SC::EF>> = vec![None; airs.len()];
    let mut sumcheck_round_polys = Vec::with_capacity(n_max);
    let rounds_span = info_span!("prover.batch_constraints.mle_rounds", phase = "prover").entered();
    for round in 1..=n_max + 1 {
        let mu = |trace_idx: usize| {
            let [numerator, denominator] = [0, 1].map(|i| opening.mu_pows[2 * trace_idx + i]);
            (
                opening.mu_pows[2 * airs.len() + trace_idx],
                numerator * norms[trace_idx],
                denominator,
            )
        };
        let previous = r[round - 1];
        for (trace_idx, (air, folded)) in airs.iter().zip(&folded).enumerate() {
            let log_blocks = air.trace.log_blocks();
            if round == log_blocks + 1 {
                let sums = folded.at_point(air, &weights[trace_idx]);
                let (zerocheck, numerator, denominator) = mu(trace_idx);
                tails[trace_idx] = Some(
                    eq_n * zerocheck * sums[CONSTRAINTS]
                        + eq_sharp_n * (numerator * sums[NUMERATORS] + denominator * sums[DENOMINATORS]),
                );
            } else if let Some(tail) = &mut tails[trace_idx] {
                *tail *= previous;
            }
        }
        let tail: SC::EF = tails.iter().flatten().copied().sum();
        if round == n_max + 1 {
            // The claim of the rounds equals the value of the columns only if the traces satisfy
            // the constraints.
            if tail != claim {
                return Err(SwirlError::Unsatisfied);
            }
            break;
        }
        let sums: Vec<Option<Vec<air::Sums<SC::EF>>>> = airs
            .par_iter()
            .zip(&folded)
            .zip(&weights)
            .map(|((air, folded), weights)| {
                let log_blocks = air.trace.log_blocks();
                (round <= log_blocks)
                    .then(|| folded.sums(air, weights, degree, point.blocks(round, log_blocks)))
            })
            .collect();
        let mut head = vec![SC::EF::ZERO; degree];
        for (trace_idx, sums) in sums.iter().enumerate() {
            let (zerocheck, numerator, denominator) = mu(trace_idx);
            for (head, sums) in head.iter_mut().zip(sums.iter().flatten()) {
                *head += eq_n * zerocheck * sums[CONSTRAINTS]
                    + eq_sharp_n * (numerator * sums[NUMERATORS] + denominator * sums[DENOMINATORS]);
            }
        }
        let xi_round = xi[l_skip + round - 1];
        let poly = round_polys::round_poly::<SC>(&head, xi_round, claim, tail);
        let evals: Vec<SC::EF> = (1..=degree + 1)
            .map(|i| poly.eval_at_point(SC::EF::from_usize(i)))
            .collect();
        for &eval in &evals {
            transcript.observe_ext(eval);
        }
        sumcheck_round_polys.push(evals);
        let r_round = transcript.sample_ext();
        r.push(r_round);
        claim = poly.eval_at_point(r_round);
        folded.par_iter_mut().for_each(|folded| folded.bind(r_round));
        let eq_r: SC::EF = eval_eq_mle(&[xi_round], &[r_round]);
        eq_n *= eq_r;
        eq_sharp_n *= eq_r;
    }
    drop(rounds_span);

    let column_openings = {
        let _span = info_span!("prover.batch_constraints.column_openings", phase = "prover").entered();
        openings::<SC>(airs, &folded, l_skip, &factors, &r)
    };
    for (air, openings) in airs.iter().zip(&column_openings) {
        for (claim, claim_rot) in column_openings_by_rot(&openings[0], air.needs_next) {
            transcript.observe_ext(claim);
            transcript.observe_ext(claim_rot);
        }
    }
    for (air, openings) in airs.iter().zip(&column_openings) {
        for part in openings.iter().skip(1) {
            for (claim, claim_rot) in column_openings_by_rot(part, air.needs_next) {
                transcript.observe_ext(claim);
                transcript.observe_ext(claim_rot);
            }
        }
    }
    let proof = BatchConstraintProof::<SC> {
        numerator_term_per_air: opening.numerators,
        denominator_term_per_air: opening.denominators,
        univariate_round_coeffs: opening.s_0.into_coeffs(),
        sumcheck_round_polys,
        column_openings,
    };
    Ok((proof, r))
}

/// The values of all columns at the point `r`: for each AIR those of the common matrix, then those
/// of the others.
fn openings<SC: PackedConfig>(
    airs: &[Air<'_, SC::F>],
    folded: &[Folded<SC::F, SC::EF>],
    l_skip: usize,
    factors: &[SC::EF],
    r: &[SC::EF],
) -> Vec<Vec<Vec<SC::EF>>>
where
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
{
    airs.par_iter()
        .zip(folded)
        .map(|(air, folded)| {
            let eq = unit_eq::<SC::F, SC::EF>(&r[1..=air.trace.log_blocks()], l_skip);
            let part = |matrix: usize| {
                let width = air.trace.matrices[matrix].len();
                let inputs: Vec<Input> = (0..width)
                    .flat_map(|column| {
                        let input = move |next: bool| Input::Column { matrix, column, next };
                        let next = air.needs_next.then(|| input(true));
                        std::iter::once(input(false)).chain(next)
                    })
                    .collect();
                inputs
                    .into_par_iter()
                    .map(|input| match air.inputs.iter().position(|&i| i == input) {
                        // The columns that the constraints read have been folded already.
                        Some(index) => folded.claim(index),
                        None => open::<SC::F, SC::EF>(air, input, l_skip, factors, &eq),
                    })
                    .collect()
            };
            let common = air.trace.matrices.len() - 1;
            std::iter::once(common).chain(0..common).map(part).collect()
        })
        .collect()
}
