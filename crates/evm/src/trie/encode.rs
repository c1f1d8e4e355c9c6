//! Encodes and hashes nodes.

use alloc::vec::Vec;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};
use core::mem;

use super::{
    EMPTY_ROOT_HASH, HASH_BYTES, HASH_PREFIX,
    arena::{Arena, Child, Inline, Node, NodeId, Reference, Root, Trie},
    path::nibble,
};

/// Longest branch: a header of three bytes, 16 hashes and no value.
const BRANCH_BYTES_MAX: usize = 3 + 16 * (1 + HASH_BYTES) + 1;

impl<'a> Arena<'a> {
    /// The hash of the root. Only nodes that have been changed are hashed.
    pub fn root(&mut self, trie: &Trie) -> B256 {
        let id = match trie.0 {
            Root::Empty => return EMPTY_ROOT_HASH,
            Root::Hash(hash) => return hash,
            Root::Node(id) => id,
        };
        match self.settle(id, 0) {
            Reference::Hash(hash) => hash,
            // A root is hashed even where it is shorter than a hash.
            Reference::Inline(inline) => keccak256(inline.as_slice()),
            Reference::Changed => unreachable!("it has been settled"),
        }
    }

    /// Settles the reference of a node, after the references of its children.
    fn settle(&mut self, id: NodeId, depth: usize) -> Reference {
        if !matches!(self.entry(id).reference, Reference::Changed) {
            return self.entry(id).reference;
        }
        match &self.entry(id).node {
            Node::Branch { children, .. } => {
                for child in **children {
                    if let Child::Node(id) = child {
                        self.settle(id, depth + 1);
                    }
                }
            }
            Node::Extension {
                end,
                child: Child::Node(id),
                ..
            } => {
                self.settle(*id, *end);
            }
            Node::Extension { .. } | Node::Leaf { .. } => {}
        }
        // All nodes are encoded at the same place: a hash of aligned bytes costs less in the guest.
        let mut out = mem::take(&mut self.scratch);
        out.clear();
        out.reserve(BRANCH_BYTES_MAX);
        self.encode(id, depth, &mut out);
        let inline = Inline::new(&out);
        let reference = inline.map_or_else(|| Reference::Hash(keccak256(&out)), Reference::Inline);
        self.scratch = out;
        self.entry_mut(id).reference = reference;
        reference
    }

    /// Appends the RLP of a node whose children are settled.
    fn encode(&self, id: NodeId, depth: usize, out: &mut Vec<u8>) {
        match &self.entry(id).node {
            Node::Branch { children, witness } => {
                if !witness.is_some_and(|witness| self.patch(witness, children, out)) {
                    self.encode_branch(children, out);
                }
            }
            Node::Extension { key, end, child } => {
                let payload = path_length(end - depth) + self.reference_length(child);
                append_list_header(payload, out);
                append_extension_path(key, depth, *end, out);
                self.append_reference(child, out);
            }
            Node::Leaf { tail, value } => {
                let tail = tail.after(depth);
                let nibbles = 2 * tail.len() - usize::from(!depth.is_multiple_of(2));
                append_list_header(path_length(nibbles) + value.bytes().length(), out);
                append_leaf_path(tail, depth, out);
                value.bytes().encode(out);
            }
        }
    }

    fn encode_branch(&self, children: &[Child<'a>; 16], out: &mut Vec<u8>) {
        // A branch has no value: no key is the beginning of another one.
        let payload = children
            .iter()
            .map(|child| self.reference_length(child))
            .sum::<usize>()
            + 1;
        append_list_header(payload, out);
        for child in children {
            self.append_reference(child, out);
        }
        out.push(EMPTY_STRING_CODE);
    }

    /// Appends a branch by copying what it was in the witness and writing the hashes of changed
    /// children over the old ones. Where more has changed than hashes it says `false`, and leaves
    /// `out` as it was.
    fn patch(&self, witness: &[u8], children: &[Child<'a>; 16], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.extend_from_slice(witness);
        let header_bytes = match witness.first() {
            Some(0xf9) => 3,
            Some(0xf8) => 2,
            _ => 1,
        };
        let mut at = start + header_bytes;
        for child in children {
            let is_same = match (out.get(at), child) {
                (Some(&EMPTY_STRING_CODE), Child::Empty) => {
                    at += 1;
                    continue;
                }
                (Some(&HASH_PREFIX), Child::Hash(_)) => true,
                (Some(&HASH_PREFIX), Child::Node(id)) => match &self.entry(*id).reference {
                    Reference::Hash(hash) => {
                        out[at + 1..][..HASH_BYTES].copy_from_slice(hash.as_slice());
                        true
                    }
                    Reference::Inline(_) | Reference::Changed => false,
                },
                _ => false,
            };
            if !is_same {
                out.truncate(start);
                return false;
            }
            at += 1 + HASH_BYTES;
        }
        true
    }

    /// Length of what stands for a settled node in its parent.
    fn reference_length(&self, child: &Child<'a>) -> usize {
        match child {
            Child::Empty => 1,
            Child::Hash(_) => 1 + HASH_BYTES,
            Child::Node(id) => match &self.entry(*id).reference {
                Reference::Inline(inline) => inline.as_slice().len(),
                Reference::Hash(_) | Reference::Changed => 1 + HASH_BYTES,
            },
        }
    }

    /// Appends what stands for a settled node in its parent.
    fn append_reference(&self, child: &Child<'a>, out: &mut Vec<u8>) {
        match child {
            Child::Empty => out.push(EMPTY_STRING_CODE),
            Child::Hash(hash) => append_hash(hash, out),
            Child::Node(id) => match &self.entry(*id).reference {
                Reference::Hash(hash) => append_hash(hash, out),
                Reference::Inline(inline) => out.extend_from_slice(inline.as_slice()),
                Reference::Changed => unreachable!("children are settled before their parent"),
            },
        }
    }
}

fn append_hash(hash: &B256, out: &mut Vec<u8>) {
    out.push(HASH_PREFIX);
    out.extend_from_slice(hash.as_slice());
}

fn append_list_header(payload_length: usize, out: &mut Vec<u8>) {
    Header {
        list: true,
        payload_length,
    }
    .encode(out);
}

/// Length of a path of so many nibbles as an RLP item.
fn path_length(nibbles: usize) -> usize {
    // One byte stands for itself; more have a header of one byte.
    match nibbles / 2 {
        0 => 1,
        whole_bytes => 2 + whole_bytes,
    }
}

/// Appends the path of a leaf, given the bytes of its key from its depth on.
fn append_leaf_path(tail: &[u8], depth: usize, out: &mut Vec<u8>) {
    let (prefix, whole) = match tail {
        [first, whole @ ..] if !depth.is_multiple_of(2) => (0x30 | first & 0xf, whole),
        whole => (0x20, whole),
    };
    append_path(prefix, whole.len(), out);
    out.extend_from_slice(whole);
}

fn append_extension_path(key: &B256, depth: usize, end: usize, out: &mut Vec<u8>) {
    let (prefix, start) = if (end - depth).is_multiple_of(2) {
        (0x00, depth)
    } else {
        (0x10 | nibble(key, depth) as u8, depth + 1)
    };
    append_path(prefix, (end - start) / 2, out);
    for at in (start..end).step_by(2) {
        out.push((nibble(key, at) << 4 | nibble(key, at + 1)) as u8);
    }
}

/// Appends the beginning of a path: its RLP header and its first byte.
fn append_path(prefix: u8, whole_bytes: usize, out: &mut Vec<u8>) {
    if whole_bytes > 0 {
        out.push(EMPTY_STRING_CODE + 1 + whole_bytes as u8);
    }
    out.push(prefix);
}
