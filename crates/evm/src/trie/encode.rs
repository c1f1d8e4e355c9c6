//! From nodes to their hashes.

use alloc::vec::Vec;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::{EMPTY_LIST_CODE, EMPTY_STRING_CODE, Encodable};
use core::mem;

use super::{
    EMPTY_ROOT_HASH,
    arena::{Arena, Child, Node, NodeId, Reference, Root, Trie},
    path::nibble,
};

const HASH_BYTES: usize = 32;
/// Longest RLP header of a node: a branch has at most 532 bytes, a leaf not many more.
const HEADER_BYTES_MAX: usize = 4;

impl<'a> Arena<'a> {
    /// The hash of the root. Only nodes that have been changed are hashed.
    pub fn root(&mut self, trie: &Trie) -> B256 {
        let id = match trie.0 {
            Root::Empty => return EMPTY_ROOT_HASH,
            Root::Hash(hash) => return hash,
            Root::Node(id) => id,
        };
        if let Reference::Hash(hash) = self.entry(id).reference {
            return hash;
        }
        let mut out = mem::take(&mut self.scratch);
        out.clear();
        self.encode(id, 0, &mut out);
        // A root is hashed even where it is shorter than a hash.
        let hash = keccak256(&out);
        self.scratch = out;
        self.entry_mut(id).reference = Reference::Hash(hash);
        hash
    }

    /// Appends the RLP of a node at a depth.
    fn encode(&mut self, id: NodeId, depth: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES_MAX]);
        match &self.entry(id).node {
            Node::Branch(children) => {
                for child in *children {
                    self.append_reference(child, depth + 1, out);
                }
                // A branch has no value: no key is the beginning of another one.
                out.push(EMPTY_STRING_CODE);
            }
            Node::Extension { key, end, child } => {
                let (end, child) = (*end, *child);
                append_extension_path(key, depth, end, out);
                self.append_reference(child, end, out);
            }
            Node::Leaf { tail, value } => {
                append_leaf_path(tail.after(depth), depth, out);
                value.bytes().encode(out);
            }
        }
        close_list(start, out);
    }

    /// Appends what stands for a node in its parent: its hash, or itself where that is shorter.
    fn append_reference(&mut self, child: Child<'a>, depth: usize, out: &mut Vec<u8>) {
        let id = match child {
            Child::Empty => return out.push(EMPTY_STRING_CODE),
            Child::Hash(hash) => return append_hash(hash, out),
            Child::Node(id) => id,
        };
        match &self.entry(id).reference {
            Reference::Hash(hash) => append_hash(hash, out),
            Reference::Inline(bytes) => out.extend_from_slice(bytes),
            Reference::Changed => {
                let start = out.len();
                self.encode(id, depth, out);
                if out.len() - start >= HASH_BYTES {
                    let hash = keccak256(&out[start..]);
                    out.truncate(start);
                    append_hash(&hash, out);
                    self.entry_mut(id).reference = Reference::Hash(hash);
                }
            }
        }
    }
}

fn append_hash(hash: &B256, out: &mut Vec<u8>) {
    out.push(EMPTY_STRING_CODE + HASH_BYTES as u8);
    out.extend_from_slice(hash.as_slice());
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

/// Writes the header of a list whose payload follows `HEADER_BYTES_MAX` free bytes at `start`.
fn close_list(start: usize, out: &mut Vec<u8>) {
    let payload = start + HEADER_BYTES_MAX;
    let length = out.len() - payload;
    let header: &[u8] = match length {
        0..=55 => &[EMPTY_LIST_CODE + length as u8],
        56..=0xff => &[0xf8, length as u8],
        0x100..=0xffff => &[0xf9, (length >> 8) as u8, length as u8],
        _ => &[
            0xfa,
            (length >> 16) as u8,
            (length >> 8) as u8,
            length as u8,
        ],
    };
    out[start..start + header.len()].copy_from_slice(header);
    if header.len() < HEADER_BYTES_MAX {
        out.copy_within(payload.., start + header.len());
        out.truncate(start + header.len() + length);
    }
}
