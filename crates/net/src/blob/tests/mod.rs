//! Two ends over a pipe in memory, and a folder for each.

mod hostile;
mod keeping;
mod transfer;

use std::{
    io,
    path::Path,
    pin::Pin as Pinned,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tempfile::TempDir;
use tokio::io::duplex;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{request::Request, *};

/// Bytes of the pipe's buffer, small enough that neither end can run ahead of the other.
const PIPE_BYTES: usize = 8 << 10;
const GROUP: usize = GROUP_BYTES as usize;

type End = Compat<tokio::io::DuplexStream>;

/// Bytes without a pattern, other ones for each size.
fn sample(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut hasher = blake3::Hasher::new_derive_key("myriad blob test");
    hasher.update(&size.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn store() -> (TempDir, BlobStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), u64::MAX).unwrap();
    (dir, store)
}

/// A store with one blob.
fn store_with(bytes: &[u8]) -> (TempDir, BlobStore, BlobRef) {
    let (dir, store) = store();
    let blob = store.put(bytes).unwrap();
    (dir, store, blob)
}

fn pipe() -> (End, End) {
    let (one, other) = duplex(PIPE_BYTES);
    (one.compat(), other.compat())
}

/// Limits for a peer that is known to stall.
fn impatient() -> FetchLimits {
    FetchLimits {
        stall: Duration::from_millis(200),
        ..Default::default()
    }
}

async fn fetch_from(
    server: &BlobStore,
    client: &BlobStore,
    want: BlobRef,
) -> (Result<Fetched, FetchError>, Result<Served, ServeError>) {
    let (near, far) = pipe();
    let (fetch_limits, serve_limits) = (FetchLimits::default(), ServeLimits::default());
    tokio::join!(
        fetch(client, want, near, &fetch_limits, |_| {}),
        serve(server, far, &serve_limits)
    )
}

/// The bytes that an honest server sends for a whole blob.
async fn served(server: &BlobStore, want: BlobRef) -> Vec<u8> {
    use futures::io::AsyncReadExt;
    let (mut near, far) = pipe();
    let mut sent = Vec::new();
    let ask = async {
        let clock = stream_clock::StreamClock::new(STALL, STALL);
        request::write_frame(&mut near, &clock, &Request::new(want, 0))
            .await
            .unwrap();
        near.read_to_end(&mut sent).await.unwrap();
    };
    tokio::join!(ask, async {
        serve(server, far, &ServeLimits::default()).await.unwrap()
    });
    sent
}

/// Fetches from a peer that sends `script` whatever it is asked, and then ends the stream.
async fn fetch_script(client: &BlobStore, want: BlobRef, script: &[u8]) -> Result<Fetched, FetchError> {
    let (near, mut far) = pipe();
    let limits = FetchLimits::default();
    let peer = async move {
        // The client may have heard enough before the end.
        let _ = far.write_all(script).await;
        let _ = far.close().await;
        // It stays open the other way: the request must find it.
        far
    };
    tokio::join!(fetch(client, want, near, &limits, |_| {}), peer).0
}

/// A stream that breaks once this many bytes were read.
struct Breaking<S> {
    stream: S,
    left: u64,
    read: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Breaking<S> {
    fn poll_read(
        mut self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = ready!(Pinned::new(&mut self.stream).poll_read(cx, &mut buf[..count]))?;
        self.left -= read as u64;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Breaking<S> {
    fn poll_write(mut self: Pinned<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pinned::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.stream).poll_close(cx)
    }
}

/// All files below a folder, with their lengths.
fn files_below(dir: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            let bytes = path.metadata().unwrap().len();
            files.push((path, bytes));
        }
    }
    files
}
