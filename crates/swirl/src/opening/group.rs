//! Columns of one height, batched.

use openvm_stark_backend::{
    p3_field::{ExtensionField, Field, TwoAdicField},
    p3_maybe_rayon::prelude::*,
};

use super::batch::add_multiple;

/// Rows that a task batches at once: the eight sums of a row, 16 KiB, stay in the first-level
/// cache.
pub(super) const ROWS: usize = 1 << 9;

/// A column of evaluations with its weights in the two sums.
pub(super) struct Column<'a, F, EF> {
    pub(super) values: &'a [F],
    pub(super) lambda_eq: EF,
    pub(super) lambda_rot: Option<EF>,
}

/// The sums of all columns of a group over `lambda_eq` and over `lambda_rot`, with the univariate
/// variable bound: values on the hypercube.
pub(super) struct BatchedColumn<EF> {
    pub(super) eq: Vec<EF>,
    pub(super) rot: Vec<EF>,
}

impl<EF> Default for BatchedColumn<EF> {
    fn default() -> Self {
        Self {
            eq: Vec::new(),
            rot: Vec::new(),
        }
    }
}

/// The row of the cube before `x`, which follows the last one.
pub(super) fn previous(x: usize, len: usize) -> usize {
    if x == 0 { len - 1 } else { x - 1 }
}

/// Sums over the cube, for each point `i` of the univariate subgroup: of the batched columns for
/// `eq` times `eq(x)`, of those for rotations times `eq(x)`, and of these times `eq(x - 1) -
/// eq(x)`.
pub(super) fn univariate_sums<F, EF>(l_skip: usize, columns: &[Column<F, EF>], eq: &[EF]) -> [Vec<EF>; 3]
where
    F: TwoAdicField,
    EF: ExtensionField<F>,
{
    let size = 1usize << l_skip;
    let rotated = columns.iter().any(|column| column.lambda_rot.is_some());
    let zero = || [vec![EF::ZERO; size], vec![EF::ZERO; size], vec![EF::ZERO; size]];
    tasks(columns)
        .into_par_iter()
        .map_init(
            || Sums::new(rotated),
            |sums, (start, end)| {
                sums.add_rows(columns, start, end);
                let mut totals = zero();
                for (offset, x) in (start >> l_skip..end >> l_skip).enumerate() {
                    let (here, before) = (eq[x], eq[previous(x, eq.len())]);
                    let [eq_total, rot_total, rot_before] = &mut totals;
                    for (i, eq_total) in eq_total.iter_mut().enumerate() {
                        let row = (offset << l_skip) + i;
                        *eq_total += sums.eq_at::<EF>(row) * here;
                        if rotated {
                            let rot = sums.rot_at::<EF>(row);
                            rot_total[i] += rot * here;
                            rot_before[i] += rot * (before - here);
                        }
                    }
                }
                totals
            },
        )
        .reduce(zero, |mut a, b| {
            for (a, b) in a.iter_mut().flatten().zip(b.into_iter().flatten()) {
                *a += b;
            }
            a
        })
}

/// Batches the columns with their univariate variable bound to `u`.
pub(super) fn bind<F, EF>(l_skip: usize, columns: &[Column<F, EF>], u: EF) -> BatchedColumn<EF>
where
    F: TwoAdicField,
    EF: ExtensionField<F>,
{
    let size = 1usize << l_skip;
    let rotated = columns.iter().any(|column| column.lambda_rot.is_some());
    let lagrange = lagrange_at::<F, EF>(l_skip, u);
    let blocks = columns[0].values.len() >> l_skip;
    let mut batched = BatchedColumn {
        eq: EF::zero_vec(blocks),
        rot: EF::zero_vec(if rotated { blocks } else { 0 }),
    };
    let per_task = ROWS >> l_skip;
    let mut rot_parts = batched.rot.chunks_mut(per_task);
    let parts: Vec<(&mut [EF], Option<&mut [EF]>)> = batched
        .eq
        .chunks_mut(per_task)
        .map(|eq| (eq, rot_parts.next()))
        .collect();
    tasks(columns).into_par_iter().zip(parts).for_each_init(
        || Sums::new(rotated),
        |sums, ((start, end), (eq, rot))| {
            sums.add_rows(columns, start, end);
            let sum = |out: &mut [EF], at: &dyn Fn(usize) -> EF| {
                for (x, out) in out.iter_mut().enumerate() {
                    *out = (0..size).map(|i| at((x << l_skip) + i) * lagrange[i]).sum();
                }
            };
            sum(eq, &|row| sums.eq_at(row));
            if let Some(rot) = rot {
                sum(rot, &|row| sums.rot_at(row));
            }
        },
    );
    batched
}

/// Values at `u` of the Lagrange polynomials of the subgroup of `2^l_skip` elements.
pub(super) fn lagrange_at<F: TwoAdicField, EF: ExtensionField<F>>(l_skip: usize, u: EF) -> Vec<EF> {
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

/// Evaluations at 1 and 2 in the first variable of the sum of the products.
pub(super) fn product_round<EF: Field>(values: &[EF], kernel: &[EF]) -> [EF; 2] {
    values
        .par_chunks_exact(2)
        .zip(kernel.par_chunks_exact(2))
        .with_min_len(1 << 9)
        .map(|(v, k)| [v[1] * k[1], (v[1].double() - v[0]) * (k[1].double() - k[0])])
        .reduce(|| [EF::ZERO; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
}

fn tasks<F, EF>(columns: &[Column<F, EF>]) -> Vec<(usize, usize)> {
    let height = columns[0].values.len();
    (0..height)
        .step_by(ROWS)
        .map(|start| (start, height.min(start + ROWS)))
        .collect()
}

/// Basis coefficients of the batched columns in some rows.
struct Sums<F> {
    eq: Vec<[F; ROWS]>,
    rot: Vec<[F; ROWS]>,
    rotated: bool,
}

impl<F: Field> Sums<F> {
    fn new(rotated: bool) -> Self {
        Self {
            eq: Vec::new(),
            rot: Vec::new(),
            rotated,
        }
    }

    fn add_rows<EF: ExtensionField<F>>(&mut self, columns: &[Column<F, EF>], start: usize, end: usize) {
        for sums in [&mut self.eq, &mut self.rot] {
            sums.clear();
            sums.resize(EF::DIMENSION, [F::ZERO; ROWS]);
        }
        for column in columns {
            let values = &column.values[start..end];
            for (sum, &weight) in self
                .eq
                .iter_mut()
                .zip(column.lambda_eq.as_basis_coefficients_slice())
            {
                add_multiple(&mut sum[..end - start], values, weight);
            }
            if let Some(lambda) = &column.lambda_rot {
                debug_assert!(self.rotated);
                for (sum, &weight) in self.rot.iter_mut().zip(lambda.as_basis_coefficients_slice()) {
                    add_multiple(&mut sum[..end - start], values, weight);
                }
            }
        }
    }

    fn eq_at<EF: ExtensionField<F>>(&self, row: usize) -> EF {
        EF::from_basis_coefficients_fn(|d| self.eq[d][row])
    }

    fn rot_at<EF: ExtensionField<F>>(&self, row: usize) -> EF {
        EF::from_basis_coefficients_fn(|d| self.rot[d][row])
    }
}
