//! The other end of a stream, which sends given bytes, and hears everything.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::io::{AsyncRead, AsyncWrite};

/// A stream from memory.
pub(crate) struct Fed<'a> {
    pub says: &'a [u8],
    pub heard: Vec<u8>,
}

impl<'a> Fed<'a> {
    pub(crate) fn new(says: &'a [u8]) -> Self {
        Self {
            says,
            heard: Vec::new(),
        }
    }
}

impl AsyncRead for Fed<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = into.len().min(self.says.len());
        let (now, later) = self.says.split_at(count);
        into[..count].copy_from_slice(now);
        self.says = later;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Fed<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
