//! The Merkle tree over the VM's memory, kept up to date while a program runs.
//!
//! OpenVM makes its tree again for every segment, from all of memory up to the last byte that is
//! not zero. It keeps every node, which takes some forty times the memory below the tree. Little
//! changes between the segments of a program. So this tree compares memory with a copy of its
//! earlier state, hashes the differences again, and keeps no node below its blocks.

use std::array;

use openvm_circuit::{
    arch::{ADDR_SPACE_OFFSET, MemoryCellType},
    system::memory::{
        AddressMap, CHUNK,
        dimensions::MemoryDimensions,
        online::{LinearMemory, PAGE_SIZE},
    },
};
use openvm_stark_backend::{
    p3_field::{PackedValue, PrimeCharacteristicRing},
    p3_maybe_rayon::prelude::*,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{
    Digest, Lanes,
    hash::{Hasher, unpack},
};

/// Log2 of the leaves below the lowest node that is kept. With fewer, the tree takes more memory
/// beside the one below it (32 bytes for each node, and twice that with those above); with more, a
/// changed byte costs more hashes.
pub(crate) const BLOCK_HEIGHT: usize = 6;
/// Bytes below such a node: a leaf is the hash of [`CHUNK`] cells, and a cell is a byte.
pub(crate) const BLOCK_BYTES: usize = CHUNK << BLOCK_HEIGHT;
/// Nodes of a level that lie together.
const NODES_PER_PAGE: usize = 64;
/// Compared at once, and copied for as long as the tree lives once any byte of it is not zero.
const ZERO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// The Merkle tree that the memory roots of segment proofs are of.
///
/// It takes as much again as the memory that it follows, for the copy, and an eighth for the nodes.
/// Memory that is zero, and always was, takes nothing.
pub struct MemoryTree {
    pub(crate) hasher: Hasher,
    /// The root of all-zero memory, by the height of the tree over it.
    pub(crate) zeros: Vec<Digest>,
    pub(crate) dimensions: MemoryDimensions,
    /// One for each address space, the first of which has the number [`ADDR_SPACE_OFFSET`].
    spaces: Vec<Space>,
}

/// The part of the tree over one address space.
struct Space {
    /// Memory as it was at the last look, in pages; those without a copy were zero.
    pages: Vec<Option<Box<[u8; PAGE_SIZE]>>>,
    /// The nodes, those of the blocks first and the root last.
    levels: Vec<Level>,
}

/// The nodes of a level in pages, so that one at its end takes no more than one at its start.
/// Missing pages are over memory that is zero.
#[derive(Clone, Default)]
struct Level(Vec<Option<Box<[Digest; NODES_PER_PAGE]>>>);

impl Level {
    fn get(&self, place: usize) -> Option<&Digest> {
        let page = self.0.get(place / NODES_PER_PAGE)?.as_deref()?;
        Some(&page[place % NODES_PER_PAGE])
    }

    /// `zero` is the value of the nodes beside it that were never set.
    fn set(&mut self, place: usize, node: Digest, zero: Digest) {
        let page = place / NODES_PER_PAGE;
        if page >= self.0.len() {
            self.0.resize(page + 1, None);
        }
        let page = self.0[page].get_or_insert_with(|| Box::new([zero; NODES_PER_PAGE]));
        page[place % NODES_PER_PAGE] = node;
    }
}

impl MemoryTree {
    /// Over memory that is zero everywhere.
    pub fn new(dimensions: MemoryDimensions) -> Self {
        let hasher = Hasher::new();
        let mut zeros = vec![hasher.compress_one([[F::ZERO; CHUNK]; 2])];
        for height in 0..dimensions.overall_height() {
            zeros.push(hasher.compress_one([zeros[height]; 2]));
        }
        let space = || Space {
            pages: Vec::new(),
            levels: vec![Level::default(); dimensions.address_height - BLOCK_HEIGHT + 1],
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
    /// Something in an address space whose cells are not bytes. Only the extension `deferral` has
    /// one.
    pub fn update(&mut self, memory: &AddressMap) -> Result<Digest, String> {
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
        Ok(self.root())
    }

    /// Bytes of memory that it keeps from one look to the next.
    pub fn kept_bytes(&self) -> u64 {
        self.spaces.iter().map(Space::kept_bytes).sum()
    }

    fn root(&self) -> Digest {
        self.node(self.dimensions.overall_height(), 0)
    }

    /// The node with this number on a level at or above [`BLOCK_HEIGHT`]; numbers on a level go
    /// through all address spaces.
    pub(crate) fn node(&self, height: usize, number: u64) -> Digest {
        let above = height.saturating_sub(self.dimensions.address_height);
        if above > 0 {
            let child = |side: u64| self.node(height - 1, 2 * number + side);
            return self.hasher.compress_one([child(0), child(1)]);
        }
        let log_of_space = self.dimensions.address_height - height;
        let space = &self.spaces[(number >> log_of_space) as usize];
        let place = number & ((1 << log_of_space) - 1);
        let node = space.levels[height - BLOCK_HEIGHT].get(place as usize);
        *node.unwrap_or(&self.zeros[height])
    }

    /// The cells of a block; blocks are numbered through all address spaces.
    pub(crate) fn block(&self, number: u64) -> &[u8; BLOCK_BYTES] {
        let log_of_space = self.dimensions.address_height - BLOCK_HEIGHT;
        let space = &self.spaces[(number >> log_of_space) as usize];
        let start = (number & ((1 << log_of_space) - 1)) as usize * BLOCK_BYTES;
        let page = space.pages.get(start / PAGE_SIZE).and_then(Option::as_deref);
        let bytes = &page.unwrap_or(&ZERO_PAGE)[start % PAGE_SIZE..][..BLOCK_BYTES];
        bytes.try_into().expect("a page has whole blocks")
    }
}

impl Space {
    fn kept_bytes(&self) -> u64 {
        let of_level = |level: &Level| bytes_of(&level.0);
        let nodes = self.levels.iter().map(of_level).sum::<usize>();
        (bytes_of(&self.pages) + nodes) as u64
    }

    /// `zeros` are the roots of all-zero memory from the height of a block on.
    fn update(&mut self, memory: &[u8], hasher: &Hasher, zeros: &[Digest]) {
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
        let mut digests = roots(hasher, &changed, block);

        let mut places = changed;
        let height = self.levels.len() - 1;
        for (level, (nodes, &zero)) in self.levels.iter_mut().zip(zeros).enumerate() {
            for (&place, digest) in places.iter().zip(digests) {
                nodes.set(place, digest, zero);
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

/// Bytes of pages, and of the list of them.
fn bytes_of<P>(pages: &[Option<Box<P>>]) -> usize {
    size_of_val(pages) + pages.iter().flatten().count() * size_of::<P>()
}

/// The blocks of a page that are different. The last page of a small address space is cut short.
fn changed_blocks(now: &[u8], before: &[u8; PAGE_SIZE]) -> impl Iterator<Item = usize> {
    let differ = now != &before[..now.len()];
    let blocks = now.chunks(BLOCK_BYTES).zip(before.chunks(BLOCK_BYTES));
    blocks
        .enumerate()
        .take(if differ { usize::MAX } else { 0 })
        .filter(|(_, (now, before))| *now != &before[..now.len()])
        .map(|(block, _)| block)
}

/// The root of the tree over each block.
fn roots<'a>(
    hasher: &Hasher,
    places: &[usize],
    block: impl Fn(&usize) -> &'a [u8; BLOCK_BYTES] + Sync,
) -> Vec<Digest> {
    let group = |places: &[usize]| {
        let blocks: Vec<_> = places.iter().map(&block).collect();
        let mut nodes = leaves(hasher, &blocks);
        while nodes.len() > 1 {
            nodes = parents(hasher, &nodes);
        }
        unpack(nodes[0], places.len())
    };
    places.par_chunks(Lanes::WIDTH).flat_map_iter(group).collect()
}

/// The leaves of the tree over each of a few blocks, one block to a lane.
pub(crate) fn leaves(hasher: &Hasher, blocks: &[&[u8; BLOCK_BYTES]]) -> Vec<[Lanes; CHUNK]> {
    let byte =
        |place: usize| Lanes::from_fn(|lane| F::from_u8(blocks.get(lane).map_or(0, |block| block[place])));
    let leaf = |leaf: usize| hasher.leaf_lanes(&array::from_fn(|cell| byte(leaf * CHUNK + cell)));
    (0..1 << BLOCK_HEIGHT).map(leaf).collect()
}

/// The level above, in each lane.
pub(crate) fn parents(hasher: &Hasher, nodes: &[[Lanes; CHUNK]]) -> Vec<[Lanes; CHUNK]> {
    let pairs = nodes.as_chunks::<2>().0.iter();
    pairs.map(|[left, right]| hasher.lanes(left, right)).collect()
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
            assert_eq!(tree.update(memory), Ok(openvms.root()));
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

    /// A program can write where it likes.
    #[test]
    fn a_byte_at_the_end_of_memory_takes_no_more_than_one_at_its_start() {
        let config = MemoryConfig::default();
        let mut memory: AddressMap = AddressMap::from_mem_config(&config);
        let cells = memory.mem[MEMORY].as_mut_slice();
        cells[cells.len() - 1] = 1;
        let mut tree = MemoryTree::new(config.memory_dimensions());
        assert!(tree.update(&memory).is_ok());
        let space = &tree.spaces[MEMORY - ADDR_SPACE_OFFSET as usize];
        assert_eq!(space.pages.iter().flatten().count(), 1);
        let pages = |level: &Level| level.0.iter().flatten().count();
        assert!(space.levels.iter().all(|level| pages(level) == 1));
    }

    #[test]
    fn it_takes_an_eighth_more_than_the_memory_that_is_in_use() {
        const USED: usize = 8 << 20;
        let config = MemoryConfig::default();
        let mut memory: AddressMap = AddressMap::from_mem_config(&config);
        let mut tree = MemoryTree::new(config.memory_dimensions());
        let mut kept_with = |used: usize| {
            memory.mem[MEMORY].as_mut_slice()[..used].fill(1);
            assert!(tree.update(&memory).is_ok());
            tree.kept_bytes()
        };
        let before = kept_with(0);
        let more = kept_with(USED) - before;
        let nodes = more.checked_sub(USED as u64).unwrap();
        assert!(nodes.abs_diff(USED as u64 / 8) < 64 << 10, "{nodes}");
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
