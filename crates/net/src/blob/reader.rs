//! Reads a blob piece by piece, for callers that do not need all of it in memory.

use std::{
    fs::File,
    io::{self, Read},
};

use super::{BlobError, BlobRef, BlobStore};

/// The bytes of a blob, as they come from the disk.
///
/// Its last bytes are read only if all of them are what its hash says. Otherwise that is an error,
/// and the damaged file is removed.
#[derive(Debug)]
pub struct BlobReader {
    store: BlobStore,
    want: BlobRef,
    file: File,
    hasher: Box<blake3::Hasher>,
    left: u64,
}

impl BlobStore {
    /// A blob to be read piece by piece, if it is there and of that size.
    ///
    /// # Errors
    /// [`BlobError::Read`] if the disk fails.
    pub fn reader(&self, want: BlobRef) -> Result<Option<BlobReader>, BlobError> {
        let file = self.open_whole(want)?;
        Ok(file.map(|file| BlobReader {
            store: self.clone(),
            want,
            file,
            hasher: Box::default(),
            left: want.bytes,
        }))
    }
}

impl BlobReader {
    fn damaged(&self) -> io::Error {
        // A file that cannot be removed is found damaged the next time, too.
        let _ = self.store.remove_damaged(&self.want.blob);
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the blob {} was damaged on the disk",
                hex::encode(self.want.blob.0)
            ),
        )
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(self.damaged());
        }
        self.hasher.update(&buffer[..read]);
        self.left -= read as u64;
        if self.left == 0 && self.hasher.finalize().as_bytes() != &self.want.blob.0 {
            return Err(self.damaged());
        }
        Ok(read)
    }
}
