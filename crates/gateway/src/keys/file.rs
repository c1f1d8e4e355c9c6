//! The files of keys, and the cookie.
//!
//! ```text
//! DATA_DIR/gateway/keys/NAME.json   a key: a hash of its secret, what it may do, when it was revoked
//! DATA_DIR/gateway/cookie           the secret that this start of the service has made
//! DATA_DIR/gateway/usage/NAME.json  see quota
//! ```
//!
//! Whoever can write the folder can make keys. So nobody else may have any rights in it, and a
//! file that others could have read or written is refused.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use myriad_net::{
    durable::{above, make_dir, sync_dir},
    text::printable,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Quota, Role,
    secret::{Secret, hash_of, is_prefix},
};
use crate::{
    time::now_ms,
    whole::{self, FILE_MODE},
};

/// The most keys of a service, with those that are revoked.
pub(super) const KEYS_MAX: usize = 1_000;
/// Entries of the folder that are looked at: temporary files are among them.
const ENTRIES_MAX: usize = 4 * KEYS_MAX;
/// A key takes some 300 bytes.
const FILE_BYTES_MAX: u64 = 4_096;
const NAME_MAX: usize = 64;
/// Raised when older builds would misread a file.
const VERSION: u32 = 1;
const ENDING: &str = ".json";
/// The rights of others.
const OTHERS: u32 = 0o077;
/// The name of the grant that the cookie gives.
pub(crate) const COOKIE: &str = "cookie";
/// Characters of a name that is none, in a list.
const SHOWN_MAX: usize = 80;

/// Why the keys cannot be used.
#[derive(Debug, Error)]
pub enum KeysError {
    #[error(
        "{:?} is no name for a key: a name has 1 to {NAME_MAX} of the letters a to z, digits, `.`, `_` and `-`, and begins with a letter or digit",
        printable(name, SHOWN_MAX)
    )]
    Name { name: String },
    #[error("the name `{COOKIE}` is that of the key that the service makes itself; choose another one")]
    Reserved,
    #[error(
        "there is a key `{name}` already; choose another name, or revoke that key and remove {}",
        path.display()
    )]
    Exists { name: String, path: PathBuf },
    #[error("there is no key `{name}` in {}; `myriad keys list` shows the keys that there are", dir.display())]
    None { name: String, dir: PathBuf },
    #[error(
        "{} has {keys} keys, and the most are {KEYS_MAX}; remove the files of keys that are revoked",
        dir.display()
    )]
    Many { keys: usize, dir: PathBuf },
    #[error("the quota `{what}` of 0 allows nothing; name 1 or more, or leave it out for no limit")]
    Zero { what: &'static str },
    #[error("the key {} is refused: {reason}", path.display())]
    Refused { path: PathBuf, reason: String },
    #[error(
        "others have rights in the folder of keys {} (mode {mode:03o} instead of 700): chmod 700 it, and revoke keys that they may have written",
        path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("cannot write {}: {reason}; check the rights of the folder and the space of the disk", path.display())]
    Write { path: PathBuf, reason: io::Error },
    #[error("the system has no random numbers for a key: {0}")]
    Random(io::Error),
}

/// A key that is to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub name: String,
    pub role: Role,
    pub quota: Quota,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyFacts {
    pub name: String,
    /// The beginning of its secret.
    pub prefix: String,
    pub role: Role,
    pub quota: Quota,
    pub made_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_ms: Option<u64>,
}

/// A file of the folder of keys.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: String,
    /// Or why the file gives no rights.
    pub key: Result<KeyFacts, String>,
}

/// A file of a key.
#[derive(Debug, Serialize, Deserialize)]
// A key of a later build may be bound to something that this one does not know.
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    name: String,
    prefix: String,
    hash: String,
    role: Role,
    quota: Quota,
    made_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_ms: Option<u64>,
}

/// A key that was read.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub facts: KeyFacts,
    pub hash: blake3::Hash,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    bytes: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Makes a key, and gives its secret, which is kept nowhere.
///
/// # Errors
/// See [`KeysError`].
pub fn add(data_dir: &Path, new: &NewKey) -> Result<(Secret, KeyFacts), KeysError> {
    check_name(&new.name)?;
    if new.name == COOKIE {
        return Err(KeysError::Reserved);
    }
    if let Some(what) = new.quota.zero() {
        return Err(KeysError::Zero { what });
    }
    let dir = keys_dir(data_dir);
    private_dir(&dir)?;
    let keys = entries(&dir).map_err(|reason| KeysError::Read {
        path: dir.clone(),
        reason,
    })?;
    if keys.len() >= KEYS_MAX {
        let keys = keys.len();
        return Err(KeysError::Many { keys, dir });
    }
    let secret = Secret::new().map_err(KeysError::Random)?;
    let facts = KeyFacts {
        name: new.name.clone(),
        prefix: secret.prefix().to_owned(),
        role: new.role,
        quota: new.quota,
        made_ms: now_ms(),
        revoked_ms: None,
    };
    let key = Key {
        hash: hash_of(secret.as_str()),
        facts,
    };
    let path = key_path(&dir, &new.name);
    match whole::create(&path, &key.document()) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(KeysError::Exists {
            name: new.name.clone(),
            path,
        }),
        Err(reason) => Err(KeysError::Write { path, reason }),
        Ok(()) => Ok((secret, key.facts)),
    }
}

/// The keys of a data folder, by their names.
///
/// # Errors
/// A folder that cannot be read, or in which others have rights. No folder is no key.
pub fn list(data_dir: &Path) -> Result<Vec<Listed>, KeysError> {
    let dir = keys_dir(data_dir);
    match check_dir(&dir) {
        Err(KeysError::Read { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        checked => checked?,
    }
    let entries = entries(&dir).map_err(|reason| KeysError::Read {
        path: dir.clone(),
        reason,
    })?;
    let listed = entries.into_iter().enumerate().map(|(index, (file, _))| {
        let key = read(&dir, &file, index).map(|key| key.facts);
        let name = file.strip_suffix(ENDING).unwrap_or(&file);
        Listed {
            name: printable(name, SHOWN_MAX),
            key,
        }
    });
    Ok(listed.collect())
}

/// Revokes a key for good. A key that is revoked already stays as it is.
///
/// # Errors
/// See [`KeysError`].
pub fn revoke(data_dir: &Path, name: &str) -> Result<KeyFacts, KeysError> {
    check_name(name)?;
    let dir = keys_dir(data_dir);
    let none = || KeysError::None {
        name: name.to_owned(),
        dir: dir.clone(),
    };
    match check_dir(&dir) {
        Err(KeysError::Read { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {
            return Err(none());
        }
        checked => checked?,
    }
    let path = key_path(&dir, name);
    if fs::symlink_metadata(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Err(none());
    }
    let refused = |reason| KeysError::Refused {
        path: path.clone(),
        reason,
    };
    let mut key = read(&dir, &format!("{name}{ENDING}"), 0).map_err(refused)?;
    if key.facts.revoked_ms.is_none() {
        key.facts.revoked_ms = Some(now_ms());
        whole::replace(&path, &key.document()).map_err(|reason| KeysError::Write {
            path: path.clone(),
            reason,
        })?;
    }
    Ok(key.facts)
}

/// The files of the folder, by their names; those that are being written are left out.
pub(super) fn entries(dir: &Path) -> io::Result<BTreeMap<String, Stamp>> {
    let mut found = BTreeMap::new();
    for (index, entry) in fs::read_dir(dir)?.enumerate() {
        if index == ENTRIES_MAX {
            return Err(io::Error::other(format!(
                "it has more than {ENTRIES_MAX} files; remove those that are no keys"
            )));
        }
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(whole::TEMPORARY_PREFIX) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => found.insert(name, Stamp::of(&metadata)),
            // It was removed just now.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
    }
    Ok(found)
}

/// Reads the file of a key, which is the one of that index in the folder; or says why it gives no
/// rights.
pub(super) fn read(dir: &Path, file: &str, index: usize) -> Result<Key, String> {
    let Some(name) = file.strip_suffix(ENDING).filter(|name| check_name(name).is_ok()) else {
        return Err(format!("it is not named NAME{ENDING} after a key; move it away"));
    };
    if name == COOKIE {
        return Err(format!(
            "`{COOKIE}` is the name of the key that the service makes itself; move the file away"
        ));
    }
    if index >= KEYS_MAX {
        return Err(format!(
            "the folder has more than {KEYS_MAX} keys, and this one is not among the first by name; remove files of keys \
             that are revoked"
        ));
    }
    let path = dir.join(file);
    let unreadable = |e: io::Error| format!("it cannot be read ({e}); the service's user has to own it");
    let metadata = fs::symlink_metadata(&path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("it is not a plain file; move it away".into());
    }
    let mode = metadata.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(format!(
            "others have rights to it (mode {mode:03o} instead of {FILE_MODE:03o}); chmod 600 it, or make another key if \
             they may have written it"
        ));
    }
    let mut text = Vec::new();
    let file = File::open(&path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "it has more than the {FILE_BYTES_MAX} bytes that a key has at most; move it away"
        ));
    }
    decoded(name, &text)
}

/// The key of a file's bytes, or why they are none.
pub(super) fn decoded(name: &str, text: &[u8]) -> Result<Key, String> {
    let damaged = |what: &str| format!("it is damaged ({what}); move it away, and make another key");
    let document: Document = serde_json::from_slice(text).map_err(|e| {
        damaged(&format!(
            "it is no key that this build reads: {}",
            printable(&e.to_string(), 200)
        ))
    })?;
    if document.version != VERSION {
        return Err(format!(
            "it has version {}, and this build reads {VERSION}; use the build that made it",
            document.version
        ));
    }
    if document.name != name {
        return Err(format!(
            "it is the file of the key {:?}; a file cannot be renamed",
            printable(&document.name, SHOWN_MAX)
        ));
    }
    if !is_prefix(&document.prefix) {
        return Err(damaged("its prefix has another form"));
    }
    if let Some(what) = document.quota.zero() {
        return Err(format!(
            "its quota `{what}` is 0; name 1 or more, or leave it out"
        ));
    }
    let hash =
        blake3::Hash::from_hex(&document.hash).map_err(|_| damaged("its hash is not 64 hex digits"))?;
    Ok(Key {
        facts: KeyFacts {
            name: document.name,
            prefix: document.prefix,
            role: document.role,
            quota: document.quota,
            made_ms: document.made_ms,
            revoked_ms: document.revoked_ms,
        },
        hash,
    })
}

impl Key {
    fn document(&self) -> Vec<u8> {
        let facts = self.facts.clone();
        let mut text = serde_json::to_vec_pretty(&Document {
            version: VERSION,
            name: facts.name,
            prefix: facts.prefix,
            hash: self.hash.to_hex().to_string(),
            role: facts.role,
            quota: facts.quota,
            made_ms: facts.made_ms,
            revoked_ms: facts.revoked_ms,
        })
        .expect("it has nothing but numbers and text");
        text.push(b'\n');
        text
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.size(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Makes the cookie of this start of the service, in place of the last one.
///
/// # Errors
/// [`KeysError::Write`], [`KeysError::Random`].
pub(super) fn new_cookie(data_dir: &Path) -> Result<Secret, KeysError> {
    let secret = Secret::new().map_err(KeysError::Random)?;
    let path = cookie_path(data_dir);
    whole::replace(&path, format!("{}\n", secret.as_str()).as_bytes())
        .map_err(|reason| KeysError::Write { path, reason })?;
    Ok(secret)
}

/// The file with the key for programs of the same user on the same machine. A service that is
/// running has made it.
pub fn cookie_path(data_dir: &Path) -> PathBuf {
    data_dir.join("gateway").join(COOKIE)
}

pub(super) fn keys_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("gateway").join("keys")
}

fn key_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}{ENDING}"))
}

fn check_name(name: &str) -> Result<(), KeysError> {
    let may_begin = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_one = name.len() <= NAME_MAX
        && name.bytes().next().is_some_and(may_begin)
        && name.bytes().all(|c| may_begin(c) || b"._-".contains(&c));
    is_one.then_some(()).ok_or_else(|| KeysError::Name {
        name: name.to_owned(),
    })
}

/// Makes a folder for its owner alone, if need be.
pub(super) fn private_dir(dir: &Path) -> Result<(), KeysError> {
    let made = make_dir(above(dir)).and_then(|()| match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => sync_dir(above(dir)),
    });
    made.map_err(|reason| KeysError::Write {
        path: dir.to_owned(),
        reason,
    })?;
    check_dir(dir)
}

pub(super) fn check_dir(dir: &Path) -> Result<(), KeysError> {
    let path = dir.to_owned();
    match fs::metadata(dir) {
        Ok(metadata) if metadata.mode() & OTHERS != 0 => Err(KeysError::Exposed {
            path,
            mode: metadata.mode() & 0o777,
        }),
        Ok(_) => Ok(()),
        Err(reason) => Err(KeysError::Read { path, reason }),
    }
}
