//! The sumcheck of one layer. It proves that the layer's fractions, added in pairs, make the layer
//! above.
//!
//! The sum is over `y` of `eq(point, y) * (p0 q1 + p1 q0 + λ q0 q1)(y)`, where `p0 / q0` and `p1 /
//! q1` are neighbours. With `u = p0 + λ q0`, which is linear and so can be folded like the others,
//! this is `eq * (u q1 + p1 q0)`.
//!
//! `eq` is in each round a product of three factors: of the variables that are bound, a linear one
//! in the variable of the round, and of the rest. The factors are taken out (Gruen, "Some
//! Improvements for the PIOP for ZeroCheck", ePrint 2024/108), so that a polynomial of degree two
//! is left. Its value at zero and its leading coefficient are summed, and its value at one follows
//! from the claim. Variables are bound from the lowest bit on.

use openvm_stark_backend::{
    p3_field::{ExtensionField, Field, PrimeCharacteristicRing},
    p3_maybe_rayon::prelude::*,
    poly_common::evals_eq_hypercube_serial,
};

use super::{
    eq::{SplitEq, eq_prefix},
    layer::{Layer, Nodes, unpack},
    made::{Leaves, Rounds},
    rows::{Grid, Pair, ROW, Row, Sums, add, add_term, bind, layer_pair, packed_pair, term},
};
use crate::packed::{ExtPack, PackedField, ext_sum, log_width};

/// Rows that a thread makes at a time when it folds.
const FOLDED: usize = 1 << 8;

/// The progress of the sumcheck of a layer.
pub(crate) struct LayerSumcheck<'a, F: Field, EF: ExtensionField<F>, L, const G: usize> {
    point: &'a [EF],
    lambda: EF,
    /// All columns of the rows that are not stored: `[λ pad, pad, 0, pad]`.
    pad: EF,
    /// The variables that are bound.
    bound: usize,
    state: State<'a, F, EF, L, G>,
    /// The product of the factors of `eq` that are bound.
    factor: EF,
    /// The sum, without that product.
    claim: EF,
    /// The last round's polynomial, by its coefficients.
    poly: [EF; 3],
    /// The sums of the last round and the next one, where they were made together.
    grid: Option<Grid<EF>>,
    /// The next round's sums, where they are known already.
    ahead: Option<Sums<EF>>,
}

enum State<'a, F: Field, EF: ExtensionField<F>, L, const G: usize> {
    /// One of the lowest layers, made again for each round.
    Made {
        leaves: &'a L,
        rounds: Rounds<EF, G>,
    },
    Layer {
        p: Vec<ExtPack<F, EF>>,
        q: Vec<ExtPack<F, EF>>,
        phase: usize,
    },
    /// An even number of rows of packs, one after the other.
    Packed {
        rows: Vec<ExtPack<F, EF>>,
        phase: usize,
    },
    Scalar(Row<Vec<EF>>),
}

impl<'a, F, EF, L, const G: usize> LayerSumcheck<'a, F, EF, L, G>
where
    F: PackedField,
    EF: ExtensionField<F>,
    L: Leaves<F, EF>,
{
    /// The sumcheck of the layer `above` the input layer, which is never kept.
    pub(crate) fn made(leaves: &'a L, above: usize, point: &'a [EF], lambda: EF, claim: EF) -> Self {
        debug_assert_eq!(point.len() + 1 + above, leaves.log_len());
        let rounds = Rounds {
            above,
            lambda,
            bound: vec![],
        };
        Self::begin(
            State::Made { leaves, rounds },
            leaves.pad().exp_power_of_2(above),
            point,
            lambda,
            claim,
        )
    }

    /// `claim` is the sum. The layer is given back as soon as the first variable is bound.
    pub(crate) fn new(layer: Layer<F, EF>, point: &'a [EF], lambda: EF, claim: EF) -> Self {
        debug_assert_eq!(point.len() + 1, layer.log_len);
        let state = match layer.nodes {
            Nodes::Packed { p, q, phase } => State::Layer { p, q, phase },
            Nodes::Scalar { p, q } => {
                let column = |from: &[EF], odd: usize| from.iter().skip(odd).step_by(2).copied().collect();
                let q0: Vec<EF> = column(&q, 0);
                let u = p
                    .iter()
                    .step_by(2)
                    .zip(&q0)
                    .map(|(&p, &q)| p + lambda * q)
                    .collect();
                State::Scalar([u, q0, column(&p, 1), column(&q, 1)])
            }
        };
        Self::begin(state, layer.pad, point, lambda, claim)
    }

    fn begin(state: State<'a, F, EF, L, G>, pad: EF, point: &'a [EF], lambda: EF, claim: EF) -> Self {
        Self {
            point,
            lambda,
            pad,
            bound: 0,
            state,
            factor: EF::ONE,
            claim,
            poly: [EF::ZERO; 3],
            grid: None,
            ahead: None,
        }
    }

    /// The values of the round's polynomial at one, two and three.
    pub(crate) fn round(&mut self) -> [EF; 3] {
        let x = self.point[self.bound];
        let inverse = x.try_inverse();
        let sums = match self.ahead.take() {
            Some(sums) => sums,
            None => self.two_rounds().unwrap_or_else(|| self.sums(inverse.is_none())),
        };
        self.finish_round(x, inverse, sums)
    }

    /// The sums of this round, if those of the next one can be made with them.
    fn two_rounds(&mut self) -> Option<Sums<EF>> {
        let State::Made { leaves, rounds } = &self.state else {
            return None;
        };
        let (&[x, next], rest) = self.point[self.bound..].split_first_chunk()?;
        // The claim gives no value at one where a coordinate is zero.
        if !rounds.are_two() || x == EF::ZERO || next == EF::ZERO {
            return None;
        }
        let eq = SplitEq::<F, EF>::new(rest, rounds.phase() + 1);
        let sums = rounds.grid(*leaves, &eq);
        let mut grid = Grid::new(sums.map(|sum| ext_sum::<F, EF>(&(sum * eq.lanes))));
        let pairs = leaves.groups::<G>() * rounds.pairs() / 2;
        grid.add_constant(self.padding(rest, pairs));
        self.grid = Some(grid);
        Some(grid.first(next))
    }

    /// The sum of the terms of the rows that are not stored, which have the same value everywhere.
    fn padding(&self, rest: &[EF], pairs: usize) -> EF {
        let weight = EF::ONE - eq_prefix(&rest[log_width::<F>()..], pairs);
        term(self.pad_row()) * weight
    }

    fn finish_round(&mut self, x: EF, inverse: Option<EF>, [at_zero, at_one, square]: Sums<EF>) -> [EF; 3] {
        let at_one = match inverse {
            Some(inverse) => (self.claim - (EF::ONE - x) * at_zero) * inverse,
            None => at_one,
        };
        self.poly = [at_zero, at_one - at_zero - square, square];
        [1, 2, 3].map(|z| {
            let z = EF::from_usize(z);
            self.factor * eq_factor(x, z) * self.poly_at(z)
        })
    }

    fn poly_at(&self, z: EF) -> EF {
        let [a, b, c] = self.poly;
        (c * z + b) * z + a
    }

    /// Binds the round's variable to `r`.
    pub(crate) fn bind(&mut self, r: EF) {
        self.factor *= eq_factor(self.point[self.bound], r);
        self.claim = self.poly_at(r);
        self.ahead = self.grid.take().map(|grid| grid.second(r));
        self.bound += 1;
        let left = self.point.len() - self.bound;
        let phase = match &mut self.state {
            State::Scalar(columns) => {
                for column in columns {
                    for y in 0..column.len() / 2 {
                        column[y] = column[2 * y] + r * (column[2 * y + 1] - column[2 * y]);
                    }
                    column.truncate(column.len() / 2);
                }
                return;
            }
            State::Made { rounds, .. } if rounds.bound.len() + 1 < rounds.all() => {
                rounds.bound.push(r);
                return;
            }
            State::Made { rounds, .. } => rounds.phase(),
            State::Layer { phase, .. } => *phase + 2,
            State::Packed { phase, .. } => *phase + 1,
        };
        let mut rows = self.fold(r);
        self.state = if left <= log_width::<F>() {
            debug_assert_eq!(rows.len(), ROW);
            State::Scalar(std::array::from_fn(|c| unpack::<F, EF>(&rows[c..=c], phase)))
        } else {
            if rows.len() / ROW % 2 == 1 {
                // Layers are made with room for it.
                rows.extend(self.pad_row().map(ExtPack::<F, EF>::from));
            }
            State::Packed { rows, phase }
        };
    }

    /// The rows with the variable bound to `r`, where those were that they are of.
    fn fold(&mut self, r: EF) -> Vec<ExtPack<F, EF>> {
        let lambda = self.lambda;
        match std::mem::replace(&mut self.state, State::Scalar(Default::default())) {
            State::Made { leaves, rounds } => rounds.rows(leaves, r),
            State::Layer { p, mut q, phase } => {
                let indexed = q.par_chunks_exact_mut(ROW).enumerate().with_min_len(FOLDED);
                indexed.for_each(|(index, row)| {
                    let q: Row<ExtPack<F, EF>> = std::array::from_fn(|v| row[v]);
                    row.copy_from_slice(&bind::<F, EF>(
                        layer_pair::<F, EF>(&p[ROW * index..], &q, lambda, phase),
                        r,
                    ));
                });
                q
            }
            State::Packed { mut rows, phase } => {
                // Each part is folded to its front, and the fronts are moved together.
                rows.par_chunks_mut(2 * FOLDED * ROW).for_each(|part| {
                    for to in 0..part.len() / (2 * ROW) {
                        let folded = bind::<F, EF>(packed_pair::<F, EF>(&part[2 * ROW * to..], phase), r);
                        part[ROW * to..][..ROW].copy_from_slice(&folded);
                    }
                });
                let len = rows.len() / 2;
                for (part, to) in (0..len).step_by(FOLDED * ROW).enumerate().skip(1) {
                    let from = 2 * part * FOLDED * ROW;
                    rows.copy_within(from..from + (FOLDED * ROW).min(len - to), to);
                }
                rows.truncate(len);
                // The room behind is for a row of padding.
                rows.shrink_to(len + ROW);
                rows
            }
            State::Scalar(_) => unreachable!("scalars are not in packs"),
        }
    }

    fn pad_row(&self) -> Row<EF> {
        [self.lambda * self.pad, self.pad, EF::ZERO, self.pad]
    }

    /// The rows with a zero in the round's variable, and those that have a one.
    #[inline(always)]
    fn pair(&self, index: usize) -> Pair<Row<ExtPack<F, EF>>> {
        match &self.state {
            State::Layer { p, q, phase } => {
                layer_pair::<F, EF>(&p[ROW * index..], &q[ROW * index..], self.lambda, *phase)
            }
            State::Packed { rows, phase } => packed_pair::<F, EF>(&rows[2 * ROW * index..], *phase),
            State::Made { .. } | State::Scalar(_) => unreachable!("neither is in packs"),
        }
    }

    fn sums(&self, at_one: bool) -> Sums<EF> {
        let rest = &self.point[self.bound + 1..];
        let (pairs, phase) = match &self.state {
            State::Scalar(columns) => {
                let eq = evals_eq_hypercube_serial(rest);
                let mut sums = [EF::ZERO; 3];
                for (y, &eq) in eq.iter().enumerate() {
                    let row = |y: usize| std::array::from_fn(|c| columns[c][y]);
                    add_term(&mut sums, row(2 * y), row(2 * y + 1), eq, at_one);
                }
                return sums;
            }
            State::Made { leaves, rounds } => (leaves.groups::<G>() * rounds.pairs(), rounds.phase()),
            State::Layer { q, phase, .. } => (q.len() / ROW, *phase + 2),
            State::Packed { rows, phase } => (rows.len() / (2 * ROW), *phase + 1),
        };
        let eq = SplitEq::<F, EF>::new(rest, phase);
        let sums = match &self.state {
            State::Made { leaves, rounds } => rounds.sums(*leaves, &eq, at_one),
            _ => self.packed_sums(&eq, pairs, at_one),
        };
        let mut sums = sums.map(|sum| ext_sum::<F, EF>(&(sum * eq.lanes)));
        let padding = self.padding(rest, pairs);
        sums[0] += padding;
        sums[1] += padding;
        sums
    }

    fn packed_sums(&self, eq: &SplitEq<F, EF>, pairs: usize, at_one: bool) -> Sums<ExtPack<F, EF>> {
        let zero = [ExtPack::<F, EF>::ZERO; 3];
        (0..pairs.div_ceil(eq.block()))
            .into_par_iter()
            .map(|block| {
                let start = block * eq.block();
                let mut sums = zero;
                for (v, &eq) in (start..pairs).zip(&eq.low) {
                    let (even, odd) = self.pair(v);
                    add_term(&mut sums, even, odd, eq, at_one);
                }
                sums.map(|sum| sum * eq.high[block])
            })
            .reduce(|| zero, add)
    }

    /// `[p0, q0, p1, q1]` at the point to which all variables are bound.
    pub(crate) fn claims(&self) -> [EF; 4] {
        let State::Scalar(columns) = &self.state else {
            unreachable!("the last variables are bound in scalars");
        };
        let [u, q0, p1, q1] = std::array::from_fn(|c| columns[c][0]);
        [u - self.lambda * q0, q0, p1, q1]
    }
}

/// `eq(x, z)` in one variable.
fn eq_factor<EF: Field>(x: EF, z: EF) -> EF {
    EF::ONE - x - z + (x * z).double()
}
