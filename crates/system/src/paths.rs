//! The way from the touched leaves to the root, before and after a segment: the trace of the Merkle
//! chip.

use std::borrow::BorrowMut;

use openvm_circuit::system::memory::{CHUNK, dimensions::MemoryDimensions, merkle::MemoryMerkleCols};
use openvm_stark_backend::{
    p3_field::{Field, PackedValue, PrimeCharacteristicRing},
    p3_matrix::dense::RowMajorMatrix,
    p3_maybe_rayon::prelude::*,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{
    Digest, Lanes, MemoryTree,
    hash::lane_of,
    touched::Leaf,
    tree::{self, BLOCK_HEIGHT},
};

/// A node above touched leaves.
#[derive(Clone, Copy)]
struct Node {
    /// Its number on its level, through all address spaces.
    number: u64,
    before: Digest,
    after: Digest,
}

/// A [`Node`] with its children.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    node: Node,
    before: [Digest; 2],
    after: [Digest; 2],
    /// For each child, whether there are touched leaves below it.
    touched: [bool; 2],
}

/// All steps from the touched leaves to the root.
pub(crate) struct Paths {
    dimensions: MemoryDimensions,
    /// The steps by height, from 1 on; those of a level by rising number.
    levels: Vec<Vec<Step>>,
    /// The nodes above the address spaces after the segment, as a heap: the root first.
    pub top: Vec<Digest>,
    /// Whether nothing was touched.
    none: bool,
}

impl Paths {
    /// The tree is over memory as it was before the segment; the leaves are those that it touched,
    /// by rising number.
    pub(crate) fn new(tree: &MemoryTree, leaves: &[Leaf]) -> Self {
        let dimensions = tree.dimensions;
        // The chip's trace has a path to the root in any case.
        let first = [Leaf {
            number: 0,
            before: first_leaf(tree),
            after: first_leaf(tree),
        }];
        let none = leaves.is_empty();
        let leaves = if none { &first } else { leaves };

        let mut levels: Vec<Vec<Step>> = vec![Vec::new(); BLOCK_HEIGHT];
        let blocks: Vec<&[Leaf]> = leaves
            .chunk_by(|a, b| a.number >> BLOCK_HEIGHT == b.number >> BLOCK_HEIGHT)
            .collect();
        let of_blocks: Vec<Vec<Vec<Step>>> = blocks
            .par_chunks(Lanes::WIDTH)
            .map(|blocks| steps_of_blocks(tree, blocks))
            .collect();
        for steps in of_blocks {
            for (level, steps) in levels.iter_mut().zip(steps) {
                level.extend(steps);
            }
        }
        for height in BLOCK_HEIGHT + 1..=dimensions.overall_height() {
            let below: Vec<Node> = levels[height - 2].iter().map(|step| step.node).collect();
            levels.push(steps_above(tree, height, &below));
        }
        let mut paths = Self {
            dimensions,
            levels,
            top: Vec::new(),
            none,
        };
        paths.top = paths.top(tree);
        paths
    }

    fn root(&self) -> Node {
        self.levels
            .last()
            .and_then(|top| top.first())
            .expect("there is a path to the root")
            .node
    }

    /// The roots before and after.
    pub(crate) fn roots(&self) -> [Digest; 2] {
        let Node { before, after, .. } = self.root();
        [before, after]
    }

    fn top(&self, tree: &MemoryTree) -> Vec<Digest> {
        let overall = self.dimensions.overall_height();
        let mut heap = Vec::new();
        for depth in 0..=self.dimensions.addr_space_height {
            let height = overall - depth;
            let steps = &self.levels[height - 1];
            heap.extend((0..1u64 << depth).map(|number| {
                match steps.binary_search_by_key(&number, |step| step.node.number) {
                    Ok(place) => steps[place].node.after,
                    Err(_) => tree.node(height, number),
                }
            }));
        }
        heap
    }

    /// The inputs that each row of the trace hashes: two children of a node.
    pub(crate) fn pairs(&self) -> impl ParallelIterator<Item = [Digest; 2]> {
        let steps = self.levels.par_iter().flat_map_iter(|level| level.iter());
        steps.flat_map_iter(|step| [step.before, step.after])
    }

    /// Two rows for each step, before and after, from the root down.
    pub(crate) fn trace(&self) -> RowMajorMatrix<F> {
        let width = MemoryMerkleCols::<F, CHUNK>::width();
        let count: usize = self.levels.iter().map(Vec::len).sum();
        let mut values = F::zero_vec((2 * count).next_power_of_two() * width);
        let mut rest = &mut values[..];
        for (level, steps) in self.levels.iter().enumerate().rev() {
            let height = level + 1;
            let rows;
            (rows, rest) = rest.split_at_mut(2 * steps.len() * width);
            let inverse = F::from_usize(height).inverse();
            let row = |step: &Step, after: bool| self.row(height, inverse, step, after);
            rows.par_chunks_mut(2 * width)
                .zip(steps)
                .for_each(|(rows, step)| {
                    let (before, after) = rows.split_at_mut(width);
                    *before.borrow_mut() = row(step, false);
                    *after.borrow_mut() = row(step, true);
                });
        }
        RowMajorMatrix::new(values, width)
    }

    fn row(&self, height: usize, inverse: F, step: &Step, after: bool) -> MemoryMerkleCols<F, CHUNK> {
        let log_of_space = self.dimensions.address_height.saturating_sub(height);
        let number = step.node.number;
        let [left, right] = if after { step.after } else { step.before };
        // If nothing was touched, the boundary chip has no row for the leaves at the end of the
        // path.
        let touched = |side: usize| step.touched[side] && !(self.none && height == 1);
        let differs = |side: usize| F::from_bool(after && !touched(side));
        MemoryMerkleCols {
            expand_direction: if after { F::NEG_ONE } else { F::ONE },
            height_section: F::from_bool(height > self.dimensions.address_height),
            parent_height: F::from_usize(height),
            parent_height_inv: inverse,
            is_root: F::from_bool(height == self.dimensions.overall_height()),
            parent_as_label: F::from_u64(number >> log_of_space),
            parent_address_label: F::from_u64(number & ((1 << log_of_space) - 1)),
            parent_hash: if after { step.node.after } else { step.node.before },
            left_child_hash: left,
            right_child_hash: right,
            left_direction_different: differs(0),
            right_direction_different: differs(1),
        }
    }
}

fn first_leaf(tree: &MemoryTree) -> Digest {
    lane_of(&tree::leaves(&tree.hasher, &[tree.block(0)])[0], 0)
}

/// The steps within a few blocks, by height: each block's tree is hashed in a lane of its own,
/// before and after.
fn steps_of_blocks(tree: &MemoryTree, blocks: &[&[Leaf]]) -> Vec<Vec<Step>> {
    let number = |lane: usize| blocks[lane][0].number >> BLOCK_HEIGHT;
    let cells: Vec<_> = (0..blocks.len()).map(|lane| tree.block(number(lane))).collect();
    let mut before = tree::leaves(&tree.hasher, &cells);
    let mut after = before.clone();
    for (lane, leaves) in blocks.iter().enumerate() {
        for leaf in *leaves {
            let place = leaf.number as usize % (1 << BLOCK_HEIGHT);
            for (cell, value) in after[place].iter_mut().zip(leaf.after) {
                cell.as_slice_mut()[lane] = value;
            }
        }
    }
    // The touched nodes of the level below, of each block.
    let mut touched: Vec<Vec<u64>> = blocks
        .iter()
        .map(|leaves| leaves.iter().map(|leaf| leaf.number).collect())
        .collect();
    (1..=BLOCK_HEIGHT)
        .map(|height| {
            let (before_above, after_above) = (
                tree::parents(&tree.hasher, &before),
                tree::parents(&tree.hasher, &after),
            );
            let mut steps = Vec::new();
            for (lane, touched) in touched.iter_mut().enumerate() {
                let in_block = |number: u64, height: usize| number as usize % (1 << (BLOCK_HEIGHT - height));
                let pairs = touched.chunk_by(|a, b| a >> 1 == b >> 1);
                steps.extend(pairs.map(|children| {
                    let number = children[0] >> 1;
                    let child = in_block(2 * number, height - 1);
                    let pair =
                        |nodes: &[[Lanes; CHUNK]]| [0, 1].map(|side| lane_of(&nodes[child + side], lane));
                    let node = |nodes: &[[Lanes; CHUNK]]| lane_of(&nodes[in_block(number, height)], lane);
                    Step {
                        node: Node {
                            number,
                            before: node(&before_above),
                            after: node(&after_above),
                        },
                        before: pair(&before),
                        after: pair(&after),
                        touched: [0, 1].map(|side| children.contains(&(2 * number + side))),
                    }
                }));
                touched.iter_mut().for_each(|number| *number >>= 1);
                touched.dedup();
            }
            (before, after) = (before_above, after_above);
            steps
        })
        .collect()
}

/// The steps to a level above the blocks, from the touched nodes of the level below.
fn steps_above(tree: &MemoryTree, height: usize, below: &[Node]) -> Vec<Step> {
    let pairs: Vec<&[Node]> = below.chunk_by(|a, b| a.number >> 1 == b.number >> 1).collect();
    let children = |nodes: &[Node], of: fn(&Node) -> Digest| {
        [0, 1].map(|side| {
            let number = nodes[0].number & !1 | side;
            let touched = nodes.iter().find(|node| node.number == number);
            touched.map_or_else(|| tree.node(height - 1, number), of)
        })
    };
    let after: Vec<[Digest; 2]> = pairs
        .par_iter()
        .map(|nodes| children(nodes, |node| node.after))
        .collect();
    let hashes = tree.hasher.compress(&after);
    let steps = pairs.par_iter().zip(after).zip(hashes);
    steps
        .map(|((nodes, after), hash)| {
            let number = nodes[0].number >> 1;
            Step {
                node: Node {
                    number,
                    before: tree.node(height, number),
                    after: hash,
                },
                before: children(nodes, |node| node.before),
                after,
                touched: [0, 1].map(|side| nodes.iter().any(|node| node.number & 1 == side)),
            }
        })
        .collect()
}
