//! Reducing claims about columns and their rotations to claims about the stacked columns.
//!
//! The protocol is that of `prove_stacked_opening_reduction` of `openvm-stark-backend`, message by
//! message: a sumcheck over `sum_T,j (lambda_eq * q * eq + lambda_rot * q * kappa_rot)`, with
//! columns `q` of one height meeting the same `eq` and `kappa_rot`.
//!
//! All of it is linear in the columns, so the columns of one height are batched by `lambda` first.
//! Then univariate transforms and folds are of one or two batched columns for each height
//! ([`super::group`]) instead of all. The columns themselves are read twice for the batched ones
//! (before the first challenge and after it, which is cheaper than keeping them) and once for their
//! openings.

use std::iter::zip;

use openvm_stark_backend::{
    FiatShamirTranscript, StarkProtocolConfig, SystemParams,
    p3_field::{ExtensionField, Field, PrimeCharacteristicRing, TwoAdicField},
    p3_matrix::dense::RowMajorMatrix,
    p3_maybe_rayon::prelude::*,
    poly_common::{UnivariatePoly, eval_eq_uni, eval_eq_uni_at_one, eval_in_uni},
    proof::StackingProof,
    prover::{MatrixDimensions, poly::evals_eq_hypercube, sumcheck::sumcheck_round0_deg},
};
use tracing::info_span;

use super::{
    Stacked,
    fold::{Folds, bind},
    group::{self, BatchedColumn},
    piece::Piece,
};

/// Factors of each summand that are polynomials in the bound variable: a column and a kernel.
const DEGREE: usize = 2;

/// The pieces of one height that follow each other, and what their sumcheck needs.
struct Group<EF> {
    pieces: std::ops::Range<usize>,
    log_height: usize,
    /// Variables of the hypercube that the pieces depend on.
    n_lift: usize,
    /// `eq(r, x)` on the hypercube; from round 1 on with its univariate factor.
    eq: Vec<EF>,
    /// The rotation kernel, from round 1 on.
    rot: Vec<EF>,
    batched: BatchedColumn<EF>,
}

pub(crate) fn prove<SC, TS>(
    transcript: &mut TS,
    params: &SystemParams,
    commitments: &[Stacked<SC>],
    need_rot: &[Vec<bool>],
    r: &[SC::EF],
) -> (StackingProof<SC>, Vec<SC::EF>)
where
    SC: StarkProtocolConfig,
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
    TS: FiatShamirTranscript<SC>,
{
    let lambda: SC::EF = transcript.sample_ext();
    let mut reduction = Reduction::<SC>::new(params, commitments, need_rot, r, lambda);
    let first = info_span!("stacked_round0").in_scope(|| reduction.univariate_round());
    for &coefficient in first.coeffs() {
        transcript.observe_ext(coefficient);
    }
    let u_0: SC::EF = transcript.sample_ext();
    let mut u = vec![u_0];
    info_span!("stacked_fold_ple").in_scope(|| reduction.bind_univariate(u_0));

    let mut sumcheck_round_polys = Vec::with_capacity(params.n_stack);
    info_span!("stacked_rounds").in_scope(|| {
        for round in 1..=params.n_stack {
            let evaluations = reduction.round(round);
            for evaluation in evaluations {
                transcript.observe_ext(evaluation);
            }
            sumcheck_round_polys.push(evaluations);
            let u_round: SC::EF = transcript.sample_ext();
            u.push(u_round);
            reduction.bind(round, u_round);
        }
    });
    let openings = reduction.openings();
    let mut openings = openings.into_iter();
    let stacking_openings: Vec<Vec<SC::EF>> = commitments
        .iter()
        .map(|data| openings.by_ref().take(data.matrix.width()).collect())
        .collect();
    for &opening in stacking_openings.iter().flatten() {
        transcript.observe_ext(opening);
    }
    let proof = StackingProof::<SC> {
        univariate_round_coeffs: first.into_coeffs(),
        sumcheck_round_polys,
        stacking_openings,
    };
    (proof, u)
}

struct Reduction<'a, SC: StarkProtocolConfig> {
    l_skip: usize,
    r_0: SC::EF,
    /// `eq_D(omega * r_0, 1)`.
    eq_const: SC::EF,
    columns: Vec<&'a [SC::F]>,
    pieces: Vec<Piece<SC::EF>>,
    groups: Vec<Group<SC::EF>>,
    /// The parts of stacked columns that the later rounds need.
    folds: Folds<'a, SC::F, SC::EF>,
}

impl<'a, SC: StarkProtocolConfig> Reduction<'a, SC>
where
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
{
    fn new(
        params: &SystemParams,
        commitments: &'a [Stacked<'a, SC>],
        need_rot: &[Vec<bool>],
        r: &[SC::EF],
        lambda: SC::EF,
    ) -> Self {
        let l_skip = params.l_skip;
        let mut columns: Vec<&'a [SC::F]> = Vec::new();
        let mut pieces: Vec<Piece<SC::EF>> = Vec::new();
        // Each piece takes two powers, whether it is rotated or not.
        let mut powers = lambda.powers();
        let mut next_power = || powers.next().expect("powers do not end");
        for (data, need_rot) in zip(commitments, need_rot) {
            for &(trace, _, slice) in &data.layout.sorted_cols {
                let (eq, rot) = (next_power(), next_power());
                pieces.push(Piece {
                    column: columns.len() + slice.col_idx,
                    slice,
                    lambda_eq: eq,
                    lambda_rot: need_rot[trace].then_some(rot),
                    place: SC::EF::ONE,
                });
            }
            columns.extend(data.columns());
        }
        let mut groups: Vec<Group<SC::EF>> = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let log_height = piece.slice.log_height();
            match groups.last_mut() {
                Some(group) if group.log_height == log_height => group.pieces.end = i + 1,
                _ => {
                    let n_lift = log_height.saturating_sub(l_skip);
                    groups.push(Group {
                        pieces: i..i + 1,
                        log_height,
                        n_lift,
                        eq: evals_eq_hypercube(&r[1..1 + n_lift]),
                        rot: Vec::new(),
                        batched: BatchedColumn::default(),
                    });
                }
            }
        }
        let omega = SC::F::two_adic_generator(l_skip);
        let folds = Folds::new(l_skip, params.n_stack, &columns, &pieces);
        Self {
            l_skip,
            r_0: r[0],
            eq_const: eval_eq_uni_at_one(l_skip, r[0] * omega),
            columns,
            pieces,
            groups,
            folds,
        }
    }

    /// Univariate factors of the kernels of pieces of one height, at a point: those of `eq`, of the
    /// rotation within the subgroup, and of the rotation from its last point to the next row of the
    /// cube.
    fn kernels_at(&self, log_height: usize, z: SC::EF) -> [SC::EF; 3] {
        let l_skip = self.l_skip;
        let omega = SC::F::two_adic_generator(l_skip);
        let n = log_height as isize - l_skip as isize;
        let below = n.min(0).unsigned_abs();
        let l = l_skip - below;
        let r = self.r_0.exp_power_of_2(below);
        let omega = omega.exp_power_of_2(below);
        let indicator = eval_in_uni(l_skip, n, z);
        [
            indicator * eval_eq_uni(l, z, r),
            indicator * eval_eq_uni(l, z, r * omega),
            indicator * self.eq_const * eval_eq_uni_at_one(l_skip, z),
        ]
    }

    fn slices(&self, group: &Group<SC::EF>) -> Vec<group::Column<'a, SC::F, SC::EF>> {
        self.pieces[group.pieces.clone()]
            .iter()
            .map(|piece| group::Column {
                values: &self.columns[piece.column][piece.slice.row_idx..][..piece.slice.len(self.l_skip)],
                lambda_eq: piece.lambda_eq,
                lambda_rot: piece.lambda_rot,
            })
            .collect()
    }

    fn univariate_round(&self) -> UnivariatePoly<SC::EF> {
        let size = 1usize << self.l_skip;
        let generator = SC::F::GENERATOR;
        let omega = SC::F::two_adic_generator(self.l_skip);
        let mut sums = vec![SC::EF::ZERO; DEGREE * size];
        for group in &self.groups {
            let [eq, rot, rot_row] = group::univariate_sums(self.l_skip, &self.slices(group), &group.eq)
                .map(|evaluations| UnivariatePoly::from_evals_idft(&evaluations));
            for (i, x) in omega.powers().take(size).enumerate() {
                for (coset, shift) in generator.powers().skip(1).take(DEGREE).enumerate() {
                    let z = SC::EF::from(x * shift);
                    let kernels = self.kernels_at(group.log_height, z);
                    sums[i * DEGREE + coset] += kernels[0] * eq.eval_at_point(z)
                        + kernels[1] * rot.eval_at_point(z)
                        + kernels[2] * rot_row.eval_at_point(z);
                }
            }
        }
        let poly = UnivariatePoly::from_geometric_cosets_evals_idft(
            RowMajorMatrix::new(sums, DEGREE),
            generator,
            generator,
        );
        let mut coefficients = poly.into_coeffs();
        coefficients.truncate(sumcheck_round0_deg(self.l_skip, DEGREE) + 1);
        UnivariatePoly::new(coefficients)
    }

    fn bind_univariate(&mut self, u_0: SC::EF) {
        for i in 0..self.groups.len() {
            let group = &self.groups[i];
            let [eq, rot, rot_row] = self.kernels_at(group.log_height, u_0);
            let batched = group::bind(self.l_skip, &self.slices(group), u_0);
            let group = &mut self.groups[i];
            let cube = &group.eq;
            group.rot = (0..cube.len())
                .into_par_iter()
                .with_min_len(1 << 10)
                .map(|x| rot * cube[x] + rot_row * (cube[group::previous(x, cube.len())] - cube[x]))
                .collect();
            group
                .eq
                .par_iter_mut()
                .with_min_len(1 << 10)
                .for_each(|value| *value *= eq);
            group.batched = batched;
        }
        self.folds.bind_univariate(u_0);
    }

    /// Evaluations at 1 and 2 of the sum over all variables but the first unbound one.
    fn round(&mut self, round: usize) -> [SC::EF; 2] {
        self.folds.prepare(round);
        let mut sums = [SC::EF::ZERO; 2];
        for group in &self.groups {
            let evaluations = if round <= group.n_lift {
                let eq = group::product_round(&group.batched.eq, &group.eq);
                let rot = group::product_round(&group.batched.rot, &group.rot);
                [eq[0] + rot[0], eq[1] + rot[1]]
            } else {
                let mut sums = [SC::EF::ZERO; 2];
                for piece in &self.pieces[group.pieces.clone()] {
                    let kernel = piece.lambda_eq * group.eq[0]
                        + piece
                            .lambda_rot
                            .map_or(SC::EF::ZERO, |lambda| lambda * group.rot[0]);
                    let row = piece.slice.row_idx >> (self.l_skip + round);
                    let [q0, q1] = self.folds.pair(piece.column, row);
                    let odd = piece.slice.row_idx >> (self.l_skip + round - 1) & 1 == 1;
                    let weight = kernel * piece.place;
                    // `eq(X, bit)` at 1 and 2.
                    if odd {
                        sums[0] += weight * q1;
                        sums[1] += weight * (q1.double() - q0).double();
                    } else {
                        sums[1] -= weight * (q1.double() - q0);
                    }
                }
                sums
            };
            sums[0] += evaluations[0];
            sums[1] += evaluations[1];
        }
        sums
    }

    fn bind(&mut self, round: usize, u: SC::EF) {
        for group in &mut self.groups {
            if round <= group.n_lift {
                for values in [
                    &mut group.eq,
                    &mut group.rot,
                    &mut group.batched.eq,
                    &mut group.batched.rot,
                ] {
                    bind(values, u);
                }
            } else {
                for piece in &mut self.pieces[group.pieces.clone()] {
                    let odd = piece.slice.row_idx >> (self.l_skip + round - 1) & 1 == 1;
                    piece.place *= if odd { u } else { SC::EF::ONE - u };
                }
            }
        }
        self.folds.bind(u);
    }

    /// The stacked columns at the point that has been bound.
    fn openings(self) -> Vec<SC::EF> {
        self.folds.into_openings()
    }
}
