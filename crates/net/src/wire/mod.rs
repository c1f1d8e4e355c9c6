//! The messages between peers, and how large each part of one may be.
//!
//! Messages are postcard, a compact binary form of the types here; `docs/PROTOCOL.md` describes it
//! with test vectors. A message is bounded three times: its frame before it is read, its parts
//! after it is decoded (by [`Bounded::check`]), and its frequency by the caller.

mod announcement;
mod frame;
mod hello;
mod task;

use thiserror::Error;

use crate::{
    limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX},
    text::shown,
};

pub use announcement::{ANNOUNCEMENT_BYTES_MAX, Announcement, Extent, sequence};
pub(crate) use frame::{Frames, Garbage};
pub(crate) use hello::JOBS_MAX;
pub use hello::{ENGINES_MAX, Hello, Role};
pub use task::{
    Contact, HOLDERS_MAX, Lease, Notice, OfferMessage, Refused, Request, Response, Returned, Source, Sources,
    Spent, Why, Work,
};

/// The version of all messages. Peers with different versions say so and part.
pub const PROTOCOL_VERSION: u32 = 4;

/// The most bytes of a frame of the task protocol: a lease with its sources is below 10 KiB.
pub const FRAME_BYTES_MAX: usize = 64 << 10;
/// The most bytes of a reason that one peer gives another.
pub const TEXT_BYTES_MAX: usize = 512;

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    #[error("a message of {bytes} bytes, and {allowed} are allowed")]
    Size { bytes: usize, allowed: usize },
    #[error("not a message of this protocol: {0}")]
    Syntax(String),
    #[error("{what}: {actual}, and {allowed} are allowed")]
    Bound {
        what: &'static str,
        actual: u64,
        allowed: u64,
    },
}

/// Whether the parts of a message that has been decoded are within their bounds.
pub trait Bounded {
    /// # Errors
    /// The first part that is out of bounds.
    fn check(&self) -> Result<(), WireError>;

    /// Decodes a message of another version as far as possible; none for most types.
    fn of_other_version(_: &[u8]) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

fn bound(what: &'static str, actual: usize, allowed: usize) -> Result<(), WireError> {
    bound_u64(what, actual as u64, allowed as u64)
}

fn bound_u64(what: &'static str, actual: u64, allowed: u64) -> Result<(), WireError> {
    if actual > allowed {
        return Err(WireError::Bound {
            what,
            actual,
            allowed,
        });
    }
    Ok(())
}

fn check_addresses(addresses: &[String]) -> Result<(), WireError> {
    bound("addresses", addresses.len(), ADDRESSES_MAX)?;
    addresses
        .iter()
        .try_for_each(|address| bound("bytes of an address", address.len(), ADDRESS_BYTES_MAX))
}

/// Encodes a message of at most `bytes_max` bytes.
///
/// # Errors
/// [`WireError::Size`] where it is larger.
pub fn encode<T: serde::Serialize>(message: &T, bytes_max: usize) -> Result<Vec<u8>, WireError> {
    let bytes = postcard::to_stdvec(message).map_err(|e| WireError::Syntax(e.to_string()))?;
    if bytes.len() > bytes_max {
        return Err(WireError::Size {
            bytes: bytes.len(),
            allowed: bytes_max,
        });
    }
    Ok(bytes)
}

/// Decodes a message of at most `bytes_max` bytes, all of which belong to it.
///
/// # Errors
/// See [`WireError`].
pub fn decode<T: serde::de::DeserializeOwned + Bounded>(
    bytes: &[u8],
    bytes_max: usize,
) -> Result<T, WireError> {
    if bytes.len() > bytes_max {
        return Err(WireError::Size {
            bytes: bytes.len(),
            allowed: bytes_max,
        });
    }
    let (message, rest): (T, _) =
        postcard::take_from_bytes(bytes).map_err(|e| WireError::Syntax(e.to_string()))?;
    if !rest.is_empty() {
        return Err(WireError::Syntax(format!("{} bytes follow it", rest.len())));
    }
    message.check()?;
    Ok(message)
}

/// Reads a text that is shown to people; see [`shown`]. A text within its bound stays within it.
fn printable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text: String = serde::Deserialize::deserialize(deserializer)?;
    Ok(text.chars().map(shown).collect())
}

/// The text, cut to the length that a peer may be sent.
pub fn shortened(text: impl Into<String>) -> String {
    let mut text = text.into();
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests;
