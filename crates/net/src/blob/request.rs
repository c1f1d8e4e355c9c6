//! The two messages of the protocol, and their frames.

use std::ops::Range;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use myriad_core::Blob;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    BLOB_BYTES_MAX, BlobRef, GROUP_BYTES,
    stream_clock::{Late, StreamClock},
};

/// The most bytes of a frame. A request has at most 62, an answer its reason and a little more.
const FRAME_BYTES_MAX: u32 = 1 << 10;
/// The most bytes of the reason of a refusal: one line of a log.
const REASON_BYTES_MAX: usize = 200;
/// Bytes of the length in front of a frame.
const LENGTH_BYTES: usize = 4;

/// A client's request: bytes `from..until` of a blob.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub blob: [u8; 32],
    pub bytes: u64,
    /// A multiple of [`GROUP_BYTES`].
    pub from: u64,
    /// A multiple of [`GROUP_BYTES`], or `bytes`.
    pub until: u64,
}

/// A server's answer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Response {
    /// The server has the blob, with this many bytes. The range follows if the client thought the
    /// same.
    Found {
        bytes: u64,
    },
    NotFound,
    Busy {
        retry_ms: u32,
    },
    Refused {
        reason: String,
    },
}

/// Why a frame did not arrive.
#[derive(Debug)]
pub(super) enum FrameError {
    Late(Late),
    Malformed(String),
}

impl Request {
    pub(super) fn new(want: BlobRef, from: u64) -> Self {
        Self {
            blob: want.blob.0,
            bytes: want.bytes,
            from,
            until: want.bytes,
        }
    }

    /// The blob and the range, or the fault in them.
    pub(super) fn parse(&self) -> Result<(BlobRef, Range<u64>), String> {
        let Self {
            blob,
            bytes,
            from,
            until,
        } = *self;
        let is_cut = |at: u64| at.is_multiple_of(GROUP_BYTES) || at == bytes;
        if bytes > BLOB_BYTES_MAX {
            return Err(format!("{bytes} bytes: a blob has at most {BLOB_BYTES_MAX}"));
        }
        // Only of an empty blob is there an empty range.
        let in_order = from < until || bytes == 0 && from == 0;
        if !in_order || until > bytes || !from.is_multiple_of(GROUP_BYTES) || !is_cut(until) {
            return Err(format!(
                "bytes {from} to {until} of {bytes}: not a range of whole groups of {GROUP_BYTES} bytes"
            ));
        }
        Ok((
            BlobRef {
                blob: Blob(blob),
                bytes,
            },
            from..until,
        ))
    }
}

impl Response {
    pub(super) fn refused(reason: &str) -> Self {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        Self::Refused {
            reason: reason[..end].to_owned(),
        }
    }

    /// Holds an answer that was read to the limits.
    pub(super) fn check(self) -> Result<Self, String> {
        match &self {
            Self::Refused { reason } if reason.len() > REASON_BYTES_MAX => Err(format!(
                "a reason of {} bytes: at most {REASON_BYTES_MAX} are allowed",
                reason.len()
            )),
            _ => Ok(self),
        }
    }
}

/// Sends a frame, and says how many bytes it took.
pub(super) async fn write_frame<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    clock: &StreamClock,
    message: &T,
) -> Result<u64, Late> {
    let frame = encode(message);
    clock
        .step(async {
            stream.write_all(&frame).await?;
            stream.flush().await
        })
        .await?;
    Ok(frame.len() as u64)
}

fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let body = postcard::to_stdvec(message).expect("numbers and text are encodable");
    assert!(
        body.len() <= FRAME_BYTES_MAX as usize,
        "our own messages are short"
    );
    let mut frame = Vec::with_capacity(LENGTH_BYTES + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&body);
    frame
}

/// Reads a frame, and says how many bytes it took; nothing if the stream ends or breaks before it.
pub(super) async fn read_frame<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    clock: &StreamClock,
) -> Result<Option<(T, u64)>, FrameError> {
    let mut length = [0; LENGTH_BYTES];
    let started = clock
        .step(async {
            let read = stream.read(&mut length).await.unwrap_or(0);
            if read > 0 {
                stream.read_exact(&mut length[read..]).await?;
            }
            Ok(read > 0)
        })
        .await
        .map_err(FrameError::Late)?;
    if !started {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length);
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::Malformed(format!(
            "a frame of {length} bytes: at most {FRAME_BYTES_MAX} are allowed"
        )));
    }
    let mut body = vec![0; length as usize];
    clock
        .step(stream.read_exact(&mut body))
        .await
        .map_err(FrameError::Late)?;
    match postcard::take_from_bytes(&body) {
        Ok((message, [])) => Ok(Some((message, LENGTH_BYTES as u64 + u64::from(length)))),
        Ok((_, rest)) => Err(FrameError::Malformed(format!(
            "{} bytes too many in a frame of {length}",
            rest.len()
        ))),
        Err(error) => Err(FrameError::Malformed(format!(
            "a frame of {length} bytes that means nothing: {error}"
        ))),
    }
}
