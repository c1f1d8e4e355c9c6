//! The server's end: reads one request from a peer, and sends the range that it asks for.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use bao_tree::{io::sync::Outboard, iter::BaoChunk};
use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::{
    BlobRef, GROUP_BYTES, RATE_MIN, STALL, START, TIME_MAX, blocking,
    error::{BlobError, ServeError},
    files::read_error,
    request::{FrameError, Request, Response, read_frame, write_frame},
    slice::{PAIR_BYTES, Slice},
    store::BlobStore,
    stream_clock::{Late, StreamClock},
    trees::HashTree,
};

/// Bytes that are read, checked and sent at once. A stream costs this much memory, and a client
/// must take this much within the time for a stall.
const BATCH_BYTES: usize = 64 << 10;
/// The streams that are served at once by default. Each may hash a whole blob first.
const SLOTS: usize = 16;
/// The default time after which clients should come again if all permits are taken.
const RETRY_MS: u32 = 2_000;

/// The limits of serving a peer. The caller has decided before which peer may ask, and how often.
#[derive(Clone, Debug)]
pub struct ServeLimits {
    /// The longest time in which the peer takes less than 64 KiB.
    pub stall: Duration,
    /// The longest time for the whole request.
    pub time_max: Duration,
    /// The time that the peer may take for the range, besides that for its bytes.
    pub start: Duration,
    /// Bytes of the range for which the peer has a second each. With 0, it may take `time_max`.
    pub rate_min: u64,
    /// Permits of serving: this many requests are served at once, and the others hear that we are
    /// busy.
    pub slots: Arc<Semaphore>,
    /// The time after which the others should come again, in milliseconds.
    pub retry_ms: u32,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            stall: STALL,
            time_max: TIME_MAX,
            start: START,
            rate_min: RATE_MIN,
            slots: Arc::new(Semaphore::new(SLOTS)),
            retry_ms: RETRY_MS,
        }
    }
}

impl ServeLimits {
    /// The time in which a peer has to take a range of this many bytes. A slot is not held for
    /// longer than a fetcher would wait for the same bytes.
    fn time_of(&self, bytes: u64) -> Duration {
        let millis = bytes.saturating_mul(1000).checked_div(self.rate_min);
        let sending = millis.map_or(Duration::MAX, Duration::from_millis);
        self.start.saturating_add(sending).min(self.time_max)
    }
}

/// The cost of a request that was answered, with a blob or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Bytes that went over the stream, hash pairs and frames included.
    pub bytes_sent: u64,
}

/// Serves the one request of a stream of [`super::PROTOCOL`]. A blob that turns out to be damaged
/// is removed, and not sent.
///
/// # Errors
/// [`ServeError::Protocol`] for a request that makes no sense, after it was refused;
/// [`ServeError::Stalled`], [`ServeError::TooSlow`] and [`ServeError::Broken`] where the peer stops
/// taking; [`ServeError::Disk`] where ours fails.
pub async fn serve<S>(store: &BlobStore, mut stream: S, limits: &ServeLimits) -> Result<Served, ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let stream = &mut stream;
    let clock = &StreamClock::new(limits.stall, limits.time_max);
    let parsed = match read_frame::<Request>(stream, clock).await {
        Ok(Some((request, _))) => request.parse(),
        // The client needs nothing after all.
        Ok(None) => return Ok(Served { bytes_sent: 0 }),
        Err(FrameError::Late(late)) => return Err(late.into()),
        Err(FrameError::Malformed(what)) => Err(what),
    };
    let (want, range) = match parsed {
        Ok(parsed) => parsed,
        Err(what) => {
            // The client was at fault, whether it hears that or not.
            let _ = answer(stream, clock, &Response::refused(&what)).await;
            return Err(ServeError::Protocol { what });
        }
    };
    let Ok(_slot) = limits.slots.try_acquire() else {
        let retry_ms = limits.retry_ms;
        return Ok(answer(stream, clock, &Response::Busy { retry_ms }).await?);
    };
    let opened = blocking({
        let store = store.clone();
        move || store.open_to_serve(&want.blob)
    })
    .await;
    let (file, tree) = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(answer(stream, clock, &Response::NotFound).await?),
        Err(error) => {
            let _ = answer(stream, clock, &Response::NotFound).await;
            return Err(error.into());
        }
    };
    let bytes = tree.tree.size();
    let found = Response::Found { bytes };
    if bytes != want.bytes {
        return Ok(answer(stream, clock, &found).await?);
    }
    let clock = &StreamClock::new(limits.stall, limits.time_of(range.end - range.start));
    let answered = write_frame(stream, clock, &found).await?;
    let sent = send(store, stream, clock, Source::new(file, tree, want, range)).await?;
    Ok(Served {
        bytes_sent: answered + sent,
    })
}

/// Answers without a blob, and ends the stream.
async fn answer<S>(stream: &mut S, clock: &StreamClock, response: &Response) -> Result<Served, Late>
where
    S: AsyncWrite + Unpin,
{
    let bytes_sent = write_frame(stream, clock, response).await?;
    clock.step(stream.close()).await?;
    Ok(Served { bytes_sent })
}

/// Sends a range, and ends the stream. Returns the number of bytes that were sent.
async fn send<S>(
    store: &BlobStore,
    stream: &mut S,
    clock: &StreamClock,
    mut source: Source,
) -> Result<u64, ServeError>
where
    S: AsyncWrite + Unpin,
{
    let mut bytes_sent = 0;
    loop {
        let filled;
        (source, filled) = blocking({
            let store = store.clone();
            move || {
                let filled = source.fill(&store);
                (source, filled)
            }
        })
        .await;
        filled?;
        if source.batch.is_empty() {
            break;
        }
        clock.step(stream.write_all(&source.batch)).await?;
        bytes_sent += source.batch.len() as u64;
    }
    clock.step(stream.close()).await?;
    Ok(bytes_sent)
}

/// A range as it is read and encoded. The file stays readable if it is evicted meanwhile.
struct Source {
    file: File,
    tree: Arc<HashTree>,
    want: BlobRef,
    from: u64,
    slice: Slice,
    batch: Vec<u8>,
}

impl Source {
    fn new(file: File, tree: Arc<HashTree>, want: BlobRef, range: Range<u64>) -> Self {
        Self {
            file,
            tree,
            want,
            from: range.start,
            slice: Slice::new(want, range),
            batch: Vec::with_capacity(BATCH_BYTES + GROUP_BYTES as usize),
        }
    }

    /// Reads and checks the next batch; an empty one at the end.
    fn fill(&mut self, store: &BlobStore) -> Result<(), BlobError> {
        self.batch.clear();
        let path = store.layout().whole(&self.want.blob);
        self.file
            .seek(SeekFrom::Start(self.from))
            .map_err(read_error(&path))?;
        while self.batch.len() < BATCH_BYTES {
            let Some(step) = self.slice.next() else { break };
            let is_read = match self.read(&step) {
                Ok(()) => true,
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => false,
                Err(e) => return Err(read_error(&path)(e)),
            };
            let at = self.batch.len() - step.size();
            if !is_read || !self.slice.check(&step, &self.batch[at..]) {
                store.remove_damaged(&self.want.blob)?;
                return Err(BlobError::Damaged { path });
            }
        }
        Ok(())
    }

    /// Reads a pair or a group to the end of the batch.
    fn read(&mut self, step: &BaoChunk) -> io::Result<()> {
        let at = self.batch.len();
        self.batch.resize(at + step.size(), 0);
        let target = &mut self.batch[at..];
        match step {
            BaoChunk::Parent { node, .. } => {
                let (left, right) = self.tree.load(*node)?.ok_or(io::ErrorKind::InvalidData)?;
                let (to_left, to_right) = target.split_at_mut(PAIR_BYTES / 2);
                to_left.copy_from_slice(left.as_bytes());
                to_right.copy_from_slice(right.as_bytes());
                Ok(())
            }
            BaoChunk::Leaf { size, .. } => {
                self.file.read_exact(target)?;
                self.from += *size as u64;
                Ok(())
            }
        }
    }
}
