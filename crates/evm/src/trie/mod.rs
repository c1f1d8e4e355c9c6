//! A Merkle-Patricia trie over a witness: the part of a trie that a block touches.
//!
//! The state of the block ([`crate::validate`]) uses it, and so does code that makes tries from
//! nothing.
//!
//! ```text
//!  witness nodes ──hash──> NodeStore        (hash -> bytes, each node hashed once)
//!                              │ resolve, when a path first gets there
//!                              v
//!                            Arena          (decoded nodes, links instead of hashes)
//!                              ^
//!                              │ root
//!                             Trie          (account trie, and one for each account's storage)
//! ```
//!
//! *Invariant: a node that is not in the witness is [`TrieError::MissingNode`] and never an empty
//! one.* Only a trie whose root is the hash of the empty trie is empty.
//!
//! The zkVM pays for each instruction, so: a path is compared byte by byte in its place in the
//! 32-byte key and never unpacked to nibbles; a node keeps the bytes it came from, and its hash
//! until it is changed; keys are hashes already, so that a table needs no hash function.

mod arena;
mod decode;
mod encode;
mod path;
mod store;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, string::String};
use alloy_primitives::B256;
use core::fmt;

pub use alloy_trie::EMPTY_ROOT_HASH;
pub use arena::{Arena, Trie};
pub use store::NodeStore;

const HASH_BYTES: usize = 32;
/// A hash as an RLP item begins with this byte.
const HASH_PREFIX: u8 = alloy_rlp::EMPTY_STRING_CODE + HASH_BYTES as u8;
/// Nibbles in a key: all keys are hashes.
const KEY_NIBBLES: usize = 2 * HASH_BYTES;

/// The faults of the nodes of a trie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrieError {
    #[error("missing trie node: the witness has no node with hash {hash}, at path {path}")]
    MissingNode { hash: B256, path: Box<NodePath> },
    #[error("malformed trie node: the node with hash {hash}, at path {path}: {reason}")]
    MalformedNode {
        hash: B256,
        path: Box<NodePath>,
        reason: String,
    },
}

/// Where a node is: the nibbles from the root of its trie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePath {
    key: B256,
    nibbles: usize,
}

impl NodePath {
    pub(crate) fn new(key: &B256, nibbles: usize) -> Box<Self> {
        Box::new(Self { key: *key, nibbles })
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nibbles == 0 {
            return f.write_str("(root)");
        }
        f.write_str("0x")?;
        (0..self.nibbles).try_for_each(|i| write!(f, "{:x}", path::nibble(&self.key, i)))
    }
}
