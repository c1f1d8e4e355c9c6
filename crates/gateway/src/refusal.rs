//! Why a request is refused, for all that look at one.

use std::{io, time::Duration};

use http::{HeaderName, HeaderValue, header};
use myriad_api::{Kind, Problem};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) problem: Box<Problem>,
    /// Seconds after which it may be answered: the header `Retry-After`.
    pub(crate) retry_after_s: Option<u64>,
    /// Further headers of the answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Problem::new(kind, detail).into()
    }

    /// There is no room: the client is to come again after this time.
    pub(crate) fn busy(detail: impl Into<String>, again: Duration) -> Self {
        Self::later(Kind::Unavailable, again, |_| detail.into())
    }

    /// The client is to come again after this time, in whole seconds, which the words may name.
    pub(crate) fn later(kind: Kind, again: Duration, detail: impl FnOnce(u64) -> String) -> Self {
        let seconds = again.as_secs() + u64::from(again.subsec_nanos() > 0);
        let seconds = seconds.max(1);
        Self {
            retry_after_s: Some(seconds),
            ..Self::new(kind, detail(seconds))
        }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let headers = match problem.kind {
            Kind::Unauthorized => vec![(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"myriad\""),
            )],
            _ => Vec::new(),
        };
        Self {
            problem: Box::new(problem),
            retry_after_s: None,
            headers,
        }
    }
}

/// The problem of an error of the service's own disk. The words name no path.
pub(crate) fn of_disk(what: &str, error: &io::Error) -> Problem {
    tracing::error!(%error, "{what} failed");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Problem::new(
            Kind::DiskFull,
            "the service's disk is full; try again when the operator has made room",
        ),
        _ => Problem::new(
            Kind::Internal,
            format!("{what} failed; the service's log says why"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_others_and_no_words_name_a_path() {
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert_eq!(of_disk("writing", &full.into()).kind, Kind::DiskFull);
        }
        let problem = of_disk("writing", &io::Error::other("/secret/path"));
        assert_eq!(problem.kind, Kind::Internal);
        assert!(!problem.detail.contains("/secret"), "{problem:?}");
    }

    #[test]
    fn clients_wait_whole_seconds_and_at_least_one() {
        for (wait, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2)] {
            let refusal = Refusal::busy("full", Duration::from_millis(wait));
            assert_eq!(refusal.retry_after_s, Some(seconds), "{wait} ms");
        }
    }
}
