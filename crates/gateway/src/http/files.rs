//! Files as answers: whole or a range of their bytes (RFC 9110), with a tag that tells versions
//! apart.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    time::UNIX_EPOCH,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use myriad_api::Kind;

use super::reads::Reads;
use crate::refusal::Refusal;

/// Bytes that are read at once.
const PIECE_BYTES: u64 = 64 << 10;

/// The bytes of a file from `first`, `length` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    length: u64,
}

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// There is no such header, or one that may be ignored.
    Whole,
    Part(Range),
    /// The file has no such bytes.
    Unsatisfiable,
}

/// Answers with a file.
pub(super) async fn answer(reads: &Reads, path: &Path, headers: &HeaderMap) -> Result<Response, Refusal> {
    let path = path.to_owned();
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("proof")
        .to_owned();
    let opened = reads.answer(move || Ok(open(&path))).await?;
    let (file, bytes, tag) = opened.map_err(|error| {
        tracing::warn!(%error, "the file of a proof cannot be read");
        match error.kind() {
            io::ErrorKind::NotFound => Refusal::new(
                Kind::NotFound,
                "the proof's file is not there any more; submit the job again",
            ),
            _ => Refusal::new(
                Kind::Internal,
                "the proof's file cannot be read; the service's log says why",
            ),
        }
    })?;
    let is_known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| names(known, &tag));
    let mut response = if is_known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        match asked(headers, bytes, &tag) {
            Asked::Whole => part(
                reads,
                file,
                Range {
                    first: 0,
                    length: bytes,
                },
            ),
            Asked::Part(range) => {
                let mut response = part(reads, file, range);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let last = range.first + range.length - 1;
                let range = value(&format!("bytes {}-{last}/{bytes}", range.first));
                response.headers_mut().insert(header::CONTENT_RANGE, range);
                response
            }
            Asked::Unsatisfiable => {
                let refusal = Refusal::new(
                    Kind::RangeNotSatisfiable,
                    format!("the file has {bytes} bytes, and none of the range that was asked for"),
                );
                return Err(refusal.with(header::CONTENT_RANGE, value(&format!("bytes */{bytes}"))));
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, value(&tag));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if let Some(disposition) = disposition(&name) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// The name for browsers. Those of proofs are those of jobs, which have harmless letters; others
/// are left out.
fn disposition(name: &str) -> Option<HeaderValue> {
    let is_harmless = !name.contains(['"', '\\']);
    let text = format!("attachment; filename=\"{name}\"");
    is_harmless.then(|| HeaderValue::from_str(&text).ok()).flatten()
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("it is ASCII")
}

/// The file, its length and its tag.
fn open(path: &Path) -> io::Result<(File, u64, String)> {
    let file = File::open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let age = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let tag = format!("\"{:x}-{:x}\"", facts.len(), age.as_nanos());
    Ok((file, facts.len(), tag))
}

/// Whether a list of tags names this one.
pub(super) fn names(list: &str, tag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
}

/// The range that the headers ask for. Several ranges, other units and what cannot be read are
/// ignored, as RFC 9110 allows.
fn asked(headers: &HeaderMap, bytes: u64, tag: &str) -> Asked {
    let of = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // The client has a part of another version.
    if of(header::IF_RANGE).is_some_and(|version| version != tag) {
        return Asked::Whole;
    }
    let range = of(header::RANGE)
        .and_then(|range| range.strip_prefix("bytes="))
        .and_then(|range| range.trim().split_once('-'));
    let Some((first, last)) = range else {
        return Asked::Whole;
    };
    let number = |text: &str| {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = match (number(first), number(last)) {
        // None of the last bytes is no range.
        (None, Some(0)) if first.is_empty() => return Asked::Unsatisfiable,
        (None, Some(count)) if first.is_empty() => (bytes.saturating_sub(count), u64::MAX),
        (Some(first), None) if last.is_empty() => (first, u64::MAX),
        (Some(first), Some(last)) if first <= last => (first, last),
        _ => return Asked::Whole,
    };
    let end = last.saturating_add(1).min(bytes);
    if first >= end {
        return Asked::Unsatisfiable;
    }
    Asked::Part(Range {
        first,
        length: end - first,
    })
}

/// Streams a part of a file.
fn part(reads: &Reads, file: File, range: Range) -> Response {
    let Range { first, length } = range;
    let state = (reads.clone(), Some(file), first, length);
    let pieces = stream::try_unfold(state, |(reads, file, at, left)| async move {
        let (Some(file), true) = (file, left > 0) else {
            return Ok(None);
        };
        let piece = reads.piece(move || read(file, at, left.min(PIECE_BYTES))).await;
        let (file, piece) = piece.map_err(|refusal| io::Error::other(refusal.problem().detail.clone()))??;
        let length = piece.len() as u64;
        Ok::<_, io::Error>(Some((piece, (reads, Some(file), at + length, left - length))))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A file that has become shorter is an error: the client is told by the end of the connection.
fn read(mut file: File, at: u64, length: u64) -> io::Result<(File, Bytes)> {
    file.seek(SeekFrom::Start(at))?;
    let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact(&mut piece)?;
    Ok((file, piece.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        let of = |range: &str| {
            let headers = HeaderMap::from_iter([(header::RANGE, value(range))]);
            asked(&headers, 10, "\"t\"")
        };
        let part = |first, length| Asked::Part(Range { first, length });
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 4)),
            ("bytes=2-", part(2, 8)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-30", part(0, 10)),
            ("bytes=9-99999999999999999999999", part(9, 1)),
            ("bytes=10-", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=99999999999999999999999-", Asked::Unsatisfiable),
            ("bytes=5-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("items=0-1", Asked::Whole),
            ("bytes=--1", Asked::Whole),
        ] {
            assert_eq!(of(range), expected, "{range}");
        }
    }

    #[test]
    fn a_part_of_another_version_is_not_continued() {
        let headers = |version| {
            HeaderMap::from_iter([
                (header::RANGE, value("bytes=1-")),
                (header::IF_RANGE, value(version)),
            ])
        };
        assert_eq!(asked(&headers("\"old\""), 10, "\"t\""), Asked::Whole);
        assert_ne!(asked(&headers("\"t\""), 10, "\"t\""), Asked::Whole);
        assert!(names("W/\"t\", \"u\"", "\"t\"") && names("*", "\"t\"") && !names("\"u\"", "\"t\""));
    }
}
