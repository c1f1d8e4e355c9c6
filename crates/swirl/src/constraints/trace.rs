//! The columns of an AIR's trace, and packs of them.

use std::borrow::Cow;

use openvm_stark_backend::{
    p3_field::{PackedValue, PrimeCharacteristicRing},
    prover::{
        ColMajorMatrix, MatrixDimensions,
        stacked_pcs::{StackedLayout, StackedSlice},
    },
};

use super::program::Input;
use crate::packed::{Pack, PackedField, index_of_lane, split, width};

/// The columns of all of an AIR's matrices: preprocessed, cached, common.
pub(crate) struct Trace<'a, F: Clone> {
    pub height: usize,
    pub matrices: Vec<Vec<Cow<'a, [F]>>>,
    l_skip: usize,
}

/// The columns of one matrix, as they are in the stacked matrix that was committed to.
///
/// The columns, each contiguous, and not spread over rows, unless it has fewer rows than are
/// skipped at once.
pub(crate) fn columns<'a, F: PackedField>(
    layout: &StackedLayout,
    stacked: &'a ColMajorMatrix<F>,
    matrix: usize,
) -> Vec<Cow<'a, [F]>> {
    let height = stacked.height();
    let l_skip = layout.l_skip();
    let column = |slice: &StackedSlice| {
        let start = slice.col_idx * height + slice.row_idx;
        let values = &stacked.values[start..start + slice.len(l_skip)];
        match slice.stride(l_skip) {
            1 => Cow::Borrowed(values),
            stride => Cow::Owned(values.iter().copied().step_by(stride).collect()),
        }
    };
    (0..layout.width_of(matrix))
        .map(|index| column(layout.get(matrix, index).expect("the matrix is this wide")))
        .collect()
}

impl<'a, F: PackedField> Trace<'a, F> {
    pub(crate) fn new(height: usize, l_skip: usize, matrices: Vec<Vec<Cow<'a, [F]>>>) -> Self {
        Self {
            height,
            matrices,
            l_skip,
        }
    }

    /// Hypercube coordinates of a row, those that are skipped left out.
    pub(crate) fn log_blocks(&self) -> usize {
        (self.height.trailing_zeros() as usize).saturating_sub(self.l_skip)
    }

    /// Units of the trace: as many blocks of `2^l_skip` rows as there are lanes.
    pub(crate) fn units(&self) -> usize {
        (1usize << self.log_blocks()).div_ceil(width::<F>())
    }

    /// The rows of a unit: a pack for each place in a block, in bit-reversed order of places, whose
    /// lanes are blocks in the lane order of phase `l_skip`. Lanes past the last block are zero.
    pub(crate) fn load(&self, input: Input, unit: usize, packs: &mut [Pack<F>]) {
        match input {
            Input::Column { matrix, column, next } => {
                let column = &self.matrices[matrix][column];
                let rows = width::<F>() << self.l_skip;
                let start = unit * rows + usize::from(next);
                if let Some(values) = column.get(start..start + rows) {
                    for (pack, values) in packs.iter_mut().zip(values.chunks_exact(width::<F>())) {
                        *pack = *Pack::<F>::from_slice(values);
                    }
                    spread::<F>(packs, 0);
                } else {
                    self.gather(unit, packs, |row| column[(row + usize::from(next)) % self.height]);
                }
            }
            _ => self.gather(unit, packs, |row| {
                let row = row % self.height;
                F::from_bool(match input {
                    Input::IsFirst => row == 0,
                    Input::IsLast => row == self.height - 1,
                    _ => row != self.height - 1,
                })
            }),
        }
    }

    fn gather(&self, unit: usize, packs: &mut [Pack<F>], row: impl Fn(usize) -> F) {
        for (place, pack) in packs.iter_mut().enumerate() {
            let place = reverse_bits(place, self.l_skip);
            *pack = Pack::<F>::from_fn(|lane| {
                let block = unit * width::<F>() + index_of_lane::<F>(self.l_skip, lane);
                if block >> self.log_blocks() == 0 {
                    row((block << self.l_skip) + place)
                } else {
                    F::ZERO
                }
            });
        }
    }

    /// As many rows in natural order as there are lanes; lanes past the last row are those of the
    /// first ones again.
    pub(crate) fn rows(&self, input: Input, start: usize) -> Pack<F> {
        let end = start + width::<F>();
        match input {
            Input::Column { matrix, column, next } => {
                let column = &self.matrices[matrix][column];
                let offset = usize::from(next);
                match column.get(start + offset..end + offset) {
                    Some(values) => *Pack::<F>::from_slice(values),
                    None => Pack::<F>::from_fn(|lane| column[(start + lane + offset) % self.height]),
                }
            }
            _ => {
                let row = |lane: usize| (start + lane) % self.height;
                let last = self.height - 1;
                Pack::<F>::from_fn(|lane| {
                    F::from_bool(match input {
                        Input::IsFirst => row(lane) == 0,
                        Input::IsLast => row(lane) == last,
                        _ => row(lane) != last,
                    })
                })
            }
        }
    }
}

/// Takes the lowest index bits, as many as these packs have numbers, out of the lanes: the pack at
/// the bit-reversed place holds what had the place's bits.
fn spread<F: PackedField>(packs: &mut [Pack<F>], phase: usize) {
    const MAX: usize = 64;
    let half = packs.len() / 2;
    if half == 0 {
        return;
    }
    if packs.len() <= MAX {
        let mut odd = [<Pack<F> as PrimeCharacteristicRing>::ZERO; MAX / 2];
        for i in 0..half {
            (packs[i], odd[i]) = split::<F>(packs[2 * i], packs[2 * i + 1], phase);
        }
        packs[half..].copy_from_slice(&odd[..half]);
    } else {
        let mut odd = Vec::with_capacity(half);
        for i in 0..half {
            let (low, high) = split::<F>(packs[2 * i], packs[2 * i + 1], phase);
            packs[i] = low;
            odd.push(high);
        }
        packs[half..].copy_from_slice(&odd);
    }
    let (low, high) = packs.split_at_mut(half);
    spread::<F>(low, phase + 1);
    spread::<F>(high, phase + 1);
}

/// The number whose `bits` low bits are those of `value` in reverse.
pub(crate) fn reverse_bits(value: usize, bits: usize) -> usize {
    if bits == 0 {
        0
    } else {
        value.reverse_bits() >> (usize::BITS as usize - bits)
    }
}
