//! The connection to a service: one request and its answer.

use std::{
    io::{self, BufReader, Read, Write},
    str::FromStr,
    time::Duration,
};

use myriad_api::IDEMPOTENCY_KEY;
use serde::de::DeserializeOwned;
use ureq::{
    Agent, Body, RequestBuilder, SendBody,
    http::{HeaderMap, HeaderValue, Response, Uri, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
    typestate::WithoutBody,
};

use crate::{
    Error, Refusal,
    answer::{broken, decoded, expect_type, read, transport},
    submission,
};

const USER_AGENT: &str = concat!("myriad-client/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For each piece that is read or written, and for the head of an answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The service makes a job of a submission before it answers, and others may be before it.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// A stream without a sign of life for this long is dead: the service gives one every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const PROBLEM_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a proof. The largest of those that are known has some MB.
const PROOF_BYTES_MAX: u64 = 1 << 30;
/// The longest pause of a service that is believed.
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// A service's address, and how it is asked. Clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    agent: Agent,
    /// Without a slash at the end.
    url: String,
    is_local: bool,
    authorization: Option<HeaderValue>,
}

impl Connection {
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let bad = |reason| Error::Url {
            url: url.to_owned(),
            reason,
        };
        let uri = Uri::from_str(url).map_err(|_| bad("it does not parse"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad("it does not begin with http:// or https://"));
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| bad("it has no host"))?;
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(bad("it has a name or a password"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(bad("it has a query or a fragment"));
        }
        let is_local = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        Ok(Self {
            agent: agent(is_local, None),
            url: url.trim_end_matches('/').to_owned(),
            is_local,
            authorization: None,
        })
    }

    pub(crate) fn key(mut self, key: &str) -> Result<Self, Error> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| Error::Key)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    pub(crate) fn certificates(mut self, pem: &[u8]) -> Result<Self, Error> {
        let mut roots = Vec::new();
        for item in parse_pem(pem) {
            match item {
                Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
                Ok(_) => {}
                Err(e) => {
                    return Err(Error::Certificates {
                        reason: e.to_string(),
                    });
                }
            }
        }
        if roots.is_empty() {
            let reason = "it has none".into();
            return Err(Error::Certificates { reason });
        }
        self.agent = agent(self.is_local, Some(&roots));
        Ok(self)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    #[cfg(test)]
    pub(crate) const fn is_local(&self) -> bool {
        self.is_local
    }

    /// Sends a submission's body. Its files are read as they are sent.
    pub(crate) fn post(
        &self,
        path: &str,
        body: &mut submission::Body,
        idempotency_key: Option<&str>,
    ) -> Result<Response<Body>, Error> {
        let url = self.at(path);
        let mut post = self
            .agent
            .post(&url)
            .header(header::CONTENT_TYPE, body.content_type.as_str())
            .header(header::CONTENT_LENGTH, body.bytes)
            // What is refused by its head alone is not sent.
            .header(header::EXPECT, "100-continue");
        if let Some(key) = idempotency_key {
            let is_plain = (1..=255).contains(&key.len()) && key.bytes().all(|c| c.is_ascii_graphic());
            if !is_plain {
                return Err(Error::IdempotencyKey { bytes: key.len() });
            }
            post = post.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(headers) = post.headers_mut() {
            self.authorize(headers);
        }
        let sent = post
            .config()
            .timeout_per_read(Some(SUBMIT_TIMEOUT))
            .timeout_recv_response(Some(SUBMIT_TIMEOUT))
            .build()
            .send(SendBody::from_reader(&mut *body));
        match (sent, body.failed.take()) {
            (_, Some(failed)) => Err(failed),
            (sent, None) => self.checked(&url, sent),
        }
    }

    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let url = self.at(path);
        let response = self.checked(&url, self.with_key(self.agent.delete(&url)).call())?;
        decoded(&url, response)
    }

    /// The messages of a stream, after the one of an id.
    pub(crate) fn stream(&self, path: &str, after: Option<&str>) -> Result<impl Read + use<>, Error> {
        let url = self.at(path);
        let mut get = self
            .with_key(self.agent.get(&url))
            .header(header::ACCEPT, "text/event-stream");
        if let Some(id) = after {
            get = get.header("last-event-id", id);
        }
        let sent = get.config().timeout_per_read(Some(SILENCE_MAX)).build().call();
        let response = self.checked(&url, sent)?;
        expect_type(&url, &response, "text/event-stream")?;
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn authorize(&self, headers: &mut HeaderMap) {
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
    }

    fn with_key(&self, mut request: RequestBuilder<WithoutBody>) -> RequestBuilder<WithoutBody> {
        if let Some(headers) = request.headers_mut() {
            self.authorize(headers);
        }
        request
    }

    fn get(&self, path: &str) -> Result<(String, Response<Body>), Error> {
        let url = self.at(path);
        let response = self.checked(&url, self.with_key(self.agent.get(&url)).call())?;
        Ok((url, response))
    }

    pub(crate) fn document<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let (url, response) = self.get(path)?;
        decoded(&url, response)
    }

    /// An answer that does what was asked for.
    fn checked(&self, url: &str, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Error> {
        let response = sent.map_err(|error| transport(url, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(PAUSE_MAX));
        // What it says beside the status is worth nothing if it cannot be read.
        let body = read(url, response, PROBLEM_BYTES_MAX).ok();
        let refusal = Refusal::of(status.as_u16(), retry_after, body.as_deref());
        Err(Error::Refused(Box::new(refusal)))
    }

    /// Writes what is at a path, and gives the number of its bytes.
    pub(crate) fn download(&self, path: &str, into: &mut impl Write) -> Result<u64, Error> {
        let (url, response) = self.get(path)?;
        let limited = response
            .into_body()
            .into_with_config()
            .limit(PROOF_BYTES_MAX)
            .reader();
        let mut from = BufReader::with_capacity(64 << 10, limited);
        let mut written = 0;
        loop {
            let bytes = match io::BufRead::fill_buf(&mut from) {
                Ok([]) => return into.flush().map(|()| written).map_err(Error::Write),
                Ok(bytes) => bytes,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(broken(&url, e, PROOF_BYTES_MAX)),
            };
            into.write_all(bytes).map_err(Error::Write)?;
            let count = bytes.len();
            written += count as u64;
            io::BufRead::consume(&mut from, count);
        }
    }
}

fn agent(is_local: bool, roots: Option<&[Certificate<'static>]>) -> Agent {
    let mut config = Agent::config_builder()
        // Errors come with a body that says why.
        .http_status_as_error(false)
        // A redirection could lead the key to somebody else.
        .max_redirects(0)
        .user_agent(USER_AGENT)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        .timeout_per_read(Some(TIMEOUT))
        .timeout_per_write(Some(TIMEOUT));
    if let Some(roots) = roots {
        let roots = RootCerts::new_with_certs(roots);
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    if is_local {
        // A service of this machine is not behind the proxy that the environment names.
        config = config.proxy(None);
    }
    config.build().new_agent()
}
