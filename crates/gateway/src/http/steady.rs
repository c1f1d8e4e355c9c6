//! A connection that ends when its client takes nothing for too long.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// A connection whose writes fail when the client has taken nothing of them for a while. So one
/// that has stalled does not keep what its answer needs.
pub(super) struct Steady<S> {
    inner: S,
    stall: Duration,
    /// When the write that waits fails.
    until: Pin<Box<Sleep>>,
    waits: bool,
}

impl<S> Steady<S> {
    pub(super) fn new(inner: S, stall: Duration) -> Self {
        Self {
            inner,
            stall,
            until: Box::pin(sleep(stall)),
            waits: false,
        }
    }

    /// What a write or flush came to.
    fn judge<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = false;
            return written;
        }
        if !self.waits {
            self.waits = true;
            self.until.as_mut().reset(Instant::now() + self.stall);
        }
        match self.until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Steady<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Steady<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.judge(shut, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;

    const STALL: Duration = Duration::from_millis(600);

    /// Its time is the runtime's own: a machine that is busy makes no read late.
    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_fails_and_one_that_is_taken_slowly_does_not() {
        let (ours, mut theirs) = duplex(4);
        let mut steady = Steady::new(ours, STALL);
        let begun = Instant::now();
        let writing = tokio::spawn(async move {
            let whole = steady.write_all(&[7; 12]).await;
            (steady, whole)
        });
        for _ in 0..8 {
            sleep(STALL / 6).await;
            theirs.read_u8().await.unwrap();
        }
        let (mut steady, whole) = writing.await.unwrap();
        whole.unwrap();
        assert!(begun.elapsed() > STALL, "it took longer than one write may");
        let stalled = timeout(STALL * 20, steady.write_all(&[7; 12]));
        let stalled = stalled.await.expect("it ends");
        assert_eq!(stalled.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
