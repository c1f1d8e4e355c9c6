//! Files for a child, on their way through its caller.

use std::{
    io::{self, Read, Write},
    process::ChildStdin,
};

use super::error::WorkerError;
use crate::Input;

/// Bytes of a file that are in the caller's memory at once on their way to a child.
const PIECE_BYTES: usize = 64 << 10;

/// A file for a child: a number of bytes, wherever they are. They need not be in memory at once,
/// since they pass through piece by piece. Only the child decodes them.
pub struct Source<'a> {
    pub(super) bytes: u64,
    from: Box<dyn Read + 'a>,
}

impl<'a> Source<'a> {
    /// The first `bytes` that can be read.
    pub fn new(bytes: u64, from: impl Read + 'a) -> Self {
        Self {
            bytes,
            from: Box::new(from),
        }
    }
}

impl<'a> From<&'a [u8]> for Source<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::new(bytes.len() as u64, bytes)
    }
}

impl From<Vec<u8>> for Source<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes.len() as u64, io::Cursor::new(bytes))
    }
}

impl From<&Input> for Source<'_> {
    fn from(input: &Input) -> Self {
        input.encode().into()
    }
}

impl From<Input> for Source<'_> {
    fn from(input: Input) -> Self {
        Self::from(&input)
    }
}

/// Sends a file to a child, piece by piece. The outer error is the file's, the inner one the
/// child's.
pub(super) fn send(stdin: &mut ChildStdin, mut file: Source<'_>) -> Result<io::Result<()>, WorkerError> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = file.bytes;
    while left > 0 {
        let most = left.min(PIECE_BYTES as u64) as usize;
        let read = match file.from.read(&mut piece[..most]) {
            Ok(0) => return Err(WorkerError::File(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(WorkerError::File(e)),
        };
        if let Err(e) = stdin.write_all(&piece[..read]) {
            return Ok(Err(e));
        }
        left -= read as u64;
    }
    Ok(stdin.flush())
}
