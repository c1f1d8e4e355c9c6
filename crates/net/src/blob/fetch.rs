//! The client's end: gets a blob from a peer into the store, or resumes where an earlier fetch
//! broke off.

use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

use super::{
    BLOB_BYTES_MAX, BlobRef, STALL, TIME_MAX, blocking,
    error::{BlobError, FetchError},
    partial::{Opened, Partial},
    request::{FrameError, Request, Response, read_frame, write_frame},
    slice::{self, Slice},
    store::BlobStore,
    stream_clock::{Late, Rate, StreamClock},
};

/// The longest that a peer can make us wait by saying that it is busy.
const RETRY_MS_MAX: u32 = 60_000;
/// The pause between looks at whether another process is done with a blob.
const BUSY_POLL: Duration = Duration::from_millis(100);

/// The limits of a fetch.
#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// The longest time without a whole group of 16 KiB.
    pub stall: Duration,
    /// The longest time for the whole fetch.
    pub time_max: Duration,
    /// Bytes of the blob that must come in each second. A peer may be behind by as many as it
    /// should have sent within `stall`. With 0, it may be as slow as the other limits allow.
    pub rate_min: u64,
    /// The most bytes of the blob.
    pub bytes_max: u64,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            stall: STALL,
            time_max: TIME_MAX,
            rate_min: 0,
            bytes_max: BLOB_BYTES_MAX,
        }
    }
}

/// The cost of a fetch that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes that came over the stream, hash pairs and frames included.
    pub bytes_received: u64,
    /// The bytes of the blob that were there already.
    pub resumed_from: u64,
}

/// Fetches a blob over a new stream of [`super::PROTOCOL`]. If the blob is there already, nothing
/// is sent. While another fetch of the same blob is under way, this one waits, and then finds the
/// blob.
///
/// `progress` gets the number of bytes that are there, whenever it changes. The future may be
/// dropped at any time.
///
/// # Errors
/// Each [`FetchError`]; see [`FetchError::blames_sender`]. Checked bytes are kept for the next
/// fetch, unless the disk is damaged or full.
pub async fn fetch<S>(
    store: &BlobStore,
    want: BlobRef,
    mut stream: S,
    limits: &FetchLimits,
    mut progress: impl FnMut(u64),
) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let allowed = limits.bytes_max.min(BLOB_BYTES_MAX);
    if want.bytes > allowed {
        return Err(FetchError::Disk(BlobError::TooLarge {
            bytes: want.bytes,
            allowed,
        }));
    }
    let mut partial = match open(store, want, limits.stall).await? {
        Opened::Present(found) if found != want.bytes => {
            return Err(FetchError::WrongSize {
                wanted: want.bytes,
                found,
            });
        }
        Opened::Present(found) => {
            return Ok(Fetched {
                bytes_received: 0,
                resumed_from: found,
            });
        }
        Opened::Partial(partial) => partial,
    };
    let resumed_from = partial.bytes();
    let mut bytes_received = 0;
    // A blob that lacked only its name needs nothing more. Only the peer can confirm an empty one.
    if resumed_from < want.bytes || want.bytes == 0 {
        let clock = StreamClock::new(limits.stall, limits.time_max);
        let answer_bytes = request(&mut stream, &clock, want, resumed_from).await?;
        let rate = Rate::new(limits.rate_min, limits.stall);
        (partial, bytes_received) = receive(&mut stream, &clock, rate, want, partial, &mut progress).await?;
        bytes_received += answer_bytes;
    }
    blocking(move || partial.finish()).await?;
    Ok(Fetched {
        bytes_received,
        resumed_from,
    })
}

/// Opens the partial file, when it is this fetch's turn.
async fn open(store: &BlobStore, want: BlobRef, patience: Duration) -> Result<Opened, BlobError> {
    let give_up = Instant::now() + patience;
    loop {
        let turn = store.fetch_lock(want.blob).lock_owned().await;
        let opened = blocking({
            let store = store.clone();
            move || Partial::open(&store, want, turn)
        })
        .await;
        match opened {
            Err(BlobError::Busy { .. }) if Instant::now() < give_up => sleep(BUSY_POLL).await,
            opened => return opened,
        }
    }
}

/// Asks for the blob from byte `from` on. Returns the number of bytes of the answer, if the peer
/// has the blob.
async fn request<S>(stream: &mut S, clock: &StreamClock, want: BlobRef, from: u64) -> Result<u64, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match write_frame(stream, clock, &Request::new(want, from)).await {
        Err(Late::Broken(_)) => return Err(FetchError::Unanswered),
        written => written?,
    };
    let (response, received) = match read_frame::<Response>(stream, clock).await {
        Ok(Some(answer)) => answer,
        Ok(None) => return Err(FetchError::Unanswered),
        Err(FrameError::Late(late)) => return Err(late.into()),
        Err(FrameError::Malformed(what)) => return Err(FetchError::Protocol { what }),
    };
    match response.check().map_err(|what| FetchError::Protocol { what })? {
        Response::Found { bytes } if bytes == want.bytes => Ok(received),
        Response::Found { bytes } => Err(FetchError::WrongSize {
            wanted: want.bytes,
            found: bytes,
        }),
        Response::NotFound => Err(FetchError::NotFound),
        Response::Busy { retry_ms } => Err(FetchError::Busy {
            retry_ms: retry_ms.min(RETRY_MS_MAX),
        }),
        Response::Refused { reason } => Err(FetchError::Refused { reason }),
    }
}

/// Receives the missing groups one by one. Returns the number of their bytes.
async fn receive<S>(
    stream: &mut S,
    clock: &StreamClock,
    mut rate: Rate,
    want: BlobRef,
    mut partial: Partial,
    progress: &mut impl FnMut(u64),
) -> Result<(Partial, u64), FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let from = partial.bytes();
    if want.bytes == 0 && want != BlobRef::of(&[]) {
        // There is no group to check, although the peer says that it has the blob.
        return Err(FetchError::Corrupt { at: 0 });
    }
    let mut slice = Slice::new(want, from..want.bytes);
    let mut bytes = Vec::new();
    let mut bytes_received = 0;
    while let Some(step) = slice.next() {
        bytes.resize(step.size(), 0);
        let waiting = Instant::now();
        match timeout(rate.patience(), clock.step(stream.read_exact(&mut bytes))).await {
            Ok(read) => read?,
            Err(_) => {
                let rate_min = rate.bytes_per_second;
                return Err(FetchError::Slow { rate_min });
            }
        }
        rate.came(bytes.len() as u64, waiting.elapsed());
        bytes_received += bytes.len() as u64;
        if !slice.check(&step, &bytes) {
            let at = slice::start(&step).max(from);
            return Err(FetchError::Corrupt { at });
        }
        if slice::is_group(&step) {
            // The file goes along and comes back: if this future is dropped now, the group is
            // written all the same before anyone else gets the file.
            let written;
            (partial, bytes, written) = blocking(move || {
                let written = partial.append(&bytes);
                (partial, bytes, written)
            })
            .await;
            written?;
            progress(partial.bytes());
        }
    }
    Ok((partial, bytes_received))
}
