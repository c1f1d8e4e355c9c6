//! The nodes of a witness, found by their hash.

use alloc::{vec, vec::Vec};
use alloy_primitives::{B256, keccak256};

/// A place in the table that holds no node.
const EMPTY: u32 = u32::MAX;

/// The nodes of a witness by their hashes.
///
/// An open-addressing table without a hash function: the keys are hashes. An attacker that finds
/// witness nodes whose hashes begin alike makes it slower, and nothing worse.
#[derive(Debug)]
pub struct NodeStore<'a> {
    nodes: Vec<StoredNode<'a>>,
    /// Places into `nodes`; its length is a power of two, at least twice that of `nodes`.
    table: Vec<u32>,
}

#[derive(Debug)]
struct StoredNode<'a> {
    hash: B256,
    bytes: &'a [u8],
    used: bool,
}

impl<'a> NodeStore<'a> {
    /// Hashes the nodes, each once.
    pub fn new<T: AsRef<[u8]>>(nodes: &'a [T]) -> Self {
        let mut store = Self {
            nodes: Vec::with_capacity(nodes.len()),
            table: vec![EMPTY; (2 * nodes.len()).next_power_of_two()],
        };
        for node in nodes {
            let bytes = node.as_ref();
            let hash = keccak256(bytes);
            let place = store.place(&hash);
            // A node that is there twice keeps its first place; the second is never used.
            if store.table[place] == EMPTY {
                store.table[place] = store.nodes.len() as u32;
            }
            store.nodes.push(StoredNode {
                hash,
                bytes,
                used: false,
            });
        }
        store
    }

    /// The place of the node with this hash, or the empty place where it would be.
    #[inline]
    fn place(&self, hash: &B256) -> usize {
        let mask = self.table.len() - 1;
        let mut place = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) as usize & mask;
        loop {
            match self.table[place] {
                EMPTY => return place,
                node if self.nodes[node as usize].hash == *hash => return place,
                _ => place = (place + 1) & mask,
            }
        }
    }

    /// The bytes of the node with this hash.
    pub(super) fn take(&mut self, hash: &B256) -> Option<&'a [u8]> {
        let node = self.table[self.place(hash)];
        let node = self.nodes.get_mut(node as usize)?;
        node.used = true;
        Some(node.bytes)
    }

    /// For each node of the witness, in its order, whether something has asked for it.
    pub fn used(&self) -> impl Iterator<Item = bool> {
        self.nodes.iter().map(|node| node.used)
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}
