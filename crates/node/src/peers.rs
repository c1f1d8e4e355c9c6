//! The memory of requesters: what they have learnt of peers, and the receipts that they owe them,
//! from one job to the next.
//!
//! ```text
//! DATA_DIR/peers.redb    standings    from the peer to postcard of its Standing
//!                        owed         from the prover and its proof to postcard of the receipt that it was not there to take
//! ```
//!
//! Several requesters may share a data folder, so the file is open for milliseconds only. No job
//! depends on it: if it cannot be used, peers are strangers again.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use myriad_core::{Peer, Standing};
use myriad_net::SignedReceipt;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::database::GuardedDatabase;

/// The version is part of the name, so that older builds do not see rows that they would misread.
const STANDINGS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("standings v1");
const OWED: TableDefinition<'_, &[u8; 64], &[u8]> = TableDefinition::new("owed v1");
/// Receipts that are kept for provers that may never come back. Receipts beyond that are given up.
const OWED_MAX: u64 = 50_000;
/// The tries to open a file that another process has open, and the pause between them. The other
/// process has it open for milliseconds.
const OPEN_TRIES: u32 = 100;
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// Peers that are remembered. When there are more, those that have never delivered are forgotten.
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

    /// Waits for others that have it open, in this process or another one.
    fn open(&self) -> Result<GuardedDatabase, redb::Error> {
        let mut tries = 0;
        loop {
            match GuardedDatabase::open(&self.path) {
                Err(redb::Error::DatabaseAlreadyOpen) if tries < OPEN_TRIES => {
                    tries += 1;
                    thread::sleep(OPEN_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    /// The rows of a table, as far as they can be read; none where there is no table.
    fn read<K: redb::Key + 'static, T>(
        &self,
        table: TableDefinition<'static, K, &'static [u8]>,
        most: u64,
        decode: impl Fn(K::SelfType<'_>, &[u8]) -> Option<T>,
    ) -> Vec<T> {
        if !self.path.exists() {
            return Vec::new();
        }
        let read = |database: &Database| {
            let transaction = database.begin_read()?;
            let rows = match transaction.open_table(table) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                rows => rows?,
            };
            let mut all = Vec::new();
            for row in rows.iter()?.take(most as usize) {
                let (key, value) = row?;
                all.extend(decode(key.value(), value.value()));
            }
            Ok(all)
        };
        let read = self.open().and_then(|database| database.run(read));
        read.unwrap_or_else(|e| {
            tracing::warn!(
                "the knowledge of peers cannot be read from {}: {e}; move the file away, and it is made again",
                self.path.display()
            );
            Vec::new()
        })
    }

    /// Changes the file; one that is in use or damaged is left alone.
    fn write(&self, change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) {
        let write = |database: &Database| {
            let transaction = database.begin_write()?;
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        if let Err(e) = self.open().and_then(|database| database.run(write)) {
            tracing::warn!(
                "the knowledge of peers cannot be written to {}: {e}; free some space, or move the file away if it is damaged",
                self.path.display()
            );
        }
    }

    /// The standings that are remembered.
    pub(crate) fn load(&self) -> Vec<(Peer, Standing)> {
        self.read(STANDINGS, PEERS_MAX, |peer, standing| {
            Some((Peer(*peer), decode(standing)?))
        })
    }

    /// Adds what was learned.
    pub(crate) fn save(&self, learned: &[(Peer, Standing)]) {
        self.write(|transaction| {
            let mut table = transaction.open_table(STANDINGS)?;
            for (peer, standing) in learned {
                let bytes = postcard::to_stdvec(standing).expect("a standing is plain data");
                table.insert(&peer.0, bytes.as_slice())?;
            }
            if table.len()? > PEERS_MAX {
                table.retain(|_, bytes| decode(bytes).is_some_and(|standing| standing.is_proven()))?;
            }
            Ok(())
        });
    }

    /// Receipts that did not reach their provers.
    pub(crate) fn owed(&self) -> Vec<SignedReceipt> {
        self.read(OWED, OWED_MAX, |_, signed| postcard::from_bytes(signed).ok())
    }

    /// Keeps receipts that were not taken, and forgets those that were.
    pub(crate) fn settle(&self, owed: &[SignedReceipt], paid: &[SignedReceipt]) {
        self.write(|transaction| {
            let mut table = transaction.open_table(OWED)?;
            for signed in owed {
                if table.len()? >= OWED_MAX {
                    break;
                }
                let bytes = postcard::to_stdvec(signed).expect("a receipt is plain data");
                table.insert(&owed_key(signed), bytes.as_slice())?;
            }
            for signed in paid {
                table.remove(&owed_key(signed))?;
            }
            Ok(())
        });
    }
}

/// Decodes a standing from these bytes, or from those of an earlier build, which end before the
/// last field.
fn decode(bytes: &[u8]) -> Option<Standing> {
    let of_earlier = || postcard::from_bytes(&[bytes, &[0]].concat());
    postcard::from_bytes(bytes).or_else(|_| of_earlier()).ok()
}

fn owed_key(signed: &SignedReceipt) -> [u8; 64] {
    let mut key = [0; 64];
    let (prover, proof) = key.split_at_mut(32);
    prover.copy_from_slice(&signed.receipt.prover.0);
    proof.copy_from_slice(&signed.receipt.proof.0);
    key
}

#[cfg(test)]
mod tests {
    use myriad_core::{Blob, JobId, TaskId, TaskRef};
    use myriad_net::Receipt;

    use super::*;

    #[test]
    fn what_is_owed_is_known_until_it_is_paid() {
        let dir = tempfile::tempdir().unwrap();
        let peers = Peers::of(dir.path());
        assert_eq!(peers.owed(), []);
        let receipt = |prover, proof| SignedReceipt {
            receipt: Receipt {
                requester: Peer([9; 32]),
                prover: Peer([prover; 32]),
                task: TaskRef {
                    job: JobId([1; 32]),
                    task: TaskId::Final,
                },
                proof: Blob([proof; 32]),
                instructions: 0,
                work_ms: 1,
                accepted: 2,
            },
            signature: vec![7; 64],
        };
        peers.save(&[(Peer([1; 32]), Standing::default())]);
        assert_eq!(peers.owed(), []);
        peers.settle(&[receipt(1, 1), receipt(1, 2), receipt(2, 3)], &[]);
        peers.settle(&[receipt(1, 1)], &[receipt(1, 2)]);
        let peers = Peers::of(dir.path());
        assert_eq!(peers.owed(), [receipt(1, 1), receipt(2, 3)]);
        assert_eq!(peers.load().len(), 1, "beside what is known of peers");
    }

    #[test]
    fn what_an_earlier_build_has_learned_is_known() {
        let known = Standing {
            accepted: 3,
            banned: Some("it lied".into()),
            ..Standing::default()
        };
        let bytes = postcard::to_stdvec(&known).unwrap();
        assert_eq!(decode(&bytes), Some(known.clone()));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), Some(known));
        assert_eq!(decode(&bytes[..bytes.len() - 2]), None);
    }

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

    /// A requester may note both at once, or two may on one data folder.
    #[test]
    fn nothing_is_lost_where_several_write_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let peers = Peers::of(dir.path());
        thread::scope(|scope| {
            for byte in 0..8 {
                let peers = &peers;
                scope.spawn(move || peers.save(&[(Peer([byte; 32]), Standing::default())]));
            }
        });
        assert_eq!(peers.load().len(), 8);
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
            "it is left as it was"
        );
    }
}
