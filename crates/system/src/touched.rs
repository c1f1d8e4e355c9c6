//! The memory that a segment touched: its chunks before and after, and the trace of the boundary
//! chip.

use std::{array, borrow::BorrowMut};

use openvm_circuit::{
    arch::DEFAULT_BLOCK_SIZE,
    system::{
        TouchedMemory,
        memory::{
            CHUNK, INITIAL_TIMESTAMP,
            persistent::{BLOCKS_PER_CHUNK, PersistentBoundaryCols},
        },
    },
};
use openvm_stark_backend::{
    p3_field::PrimeCharacteristicRing, p3_matrix::dense::RowMajorMatrix, p3_maybe_rayon::prelude::*,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{
    Digest, MemoryTree,
    tree::{BLOCK_BYTES, BLOCK_HEIGHT},
};

/// A leaf of the Merkle tree that a segment read or wrote.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    pub space: u32,
    /// The number of the chunk in its address space.
    pub label: u32,
    pub before: [F; CHUNK],
    pub after: [F; CHUNK],
    /// When each block in it was touched last; 0 where it was not.
    timestamps: [u32; BLOCKS_PER_CHUNK],
}

/// A [`Chunk`] with its hashes.
pub(crate) struct Leaf {
    /// Its number in the whole tree.
    pub number: u64,
    pub before: Digest,
    pub after: Digest,
}

/// The touched chunks, by rising address. The tree is over memory as it was before.
pub(crate) fn chunks(tree: &MemoryTree, mut touched: TouchedMemory<F>) -> Vec<Chunk> {
    let of = |address: (u32, u32)| (address.0, address.1 / CHUNK as u32);
    touched.par_sort_unstable_by_key(|&(address, _)| address);
    let mut chunks: Vec<Chunk> = Vec::with_capacity(touched.len());
    for (address, block) in touched {
        let (space, label) = of(address);
        if chunks
            .last()
            .is_none_or(|last| (last.space, last.label) != (space, label))
        {
            let before = cells(tree, space, label);
            chunks.push(Chunk {
                space,
                label,
                before,
                after: before,
                timestamps: [INITIAL_TIMESTAMP; BLOCKS_PER_CHUNK],
            });
        }
        let chunk = chunks.last_mut().expect("one was pushed");
        let start = address.1 as usize % CHUNK;
        chunk.timestamps[start / DEFAULT_BLOCK_SIZE] = block.timestamp;
        chunk.after[start..][..DEFAULT_BLOCK_SIZE].copy_from_slice(&block.values);
    }
    chunks
}

fn cells(tree: &MemoryTree, space: u32, label: u32) -> [F; CHUNK] {
    let number = tree.dimensions.label_to_index((space, label));
    let block = tree.block(number >> BLOCK_HEIGHT);
    let start = number as usize * CHUNK % BLOCK_BYTES;
    array::from_fn(|cell| F::from_u8(block[start + cell]))
}

pub(crate) fn leaves(tree: &MemoryTree, chunks: &[Chunk]) -> Vec<Leaf> {
    let before = tree.hasher.leaves(chunks, |chunk| chunk.before);
    let after = tree.hasher.leaves(chunks, |chunk| chunk.after);
    let leaf = |((chunk, before), after): ((&Chunk, Digest), Digest)| Leaf {
        number: tree.dimensions.label_to_index((chunk.space, chunk.label)),
        before,
        after,
    };
    chunks.iter().zip(before).zip(after).map(leaf).collect()
}

/// Two rows for each chunk: before, and after.
pub(crate) fn boundary_trace(chunks: &[Chunk], leaves: &[Leaf]) -> RowMajorMatrix<F> {
    let width = PersistentBoundaryCols::<F, CHUNK>::width();
    // The chip is in every proof, so that the Merkle chip's number is always the same.
    let height = (2 * chunks.len()).next_power_of_two();
    let mut rows = F::zero_vec(height * width);
    let pairs = rows.par_chunks_mut(2 * width);
    pairs
        .zip(chunks.par_iter().zip(leaves))
        .for_each(|(rows, (chunk, leaf))| {
            let row = |expand_direction, values, hash, timestamps: [u32; BLOCKS_PER_CHUNK]| {
                PersistentBoundaryCols {
                    expand_direction,
                    address_space: F::from_u32(chunk.space),
                    leaf_label: F::from_u32(chunk.label),
                    values,
                    hash,
                    timestamps: timestamps.map(F::from_u32),
                }
            };
            let (before, after) = rows.split_at_mut(width);
            *before.borrow_mut() = row(
                F::ONE,
                chunk.before,
                leaf.before,
                [INITIAL_TIMESTAMP; BLOCKS_PER_CHUNK],
            );
            *after.borrow_mut() = row(F::NEG_ONE, chunk.after, leaf.after, chunk.timestamps);
        });
    RowMajorMatrix::new(rows, width)
}
