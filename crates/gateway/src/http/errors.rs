//! Refusals: problem documents (RFC 9457) as answers.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use myriad_api::{Kind, MEDIA_TYPE, Problem};

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    problem: Box<Problem>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Problem::new(kind, detail).into()
    }

    /// There is no room: the client is to come again after this time.
    pub(crate) fn busy(detail: impl Into<String>, again: Duration) -> Self {
        Self::new(Kind::Unavailable, detail).again(again)
    }

    /// Says when to come again.
    pub(crate) fn again(self, after: Duration) -> Self {
        self.with(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)))
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
            headers,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).expect("kinds have statuses of HTTP");
        let body = serde_json::to_vec(&self.problem).expect("a problem is plain data");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

/// A document as an answer.
pub(crate) fn document(status: StatusCode, document: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(document).expect("a document is plain data");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
