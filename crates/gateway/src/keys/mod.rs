//! API keys: who may ask the service for what, and how often.
//!
//! A key has 256 random bits. The service keeps a hash of it and nothing more, in a file of its own
//! that [`add`] makes and [`revoke`] changes, also while the service runs: `Keys` notices within
//! two seconds. A file that is damaged, or that others could have written, gives no rights and says
//! why.
//!
//! At each start, the service makes one more key, the *cookie*, which whoever can read the data
//! folder can use: programs of the same user need no set-up.

mod file;
mod guess;
mod quota;
mod secret;
mod table;

use std::{
    net::IpAddr,
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use myriad_api::Kind;
use serde::{Deserialize, Serialize};

pub(crate) use self::{file::COOKIE, quota::Admission};
pub use self::{
    file::{KeyFacts, KeysError, Listed, NewKey, add, cookie_path, list, revoke},
    secret::Secret,
};
use self::{
    guess::{Guesses, KEYLESS_PER_MINUTE, WRONG_PER_MINUTE},
    quota::Quotas,
    secret::hash_of,
    table::{Files, Found, Table},
};
use crate::{refusal::Refusal, time::now_ms};

/// Between two looks at the folder of keys. A look at 1,000 keys takes some milliseconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A header of a key has 63 bytes.
const HEADER_MAX: usize = 256;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at everything: needed where the service is private.
    Read,
    /// Also submit and cancel jobs.
    Submit,
}

/// How much a key may do. None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Jobs that are not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// From 00:00 UTC on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_bytes_per_day: Option<u64>,
    /// So many at once, and then so many each minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

/// A valid key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) quota: Quota,
    hash: blake3::Hash,
}

/// The keys of a running service. Clones are of the same ones.
#[derive(Clone)]
pub(crate) struct Keys {
    shared: Arc<Shared>,
    _look: Arc<Look>,
}

struct Shared {
    table: RwLock<Table>,
    quotas: Quotas,
    guesses: Guesses,
}

/// The thread that looks for changed keys. It ends when this is dropped.
struct Look {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
        }
    }
}

impl Quota {
    /// The name of a limit that allows nothing.
    fn zero(&self) -> Option<&'static str> {
        let limits = [
            ("jobs", self.jobs.map(u64::from)),
            ("upload_bytes_per_day", self.upload_bytes_per_day),
            ("requests_per_minute", self.requests_per_minute.map(u64::from)),
        ];
        limits
            .into_iter()
            .find(|(_, limit)| *limit == Some(0))
            .map(|(what, _)| what)
    }
}

impl Grant {
    /// Whether the key may do what a role may do.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn require(&self, role: Role) -> Result<(), Refusal> {
        if self.role >= role {
            return Ok(());
        }
        Err(Refusal::new(
            Kind::Forbidden,
            format!(
                "the key `{}` has the role `{}`, and this needs `{}`: use another key, or ask the operator for one \
                 (`myriad keys add NAME --role {}`)",
                self.name,
                self.role.as_str(),
                role.as_str(),
                role.as_str()
            ),
        ))
    }
}

/// No key where there has to be one.
pub(crate) fn no_key() -> Refusal {
    Refusal::new(
        Kind::Unauthorized,
        "the request has no key, and this needs one: send `Authorization: Bearer KEY` with a key that \
         `myriad keys add` has printed",
    )
}

impl Keys {
    /// Opens the keys of a data folder, makes a new cookie, and looks for changes from now on.
    ///
    /// # Errors
    /// A folder that cannot be used, or in which others have rights. A bad key is no error: the log
    /// says why it gives no rights.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, KeysError> {
        let usage = data_dir.join("gateway").join("usage");
        let dir = file::keys_dir(data_dir);
        file::private_dir(&dir)?;
        file::private_dir(&usage)?;
        let cookie = file::new_cookie(data_dir)?;
        let mut files = Files::new(dir, &cookie);
        let table = files.look().unwrap_or_else(|| files.table());
        let shared = Arc::new(Shared {
            table: RwLock::new(table),
            quotas: Quotas::new(usage),
            guesses: Guesses::new(),
        });
        let look = Look::start(shared.clone(), files).map_err(|reason| KeysError::Read {
            path: file::keys_dir(data_dir),
            reason,
        })?;
        Ok(Self {
            shared,
            _look: Arc::new(look),
        })
    }

    /// Who sends a request, by its header `Authorization`: none is a request without a key. Counts
    /// it, and writes wrong keys to the log, without their secrets.
    ///
    /// # Errors
    /// The key is not valid; or the key, or the address, has sent too many.
    pub(crate) fn identify(
        &self,
        authorization: Option<&[u8]>,
        from: IpAddr,
    ) -> Result<Option<Grant>, Refusal> {
        let guesses = &self.shared.guesses;
        let Some(header) = authorization else {
            return match guesses.keyless(from) {
                Ok(()) => Ok(None),
                Err(wait) => Err(Refusal::later(Kind::QuotaExceeded, wait, |seconds| {
                    format!(
                        "more than the {KEYLESS_PER_MINUTE} requests without a key per minute that are answered came from \
                         {from}: wait {seconds} s, or send a key"
                    )
                })),
            };
        };
        let wrong = match bearer(header).map(|presented| self.shared.find(presented)) {
            Some(Found::Valid(grant)) => {
                self.shared.quotas.request(&grant)?;
                return Ok(Some(grant));
            }
            Some(Found::Revoked(name)) => format!("the key `{name}` was revoked: ask the operator for another one"),
            Some(Found::Unknown) => {
                "the key is none of this service's: check that it is whole, and that it was made for this service (a \
                 cookie is valid until the service stops)"
                    .into()
            }
            None => "the header `Authorization` has another form than `Bearer KEY`: send a key as `myriad keys add` has \
                     printed it"
                .into(),
        };
        match guesses.wrong(from) {
            Ok(()) => {
                if guesses.is_worth_a_line() {
                    tracing::warn!("a request from {from} was refused: {wrong}");
                }
                Err(Refusal::new(Kind::Unauthorized, wrong))
            }
            Err(wait) => Err(Refusal::later(Kind::QuotaExceeded, wait, |seconds| {
                format!(
                    "more than the {WRONG_PER_MINUTE} requests with a wrong key per minute that are answered came from \
                     {from}: wait {seconds} s, and check the key"
                )
            })),
        }
    }

    /// The grant of a secret, if it is valid. It counts nothing.
    #[cfg(test)]
    fn check(&self, presented: &str) -> Option<Grant> {
        match self.shared.find(presented) {
            Found::Valid(grant) => Some(grant),
            Found::Revoked(_) | Found::Unknown => None,
        }
    }

    /// Whether the key of a grant has been revoked, removed or changed since: for streams that
    /// last.
    pub(crate) fn is_stale(&self, grant: &Grant) -> bool {
        let table = self.shared.table.read().unwrap_or_else(PoisonError::into_inner);
        !table.has(grant)
    }

    /// Makes room for a submission by a key that has `jobs` jobs that are not over. `bytes` are
    /// those of the upload, where its length is known; [`Admission::upload`] counts what comes.
    ///
    /// It waits for the disk where the key has a quota of bytes: never call it where a thread must
    /// not wait.
    ///
    /// # Errors
    /// The key's quota has no room, or the disk fails.
    pub(crate) fn admit(&self, grant: &Grant, jobs: u64, bytes: Option<u64>) -> Result<Admission, Refusal> {
        let admitted = self.shared.quotas.admit(grant, now_ms(), jobs, bytes)?;
        Ok(admitted.while_valid(Arc::new(Valid(Arc::clone(&self.shared), grant.clone()))))
    }
}

/// Whether the key of a submission is still valid: an upload may take hours.
struct Valid(Arc<Shared>, Grant);

impl quota::StillValid for Valid {
    fn check(&self) -> Result<(), Refusal> {
        let Self(shared, grant) = self;
        let table = shared.table.read().unwrap_or_else(PoisonError::into_inner);
        if table.has(grant) {
            return Ok(());
        }
        Err(Refusal::new(
            Kind::Unauthorized,
            format!(
                "the key `{}` was revoked during the submission: ask the operator for another one",
                grant.name
            ),
        ))
    }
}

/// The key of a header `Authorization`.
fn bearer(header: &[u8]) -> Option<&str> {
    let header = str::from_utf8(header)
        .ok()
        .filter(|header| header.len() <= HEADER_MAX)?;
    let (scheme, key) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

impl Shared {
    fn find(&self, presented: &str) -> Found {
        let Some(prefix) = secret::prefix_of(presented) else {
            return Found::Unknown;
        };
        let hash = hash_of(presented);
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.find(prefix, hash)
    }
}

impl Look {
    fn start(shared: Arc<Shared>, mut files: Files) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("keys".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK_EVERY) {
                let Some(table) = files.look() else {
                    continue;
                };
                shared.quotas.retain(|name| table.has_name(name));
                *shared.table.write().unwrap_or_else(PoisonError::into_inner) = table;
            }
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It does nothing that panics, and if it did, the log would have it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
