//! Stacked columns with their first variables bound.
//!
//! A round asks for a stacked column's own values only when some piece within it is shorter than
//! the variables that have been bound: then the piece meets its neighbours. When that first
//! happens, the column is folded from its base field elements, by then to the length of the cube's
//! rest. For most columns, that happens only at the end.

use openvm_stark_backend::{
    p3_field::{ExtensionField, Field, PackedValue, PrimeCharacteristicRing, TwoAdicField},
    p3_maybe_rayon::prelude::*,
    prover::poly::evals_eq_hypercube,
};

use super::{
    group::lagrange_at,
    packed::{pack, sum_lanes},
    piece::Piece,
};

pub(super) struct Folds<'a, F: Field, EF> {
    l_skip: usize,
    columns: Vec<&'a [F]>,
    /// For each column, the number of variables of the cube that its shortest piece depends on.
    shortest: Vec<usize>,
    folded: Vec<Option<Vec<EF>>>,
    lagrange: Vec<EF>,
    bound: Vec<EF>,
}

impl<'a, F: TwoAdicField, EF: ExtensionField<F>> Folds<'a, F, EF> {
    pub(super) fn new(l_skip: usize, n_stack: usize, columns: &[&'a [F]], pieces: &[Piece<EF>]) -> Self {
        let mut shortest = vec![n_stack; columns.len()];
        for piece in pieces {
            let n_lift = piece.slice.log_height().saturating_sub(l_skip);
            shortest[piece.column] = shortest[piece.column].min(n_lift);
        }
        Self {
            l_skip,
            columns: columns.to_vec(),
            shortest,
            folded: columns.iter().map(|_| None).collect(),
            lagrange: Vec::new(),
            bound: Vec::new(),
        }
    }

    pub(super) fn bind_univariate(&mut self, u: EF) {
        self.lagrange = lagrange_at::<F, EF>(self.l_skip, u);
    }

    /// Folds the columns that this round is the first to ask for.
    pub(super) fn prepare(&mut self, round: usize) {
        let due: Vec<usize> = (0..self.columns.len())
            .filter(|&column| self.folded[column].is_none() && self.shortest[column] < round)
            .collect();
        if due.is_empty() {
            return;
        }
        let weights = evals_eq_hypercube(&self.bound);
        for column in due {
            self.folded[column] = Some(self.fold(self.columns[column], &weights));
        }
    }

    /// Two neighbours of a folded column.
    pub(super) fn pair(&self, column: usize, row: usize) -> [EF; 2] {
        let values = self.folded[column]
            .as_ref()
            .expect("a column that this round asked for");
        [values[2 * row], values[2 * row + 1]]
    }

    pub(super) fn bind(&mut self, u: EF) {
        for values in self.folded.iter_mut().flatten() {
            bind(values, u);
        }
        self.bound.push(u);
    }

    pub(super) fn into_openings(mut self) -> Vec<EF> {
        self.prepare(usize::MAX);
        self.folded
            .into_iter()
            .flatten()
            .map(|values| values[0])
            .collect()
    }

    /// Sums blocks of `weights.len() << l_skip` rows, each row weighted.
    fn fold(&self, column: &[F], weights: &[EF]) -> Vec<EF> {
        let lanes = F::Packing::WIDTH;
        let size = 1usize << self.l_skip;
        let block = weights.len() << self.l_skip;
        if !size.is_multiple_of(lanes) {
            return column
                .par_chunks_exact(block)
                .map(|block| self.fold_plain(block, weights))
                .collect();
        }
        // Lanes are points of the univariate subgroup: the row's weight is the same in all of them.
        let lagrange: Vec<EF::ExtensionPacking> = (0..size / lanes)
            .map(|part| {
                let values = &self.lagrange[part * lanes..];
                pack::<F, EF>(|d| F::Packing::from_fn(|lane| values[lane].as_basis_coefficients_slice()[d]))
            })
            .collect();
        let fold_part = |column: &[F], weights: &[EF]| {
            let mut sums = vec![EF::ExtensionPacking::ZERO; size / lanes];
            for (chunk, &weight) in column.chunks_exact(size).zip(weights) {
                let weight = EF::ExtensionPacking::from(weight);
                for (sum, &value) in sums.iter_mut().zip(F::Packing::pack_slice(chunk)) {
                    *sum += weight * value;
                }
            }
            let sum = sums.into_iter().zip(&lagrange).map(|(sum, &l)| sum * l).sum();
            sum_lanes::<F, EF>(sum)
        };
        // A block is cut into tasks where it is large, and tasks take many blocks where these are
        // small.
        const WEIGHTS: usize = 1 << 10;
        if weights.len() > WEIGHTS {
            column
                .chunks_exact(block)
                .map(|block| {
                    block
                        .par_chunks(WEIGHTS << self.l_skip)
                        .zip(weights.par_chunks(WEIGHTS))
                        .map(|(part, weights)| fold_part(part, weights))
                        .sum()
                })
                .collect()
        } else {
            column
                .par_chunks_exact(block)
                .with_min_len(WEIGHTS / weights.len())
                .map(|block| fold_part(block, weights))
                .collect()
        }
    }

    fn fold_plain(&self, block: &[F], weights: &[EF]) -> EF {
        block
            .chunks_exact(1 << self.l_skip)
            .zip(weights)
            .map(|(chunk, &weight)| {
                let sum: EF = chunk
                    .iter()
                    .zip(&self.lagrange)
                    .map(|(&value, &l)| l * value)
                    .sum();
                sum * weight
            })
            .sum()
    }
}

/// Binds the first variable of values on the hypercube.
pub(super) fn bind<EF: Field>(values: &mut Vec<EF>, u: EF) {
    let half = values.len() / 2;
    if half == 0 {
        // Nothing of this kind is in the group.
        return;
    }
    for i in 0..half {
        let (low, high) = (values[2 * i], values[2 * i + 1]);
        values[i] = low + (high - low) * u;
    }
    values.truncate(half);
}
