//! The Merkle root over the VM's memory, kept up to date while a program runs.
//!
//! OpenVM makes its tree anew for every segment, from all of memory and with every node of it, which
//! takes some forty times the memory that it is over. [`truth`](crate::truth) wants the roots of hundreds of
//! segments one after the other, between which little changes. So this one compares memory with a
//! copy of what it was, hashes again what is different, and keeps no node below its blocks.

use std::array;

use openvm_circuit::{
    arch::{ADDR_SPACE_OFFSET, MemoryCellType, vm_poseidon2_config},
    system::memory::{
        AddressMap, CHUNK,
        dimensions::MemoryDimensions,
        online::{LinearMemory, PAGE_SIZE},
    },
};
use openvm_sdk::F;
use openvm_stark_backend::{
    p3_field::{Field, PackedValue, PrimeCharacteristicRing},
    p3_maybe_rayon::prelude::*,
    p3_symmetric::Permutation,
};
use openvm_stark_sdk::p3_baby_bear::Poseidon2BabyBear;

use crate::Root;

type Digest = [F; CHUNK];
/// As many field elements as the processor computes with at once.
type Lanes = <F as Field>::Packing;

/// Log2 of the leaves below the lowest node that is kept. Fewer, and the tree takes more of what the
/// memory below it does (32 bytes for each node, and twice that with those above); more, and a changed byte
/// costs more hashes.
const BLOCK_HEIGHT: usize = 6;
/// Bytes below such a node: a leaf is the hash of [`CHUNK`] cells, and a cell is a byte.
const BLOCK_BYTES: usize = CHUNK << BLOCK_HEIGHT;
/// Compared at once, and copied for as long as the tree lives once any byte of it is not zero.
const ZERO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// The Merkle tree that the memory roots of segment proofs are of.
///
/// Beside the memory that it follows it takes as much again for the copy, and an eighth for the nodes;
/// what is zero, and has been, takes nothing.
pub(crate) struct MemoryTree {
    hasher: BlockHasher,
    /// The root of all-zero memory, by the height of the tree over it.
    zeros: Vec<Digest>,
    dimensions: MemoryDimensions,
    /// One for each address space, of which the first is number [`ADDR_SPACE_OFFSET`].
    spaces: Vec<Space>,
}

/// The part of the tree over one address space.
struct Space {
    /// What memory was when it was last looked at, in pages; those without a copy were zero.
    pages: Vec<Option<Box<[u8; PAGE_SIZE]>>>,
    /// The nodes, those of the blocks first and the root last. What is missing at the end of a level is over
    /// memory that is zero.
    levels: Vec<Vec<Digest>>,
}

impl MemoryTree {
    /// Over memory that is zero everywhere.
    pub(crate) fn new(dimensions: MemoryDimensions) -> Self {
        let hasher = BlockHasher::new();
        let mut zeros = vec![hasher.compress_one([[F::ZERO; CHUNK]; 2])];
        for height in 0..dimensions.overall_height() {
            zeros.push(hasher.compress_one([zeros[height]; 2]));
        }
        let space = || Space {
            pages: Vec::new(),
            levels: vec![Vec::new(); dimensions.address_height - BLOCK_HEIGHT + 1],
        };
        Self {
            hasher,
            zeros,
            dimensions,
            spaces: (0..1 << dimensions.addr_space_height).map(|_| space()).collect(),
        }
    }

    /// Looks at all of memory, and gives its root.
    ///
    /// # Errors
    /// Something in an address space whose cells are not bytes. Only the extension `deferral` has one,
    /// which a [`VmConfig`](crate::VmConfig) refuses; a `.vmexe` could name it in its initial memory all the same.
    pub(crate) fn update(&mut self, memory: &AddressMap) -> Result<Root, String> {
        let spaces = memory.mem.iter().zip(&memory.config).enumerate();
        let with_cells = spaces.skip(ADDR_SPACE_OFFSET as usize);
        for ((number, (memory, config)), space) in with_cells.zip(&mut self.spaces) {
            let memory = memory.as_slice();
            if config.layout == MemoryCellType::U8 {
                space.update(memory, &self.hasher, &self.zeros[BLOCK_HEIGHT..]);
            } else if memory
                .chunks(PAGE_SIZE)
                .any(|page| page != &ZERO_PAGE[..page.len()])
            {
                return Err(format!(
                    "it uses address space {number}, whose cells are not bytes"
                ));
            }
        }
        Ok(self.root().into())
    }

    fn root(&self) -> Digest {
        let zero = self.zeros[self.dimensions.address_height];
        let root = |space: &Space| *space.levels.last().and_then(|top| top.first()).unwrap_or(&zero);
        let mut nodes: Vec<Digest> = self.spaces.iter().map(root).collect();
        while nodes.len() > 1 {
            nodes = self.hasher.compress(nodes.as_chunks().0);
        }
        nodes[0]
    }
}

impl Space {
    /// `zeros` are the roots of all-zero memory from the height of a block on.
    fn update(&mut self, memory: &[u8], hasher: &BlockHasher, zeros: &[Digest]) {
        self.pages.resize(memory.len().div_ceil(PAGE_SIZE), None);
        let changed: Vec<usize> = memory
            .par_chunks(PAGE_SIZE)
            .zip(&self.pages)
            .enumerate()
            .flat_map_iter(|(page, (now, before))| {
                let before = before.as_deref().unwrap_or(&ZERO_PAGE);
                changed_blocks(now, before).map(move |block| page * (PAGE_SIZE / BLOCK_BYTES) + block)
            })
            .collect();
        for &block in &changed {
            let start = block * BLOCK_BYTES;
            let page = self.pages[start / PAGE_SIZE].get_or_insert_with(|| Box::new(ZERO_PAGE));
            let now = &memory[start..memory.len().min(start + BLOCK_BYTES)];
            page[start % PAGE_SIZE..][..now.len()].copy_from_slice(now);
        }
        let block = |&block: &usize| {
            let start = block * BLOCK_BYTES;
            let page = self.pages[start / PAGE_SIZE]
                .as_deref()
                .expect("a changed block was copied");
            let bytes = &page[start % PAGE_SIZE..][..BLOCK_BYTES];
            bytes.try_into().expect("a page has whole blocks")
        };
        let mut digests = hasher.roots(&changed, block);

        let mut places = changed;
        let height = self.levels.len() - 1;
        for (level, (nodes, &zero)) in self.levels.iter_mut().zip(zeros).enumerate() {
            if let Some(&last) = places.last().filter(|&&last| last >= nodes.len()) {
                nodes.resize(last + 1, zero);
            }
            for (&place, digest) in places.iter().zip(digests) {
                nodes[place] = digest;
            }
            places.iter_mut().for_each(|place| *place /= 2);
            places.dedup();
            if level == height {
                break;
            }
            let child = |place: usize| *nodes.get(place).unwrap_or(&zero);
            let pairs: Vec<[Digest; 2]> = places
                .iter()
                .map(|&parent| [child(2 * parent), child(2 * parent + 1)])
                .collect();
            digests = hasher.compress(&pairs);
        }
    }
}

/// Which blocks of a page are different. The last page of a small address space is cut short.
fn changed_blocks(now: &[u8], before: &[u8; PAGE_SIZE]) -> impl Iterator<Item = usize> {
    let differ = now != &before[..now.len()];
    let blocks = now.chunks(BLOCK_BYTES).zip(before.chunks(BLOCK_BYTES));
    blocks
        .enumerate()
        .take(if differ { usize::MAX } else { 0 })
        .filter(|(_, (now, before))| *now != &before[..now.len()])
        .map(|(block, _)| block)
}

/// OpenVM's hash of memory, many at once. Its own, `vm_poseidon2_hasher`, does one after the other, and is
/// an order of magnitude slower.
struct BlockHasher(Poseidon2BabyBear<{ 2 * CHUNK }>);

impl BlockHasher {
    fn new() -> Self {
        let constants = vm_poseidon2_config::<F>().constants;
        let (external, internal) = constants.to_external_internal_constants();
        Self(Poseidon2BabyBear::new(external, internal))
    }

    fn lanes(&self, left: &[Lanes; CHUNK], right: &[Lanes; CHUNK]) -> [Lanes; CHUNK] {
        let mut state: [Lanes; 2 * CHUNK] =
            array::from_fn(|i| if i < CHUNK { left[i] } else { right[i - CHUNK] });
        self.0.permute_mut(&mut state);
        array::from_fn(|i| state[i])
    }

    /// The parent of each pair of nodes.
    fn compress(&self, pairs: &[[Digest; 2]]) -> Vec<Digest> {
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

    fn compress_one(&self, pair: [Digest; 2]) -> Digest {
        self.compress(&[pair])[0]
    }

    /// The root of the tree over each block.
    fn roots<'a>(
        &self,
        places: &[usize],
        block: impl Fn(&usize) -> &'a [u8; BLOCK_BYTES] + Sync,
    ) -> Vec<Digest> {
        let group = |places: &[usize]| {
            let blocks: Vec<_> = places.iter().map(&block).collect();
            let byte = |place: usize| {
                Lanes::from_fn(|lane| F::from_u8(blocks.get(lane).map_or(0, |block| block[place])))
            };
            let leaf = |leaf: usize| {
                let cells = array::from_fn(|cell| byte(leaf * CHUNK + cell));
                self.lanes(&cells, &[Lanes::ZERO; CHUNK])
            };
            let mut nodes: Vec<_> = (0..1 << BLOCK_HEIGHT).map(leaf).collect();
            while nodes.len() > 1 {
                let pairs = nodes.as_chunks::<2>().0.iter();
                nodes = pairs.map(|[left, right]| self.lanes(left, right)).collect();
            }
            unpack(nodes[0], places.len())
        };
        places.par_chunks(Lanes::WIDTH).flat_map_iter(group).collect()
    }
}

/// The digests in the first lanes.
fn unpack(digests: [Lanes; CHUNK], count: usize) -> impl Iterator<Item = Digest> {
    (0..count).map(move |lane| array::from_fn(|i| digests[i].as_slice()[lane]))
}

#[cfg(test)]
mod tests {
    use openvm_circuit::{
        arch::{MemoryConfig, hasher::poseidon2::vm_poseidon2_hasher},
        system::memory::merkle::MerkleTree,
    };

    use super::*;

    const REGISTERS: usize = 1;
    const MEMORY: usize = 2;
    const PUBLIC_VALUES: usize = 3;
    const DEFERRAL: usize = 4;

    #[test]
    fn it_has_the_root_of_openvms_tree_after_every_change() {
        let config = MemoryConfig::default();
        let dimensions = config.memory_dimensions();
        let mut memory = AddressMap::from_mem_config(&config);
        let mut tree = MemoryTree::new(dimensions);
        let mut check = |memory: &AddressMap| {
            let openvms: MerkleTree<F, CHUNK> =
                MerkleTree::from_memory(memory, &dimensions, &vm_poseidon2_hasher());
            assert_eq!(tree.update(memory), Ok(openvms.root().into()));
        };
        check(&memory);
        // More blocks than there are lanes, odd numbers of neighbours, and some far away.
        let last = 1 << 20;
        let changes: [&[(usize, usize, usize, u8)]; 5] = [
            &[(MEMORY, 0, 1, 1)],
            &[
                (REGISTERS, 5, 120, 7),
                (MEMORY, 4090, 100_000, 255),
                (MEMORY, last, 1, 3),
            ],
            &[],
            &[
                (PUBLIC_VALUES, 0, 32, 9),
                (MEMORY, 0, 1, 0),
                (MEMORY, 70_000, 1, 2),
            ],
            // Zero again where it was not.
            &[
                (MEMORY, 0, 200_000, 0),
                (MEMORY, last, 1, 0),
                (REGISTERS, 0, 1, 1),
            ],
        ];
        for change in changes {
            for &(space, start, count, value) in change {
                memory.mem[space].as_mut_slice()[start..start + count].fill(value);
            }
            check(&memory);
        }
    }

    #[test]
    fn cells_that_are_not_bytes_are_refused() {
        let config = MemoryConfig::default();
        let mut memory: AddressMap = AddressMap::from_mem_config(&config);
        memory.mem[DEFERRAL].as_mut_slice()[9] = 1;
        let error = MemoryTree::new(config.memory_dimensions()).update(&memory);
        assert!(error.unwrap_err().contains("address space 4"));
    }
}
