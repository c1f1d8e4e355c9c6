//! A JSON-RPC client that trusts nobody: every answer is bounded in time and in bytes. Called by
//! [`import`](super::import).
//!
//! The proxy is the one that the environment names (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`;
//! `NO_PROXY` has exceptions).

mod refusal;

use std::{
    io::{self, BufReader, Read},
    thread,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json};
use ureq::{
    Agent, Body,
    http::{HeaderMap, HeaderName, HeaderValue, Response},
};

use super::{ImportError, ImportOptions, Retries};
use crate::host::{
    block_file::{Bounded, JSON_BYTES_MAX},
    excerpt::excerpt,
};
use refusal::Refusal;

/// Time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The prefix of the methods that give a witness.
const WITNESS_METHODS: &str = "debug_executionWitness";
/// Most bytes of any other answer: a block of 60 M gas has at most 15 MB of calldata, in hex and
/// with JSON around it. Its JSON is held as values, which take a multiple.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Most of the body of an answer that is no success, in bytes: it has a sentence, or a page that
/// says the same.
const FAILURE_BYTES_MAX: u64 = 64 << 10;
/// Longest that a node may ask us to wait before another try.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Most headers that a user may add.
const HEADERS_MAX: usize = 16;
/// JSON-RPC's code for parameters that the method does not take.
pub(super) const INVALID_PARAMS: i64 = -32_602;

/// A node, by its address.
pub(super) struct Node {
    agent: Agent,
    url: String,
    /// The address as it may be shown.
    name: String,
    headers: HeaderMap,
    timeout: Duration,
    retries: Retries,
    wait: fn(Duration),
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Answer<T> {
    /// Absent, or a value that may be `null`.
    #[serde(default, deserialize_with = "present")]
    result: Option<Option<T>>,
    error: Option<Refusal>,
}

/// Why a call failed, and whether the same call may do better.
struct Failure {
    error: ImportError,
    /// The time that the node asks us to wait; `None` if another try is of no use.
    again: Option<Duration>,
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        // A connection that breaks may be a proxy's idea of a node that starts anew.
        let is_cut = matches!(error, ImportError::Connection { .. });
        Self {
            error,
            again: is_cut.then_some(Duration::ZERO),
        }
    }
}

fn present<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Node {
    /// The timeout is for each try of a call, from connecting to the last byte.
    pub(super) fn new(url: &str, options: &ImportOptions) -> Result<Self, ImportError> {
        let timeout = options.timeout;
        let bad = |detail: &str| ImportError::Url {
            url: shown(url),
            detail: detail.to_owned(),
        };
        let uri: ureq::http::Uri = url.parse().map_err(|_| bad("it does not parse"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad("it does not begin with http:// or https://"));
        }
        let host = uri.host().ok_or_else(|| bad("it has no host"))?;
        let mut config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout)))
            // Errors come with a body that says why.
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("myriad/", env!("CARGO_PKG_VERSION")));
        if host == "localhost" || host.starts_with("127.") || host == "[::1]" {
            // A node on this machine is not behind the proxy that the environment names.
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url: url.to_owned(),
            name: shown(url),
            headers: headers(&options.headers)?,
            timeout,
            retries: options.retries,
            wait: thread::sleep,
        })
    }

    /// This node, with something else in place of waiting between two tries.
    #[cfg(test)]
    pub(super) fn with_wait(self, wait: fn(Duration)) -> Self {
        Self { wait, ..self }
    }

    /// Calls a method; `None` if its result is `null`. If the node is overloaded or the connection
    /// breaks, it waits and tries again.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &Value,
    ) -> Result<Option<T>, ImportError> {
        for pause in self.retries.pauses() {
            match self.try_call(method, params) {
                Ok(result) => return Ok(result),
                Err(Failure { error, again: None }) => return Err(error),
                Err(Failure {
                    again: Some(retry_after),
                    ..
                }) => (self.wait)(pause.max(retry_after)),
            }
        }
        self.try_call(method, params).map_err(|failure| failure.error)
    }

    fn try_call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &Value,
    ) -> Result<Option<T>, Failure> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut post = self.agent.post(&self.url).content_type("application/json");
        if let Some(headers) = post.headers_mut() {
            headers.extend(self.headers.clone());
        }
        let response = post
            .send(request.to_string())
            .map_err(|error| self.failed(method, error))?;
        if !response.status().is_success() {
            return Err(self.refused(method, response));
        }
        let malformed = |detail: String| ImportError::Malformed { method, detail };
        // The limit is on the decompressed bytes. The answer is decoded while it comes.
        let bytes_max = match method.starts_with(WITNESS_METHODS) {
            true => JSON_BYTES_MAX,
            false => ANSWER_BYTES_MAX,
        };
        // A node that says the length is not read first.
        if let Some(bytes) = response
            .body()
            .content_length()
            .filter(|bytes| *bytes > bytes_max)
        {
            return Err(ImportError::TooLarge {
                method,
                bytes,
                bytes_max,
            }
            .into());
        }
        let mut body = BufReader::new(Bounded::new(response.into_body().into_reader(), bytes_max));
        let answer = serde_json::from_reader::<_, Answer<T>>(&mut body).map_err(|error| {
            let body = body.get_ref();
            if body.is_exceeded() {
                let bytes = body.bytes_read();
                ImportError::TooLarge {
                    method,
                    bytes,
                    bytes_max,
                }
            } else if error.is_io() {
                self.failed(method, io::Error::from(error).into())
            } else {
                let start = excerpt(&String::from_utf8_lossy(body.start()));
                malformed(format!("{start} is no answer of this method: {error}"))
            }
        })?;
        match answer {
            Answer {
                error: Some(refusal), ..
            } => Err(self.refusal(method, refusal)),
            Answer { result, .. } => {
                Ok(result.ok_or_else(|| malformed("it has neither result nor error".to_owned()))?)
            }
        }
    }

    /// The meaning of a status that is no success.
    fn refused(&self, method: &'static str, response: Response<Body>) -> Failure {
        let status = response.status();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map_or(Duration::ZERO, Duration::from_secs);
        let is_passing = status.as_u16() == 429 || status.is_server_error();
        let again = is_passing.then_some(retry_after.min(RETRY_AFTER_MAX));
        let mut body = Vec::new();
        let reader = response.into_body().into_reader();
        if let Err(error) = reader.take(FAILURE_BYTES_MAX).read_to_end(&mut body) {
            return self.failed(method, error.into()).into();
        }
        // Errors of JSON-RPC come with any status.
        if let Ok(Answer::<Value> {
            error: Some(refusal), ..
        }) = serde_json::from_slice(&body)
        {
            let failure = self.refusal(method, refusal);
            let is_settled = matches!(failure.error, ImportError::MethodNotFound { .. });
            return Failure {
                again: if is_settled { None } else { again.or(failure.again) },
                ..failure
            };
        }
        Failure {
            error: ImportError::HttpStatus {
                node: self.name.clone(),
                method,
                status: status.as_u16(),
                body: excerpt(&String::from_utf8_lossy(&body)),
            },
            again,
        }
    }

    fn refusal(&self, method: &'static str, refusal: Refusal) -> Failure {
        let node = self.name.clone();
        let again = refusal.is_limit().then_some(Duration::ZERO);
        let is_missing = refusal.is_method_missing();
        let Refusal { code, message } = refusal;
        let error = if is_missing {
            ImportError::MethodNotFound {
                node,
                method,
                message,
            }
        } else {
            ImportError::Rpc {
                node,
                method,
                code,
                message,
            }
        };
        Failure { error, again }
    }

    fn failed(&self, method: &'static str, error: ureq::Error) -> ImportError {
        use ureq::{Error, Timeout};

        let node = self.name.clone();
        let detail = error.to_string();
        match error {
            Error::Timeout(Timeout::Connect | Timeout::Resolve) => ImportError::Connect { node, detail },
            Error::Timeout(_) => ImportError::Timeout {
                node,
                method,
                seconds: self.timeout.as_secs(),
            },
            Error::HostNotFound
            | Error::ConnectionFailed
            | Error::InvalidProxyUrl
            | Error::ConnectProxyFailed(_)
            | Error::Tls(_)
            | Error::Rustls(_) => ImportError::Connect { node, detail },
            Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                ImportError::Connect { node, detail }
            }
            _ => ImportError::Connection { node, method, detail },
        }
    }
}

/// The headers that a user adds. Their values may be keys, so that no error shows them.
fn headers(headers: &[String]) -> Result<HeaderMap, ImportError> {
    if headers.len() > HEADERS_MAX {
        return Err(ImportError::Header {
            name: format!("number {}", HEADERS_MAX + 1),
            detail: "more are not sent",
        });
    }
    let parse = |header: &String| {
        let (name, value) = header.split_once(':').unwrap_or((header, ""));
        let bad = |detail| ImportError::Header {
            name: excerpt(if value.is_empty() { "" } else { name }),
            detail,
        };
        if value.trim().is_empty() {
            return Err(bad("it has no value; write `Name: value`"));
        }
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| bad("its name is none"))?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| bad("its value is none"))?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    headers.iter().map(parse).collect()
}

/// Scheme, host and port of an address: the parts before and after may be secret.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if scheme.is_empty() {
        host.to_owned()
    } else {
        format!("{scheme}://{host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_an_address_are_not_shown() {
        for (url, name) in [
            (
                "https://user:secret@node.example:8545/v2/secret",
                "https://node.example:8545",
            ),
            ("http://[::1]:8545?key=secret", "http://[::1]:8545"),
            ("node.example/secret", "node.example"),
        ] {
            assert_eq!(shown(url), name);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["localhost:8545", "ftp://localhost", "", "http://", "http://a b"] {
            let error = Node::new(url, &ImportOptions::default()).err().expect(url);
            assert!(matches!(error, ImportError::Url { .. }), "{error}");
        }
    }

    #[test]
    fn a_header_that_is_none_is_refused_without_its_value() {
        for header in ["secret", "X-Key:", "X Key: secret", "X-Key: sec\nret"] {
            let error = headers(&[header.to_owned()]).unwrap_err();
            assert!(matches!(error, ImportError::Header { .. }), "{error}");
            assert!(!error.to_string().contains("sec"), "{error}");
        }
        let sent = headers(&["X-Key: a:b".to_owned()]).unwrap();
        assert_eq!(sent["x-key"], "a:b");
        assert!(headers(&vec!["A: b".to_owned(); HEADERS_MAX + 1]).is_err());
    }
}
