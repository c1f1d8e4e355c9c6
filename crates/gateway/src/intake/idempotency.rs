//! Which submission an idempotency key came with, and the job that it became: durable, so that a
//! client may ask again after a restart of the service.
//!
//! ```text
//! DATA_DIR/gateway/idempotency.jsonl    an Entry a line, those added last at the end
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use myriad_net::durable::make_dir;
use serde::{Deserialize, Serialize};

use crate::whole;

/// The time that a key is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// The idempotency keys that are remembered of one API key.
const ENTRIES_MAX: usize = 10_000;
/// The lines that the file may have beyond the entries that count.
const STALE_MAX: usize = 10_000;
/// Longer lines were not written by this service.
const LINE_BYTES_MAX: u64 = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    at_ms: u64,
    /// The name of the API key.
    owner: String,
    key: String,
    /// The hash of the submission.
    submission: String,
    /// The id of the job.
    job: String,
}

/// The submission that an idempotency key came with before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    pub(crate) submission: String,
    pub(crate) job: String,
}

/// The idempotency keys of a service.
pub(crate) struct Idempotency {
    path: PathBuf,
    file: File,
    lines: usize,
    entries: HashMap<String, Owned>,
    count: usize,
}

/// Those of one API key.
#[derive(Default)]
struct Owned {
    of_key: HashMap<String, Entry>,
    /// By time, and a number where times are equal.
    by_age: BTreeMap<(u64, u64), String>,
    next: u64,
}

impl Owned {
    fn add(&mut self, entry: Entry) {
        self.by_age.insert((entry.at_ms, self.next), entry.key.clone());
        self.next += 1;
        self.of_key.insert(entry.key.clone(), entry);
    }

    /// Forgets the oldest while there are too many, or they are too old.
    fn trim(&mut self, now_ms: u64) {
        let oldest = now_ms.saturating_sub(REMEMBERED.as_millis() as u64);
        while let Some((&(at_ms, number), key)) = self.by_age.first_key_value() {
            if self.by_age.len() <= ENTRIES_MAX && at_ms >= oldest {
                break;
            }
            // A later entry of the same key stays.
            if self.of_key.get(key).is_some_and(|entry| entry.at_ms == at_ms) {
                self.of_key.remove(key);
            }
            self.by_age.remove(&(at_ms, number));
        }
    }
}

impl Idempotency {
    pub(crate) fn open(data_dir: &Path, now_ms: u64) -> io::Result<Self> {
        let dir = data_dir.join("gateway");
        make_dir(&dir)?;
        let path = dir.join("idempotency.jsonl");
        let mut entries: HashMap<String, Owned> = HashMap::new();
        match File::open(&path) {
            Ok(file) => {
                for entry in read(file) {
                    let owned = entries.entry(entry.owner.clone()).or_default();
                    owned.add(entry);
                    owned.trim(now_ms);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let file = rewrite(&path, &entries)?;
        let count = entries.values().map(|owned| owned.of_key.len()).sum();
        Ok(Self {
            path,
            file,
            lines: count,
            entries,
            count,
        })
    }

    /// The submission that this key of this owner came with.
    pub(crate) fn find(&mut self, owner: &str, key: &str, now_ms: u64) -> Option<Before> {
        let owned = self.entries.get_mut(owner)?;
        let before = owned.of_key.len();
        owned.trim(now_ms);
        self.count -= before - owned.of_key.len();
        let entry = owned.of_key.get(key)?;
        Some(Before {
            submission: entry.submission.clone(),
            job: entry.job.clone(),
        })
    }

    /// Remembers a submission, durably.
    pub(crate) fn remember(&mut self, owner: &str, key: &str, before: Before, now_ms: u64) -> io::Result<()> {
        let entry = Entry {
            at_ms: now_ms,
            owner: owner.to_owned(),
            key: key.to_owned(),
            submission: before.submission,
            job: before.job,
        };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.lines += 1;
        let owned = self.entries.entry(owner.to_owned()).or_default();
        let before = owned.of_key.len();
        owned.add(entry);
        owned.trim(now_ms);
        self.count = self.count + owned.of_key.len() - before;
        if self.lines > self.count + STALE_MAX {
            self.file = rewrite(&self.path, &self.entries)?;
            self.lines = self.count;
        }
        Ok(())
    }
}

/// The entries of a file. What is no entry is left out: the last line may have been torn.
fn read(file: File) -> Vec<Entry> {
    let mut reader = BufReader::new(file);
    let mut entries = Vec::new();
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return entries,
            Ok(_) => entries.extend(serde_json::from_slice::<Entry>(&line).ok()),
        }
    }
}

/// Writes the entries that count, and opens the file to add others.
fn rewrite(path: &Path, entries: &HashMap<String, Owned>) -> io::Result<File> {
    let mut all: Vec<_> = entries.values().flat_map(|owned| owned.of_key.values()).collect();
    all.sort_by_key(|entry| entry.at_ms);
    let mut bytes = Vec::new();
    for entry in all {
        serde_json::to_writer(&mut bytes, entry)?;
        bytes.push(b'\n');
    }
    whole::replace(path, &bytes)?;
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn before(submission: &str, job: &str) -> Before {
        Before {
            submission: submission.into(),
            job: job.into(),
        }
    }

    #[test]
    fn keys_are_remembered_for_a_day_and_over_restarts_each_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = Idempotency::open(dir.path(), 0).unwrap();
        assert_eq!(keys.find("ann", "k", 0), None);
        keys.remember("ann", "k", before("s1", "j1"), 1000).unwrap();
        keys.remember("bob", "k", before("s2", "j2"), 2000).unwrap();
        drop(keys);
        let mut keys = Idempotency::open(dir.path(), 3000).unwrap();
        assert_eq!(keys.find("ann", "k", 3000), Some(before("s1", "j1")));
        assert_eq!(keys.find("bob", "k", 3000), Some(before("s2", "j2")));
        assert_eq!(keys.find("ann", "k", DAY_MS + 1001), None);
        assert_eq!(keys.find("bob", "k", DAY_MS + 1001), Some(before("s2", "j2")));
        drop(keys);
        let mut keys = Idempotency::open(dir.path(), DAY_MS + 2001).unwrap();
        assert_eq!(keys.find("bob", "k", DAY_MS + 2001), None);
    }

    #[test]
    fn a_torn_line_is_left_out_and_what_comes_after_it_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = Idempotency::open(dir.path(), 0).unwrap();
        keys.remember("ann", "k", before("s1", "j1"), 1000).unwrap();
        let path = keys.path.clone();
        drop(keys);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"at_ms\":2000,\"owner\":\"an").unwrap();
        let mut keys = Idempotency::open(dir.path(), 3000).unwrap();
        keys.remember("ann", "l", before("s2", "j2"), 3000).unwrap();
        drop(keys);
        let mut keys = Idempotency::open(dir.path(), 3000).unwrap();
        assert_eq!(keys.find("ann", "k", 3000), Some(before("s1", "j1")));
        assert_eq!(keys.find("ann", "l", 3000), Some(before("s2", "j2")));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut owned = Owned::default();
        for at_ms in 0..=ENTRIES_MAX as u64 {
            owned.add(Entry {
                at_ms,
                owner: "ann".into(),
                key: at_ms.to_string(),
                submission: String::new(),
                job: String::new(),
            });
        }
        owned.trim(0);
        assert_eq!(owned.of_key.len(), ENTRIES_MAX);
        assert!(!owned.of_key.contains_key("0") && owned.of_key.contains_key("1"));
    }
}
