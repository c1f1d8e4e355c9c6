//! Errors, as RFC 9457 has them.

use serde::{Deserialize, Serialize};

use crate::names::names;

/// The media type of a [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was refused, or a job failed (RFC 9457, "Problem Details for HTTP APIs"). `detail`
/// has the words that the command line has for the same error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A URI reference that names the kind: `/problems/` and the kind.
    #[serde(rename = "type")]
    pub type_: String,
    /// The kind, in words.
    pub title: String,
    pub status: u16,
    /// This occurrence: the actual value, the allowed one, and what to do.
    pub detail: String,
    /// The kind, for programs.
    pub kind: Kind,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 400: the request cannot be read.
    BadRequest,
    /// 401: the request has no key, or one that is not valid.
    Unauthorized,
    /// 403: the key may not do this.
    Forbidden,
    /// 404: there is no such thing.
    NotFound,
    /// 405: the path does not have this method.
    MethodNotAllowed,
    /// 409: the state of the job does not allow it.
    Conflict,
    /// 413: the upload is too large.
    TooLarge,
    /// 415: the service does not read this kind of body.
    UnsupportedMediaType,
    /// 416: the file has none of the bytes that the request asks for.
    RangeNotSatisfiable,
    /// 421: the request names another host.
    Misdirected,
    /// 422: the program, the input or the block is not valid.
    Invalid,
    /// 422: this idempotency key came with another submission before.
    KeyReused,
    /// 429: the key's quota is used up, or an address sends too many requests without a valid key.
    QuotaExceeded,
    /// 500: a fault of the service.
    Internal,
    /// 503: the service has no room, or is about to stop.
    Unavailable,
    /// 507: the disk is full.
    DiskFull,
    /// One of a later release. No service sends it.
    #[serde(skip_deserializing)]
    Unknown,
}

impl Kind {
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RangeNotSatisfiable => 416,
            Self::Misdirected => 421,
            Self::Invalid | Self::KeyReused => 422,
            Self::QuotaExceeded => 429,
            Self::Internal | Self::Unknown => 500,
            Self::Unavailable => 503,
            Self::DiskFull => 507,
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request cannot be read",
            Self::Unauthorized => "The request has no valid key",
            Self::Forbidden => "The key may not do this",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "The path does not have this method",
            Self::Conflict => "The state of the job does not allow it",
            Self::TooLarge => "The upload is too large",
            Self::UnsupportedMediaType => "The service does not read this kind of body",
            Self::RangeNotSatisfiable => "The file has none of these bytes",
            Self::Misdirected => "The request names another host",
            Self::Invalid => "The program, the input or the block is not valid",
            Self::KeyReused => "The idempotency key came with another submission before",
            Self::QuotaExceeded => "The quota of the key or the address is used up",
            Self::Internal => "The service has a fault",
            Self::Unavailable => "The service has no room",
            Self::DiskFull => "The disk is full",
            Self::Unknown => "There is a problem of a kind that this release does not know",
        }
    }
}

names!(Kind {
    BadRequest = "bad-request",
    Unauthorized = "unauthorized",
    Forbidden = "forbidden",
    NotFound = "not-found",
    MethodNotAllowed = "method-not-allowed",
    Conflict = "conflict",
    TooLarge = "too-large",
    UnsupportedMediaType = "unsupported-media-type",
    RangeNotSatisfiable = "range-not-satisfiable",
    Misdirected = "misdirected",
    Invalid = "invalid",
    KeyReused = "key-reused",
    QuotaExceeded = "quota-exceeded",
    Internal = "internal",
    Unavailable = "unavailable",
    DiskFull = "disk-full",
});

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            type_: format!("/problems/{}", kind.as_str()),
            title: kind.title().into(),
            status: kind.status(),
            detail: detail.into(),
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_same_name_in_every_place() {
        for kind in Kind::ALL {
            let json = serde_json::to_value(Problem::new(kind, "why")).unwrap();
            assert_eq!(json["kind"], kind.as_str());
            assert_eq!(json["type"], format!("/problems/{}", kind.as_str()));
            assert_eq!(json["status"], kind.status());
        }
    }
}
