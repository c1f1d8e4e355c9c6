//! A range of a blob in bao's encoding: its next step, and the check of each.
//!
//! Both ends walk it: [`super::fetch()`] before it keeps a group, and [`super::serve()`] before it
//! sends one, so that a damaged disk does not make an honest peer send wrong bytes.

use std::ops::Range;

use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges,
    iter::{BaoChunk, ResponseIter},
};
use blake3::{
    Hash, Hasher,
    hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};

use super::{BlobRef, GROUP_BYTES};

/// Bytes of a hash pair, as it is sent.
pub(super) const PAIR_BYTES: usize = 64;
const HASH_BYTES: usize = 32;
/// Bytes of a chunk of BLAKE3, which bao-tree counts in.
const CHUNK_BYTES: u64 = 1 << 10;

/// The groups of bao's tree, as both ends must cut them.
pub(super) const BLOCK_SIZE: BlockSize = BlockSize::from_chunk_log((GROUP_BYTES / CHUNK_BYTES).ilog2() as u8);

/// The walk through a range.
pub(super) struct Slice {
    steps: ResponseIter,
    /// The hashes that the next pairs and groups must have, the next one last.
    expected: Vec<Hash>,
}

impl Slice {
    /// Walks `range` of `blob`: from a multiple of [`GROUP_BYTES`] to another one or the end.
    pub(super) fn new(blob: BlobRef, range: Range<u64>) -> Self {
        debug_assert!(range.start.is_multiple_of(GROUP_BYTES) && range.end <= blob.bytes);
        let from = ChunkNum(range.start / CHUNK_BYTES);
        // bao-tree wants the range open where it goes to the end.
        let ranges = if range.is_empty() {
            ChunkRanges::empty()
        } else if range.end == blob.bytes {
            ChunkRanges::from(from..)
        } else {
            ChunkRanges::from(from..ChunkNum(range.end / CHUNK_BYTES))
        };
        Self {
            steps: ResponseIter::new(BaoTree::new(blob.bytes, BLOCK_SIZE), ranges),
            expected: vec![Hash::from_bytes(blob.blob.0)],
        }
    }

    /// The next part: a hash pair or a group, of [`BaoChunk::size`] bytes. None at the end.
    pub(super) fn next(&mut self) -> Option<BaoChunk> {
        self.steps.next()
    }

    /// Whether `bytes` are the ones that `step` needs. Once they are not, there is no going on.
    pub(super) fn check(&mut self, step: &BaoChunk, bytes: &[u8]) -> bool {
        assert_eq!(bytes.len(), step.size());
        let expected = self.expected.pop().expect("each step was announced by a pair");
        match *step {
            BaoChunk::Parent {
                is_root, left, right, ..
            } => {
                let (left_hash, right_hash) = bytes.split_at(HASH_BYTES);
                let [left_hash, right_hash] =
                    [left_hash, right_hash].map(|hash| hash.try_into().expect("half of a pair"));
                if merge(&left_hash, &right_hash, is_root) != expected {
                    return false;
                }
                if right {
                    self.expected.push(Hash::from_bytes(right_hash));
                }
                if left {
                    self.expected.push(Hash::from_bytes(left_hash));
                }
                true
            }
            BaoChunk::Leaf {
                start_chunk, is_root, ..
            } => hash_group(start_chunk.0 * CHUNK_BYTES, bytes, is_root) == expected,
        }
    }
}

/// Whether `step` covers bytes of the blob.
pub(super) fn is_group(step: &BaoChunk) -> bool {
    matches!(step, BaoChunk::Leaf { .. })
}

/// The place in the blob where the bytes of `step` begin.
pub(super) fn start(step: &BaoChunk) -> u64 {
    match step {
        BaoChunk::Parent { node, .. } => node.chunk_range().start.0 * CHUNK_BYTES,
        BaoChunk::Leaf { start_chunk, .. } => start_chunk.0 * CHUNK_BYTES,
    }
}

fn merge(left: &[u8; HASH_BYTES], right: &[u8; HASH_BYTES], is_root: bool) -> Hash {
    if is_root {
        merge_subtrees_root(left, right, Mode::Hash)
    } else {
        Hash::from_bytes(merge_subtrees_non_root(left, right, Mode::Hash))
    }
}

fn hash_group(at: u64, bytes: &[u8], is_root: bool) -> Hash {
    if is_root {
        blake3::hash(bytes)
    } else {
        let mut hasher = Hasher::new();
        hasher.set_input_offset(at);
        hasher.update(bytes);
        Hash::from_bytes(hasher.finalize_non_root())
    }
}
