//! Stacking: the columns of all traces, one below the other in columns of one height.

use std::borrow::Cow;

use openvm_stark_backend::{
    p3_field::Field,
    p3_matrix::{Matrix, dense::RowMajorMatrix},
    p3_maybe_rayon::prelude::*,
    p3_util::log2_strict_usize,
    prover::{ColMajorMatrix, error::StackedPcsError, stacked_pcs::StackedLayout},
};

use crate::{SwirlError, context::check_height};

/// Columns that one task copies: a cache line of each row of a trace of 32-bit elements.
const COLUMNS: usize = 16;
/// Rows that one task copies.
const ROWS: usize = 1 << 12;
/// Rows copied column by column before the next: a cache line of each column.
const LINE: usize = 16;
/// Parts of its rows by which a trace is given back.
const PARTS: usize = 8;

/// The layout of `traces`, which are sorted by height, the tallest first.
pub(crate) fn layout<F: Field>(
    l_skip: usize,
    n_stack: usize,
    traces: &[&RowMajorMatrix<F>],
) -> Result<StackedLayout, SwirlError> {
    if traces.is_empty() {
        return Err(SwirlError::Airs(
            "there is no trace to commit to; give at least one".into(),
        ));
    }
    for (index, trace) in traces.iter().enumerate() {
        check_height(|| format!("trace {index}"), trace.height(), l_skip + n_stack)?;
    }
    let shapes = traces
        .iter()
        .map(|trace| (trace.width(), log2_strict_usize(trace.height())))
        .collect();
    Ok(StackedLayout::new(l_skip, l_skip + n_stack, shapes)?)
}

/// The stacked matrix: the same as `stacked_matrix` of OpenVM makes of these traces, column by
/// column. Traces that come by value are freed as they are copied, the last rows first.
pub(crate) fn stack<'a, F: Field>(
    layout: &StackedLayout,
    traces: impl IntoIterator<Item = Cow<'a, RowMajorMatrix<F>>>,
) -> Result<ColMajorMatrix<F>, StackedPcsError> {
    let l_skip = layout.l_skip();
    let cells = layout
        .width()
        .checked_mul(layout.height())
        .ok_or(StackedPcsError::StackedMatrixOverflow)?;
    let mut stacked = F::zero_vec(cells);
    // All columns of a trace lie below each other, and so do those of the next.
    let mut rest = stacked.as_mut_slice();
    for trace in traces {
        let (width, height) = (trace.width(), trace.height());
        if width == 0 {
            continue;
        }
        let lifted = height.max(1 << l_skip);
        let (region, below) = rest.split_at_mut(lifted * width);
        rest = below;
        if lifted > height {
            let stride = lifted / height;
            for (j, column) in region.chunks_exact_mut(lifted).enumerate() {
                for (i, slot) in column.iter_mut().step_by(stride).enumerate() {
                    *slot = trace.values[i * width + j];
                }
            }
            continue;
        }
        match trace {
            Cow::Borrowed(trace) => transpose(&trace.values, width, height, 0, region),
            Cow::Owned(mut trace) => {
                let part = (height / PARTS).max(ROWS);
                for first in (0..height).step_by(part).rev() {
                    transpose(&trace.values[first * width..], width, height, first, region);
                    trace.values.truncate(first * width);
                    trace.values.shrink_to_fit();
                }
            }
        }
    }
    Ok(ColMajorMatrix::new(stacked, layout.width()))
}

/// Copies rows to columns of `height`, from the row `first` on.
fn transpose<F: Field>(rows: &[F], width: usize, height: usize, first: usize, columns: &mut [F]) {
    let rows_len = rows.len() / width;
    let tasks: Vec<(usize, usize, Vec<&mut [F]>)> = columns
        .chunks_mut(COLUMNS * height)
        .enumerate()
        .flat_map(|(group, columns)| {
            let mut parts: Vec<_> = columns
                .chunks_mut(height)
                .map(|column| column[first..first + rows_len].chunks_mut(ROWS))
                .collect();
            (0..rows_len.div_ceil(ROWS))
                .map(|part| {
                    (
                        group * COLUMNS,
                        part * ROWS,
                        parts.iter_mut().filter_map(Iterator::next).collect(),
                    )
                })
                .collect::<Vec<_>>()
        })
        .collect();
    tasks.into_par_iter().for_each(|(column, row, mut parts)| {
        let count = parts[0].len();
        for line in (0..count).step_by(LINE) {
            for (j, part) in parts.iter_mut().enumerate() {
                let end = count.min(line + LINE);
                let from = rows[(row + line) * width + column + j..].iter().step_by(width);
                for (slot, &value) in part[line..end].iter_mut().zip(from) {
                    *slot = value;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use openvm_stark_backend::{
        p3_field::PrimeCharacteristicRing,
        p3_matrix::dense::RowMajorMatrix,
        prover::{ColMajorMatrix, stacked_pcs::stacked_matrix},
    };
    use openvm_stark_sdk::config::baby_bear_poseidon2::F;

    use super::{layout, stack};

    #[test]
    fn stacked_columns_are_those_of_openvm() {
        let traces: Vec<RowMajorMatrix<F>> = [(3, 13), (40, 8), (1, 8), (5, 4), (0, 3), (2, 2), (7, 0)]
            .into_iter()
            .map(|(width, log_height): (usize, usize)| {
                let cells = (0..width << log_height).map(|i| F::from_usize(i * i + 5 * width));
                RowMajorMatrix::new(cells.collect(), width)
            })
            .filter(|trace| trace.width > 0)
            .collect();
        let columns: Vec<ColMajorMatrix<F>> = traces.iter().map(ColMajorMatrix::from_row_major).collect();
        let (expected, _) = stacked_matrix(4, 9, &columns.iter().collect::<Vec<_>>()).unwrap();
        let layout = layout(4, 9, &traces.iter().collect::<Vec<_>>()).unwrap();
        let kept = stack(&layout, traces.iter().map(Cow::Borrowed)).unwrap();
        assert_eq!(kept.values, expected.values);
        let given = stack(&layout, traces.into_iter().map(Cow::Owned)).unwrap();
        assert_eq!(given.values, expected.values);
    }
}
