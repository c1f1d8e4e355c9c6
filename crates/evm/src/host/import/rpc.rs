//! A JSON-RPC client that trusts nobody: every answer is bounded in time and in bytes. Called by
//! [`import`](super::import).

use std::{
    io::{self, Read},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use ureq::{Agent, Body, http::Response};

use super::ImportError;
use crate::host::block_file::{JSON_BYTES_MAX, excerpt};

/// Time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// JSON-RPC's code for a method that is not there.
const METHOD_NOT_FOUND: i64 = -32_601;

/// A node, by its address.
pub(super) struct Node {
    agent: Agent,
    url: String,
    /// The address as it may be shown.
    name: String,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Answer<'a> {
    /// Absent, or the text of a value that may be `null`.
    #[serde(default, borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Node {
    /// `timeout` is for each call, from connecting to the last byte.
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, ImportError> {
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
            timeout,
        })
    }

    /// Calls a method; `None` where its result is `null`.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Option<T>, ImportError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let response = self
            .agent
            .post(&self.url)
            .content_type("application/json")
            .send(request.to_string())
            .map_err(|error| self.failed(method, error))?;
        let status = response.status();
        let body = self.read(method, response)?;
        let answer = serde_json::from_slice::<Answer<'_>>(&body);
        if let Ok(Answer {
            error: Some(Refusal { code, message }),
            ..
        }) = answer
        {
            let node = self.name.clone();
            return Err(if code == METHOD_NOT_FOUND {
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
            });
        }
        if !status.is_success() {
            return Err(ImportError::HttpStatus {
                node: self.name.clone(),
                method,
                status: status.as_u16(),
                body: excerpt(&String::from_utf8_lossy(&body)),
            });
        }
        let malformed = |detail: String| ImportError::Malformed { method, detail };
        let Answer { result, .. } = answer.map_err(|error| {
            let start = excerpt(&String::from_utf8_lossy(&body));
            malformed(format!("{start} is no answer of JSON-RPC: {error}"))
        })?;
        let result = result.ok_or_else(|| malformed("it has neither result nor error".to_owned()))?;
        serde_json::from_str(result.get()).map_err(|error| malformed(error.to_string()))
    }

    fn read(&self, method: &'static str, response: Response<Body>) -> Result<Vec<u8>, ImportError> {
        // The limit is on what comes out of the decompression.
        let reader = response.into_body().into_reader();
        let mut body = Vec::new();
        let read = reader.take(JSON_BYTES_MAX + 1).read_to_end(&mut body);
        read.map_err(|error| self.failed(method, error.into()))?;
        if body.len() as u64 > JSON_BYTES_MAX {
            return Err(ImportError::TooLarge { method });
        }
        Ok(body)
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

/// Scheme, host and port of an address: what comes before and after may be secret.
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
            let error = Node::new(url, CONNECT_TIMEOUT).err().expect(url);
            assert!(matches!(error, ImportError::Url { .. }), "{error}");
        }
    }
}
