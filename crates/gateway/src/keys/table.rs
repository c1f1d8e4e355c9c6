//! The valid keys in memory, and how they follow the files.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use super::{
    Grant, Quota, Role,
    file::{self, Key, Stamp},
    secret::{Secret, hash_of},
};

/// All keys that were read, by the prefixes of their secrets.
#[derive(Clone, Default)]
pub(super) struct Table {
    keys: HashMap<String, Vec<Arc<Entry>>>,
    names: HashSet<String>,
}

struct Entry {
    prefix: String,
    grant: Grant,
    revoked: bool,
}

/// Whose secret somebody has presented.
pub(super) enum Found {
    Valid(Grant),
    Revoked(String),
    Unknown,
}

/// What was read of each file, and what it was then.
pub(super) struct Files {
    dir: PathBuf,
    cookie: Arc<Entry>,
    read: BTreeMap<String, (Stamp, Kept)>,
    last: Last,
}

/// What a file has given.
#[derive(Clone)]
enum Kept {
    Key(Arc<Entry>),
    Nothing,
    /// Other files were before it, which may go.
    TooMany,
}

/// The last look at the folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Never,
    Good,
    Failed,
}

impl Table {
    fn insert(&mut self, entry: &Arc<Entry>) {
        self.names.insert(entry.grant.name.clone());
        self.keys
            .entry(entry.prefix.clone())
            .or_default()
            .push(entry.clone());
    }

    /// Prefixes are no secrets, and hashes are compared in constant time.
    pub(super) fn find(&self, prefix: &str, hash: blake3::Hash) -> Found {
        let same = self.keys.get(prefix).into_iter().flatten();
        match same
            .filter(|entry| entry.grant.hash == hash)
            .max_by_key(|entry| entry.revoked)
        {
            Some(entry) if entry.revoked => Found::Revoked(entry.grant.name.clone()),
            Some(entry) => Found::Valid(entry.grant.clone()),
            None => Found::Unknown,
        }
    }

    pub(super) fn has(&self, grant: &Grant) -> bool {
        let mut all = self.keys.values().flatten();
        all.any(|entry| !entry.revoked && entry.grant == *grant)
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

impl Files {
    pub(super) fn new(dir: PathBuf, cookie: &Secret) -> Self {
        let grant = Grant {
            name: file::COOKIE.into(),
            role: Role::Submit,
            quota: Quota::default(),
            hash: hash_of(cookie.as_str()),
        };
        Self {
            dir,
            cookie: Arc::new(Entry {
                prefix: cookie.prefix().to_owned(),
                grant,
                revoked: false,
            }),
            read: BTreeMap::new(),
            last: Last::Never,
        }
    }

    /// The keys as they are now, if they are others than at the last look. No key is valid while
    /// the folder cannot be read, or others have rights in it: one that was revoked might be.
    pub(super) fn look(&mut self) -> Option<Table> {
        let entries = file::check_dir(&self.dir)
            .map_err(|e| e.to_string())
            .and_then(|()| file::entries(&self.dir).map_err(|e| e.to_string()));
        let entries = match entries {
            Ok(entries) => entries,
            Err(_) if self.last == Last::Failed => return None,
            Err(reason) => {
                tracing::error!("no key is valid, since their folder cannot be used: {reason}");
                self.last = Last::Failed;
                self.read.clear();
                return Some(self.table());
            }
        };
        let is_known = |(name, stamp)| self.read.get(name).is_some_and(|(last, _)| last == stamp);
        if self.last == Last::Good && self.read.len() == entries.len() && entries.iter().all(is_known) {
            return None;
        }
        self.last = Last::Good;
        let mut last = std::mem::take(&mut self.read);
        for (index, (name, stamp)) in entries.into_iter().enumerate() {
            let kept = match last.remove(&name) {
                _ if index >= file::KEYS_MAX => Kept::TooMany,
                Some((then, kept @ (Kept::Key(_) | Kept::Nothing))) if then == stamp => kept,
                _ => self.read(&name),
            };
            self.read.insert(name, (stamp, kept));
        }
        let too_many = self.read.len().saturating_sub(file::KEYS_MAX);
        if too_many > 0 {
            tracing::warn!(
                "{too_many} files of {:?} are too many: they give no rights",
                self.dir
            );
        }
        Some(self.table())
    }

    fn read(&self, name: &str) -> Kept {
        match file::read(&self.dir, name, 0) {
            Ok(key) => Kept::Key(Arc::new(Entry::from(key))),
            Err(reason) => {
                tracing::warn!("the key {:?} gives no rights: {reason}", self.dir.join(name));
                Kept::Nothing
            }
        }
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::default();
        let read = self.read.values().filter_map(|(_, kept)| match kept {
            Kept::Key(entry) => Some(entry),
            Kept::Nothing | Kept::TooMany => None,
        });
        for entry in [&self.cookie].into_iter().chain(read) {
            table.insert(entry);
        }
        table
    }
}

impl From<Key> for Entry {
    fn from(key: Key) -> Self {
        Self {
            prefix: key.facts.prefix,
            revoked: key.facts.revoked_ms.is_some(),
            grant: Grant {
                name: key.facts.name,
                role: key.facts.role,
                quota: key.facts.quota,
                hash: key.hash,
            },
        }
    }
}
