//! The client: what a service can be asked for.

use std::io::Write;

use myriad_api::{Job, JobState, Peers, Service, Tasks};
use ureq::http::StatusCode;

use crate::{Error, Events, Jobs, Submission, Submitted, Was, answer::decoded, connection::Connection};

const SUBMIT_PATH: &str = "/v1/jobs";
const ID_DIGITS: usize = 64;

/// A service, and the key for it. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// A client of the service at an address, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`Error::Url`]
    pub fn new(url: &str) -> Result<Self, Error> {
        let connection = Connection::new(url)?;
        Ok(Self { connection })
    }

    /// Sends this key with each request: one that `myriad keys add` has printed, or the text of the
    /// file `gateway/cookie` in the data folder of a service of the same user.
    ///
    /// # Errors
    /// [`Error::Key`]
    pub fn key(mut self, key: &str) -> Result<Self, Error> {
        self.connection = self.connection.key(key)?;
        Ok(self)
    }

    /// Believes certificates that these have signed, in PEM, and no others.
    ///
    /// # Errors
    /// [`Error::Certificates`]
    pub fn certificates(mut self, pem: &[u8]) -> Result<Self, Error> {
        self.connection = self.connection.certificates(pem)?;
        Ok(self)
    }

    /// The address.
    pub fn url(&self) -> &str {
        self.connection.url()
    }

    /// Submits a job. The files are read as they are sent.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn submit(&self, submission: &Submission) -> Result<Submitted, Error> {
        let mut body = submission.body()?;
        let key = submission.idempotency_key.as_deref();
        let response = self.connection.post(SUBMIT_PATH, &mut body, key)?;
        let was = match response.status() {
            StatusCode::CREATED => Was::New,
            StatusCode::ACCEPTED => Was::Over,
            _ => Was::There,
        };
        let job = decoded(&self.connection.at(SUBMIT_PATH), response)?;
        Ok(Submitted { job, was })
    }

    /// A job.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn job(&self, id: &str) -> Result<Job, Error> {
        self.connection.document(&format!("/v1/jobs/{}", checked_id(id)?))
    }

    /// All jobs, those submitted last first; those of one state alone, if it is named. They are
    /// asked for in pages, as the iterator comes to them.
    pub fn jobs(&self, state: Option<JobState>) -> Jobs {
        Jobs::new(self.connection.clone(), state)
    }

    /// The tasks of a job.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn tasks(&self, id: &str) -> Result<Tasks, Error> {
        self.connection
            .document(&format!("/v1/jobs/{}/tasks", checked_id(id)?))
    }

    /// The peers that are connected.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn peers(&self) -> Result<Peers, Error> {
        self.connection.document("/v1/peers")
    }

    /// What the service is, and does now.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn service(&self) -> Result<Service, Error> {
        self.connection.document("/v1/service")
    }

    /// Cancels a job. What it says of the job may be true before the job has ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn cancel(&self, id: &str) -> Result<Job, Error> {
        self.connection.delete(&format!("/v1/jobs/{}", checked_id(id)?))
    }

    /// Writes the final proof of a job that is done, and gives the number of its bytes. Verify it:
    /// the service is not trusted.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn proof(&self, id: &str, into: &mut impl Write) -> Result<u64, Error> {
        self.connection
            .download(&format!("/v1/jobs/{}/proof", checked_id(id)?), into)
    }

    /// Writes the baseline of a job that is done, and gives the number of its bytes.
    ///
    /// # Errors
    /// See [`Error`]; the kind [`NotFound`](myriad_api::Kind::NotFound) if the job's engine has
    /// none.
    pub fn baseline(&self, id: &str, into: &mut impl Write) -> Result<u64, Error> {
        self.connection
            .download(&format!("/v1/jobs/{}/baseline", checked_id(id)?), into)
    }

    /// What happens to a job, from its state now to its end. The iterator comes back by itself when
    /// the connection is lost, and misses nothing that the service still has; where it has not, a
    /// [`Snapshot`](myriad_api::News::Snapshot) comes. An interrupted job has no end yet: its
    /// service continues it at the next start, and the iterator waits for that.
    ///
    /// # Errors
    /// [`Error::Id`]
    pub fn events(&self, id: &str) -> Result<Events, Error> {
        let path = format!("/v1/jobs/{}/events", checked_id(id)?);
        Ok(Events::new(self.connection.clone(), path, true))
    }

    /// What happens at the whole service, without an end.
    pub fn all_events(&self) -> Events {
        Events::new(self.connection.clone(), "/v1/events".into(), false)
    }

    /// Waits until a job is done, has failed or is cancelled, also while its service is started
    /// anew. [`Client::events`] and [`Events::patience`] wait for a service that is away for longer
    /// than 10 minutes.
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
            if job.state.is_final() {
                return Ok(job);
            }
        }
    }
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
        assert_eq!(
            client.connection.at("/v1/jobs"),
            "https://example.org/prover/v1/jobs"
        );
        assert!(Client::new("http://[::1]:8080").unwrap().connection.is_local());
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
