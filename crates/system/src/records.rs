//! The hashes of memory that a segment's proof has to show, and the trace of the chip that shows
//! them.
//!
//! OpenVM's chip keeps the hashes in a map of twice their size, and makes its trace twice; the
//! second one has one column more. With 300 columns, it is often the largest trace of a segment.

use std::{
    iter,
    sync::{Arc, Mutex, PoisonError},
};

use openvm_circuit::system::{memory::CHUNK, poseidon2::Poseidon2PeripheryChip};
use openvm_stark_backend::{
    p3_air::BaseAir, p3_field::PrimeCharacteristicRing, p3_matrix::dense::RowMajorMatrix,
    p3_maybe_rayon::prelude::*, prover::AirProvingContext,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{Backend, Digest};

/// The input of a hash: two children of a node, or a chunk of memory and zeros.
type State = [F; 2 * CHUNK];

/// Rows that are made at once, before they are put where they belong.
const ROWS_AT_ONCE: usize = 1 << 10;

/// The place where the chips of a virtual machine leave the inputs that they hashed, for the code
/// that puts its proof together.
#[derive(Clone, Default)]
pub struct HashRecords(Arc<Mutex<Option<Records>>>);

struct Records {
    chip: Arc<Poseidon2PeripheryChip<F>>,
    /// The states in any order, each as often as it is needed.
    states: Vec<State>,
}

impl HashRecords {
    pub(crate) fn put(
        &self,
        chip: &Arc<Poseidon2PeripheryChip<F>>,
        pairs: impl ParallelIterator<Item = [Digest; 2]>,
    ) {
        let state = |[left, right]: [Digest; 2]| {
            let mut state = [F::ZERO; 2 * CHUNK];
            state[..CHUNK].copy_from_slice(&left);
            state[CHUNK..].copy_from_slice(&right);
            state
        };
        let records = Records {
            chip: Arc::clone(chip),
            states: pairs.map(state).collect(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(records);
    }

    /// The context of OpenVM's `Poseidon2PeripheryAir` for the last segment; `None` where it was
    /// taken already. The virtual machine's own context has none of it, since no chip tells
    /// OpenVM's of a hash.
    pub fn take_context(&self) -> Option<AirProvingContext<Backend>> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(AirProvingContext::simple_no_pis(records.trace()))
    }
}

impl Records {
    fn trace(mut self) -> RowMajorMatrix<F> {
        self.states.par_sort_unstable();
        let unique: Vec<(&State, u32)> = self
            .states
            .chunk_by(|a, b| a == b)
            .map(|equal| (&equal[0], equal.len() as u32))
            .collect();
        match &*self.chip {
            Poseidon2PeripheryChip::Register0(chip) => trace(&unique, chip.subchip.air.width(), |states| {
                chip.subchip.generate_trace(states)
            }),
            Poseidon2PeripheryChip::Register1(chip) => trace(&unique, chip.subchip.air.width(), |states| {
                chip.subchip.generate_trace(states)
            }),
        }
    }
}

/// One row for each state: the result of `inner` on it, and the number of times that it is needed.
fn trace(
    unique: &[(&State, u32)],
    inner_width: usize,
    inner: impl Fn(Vec<State>) -> RowMajorMatrix<F> + Sync,
) -> RowMajorMatrix<F> {
    let width = inner_width + 1;
    let height = unique.len().next_power_of_two();
    let mut values = F::zero_vec(height * width);
    let rows_at_once = ROWS_AT_ONCE.min(height);
    let blocks = values.par_chunks_mut(rows_at_once * width).enumerate();
    blocks.for_each(|(block, rows)| {
        let unique = unique.iter().skip(block * rows_at_once).take(rows_at_once);
        // Rows beyond the last are those of a hash that nothing needs.
        let padded = unique.copied().chain(iter::repeat((&[F::ZERO; 2 * CHUNK], 0)));
        let padded: Vec<(&State, u32)> = padded.take(rows_at_once).collect();
        let made = inner(padded.iter().map(|(state, _)| **state).collect());
        let made = made.values.chunks(inner_width);
        for ((row, made), (_, count)) in rows.chunks_mut(width).zip(made).zip(padded) {
            row[..inner_width].copy_from_slice(made);
            row[inner_width] = F::from_u32(count);
        }
    });
    RowMajorMatrix::new(values, width)
}
