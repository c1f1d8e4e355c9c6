//! Why something was not done.

use std::{io, path::PathBuf, time::Duration};

use myriad_api::Kind;
use serde::Deserialize;
use thiserror::Error;

/// Characters of a service's words that are kept.
const WORDS_MAX: usize = 4_000;

/// Why something was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{url:?} is no address of a service: {reason}; one looks like http://127.0.0.1:8080")]
    Url { url: String, reason: &'static str },
    #[error("the key has a character that no header may have; send it as `myriad keys add` has printed it")]
    Key,
    #[error("the idempotency key has {bytes} bytes; one has 1 to 255 visible ASCII characters")]
    IdempotencyKey { bytes: usize },
    #[error("{id:?} is no id of a job; one has 64 hex digits")]
    Id { id: String },
    #[error("the certificates are no PEM file with at least one: {reason}")]
    Certificates { reason: String },
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot write what the service sends: {0}")]
    Write(#[source] io::Error),
    /// The service has answered that it does not do it.
    #[error("{}", .0.detail)]
    Refused(Box<Refusal>),
    #[error("no answer from {url}: {reason}")]
    Transport { url: String, reason: String },
    #[error("the answer of {url} has more than the {bytes_max} bytes that are read")]
    TooLarge { url: String, bytes_max: u64 },
    #[error("the answer of {url} cannot be read: {reason}; check that it is the address of a myriad service")]
    Malformed { url: String, reason: String },
}

/// What a service says when it does not do something: an RFC 9457 problem document, of which some
/// may be missing where something in between has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// None for a kind that this release does not know.
    pub kind: Option<Kind>,
    pub title: String,
    /// The actual value, the allowed one, and what to do.
    pub detail: String,
    /// The service asks for this pause.
    pub retry_after: Option<Duration>,
}

/// A problem document, as far as it is needed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    title: String,
    detail: String,
    kind: String,
}

impl Error {
    /// Whether the same may be done after a pause.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Refused(refusal) => matches!(refusal.status, 408 | 429 | 502..=504),
            _ => false,
        }
    }

    /// The pause that the service asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

impl Refusal {
    pub(crate) fn of(status: u16, retry_after: Option<Duration>, body: Option<&[u8]>) -> Self {
        let document: Document = body
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or_default();
        let detail = match document.detail.is_empty() {
            true => format!("the service has answered with the status {status}, and does not say why"),
            false => shown(&document.detail),
        };
        Self {
            status,
            kind: Kind::ALL.into_iter().find(|kind| kind.as_str() == document.kind),
            title: shown(&document.title),
            detail,
            retry_after,
        }
    }
}

/// A stranger's words, without what moves the cursor of a terminal or turns its text.
fn shown(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' | '\t' => ' ',
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().take(WORDS_MAX).map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_read_as_far_as_it_is_one() {
        let text = r#"{"type":"/problems/too-large","title":"The upload is too large","status":413,
            "detail":"9 bytes; 8 are allowed\u001b[2J","kind":"too-large","more":1}"#;
        let refusal = Refusal::of(413, None, Some(text.as_bytes()));
        assert_eq!(refusal.kind, Some(Kind::TooLarge));
        assert_eq!(refusal.detail, "9 bytes; 8 are allowed?[2J");
        let later = Refusal::of(
            418,
            None,
            Some(br#"{"kind":"teapot","detail":"short and stout"}"#),
        );
        assert_eq!((later.kind, later.detail.as_str()), (None, "short and stout"));
        for body in [
            None,
            Some(b"<html>".as_slice()),
            Some(b"[]"),
            Some(br#"{"kind":7}"#),
        ] {
            let refusal = Refusal::of(502, None, body);
            assert!(refusal.detail.contains("status 502"), "{refusal:?}");
            assert!(Error::Refused(Box::new(refusal)).is_transient());
        }
    }
}
