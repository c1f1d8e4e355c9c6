//! Proving and verifying keys, kept on disk by the text of the configuration that they follow from.
//! Only an engine reads what is in them.
//!
//! A set of OpenVM's keys has about 300 KB and takes seconds to make. Two processes that want the
//! same set at once make it once: the second waits for the first one's lock. A set is written to a
//! temporary name, synced and renamed, and carries its own hash, so that a torn or damaged file is
//! made again.
//!
//! A child makes the keys for a stranger's text, and its caller writes the file
//! ([`KeyFolder::fill`]). The file's name follows from the text and not from the child's reading of
//! it. So an attacker that takes over the child can spoil the keys of that text, and no others.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::KeyError;

/// First bytes of a key file; the number is the version of its layout.
const MAGIC: &[u8; 16] = b"myriad keys v2\n\0";
const HASH_BYTES: usize = 32;
/// The most bytes of a key file; the largest measured, for all extensions, has under 2 MB.
pub const KEY_FILE_BYTES_MAX: u64 = 8 << 20;

/// The most sets of keys that are kept: more than anybody has configurations. Strangers' jobs bring
/// theirs, so the folder would grow without end. This many sets have some 130 MB, and never more
/// than 512 MiB.
const KEY_SETS_MAX: usize = 64;
/// Files that a killed process was writing are removed after this time.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(3600);
/// A process waits this long for another one that makes the same keys, before it makes them too.
const OTHERS_PATIENCE: Duration = Duration::from_secs(120);
const OTHERS_POLL: Duration = Duration::from_millis(50);

/// The keys that a call makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// The keys that are missing.
    Missing,
    /// The missing keys, and those whose file is whole but could not be used by a process that
    /// works with it.
    Rotten,
}

/// A folder of keys.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    dir: PathBuf,
}

/// BLAKE3 of the text that describes a configuration; none for the one that needs no text. It can
/// be known without reading a stranger's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description(Option<[u8; 32]>);

impl Description {
    pub fn of(config: Option<&str>) -> Self {
        Self(config.map(|text| *blake3::hash(text.as_bytes()).as_bytes()))
    }

    /// The name of the keys that a build of an engine, by its fingerprint, makes for it.
    pub fn key_name(self, build: &[u8; 32]) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("myriad engine key file v2");
        hasher.update(build);
        match self.0 {
            None => hasher.update(&[0]),
            Some(hash) => hasher.update(&[1]).update(&hash),
        };
        hasher.finalize().to_string()
    }
}

impl KeyFolder {
    /// Uses `dir`, which is made when the first keys are written to it.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the folder. It removes the sets that were used longest ago, so that with one more
    /// there are no more than [`KEY_SETS_MAX`], and the leftovers of killed processes. Removed keys
    /// are made again when they are wanted.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    fn prepare(&self) -> Result<(), KeyError> {
        self.try_prepare().map_err(|e| KeyError::io(&self.dir, e))
    }

    fn try_prepare(&self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut sets = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            // Another process may have removed it.
            let Ok(modified) = fs::metadata(&path).and_then(|meta| meta.modified()) else {
                continue;
            };
            let is_old = SystemTime::now()
                .duration_since(modified)
                .is_ok_and(|age| age > LEFT_OVER_AFTER);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("keys") => sets.push((modified, path)),
                Some("part") if is_old => drop(fs::remove_file(&path)),
                Some("lock") if is_old && !path.with_extension("keys").exists() => {
                    drop(fs::remove_file(&path));
                }
                _ => {}
            }
        }
        sets.sort();
        let surplus = (sets.len() + 1).saturating_sub(KEY_SETS_MAX);
        for (_, path) in &sets[..surplus] {
            // Another process may be about to do the same.
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(path.with_extension("lock"));
        }
        Ok(())
    }

    /// Whether a file of keys of this name is there, and whole. Only an engine can say whether it
    /// has keys.
    ///
    /// # Errors
    /// [`KeyError::Io`] if the file cannot be read.
    pub fn has(&self, name: &str) -> Result<bool, KeyError> {
        let path = self.path(name);
        let has = whole(&path)?.is_some();
        if has {
            touch(&path);
        }
        Ok(has)
    }

    /// The keys of this name, as [`Self::file_of`] was given them; none if they are missing or
    /// damaged.
    ///
    /// # Errors
    /// [`KeyError::Io`] if the file cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, KeyError> {
        let Some(mut file) = read_file(&self.path(name))? else {
            return Ok(None);
        };
        let keys = body(&file).map(<[u8]>::len);
        Ok(keys.map(|bytes| file.split_off(file.len() - bytes)))
    }

    /// The file of encoded keys, with the hash that shows damage.
    pub fn file_of(keys: &[u8]) -> Vec<u8> {
        [MAGIC, blake3::hash(keys).as_bytes().as_slice(), keys].concat()
    }

    /// If `filling` says so, keeps the result of `make`, a [file of keys](Self::file_of), under
    /// this name. It is not decoded here. While another process makes the same keys, this one waits
    /// as long as `waits` says so.
    ///
    /// # Errors
    /// The errors of `make`; [`KeyError::Io`]; [`KeyError::Keygen`] if the result is not a file of
    /// keys.
    pub fn fill<E: From<KeyError>>(
        &self,
        name: &str,
        filling: Filling,
        waits: impl Fn() -> bool,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let path = self.path(name);
        let found = whole(&path)?;
        if found.is_some() && filling == Filling::Missing {
            touch(&path);
            return Ok(());
        }
        self.prepare()?;
        let lock = Lock::take(&path, waits)?;
        // Keys that another process has made meanwhile are not the ones that were found rotten.
        if whole(&path)?.is_some_and(|now| filling == Filling::Missing || found != Some(now)) {
            return Ok(());
        }
        let filled = make().and_then(|file| {
            let bytes = file.len();
            if bytes as u64 > KEY_FILE_BYTES_MAX || body(&file).is_none() {
                let reason = format!(
                    "the child that makes keys gave {bytes} bytes that are no file of them, of {KEY_FILE_BYTES_MAX} \
                     bytes at most"
                );
                return Err(KeyError::Keygen { reason }.into());
            }
            Ok(write(&path, &file)?)
        });
        if filled.is_err() {
            // Locks for strangers' texts that have no keys must not pile up.
            lock.remove();
        }
        filled
    }

    /// The file of the keys of this name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.keys"))
    }
}

/// The lock that a process holds while it makes a set of keys.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for the lock of a file of keys. If another process is too slow, or `waits` says so, it
    /// goes on without the lock. Both then make the same keys, and each writes the whole file.
    fn take(keys: &Path, waits: impl Fn() -> bool) -> Result<Self, KeyError> {
        let path = keys.with_extension("lock");
        let until = Instant::now() + OTHERS_PATIENCE;
        let file = File::create(&path).map_err(|e| KeyError::io(&path, e))?;
        while let Err(e) = file.try_lock() {
            match e {
                fs::TryLockError::Error(e) => return Err(KeyError::io(&path, e)),
                fs::TryLockError::WouldBlock if !waits() || Instant::now() > until => break,
                fs::TryLockError::WouldBlock => thread::sleep(OTHERS_POLL),
            }
        }
        Ok(Self { path, _file: file })
    }

    fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The bytes of a file of keys; none if the file is missing or too large.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, KeyError> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > KEY_FILE_BYTES_MAX => Ok(None),
        Ok(_) => fs::read(path).map(Some).map_err(|e| KeyError::io(path, e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(KeyError::io(path, e)),
    }
}

/// The keys behind the hash, in a file that is whole.
fn body(file: &[u8]) -> Option<&[u8]> {
    let (hash, body) = file.strip_prefix(MAGIC)?.split_at_checked(HASH_BYTES)?;
    (blake3::hash(body).as_bytes() == hash).then_some(body)
}

/// The hash of a file that is whole.
fn whole(path: &Path) -> Result<Option<blake3::Hash>, KeyError> {
    let file = read_file(path)?;
    Ok(file.and_then(|file| body(&file).map(blake3::hash)))
}

/// Notes that a set of keys is in use.
fn touch(path: &Path) {
    // If the use cannot be noted, the set may be removed and is made again.
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

fn write(path: &Path, file: &[u8]) -> Result<(), KeyError> {
    let dir = path.parent().expect("a key file is in the cache's folder");
    let store = || -> io::Result<()> {
        let mut part = tempfile::Builder::new().suffix(".part").tempfile_in(dir)?;
        part.write_all(file)?;
        part.as_file().sync_all()?;
        part.persist(path)?;
        File::open(dir)?.sync_all()
    };
    store().map_err(|e| KeyError::io(path, e))
}

#[cfg(test)]
mod tests;
