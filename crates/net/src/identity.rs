//! The key that a node is known by, in a file for its owner alone.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use libp2p::identity::{Keypair, ed25519};
use myriad_core::Peer;
use thiserror::Error;

use crate::peer::peer_of;

/// The file's name in a node's data folder.
pub const IDENTITY_FILE: &str = "identity";
/// An Ed25519 secret.
const SECRET_BYTES: usize = 32;
/// Read and written by the owner, and by nobody else.
const MODE: u32 = 0o600;

/// A node's key pair.
#[derive(Clone)]
pub struct Identity(pub(crate) Keypair);

/// Why a node has no identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("cannot read the identity {}: {reason}", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("cannot write the identity {}: {reason}", path.display())]
    Write { path: PathBuf, reason: io::Error },
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
    /// One that lasts as long as the process.
    pub fn ephemeral() -> Self {
        Self(Keypair::generate_ed25519())
    }

    /// The identity in `dir`, made there if there is none.
    ///
    /// # Errors
    /// See [`IdentityError`]. A damaged one is never replaced: it may be worth a reputation.
    pub fn load_or_create(dir: &Path) -> Result<Self, IdentityError> {
        let path = dir.join(IDENTITY_FILE);
        match Self::load(&path) {
            Err(IdentityError::Read { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {
                Self::create(dir, &path)
            }
            loaded => loaded,
        }
    }

    fn load(path: &Path) -> Result<Self, IdentityError> {
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
        Ok(Self(ed25519::Keypair::from(secret).into()))
    }

    fn create(dir: &Path, path: &Path) -> Result<Self, IdentityError> {
        let write = |reason| IdentityError::Write {
            path: path.to_owned(),
            reason,
        };
        fs::create_dir_all(dir).map_err(write)?;
        let pair = ed25519::Keypair::generate();
        // Whole or not at all: of two starts at once one is first, and both take its key.
        let written = tempfile::Builder::new()
            .prefix(".half-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(dir)
            .and_then(|mut file| {
                file.write_all(pair.secret().as_ref())?;
                file.as_file().sync_all()?;
                Ok(file.persist_noclobber(path)?)
            });
        match written {
            Ok(_) => Ok(Self(pair.into())),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(reason) => Err(write(reason)),
        }
    }

    /// The peer that others see.
    pub fn peer(&self) -> Peer {
        peer_of(&self.0.public().to_peer_id()).expect("its key is of Ed25519")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing else is left");
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
