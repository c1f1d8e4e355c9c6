//! Roots and proofs of the sample's tries, by alloy-trie's hash builder: it goes through *all*
//! leaves once, and shares nothing with the trie that `validate` updates. Called by
//! [`chain_state`](super::chain_state).

use std::collections::BTreeSet;

use alloy_primitives::{B256, Bytes};
use alloy_trie::{
    HashBuilder, Nibbles,
    proof::{ProofNodes, ProofRetainer},
};

/// A whole trie: its leaves in order of their keys.
pub struct Trie {
    keys: Vec<B256>,
    values: Vec<Vec<u8>>,
}

/// The changes that a block makes to one trie.
#[derive(Default)]
pub(super) struct Touched {
    /// Keys that are read or written, there or not.
    pub(super) read: BTreeSet<B256>,
    /// The keys that are there before and not after.
    pub(super) deleted: BTreeSet<B256>,
}

impl Trie {
    /// Makes a trie from leaves (hashed key, RLP of the value), in any order.
    pub(in crate::host) fn new(leaves: impl IntoIterator<Item = (B256, Vec<u8>)>) -> Self {
        let mut leaves: Vec<_> = leaves.into_iter().collect();
        leaves.sort_unstable_by_key(|(key, _)| *key);
        let (keys, values) = leaves.into_iter().unzip();
        Self { keys, values }
    }

    /// Its root hash.
    pub fn root(&self) -> B256 {
        self.build(ProofRetainer::default()).root()
    }

    /// All its nodes that have a hash of their own, by their paths. The time grows with the square
    /// of the number of leaves, so it is for tries of a few thousand.
    pub(super) fn nodes(&self) -> Vec<Bytes> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        hashed(self.proof_nodes(self.keys.iter().map(Nibbles::unpack).collect()))
    }

    /// The nodes, by their paths, that a stateless client needs: those on the way to each key that
    /// is touched, and the one that is left alone in a branch by deletions, since the branch then
    /// merges with it. None where the trie is empty.
    ///
    /// All keys that are not deleted count as left, but none that the block adds: a client that
    /// deletes first and inserts later needs the sibling even where an insertion would keep the
    /// branch.
    pub(super) fn witness(&self, touched: &Touched) -> Vec<Bytes> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        let mut targets: Vec<_> = touched.read.iter().map(Nibbles::unpack).collect();
        targets.extend(
            touched
                .deleted
                .iter()
                .flat_map(|key| self.left_alone(key, touched)),
        );
        hashed(self.proof_nodes(targets))
    }

    /// The paths of the nodes that are left alone in a branch on the way to a deleted key.
    fn left_alone(&self, deleted: &B256, touched: &Touched) -> Vec<Nibbles> {
        let path = Nibbles::unpack(deleted);
        let mut alone = Vec::new();
        // The keys below the path so far: they are neighbours.
        let mut subtrie = &self.keys[..];
        for depth in 0..path.len() {
            if subtrie.len() < 2 {
                break;
            }
            let together = |a: &B256, b: &B256| nibble(a, depth) == nibble(b, depth);
            let children: Vec<_> = subtrie.chunk_by(together).collect();
            let lives = |child: &&&[B256]| child.iter().any(|key| !touched.deleted.contains(key));
            let mut living = children.iter().filter(lives);
            if let (Some(child), None) = (living.next(), living.next())
                && children.len() > 1
            {
                let mut path = path.slice(..depth);
                path.push(nibble(&child[0], depth));
                alone.push(path);
            }
            let way = children.into_iter().find(|child| together(&child[0], deleted));
            subtrie = way.unwrap_or_default();
        }
        alone
    }

    fn proof_nodes(&self, targets: Vec<Nibbles>) -> ProofNodes {
        let mut builder = self.build(ProofRetainer::new(targets));
        builder.root();
        builder.take_proof_nodes()
    }

    fn build(&self, retainer: ProofRetainer) -> HashBuilder {
        let mut builder = HashBuilder::default().with_proof_retainer(retainer);
        for (key, value) in self.keys.iter().zip(&self.values) {
            builder.add_leaf(Nibbles::unpack(key), value);
        }
        builder
    }
}

/// A node of under 32 bytes is part of its parent and has no hash of its own.
fn hashed(nodes: ProofNodes) -> Vec<Bytes> {
    let own = |(path, node): &(Nibbles, Bytes)| path.is_empty() || node.len() >= 32;
    let nodes = nodes.into_nodes_sorted().into_iter().filter(own);
    nodes.map(|(_, node)| node).collect()
}

/// The digit of a key, in hexadecimal, at a depth from 0 to 63.
fn nibble(key: &B256, depth: usize) -> u8 {
    let byte = key[depth / 2];
    if depth.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 0xf
    }
}
