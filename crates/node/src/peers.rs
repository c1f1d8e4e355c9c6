//! What requesters remember of peers, from one job to the next.
//!
//! ```text
//! DATA_DIR/peers.redb    from the peer to postcard of its Standing
//! ```
//!
//! Several requesters may share a data folder, so the file is open for milliseconds only. It holds
//! nothing that a job depends on: where it does not serve, peers are strangers again.

use std::path::{Path, PathBuf};

use myriad_core::{Peer, Standing};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

/// The version is part of the name: older builds do not see what they would misread.
const STANDINGS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("standings v1");
/// Peers that are remembered. When there are more, those are forgotten that have never delivered.
const PEERS_MAX: u64 = 50_000;

/// The file of a data folder.
pub(crate) struct Peers {
    path: PathBuf,
}

impl Peers {
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join("peers.redb"),
        }
    }

    /// What is remembered; nothing where there is nothing, or it is not to be had now.
    pub(crate) fn load(&self) -> Vec<(Peer, Standing)> {
        if !self.path.exists() {
            return Vec::new();
        }
        self.try_load().unwrap_or_else(|e| {
            tracing::warn!(
                "what is known of peers cannot be read from {}: {e}",
                self.path.display()
            );
            Vec::new()
        })
    }

    fn try_load(&self) -> Result<Vec<(Peer, Standing)>, redb::Error> {
        let database = Database::create(&self.path)?;
        let transaction = database.begin_read()?;
        let table = match transaction.open_table(STANDINGS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut known = Vec::new();
        for row in table.iter()?.take(PEERS_MAX as usize) {
            let (peer, standing) = row?;
            if let Ok(standing) = postcard::from_bytes(standing.value()) {
                known.push((Peer(*peer.value()), standing));
            }
        }
        Ok(known)
    }

    /// Adds what was learned; a file that is in use or damaged is left alone.
    pub(crate) fn save(&self, learned: &[(Peer, Standing)]) {
        if let Err(e) = self.try_save(learned) {
            tracing::warn!(
                "what was learned of peers cannot be written to {}: {e}",
                self.path.display()
            );
        }
    }

    fn try_save(&self, learned: &[(Peer, Standing)]) -> Result<(), redb::Error> {
        let database = Database::create(&self.path)?;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(STANDINGS)?;
            for (peer, standing) in learned {
                let bytes = postcard::to_stdvec(standing).expect("a standing is plain data");
                table.insert(&peer.0, bytes.as_slice())?;
            }
            if table.len()? > PEERS_MAX {
                table.retain(|_, bytes| {
                    postcard::from_bytes::<Standing>(bytes).is_ok_and(|standing| standing.is_proven())
                })?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_known_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let peers = Peers::of(dir.path());
        assert_eq!(peers.load(), []);
        let standing = |accepted| Standing {
            accepted,
            banned: (accepted == 0).then(|| "it lied".to_owned()),
            ..Standing::default()
        };
        let peer = |byte| Peer([byte; 32]);
        peers.save(&[(peer(1), standing(3)), (peer(2), standing(0))]);
        peers.save(&[(peer(1), standing(4))]);
        let known = Peers::of(dir.path()).load();
        assert_eq!(known, [(peer(1), standing(4)), (peer(2), standing(0))]);
    }

    #[test]
    fn a_damaged_file_makes_strangers_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let peers = Peers::of(dir.path());
        std::fs::write(&peers.path, [7; 5000]).unwrap();
        assert_eq!(peers.load(), []);
        peers.save(&[(Peer([1; 32]), Standing::default())]);
        assert_eq!(
            std::fs::read(&peers.path).unwrap(),
            [7; 5000],
            "it is left for who wants to look"
        );
    }
}
