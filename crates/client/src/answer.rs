//! Answers, which are bounded before they are decoded.

use std::io::{self, Read};

use serde::de::DeserializeOwned;
use ureq::{Body, http::Response};

use crate::Error;

/// Bytes of a document. That of 10,000 peers has some 5 MB.
const DOCUMENT_BYTES_MAX: u64 = 32 << 20;

pub(crate) fn decoded<T: DeserializeOwned>(url: &str, response: Response<Body>) -> Result<T, Error> {
    expect_type(url, &response, "application/json")?;
    let body = read(url, response, DOCUMENT_BYTES_MAX)?;
    serde_json::from_slice(&body).map_err(|e| Error::Malformed {
        url: url.to_owned(),
        reason: e.to_string(),
    })
}

pub(crate) fn expect_type(url: &str, response: &Response<Body>, expected: &str) -> Result<(), Error> {
    let found = response.body().mime_type().unwrap_or("nothing");
    (found == expected).then_some(()).ok_or_else(|| Error::Malformed {
        url: url.to_owned(),
        reason: format!(
            "it is {:?} instead of {expected}",
            found.chars().take(100).collect::<String>()
        ),
    })
}

pub(crate) fn read(url: &str, response: Response<Body>, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    let mut reader = response.into_body().into_with_config().limit(bytes_max).reader();
    match reader.read_to_end(&mut body) {
        Ok(_) => Ok(body),
        Err(e) => Err(broken(url, e, bytes_max)),
    }
}

/// Why an answer could not be read to its end.
pub(crate) fn broken(url: &str, error: io::Error, bytes_max: u64) -> Error {
    match ureq::Error::from(error) {
        ureq::Error::BodyExceedsLimit(_) => Error::TooLarge {
            url: url.to_owned(),
            bytes_max,
        },
        error => transport(url, &error),
    }
}

pub(crate) fn transport(url: &str, error: &ureq::Error) -> Error {
    Error::Transport {
        url: url.to_owned(),
        reason: error.to_string(),
    }
}
