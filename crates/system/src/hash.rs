//! OpenVM's hash of memory, for many chunks at once. OpenVM's own `vm_poseidon2_hasher` hashes one
//! after the other, and is an order of magnitude slower.

use std::array;

use openvm_circuit::{arch::vm_poseidon2_config, system::memory::CHUNK};
use openvm_stark_backend::{
    p3_field::{PackedValue, PrimeCharacteristicRing},
    p3_maybe_rayon::prelude::*,
    p3_symmetric::Permutation,
};
use openvm_stark_sdk::{config::baby_bear_poseidon2::F, p3_baby_bear::Poseidon2BabyBear};

use crate::{Digest, Lanes};

pub(crate) struct Hasher(Poseidon2BabyBear<{ 2 * CHUNK }>);

impl Hasher {
    pub(crate) fn new() -> Self {
        let constants = vm_poseidon2_config::<F>().constants;
        let (external, internal) = constants.to_external_internal_constants();
        Self(Poseidon2BabyBear::new(external, internal))
    }

    /// The parent of a pair of nodes, in each lane.
    pub(crate) fn lanes(&self, left: &[Lanes; CHUNK], right: &[Lanes; CHUNK]) -> [Lanes; CHUNK] {
        let mut state: [Lanes; 2 * CHUNK] =
            array::from_fn(|i| if i < CHUNK { left[i] } else { right[i - CHUNK] });
        self.0.permute_mut(&mut state);
        array::from_fn(|i| state[i])
    }

    /// The hash of a chunk of memory, in each lane.
    pub(crate) fn leaf_lanes(&self, cells: &[Lanes; CHUNK]) -> [Lanes; CHUNK] {
        self.lanes(cells, &[Lanes::ZERO; CHUNK])
    }

    /// The parent of each pair of nodes.
    pub(crate) fn compress(&self, pairs: &[[Digest; 2]]) -> Vec<Digest> {
        let group = |pairs: &[[Digest; 2]]| {
            let side = |side: usize| {
                array::from_fn(|i| {
                    Lanes::from_fn(|lane| pairs.get(lane).map_or(F::ZERO, |pair| pair[side][i]))
                })
            };
            unpack(self.lanes(&side(0), &side(1)), pairs.len())
        };
        pairs.par_chunks(Lanes::WIDTH).flat_map_iter(group).collect()
    }

    /// The hash of each chunk of memory.
    pub(crate) fn leaves<T: Sync>(&self, of: &[T], cells: impl Fn(&T) -> Digest + Sync) -> Vec<Digest> {
        let group = |of: &[T]| {
            let cells: Vec<Digest> = of.iter().map(&cells).collect();
            let lanes =
                array::from_fn(|i| Lanes::from_fn(|lane| cells.get(lane).map_or(F::ZERO, |cells| cells[i])));
            unpack(self.leaf_lanes(&lanes), of.len())
        };
        of.par_chunks(Lanes::WIDTH).flat_map_iter(group).collect()
    }

    pub(crate) fn compress_one(&self, pair: [Digest; 2]) -> Digest {
        self.compress(&[pair])[0]
    }
}

/// The digests in the first lanes.
pub(crate) fn unpack(digests: [Lanes; CHUNK], count: usize) -> impl Iterator<Item = Digest> {
    (0..count).map(move |lane| lane_of(&digests, lane))
}

/// The digest in one lane.
pub(crate) fn lane_of(digests: &[Lanes; CHUNK], lane: usize) -> Digest {
    array::from_fn(|i| digests[i].as_slice()[lane])
}
