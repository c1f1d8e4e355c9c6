//! The client: one request and its answer.

use std::{
    io::{self, BufReader, Read, Write},
    str::FromStr,
    time::Duration,
};

use myriad_api::{IDEMPOTENCY_KEY, Job, JobState, Peers, Service, Tasks};
use serde::de::DeserializeOwned;
use ureq::{
    Agent, Body, RequestBuilder, SendBody,
    http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
    typestate::WithoutBody,
};

use crate::{
    Error, Events, Jobs, Refusal, Submission, Submitted, Was,
    answer::{broken, decoded, expect_type, read, transport},
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
const ID_DIGITS: usize = 64;
/// The longest pause of a service that is believed.
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// A service, and the key for it. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    /// Without a slash at the end.
    url: String,
    is_local: bool,
    authorization: Option<HeaderValue>,
    roots: Option<Vec<Certificate<'static>>>,
}

impl Client {
    /// A client of the service at an address, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`Error::Url`]
    pub fn new(url: &str) -> Result<Self, Error> {
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
            roots: None,
        })
    }

    /// Sends this key with each request: one that `myriad keys add` has printed, or the text of the
    /// file `gateway/cookie` in the data folder of a service of the same user.
    ///
    /// # Errors
    /// [`Error::Key`]
    pub fn key(mut self, key: &str) -> Result<Self, Error> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| Error::Key)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Believes certificates that these have signed, in PEM, and no others.
    ///
    /// # Errors
    /// [`Error::Certificates`]
    pub fn certificates(mut self, pem: &[u8]) -> Result<Self, Error> {
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
        self.roots = Some(roots);
        Ok(self)
    }

    /// The address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Submits a job. The files are read as they are sent.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn submit(&self, submission: &Submission) -> Result<Submitted, Error> {
        let url = self.at("/v1/jobs");
        let mut body = submission.body()?;
        let mut post = self
            .agent
            .post(&url)
            .header(header::CONTENT_TYPE, body.content_type.as_str())
            .header(header::CONTENT_LENGTH, body.bytes)
            // What is refused by its head alone is not sent.
            .header(header::EXPECT, "100-continue");
        if let Some(key) = &submission.idempotency_key {
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
            .send(SendBody::from_reader(&mut body));
        let response = match (sent, body.failed.take()) {
            (_, Some(failed)) => return Err(failed),
            (sent, None) => self.checked(&url, sent)?,
        };
        let was = match response.status() {
            StatusCode::CREATED => Was::New,
            StatusCode::ACCEPTED => Was::Over,
            _ => Was::There,
        };
        let job = decoded(&url, response)?;
        Ok(Submitted { job, was })
    }

    /// A job.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn job(&self, id: &str) -> Result<Job, Error> {
        self.document(&format!("/v1/jobs/{}", checked_id(id)?))
    }

    /// All jobs, those submitted last first; those of one state alone, if it is named. They are
    /// asked for in pages, as the iterator comes to them.
    pub fn jobs(&self, state: Option<JobState>) -> Jobs {
        Jobs::new(self.clone(), state)
    }

    /// The tasks of a job.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn tasks(&self, id: &str) -> Result<Tasks, Error> {
        self.document(&format!("/v1/jobs/{}/tasks", checked_id(id)?))
    }

    /// The peers that are connected.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn peers(&self) -> Result<Peers, Error> {
        self.document("/v1/peers")
    }

    /// What the service is, and does now.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn service(&self) -> Result<Service, Error> {
        self.document("/v1/service")
    }

    /// Cancels a job. What it says of the job may be true before the job has ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn cancel(&self, id: &str) -> Result<Job, Error> {
        let url = self.at(&format!("/v1/jobs/{}", checked_id(id)?));
        let response = self.checked(&url, self.with_key(self.agent.delete(&url)).call())?;
        decoded(&url, response)
    }

    /// Writes the final proof of a job that is done, and gives the number of its bytes. Verify it:
    /// the service is not trusted.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn proof(&self, id: &str, into: &mut impl Write) -> Result<u64, Error> {
        self.download(&format!("/v1/jobs/{}/proof", checked_id(id)?), into)
    }

    /// Writes the baseline of a job that is done, and gives the number of its bytes.
    ///
    /// # Errors
    /// See [`Error`]; the kind [`NotFound`](myriad_api::Kind::NotFound) if the job's engine has none.
    pub fn baseline(&self, id: &str, into: &mut impl Write) -> Result<u64, Error> {
        self.download(&format!("/v1/jobs/{}/baseline", checked_id(id)?), into)
    }

    /// What happens to a job, from its state now to its end. The iterator comes back by itself when
    /// the connection is lost, and misses nothing that the service still has; where it has not, a
    /// [`Snapshot`](myriad_api::News::Snapshot) comes.
    ///
    /// # Errors
    /// [`Error::Id`]
    pub fn events(&self, id: &str) -> Result<Events, Error> {
        let path = format!("/v1/jobs/{}/events", checked_id(id)?);
        Ok(Events::new(self.clone(), path, true))
    }

    /// What happens at the whole service, without an end.
    pub fn all_events(&self) -> Events {
        Events::new(self.clone(), "/v1/events".into(), false)
    }

    /// Waits until a job is over.
    ///
    /// # Errors
    /// See [`Error`]. A job that has failed is no error: [`Job::error`] says why.
    pub fn wait(&self, id: &str) -> Result<Job, Error> {
        loop {
            for event in self.events(id)? {
                event?;
            }
            let job = self.job(id)?;
            // Somebody may have submitted it again meanwhile.
            if job.state.is_over() {
                return Ok(job);
            }
        }
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

    fn download(&self, path: &str, into: &mut impl Write) -> Result<u64, Error> {
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

fn checked_id(id: &str) -> Result<&str, Error> {
    let is_one = id.len() == ID_DIGITS && id.bytes().all(|c| c.is_ascii_hexdigit());
    is_one
        .then_some(id)
        .ok_or_else(|| Error::Id { id: id.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none_are_refused() {
        for url in [
            "",
            "localhost:8080",
            "ftp://localhost",
            "http://",
            "http://name:word@localhost",
            "http://localhost/?a=b",
            "http://localhost/#a",
            "http://[",
        ] {
            assert!(matches!(Client::new(url), Err(Error::Url { .. })), "{url:?}");
        }
        let client = Client::new("https://example.org/prover/").unwrap();
        assert_eq!(client.at("/v1/jobs"), "https://example.org/prover/v1/jobs");
        assert!(Client::new("http://[::1]:8080").unwrap().is_local);
    }

    #[test]
    fn a_key_is_not_shown() {
        let client = Client::new("http://localhost").unwrap();
        let with_key = client.clone().key("myr_secret\n").unwrap();
        assert!(!format!("{with_key:?}").contains("secret"));
        assert!(matches!(client.key("a\nb"), Err(Error::Key)));
    }

    #[test]
    fn ids_lead_to_no_other_path() {
        let client = Client::new("http://localhost").unwrap();
        for id in ["", "abc", "../peers", &"g".repeat(64), &"a".repeat(65)] {
            assert!(matches!(client.job(id), Err(Error::Id { .. })), "{id}");
        }
    }

    #[test]
    fn certificates_have_to_be_some() {
        let client = Client::new("https://localhost").unwrap();
        for pem in [
            "",
            "nothing",
            "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
        ] {
            let error = client.clone().certificates(pem.as_bytes()).unwrap_err();
            assert!(matches!(error, Error::Certificates { .. }), "{error}");
        }
    }
}
