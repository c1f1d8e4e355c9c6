//! What the holders of keys have used.
//!
//! The bytes of a day are durable: `DATA_DIR/gateway/usage/NAME.json` counts them before they are
//! taken. What was counted and not sent is given back in memory, and to the file with the next
//! write: a crash costs a key at most that. Jobs are counted by the caller, which knows them, and
//! requests in memory.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, RateLimiter,
    clock::{Clock, DefaultClock},
};
use myriad_api::Kind;
use serde::{Deserialize, Serialize};

use super::{Grant, guess::per_minute};
use crate::{
    refusal::{Refusal, of_disk},
    time::now_ms,
    whole,
};

/// Bytes that are counted at once for an upload that does not say how large it is.
const STEP: u64 = 8 << 20;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a client waits that has too many jobs. Nobody knows when one ends.
const JOBS_RETRY: Duration = Duration::from_secs(30);
/// A file of usage takes some 40 bytes.
const FILE_BYTES_MAX: u64 = 256;

/// What is counted, by the names of the keys: at most as many as there are keys.
pub(super) struct Quotas {
    dir: PathBuf,
    holders: Mutex<HashMap<String, Arc<Holder>>>,
}

/// What one key has used.
struct Holder {
    requests: Mutex<Option<(u32, DefaultDirectRateLimiter)>>,
    /// Submissions that are not jobs yet.
    preparing: Mutex<u64>,
    path: PathBuf,
    /// None until it is asked for.
    uploads: Mutex<Option<Usage>>,
}

/// The bytes of a day, counted from 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Usage {
    day: u64,
    bytes: u64,
}

/// A submission that the quota has room for. It takes a job's place until it is dropped: keep it
/// until the job is known.
#[must_use]
pub(crate) struct Admission {
    name: String,
    holder: Arc<Holder>,
    limit: Option<u64>,
    day: u64,
    /// Bytes that are counted, and those of them that have come.
    counted: u64,
    came: u64,
    key: Option<Arc<dyn StillValid>>,
}

/// The key of a submission that is under way.
pub(super) trait StillValid: Send + Sync {
    /// # Errors
    /// It is not valid any more.
    fn check(&self) -> Result<(), Refusal>;
}

impl Quotas {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            holders: Mutex::default(),
        }
    }

    fn holder(&self, name: &str) -> Arc<Holder> {
        let mut holders = locked(&self.holders);
        if let Some(holder) = holders.get(name) {
            return holder.clone();
        }
        let holder = Arc::new(Holder {
            requests: Mutex::default(),
            preparing: Mutex::default(),
            path: self.dir.join(format!("{name}.json")),
            uploads: Mutex::default(),
        });
        holders.insert(name.to_owned(), holder.clone());
        holder
    }

    /// Forgets those that have no key any more, nor anything under way.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        locked(&self.holders).retain(|name, holder| Arc::strong_count(holder) > 1 || is_there(name));
    }

    /// Counts a request.
    pub(super) fn request(&self, grant: &Grant) -> Result<(), Refusal> {
        let Some(limit) = grant.quota.requests_per_minute else {
            return Ok(());
        };
        let holder = self.holder(&grant.name);
        let mut requests = locked(&holder.requests);
        let (_, limiter) = match &mut *requests {
            Some(limiter) if limiter.0 == limit => limiter,
            other => other.insert((limit, RateLimiter::direct(per_minute(limit)))),
        };
        limiter.check().map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Refusal::later(
                Kind::QuotaExceeded,
                wait,
                |seconds| format!(
                    "the key `{}` has sent more than the {limit} requests per minute that it may send: wait {seconds} s, \
                     follow events instead of asking again, or ask the operator for a higher quota",
                    grant.name
                ),
            )
        })
    }

    /// Makes room for a submission.
    pub(super) fn admit(
        &self,
        grant: &Grant,
        now_ms: u64,
        jobs: u64,
        bytes: Option<u64>,
    ) -> Result<Admission, Refusal> {
        let holder = self.holder(&grant.name);
        {
            let mut preparing = locked(&holder.preparing);
            let have = jobs.saturating_add(*preparing);
            if let Some(limit) = grant.quota.jobs.filter(|limit| have >= u64::from(*limit)) {
                return Err(Refusal::later(Kind::QuotaExceeded, JOBS_RETRY, |_| {
                    format!(
                        "the key `{}` has {have} jobs that are not over, and may have {limit}: wait until one ends, cancel \
                         one, or ask the operator for a higher quota",
                        grant.name
                    )
                }));
            }
            *preparing += 1;
        }
        let mut admission = Admission {
            name: grant.name.clone(),
            holder,
            limit: grant.quota.upload_bytes_per_day,
            day: now_ms / DAY_MS,
            counted: 0,
            came: 0,
            key: None,
        };
        // What is refused gives its place back.
        admission.count(bytes.unwrap_or(0), now_ms)?;
        Ok(admission)
    }
}

impl Admission {
    pub(super) fn while_valid(mut self, key: Arc<dyn StillValid>) -> Self {
        self.key = Some(key);
        self
    }

    /// The name of the key.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the key is still valid.
    ///
    /// # Errors
    /// It was revoked since.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.key.as_ref().map_or(Ok(()), |key| key.check())
    }

    /// Counts bytes of the upload before they are taken. It waits for the disk where they were not
    /// announced, once in 8 MiB: never call it where a thread must not wait.
    ///
    /// # Errors
    /// The key was revoked, the quota of the day is used up, or the disk fails.
    pub(crate) fn upload(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.check()?;
        self.upload_at(bytes, now_ms())
    }

    fn upload_at(&mut self, bytes: u64, now_ms: u64) -> Result<(), Refusal> {
        let came = self.came.saturating_add(bytes);
        if came > self.counted {
            let missing = came - self.counted;
            let step = missing.max(STEP);
            // The last bytes of a day are fewer than a step.
            if self.count(step, now_ms).is_err() {
                self.count(missing, now_ms)?;
            }
        }
        self.came = came;
        Ok(())
    }

    fn count(&mut self, bytes: u64, now_ms: u64) -> Result<(), Refusal> {
        if let Some(limit) = self.limit.filter(|_| bytes > 0) {
            self.holder.count(&self.name, limit, self.day, bytes, now_ms)?;
        }
        self.counted = self.counted.saturating_add(bytes);
        Ok(())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut preparing = locked(&self.holder.preparing);
        *preparing = preparing.saturating_sub(1);
        let unused = self.counted - self.came.min(self.counted);
        if let Some(usage) = locked(&self.holder.uploads)
            .as_mut()
            .filter(|usage| usage.day == self.day)
        {
            usage.bytes = usage.bytes.saturating_sub(unused);
        }
    }
}

impl Holder {
    /// Counts bytes of the day on which their upload has begun.
    fn count(&self, name: &str, limit: u64, day: u64, bytes: u64, now_ms: u64) -> Result<(), Refusal> {
        let mut uploads = locked(&self.uploads);
        let mut usage = match *uploads {
            Some(usage) => usage,
            None => read(&self.path)?,
        };
        if usage.day != day {
            // An upload from yesterday does not count for today, nor reset what does.
            if usage.day > day && now_ms / DAY_MS > day {
                return Ok(());
            }
            usage = Usage { day, bytes: 0 };
        }
        let left = limit.saturating_sub(usage.bytes);
        if bytes > left {
            *uploads = Some(usage);
            let wait = Duration::from_millis(DAY_MS - now_ms % DAY_MS);
            return Err(Refusal::later(Kind::QuotaExceeded, wait, |_| {
                format!(
                    "the upload has {bytes} more bytes, and of the {limit} bytes that the key `{name}` may upload per day, \
                     {left} are left: wait until 00:00 UTC, or ask the operator for a higher quota"
                )
            }));
        }
        usage.bytes += bytes;
        let text = serde_json::to_vec(&usage).expect("two numbers are JSON");
        whole::replace(&self.path, &text)
            .map_err(|e| of_disk("writing how much of the key's quota is used", &e))?;
        *uploads = Some(usage);
        Ok(())
    }
}

/// The usage in a file; none was used if there is no file.
fn read(path: &Path) -> Result<Usage, Refusal> {
    let bytes = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if fs::symlink_metadata(path)?.is_file() {
            File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    };
    let usage = match bytes() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Usage::default()),
        Err(e) => Err(e.to_string()),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| e.to_string()),
    };
    usage.map_err(|reason| {
        tracing::error!(
            "cannot read the usage of a key in {} ({reason}); remove the file, and the key has its quota of today anew",
            path.display()
        );
        Refusal::new(
            Kind::Internal,
            "the service cannot read how much of the key's quota is used: its operator finds the file in \
             the log",
        )
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
