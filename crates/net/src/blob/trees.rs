//! The hash trees of blobs that are being served, kept in memory for a while. Called by the store.

use std::{
    fs::File,
    io::{self, BufReader},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bao_tree::{
    BaoTree,
    io::{outboard::PostOrderMemOutboard, sync::outboard_post_order},
};
use myriad_core::Blob;

use super::{BlobRef, slice::BLOCK_SIZE};

/// Trees that are kept, of at most 2 MiB each: as many as blobs are served at once while many peers
/// fetch the same program and the proofs of one job.
const TREES_MAX: usize = 16;
/// Bytes that are read at once where a tree is made.
const BUFFER_BYTES: usize = 128 << 10;

/// The hash pairs of a blob, which a served range is sent with.
pub(super) type HashTree = PostOrderMemOutboard;

#[derive(Debug, Default)]
pub(super) struct Trees {
    /// The trees, the least recently used first.
    kept: Mutex<Vec<(Blob, Arc<HashTree>)>>,
    /// Held while a tree is made: requests of strangers take one core, and the first of many
    /// requests for a blob makes its tree for all.
    making: Mutex<()>,
}

impl Trees {
    /// The tree of a blob, made from its file if it was not served lately. Nothing was read of the
    /// file yet. None if the file does not have the hash that its name says.
    pub(super) fn of(&self, blob_ref: BlobRef, file: &File) -> io::Result<Option<Arc<HashTree>>> {
        if let Some(tree) = self.find(blob_ref) {
            return Ok(Some(tree));
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = self.find(blob_ref) {
            return Ok(Some(tree));
        }
        let tree = BaoTree::new(blob_ref.bytes, BLOCK_SIZE);
        let mut data = Vec::with_capacity(tree.outboard_size() as usize);
        let reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let root = match outboard_post_order(reader, tree, &mut data) {
            // It is shorter than it was a moment ago.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            root => root?,
        };
        if root.as_bytes() != &blob_ref.blob.0 {
            return Ok(None);
        }
        let tree = Arc::new(HashTree { root, tree, data });
        let mut kept = self.kept();
        if kept.len() == TREES_MAX {
            kept.remove(0);
        }
        kept.push((blob_ref.blob, tree.clone()));
        Ok(Some(tree))
    }

    fn find(&self, blob_ref: BlobRef) -> Option<Arc<HashTree>> {
        let mut kept = self.kept();
        let place = kept
            .iter()
            .position(|(blob, tree)| *blob == blob_ref.blob && tree.tree.size() == blob_ref.bytes)?;
        let found = kept.remove(place);
        let tree = found.1.clone();
        kept.push(found);
        Some(tree)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Blob, Arc<HashTree>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
