//! The key of a node, in a file for its owner alone, and the number of its starts.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use libp2p::identity::{Keypair, ed25519};
use myriad_core::Peer;
use thiserror::Error;

use crate::{
    durable::{make_dir, sync_dir},
    peer::peer_of,
};

/// The file's name in a node's data folder.
pub const IDENTITY_FILE: &str = "identity";
/// The number of the last start, in decimal, with leading zeros and a line feed.
const BOOTS_FILE: &str = "boots";
const BOOTS_BYTES: u64 = 11;
/// An Ed25519 secret.
const SECRET_BYTES: usize = 32;
/// Only the owner reads and writes it.
const MODE: u32 = 0o600;

/// A node's key pair, and the number of this start of the node.
#[derive(Clone)]
pub struct Identity {
    pub(crate) keypair: Keypair,
    pub(crate) boot: u32,
}

/// Why a node has no identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("cannot read the identity {}: {reason}", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("cannot write the identity {}: {reason}", path.display())]
    Write { path: PathBuf, reason: io::Error },
    #[error("cannot count this start in {}: {source}", dir.display())]
    Boot { dir: PathBuf, source: io::Error },
    #[error(
        "the identity {} has {bytes} bytes instead of {SECRET_BYTES}: it is damaged; move it away, and the next start makes a new one",
        path.display()
    )]
    Damaged { path: PathBuf, bytes: usize },
    #[error(
        "the identity {} can be read by others (mode {mode:03o} instead of {MODE:03o}): chmod 600 it, or move it away if they may have read it",
        path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
}

impl Identity {
    /// An identity that lasts as long as the process.
    pub fn ephemeral() -> Self {
        Self {
            keypair: Keypair::generate_ed25519(),
            boot: 1,
        }
    }

    /// The identity in `dir`, made there if there is none, for one more start: its number is higher
    /// than those of all before.
    ///
    /// # Errors
    /// See [`IdentityError`]. A damaged one is never replaced: it may be worth a reputation.
    pub fn load_or_create(dir: &Path) -> Result<Self, IdentityError> {
        let path = dir.join(IDENTITY_FILE);
        let keypair = match Self::load(&path) {
            Err(IdentityError::Read { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {
                Self::create(dir, &path)?
            }
            loaded => loaded?,
        };
        let boot = count_boot(dir).map_err(|source| IdentityError::Boot {
            dir: dir.to_owned(),
            source,
        })?;
        Ok(Self { keypair, boot })
    }

    fn load(path: &Path) -> Result<Keypair, IdentityError> {
        let read = |reason| IdentityError::Read {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(read)?;
        let mode = file.metadata().map_err(read)?.permissions().mode() & 0o777;
        if mode & !MODE != 0 {
            return Err(IdentityError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut secret = Vec::new();
        file.take(SECRET_BYTES as u64 + 1)
            .read_to_end(&mut secret)
            .map_err(read)?;
        let bytes = secret.len();
        let damaged = || IdentityError::Damaged {
            path: path.to_owned(),
            bytes,
        };
        if bytes != SECRET_BYTES {
            return Err(damaged());
        }
        let secret = ed25519::SecretKey::try_from_bytes(&mut secret).map_err(|_| damaged())?;
        Ok(ed25519::Keypair::from(secret).into())
    }

    fn create(dir: &Path, path: &Path) -> Result<Keypair, IdentityError> {
        let write = |reason| IdentityError::Write {
            path: path.to_owned(),
            reason,
        };
        make_dir(dir).map_err(write)?;
        let pair = ed25519::Keypair::generate();
        // The file appears whole or not at all. If two nodes start at once, one is first, and both
        // take its key.
        let written = tempfile::Builder::new()
            .prefix(".half-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(dir)
            .and_then(|mut file| {
                file.write_all(pair.secret().as_ref())?;
                file.as_file().sync_all()?;
                file.persist_noclobber(path)?;
                sync_dir(dir)
            });
        match written {
            Ok(_) => Ok(pair.into()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(reason) => Err(write(reason)),
        }
    }

    /// The peer that others see.
    pub fn peer(&self) -> Peer {
        peer_of(&self.keypair.public().to_peer_id()).expect("its key is of Ed25519")
    }
}

/// The number of this start, which is higher than those of all before in `dir`, and durable.
///
/// By this number, a peer that knows an announcement of an earlier start can tell which of the two
/// is later, without a clock that is right. The clock only helps if the file was lost or comes from
/// a backup: then the numbers continue from the seconds since 1970.
fn count_boot(dir: &Path) -> io::Result<u32> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(dir.join(BOOTS_FILE))?;
    // Starts at once get different numbers.
    file.lock()?;
    let mut text = String::new();
    // A text that is not a number, or is too long, counts as lost.
    let last: u32 = match (&mut file).take(BOOTS_BYTES + 1).read_to_string(&mut text) {
        Ok(_) => text.trim_end().parse().unwrap_or(0),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => 0,
        Err(e) => return Err(e),
    };
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let boot = next_boot(last, clock.as_secs());
    // It is one write, of the same length each time, so that there is always a number.
    file.write_all_at(format!("{boot:010}\n").as_bytes(), 0)?;
    file.set_len(BOOTS_BYTES)?;
    file.sync_all()?;
    if last == 0 {
        // It may be new.
        sync_dir(dir)?;
    }
    Ok(boot)
}

/// A clock that is further ahead than this, in the year 2099, says nothing: starts are still
/// counted one by one beyond.
const CLOCK_MAX_S: u64 = 4_070_908_800;

fn next_boot(last: u32, clock_s: u64) -> u32 {
    let clock = if clock_s <= CLOCK_MAX_S { clock_s as u32 } else { 0 };
    last.saturating_add(1).max(clock)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn starts_are_counted_whatever_the_clock_says() {
        let now = 1_700_000_000;
        assert_eq!(next_boot(0, now), now as u32);
        // The clock was an hour ahead and is corrected; it has no battery; it is set to nonsense.
        for clock in [now - 3600, 5, 0, u64::MAX] {
            assert_eq!(next_boot(now as u32, clock), now as u32 + 1);
        }
        // The number that a backup has brought back is lower than those that were said since.
        assert_eq!(next_boot(now as u32 - 1000, now), now as u32);
        assert!(next_boot(CLOCK_MAX_S as u32, 0) as u64 > CLOCK_MAX_S);
    }

    #[test]
    fn each_start_has_a_higher_number() {
        let dir = tempfile::tempdir().unwrap();
        let start = || Identity::load_or_create(dir.path()).unwrap().boot;
        let first = start();
        assert_eq!(start(), first + 1, "within a second");
        let path = dir.path().join(BOOTS_FILE);
        assert_eq!(fs::metadata(&path).unwrap().len(), BOOTS_BYTES);
        fs::write(&path, "4100000000\n").unwrap();
        assert_eq!(start(), 4_100_000_001, "whatever the clock says");
        for damaged in ["", "no number", "99999999999999999999999999999999\n"] {
            fs::write(&path, damaged).unwrap();
            assert!(start() >= first);
        }
        fs::write(&path, [0xff; 11]).unwrap();
        assert!(start() >= first);
        let at_once: std::collections::BTreeSet<u32> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(at_once.len(), 8);
    }

    #[test]
    fn it_stays_the_same_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("not/there/yet");
        let first = Identity::load_or_create(&dir).unwrap();
        assert_eq!(Identity::load_or_create(&dir).unwrap().peer(), first.peer());
        let mode = fs::metadata(dir.join(IDENTITY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            2,
            "nothing is left but the number of starts"
        );
    }

    #[test]
    fn what_is_damaged_or_exposed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Identity::load_or_create(dir.path()).unwrap();
        let path = dir.path().join(IDENTITY_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Identity::load_or_create(dir.path()),
            Err(IdentityError::Exposed { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE)).unwrap();
        for bytes in [0, 31, 33, 10_000] {
            fs::write(&path, vec![1; bytes]).unwrap();
            assert!(matches!(
                Identity::load_or_create(dir.path()),
                Err(IdentityError::Damaged { .. })
            ));
        }
    }

    #[test]
    fn starts_at_once_agree() {
        let dir = tempfile::tempdir().unwrap();
        let peers: Vec<Peer> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Identity::load_or_create(dir.path()).unwrap().peer()))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(peers.iter().all(|&peer| peer == peers[0]));
    }
}
