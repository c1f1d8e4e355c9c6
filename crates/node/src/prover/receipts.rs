//! The receipts that requesters have signed for this prover, one a line, in a file that the owner
//! can read, copy and show to others.
//!
//! ```text
//! DATA_DIR/provers/N/receipts.jsonl
//! ```
//!
//! Only receipts for proofs that were made here are kept, each once, so that nobody can fill the
//! disk with them. A line that a crash has cut short is cut off at the next start.
//!
//! A requester may sign anything. So each line also has the time that this machine spent on the
//! task, by its own clock. That time alone decides what the requester is worth to this node:
//! identities cost nothing, and a machine's time does.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use myriad_core::{Blob, JobId, Peer, TaskId, TaskRef};
use myriad_net::{Receipt, SignedReceipt, durable, parse_peer, peer_name};
use serde::{Deserialize, Serialize};

use crate::StoreError;

const FILE: &str = "receipts.jsonl";
/// A line has about 600 bytes. A longer one is not ours.
const LINE_BYTES_MAX: usize = 4096;
/// With receipts for this much work, a requester has been of use. It is some ten segments. An
/// attacker that wants many such identities has to keep this machine at work for hours.
const USEFUL_AFTER: Duration = Duration::from_secs(600);

/// The receipts of a prover.
pub(super) struct Receipts {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    /// The length of the file before a line that was cut short. The next line goes there.
    torn_at: Option<u64>,
    earned: BTreeMap<Peer, Earned>,
}

/// The work that one requester has signed for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earned {
    /// Its name.
    pub requester: String,
    pub tasks: u64,
    /// Instructions of the segments among them.
    pub instructions: u64,
    /// The time that all of them are reckoned to take on the reference machine, in milliseconds.
    pub work_ms: u64,
    /// The time that this machine spent on them, in milliseconds.
    #[serde(default)]
    pub measured_ms: u64,
    /// When the first and the last proof was accepted, in seconds since 1970.
    pub first: u64,
    pub last: u64,
}

impl Earned {
    /// Whether the requester has signed for so much work that it is not a stranger.
    pub(super) fn is_useful(&self) -> bool {
        self.measured_ms >= USEFUL_AFTER.as_millis() as u64
    }
}

/// A receipt as the file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    requester: String,
    prover: String,
    job: String,
    task: TaskId,
    proof: String,
    instructions: u64,
    work_ms: u64,
    accepted: u64,
    signature: String,
    /// The time that this machine spent on it. It is not signed, and earlier builds left it out.
    #[serde(default)]
    measured_ms: u64,
}

impl Line {
    fn new(signed: &SignedReceipt, measured: Duration) -> Self {
        let Receipt {
            requester,
            prover,
            task,
            proof,
            instructions,
            work_ms,
            accepted,
        } = &signed.receipt;
        Self {
            requester: peer_name(*requester),
            prover: peer_name(*prover),
            job: task.job.to_string(),
            task: task.task,
            proof: proof.to_string(),
            instructions: *instructions,
            work_ms: *work_ms,
            accepted: *accepted,
            signature: hex::encode(&signed.signature),
            measured_ms: measured.as_millis() as u64,
        }
    }

    /// The receipt, if this is a genuine one.
    fn receipt(&self) -> Option<SignedReceipt> {
        let hash = |text: &str| {
            let mut hash = [0; 32];
            hex::decode_to_slice(text, &mut hash).ok().map(|()| hash)
        };
        let receipt = Receipt {
            requester: parse_peer(&self.requester)?,
            prover: parse_peer(&self.prover)?,
            task: TaskRef {
                job: JobId(hash(&self.job)?),
                task: self.task,
            },
            proof: Blob(hash(&self.proof)?),
            instructions: self.instructions,
            work_ms: self.work_ms,
            accepted: self.accepted,
        };
        let signature = hex::decode(&self.signature).ok()?;
        Some(SignedReceipt { receipt, signature }).filter(SignedReceipt::is_genuine)
    }
}

impl Receipts {
    /// Reads the file in a prover's folder. Lines that are not receipts stay, and count for
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError::Read`] and [`StoreError::Write`].
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let read = |reason| StoreError::Read {
            path: path.clone(),
            reason,
        };
        let mut earned = BTreeMap::new();
        let mut whole = 0;
        if path.exists() {
            let mut lines = BufReader::new(File::open(&path).map_err(read)?);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).map_err(read)? > 0 {
                if line.last() != Some(&b'\n') {
                    break;
                }
                whole += line.len() as u64;
                let parsed =
                    (line.len() <= LINE_BYTES_MAX).then(|| serde_json::from_slice::<Line>(&line).ok());
                let measured = |line: &Line| Duration::from_millis(line.measured_ms);
                match parsed
                    .flatten()
                    .and_then(|line| Some((line.receipt()?, measured(&line))))
                {
                    Some((signed, measured)) => drop(add(&mut earned, &signed.receipt, measured)),
                    None => tracing::warn!("a line of {} is no receipt", path.display()),
                }
                line.clear();
            }
        }
        let open = || -> io::Result<File> {
            durable::make_dir(dir)?;
            let file = File::options().create(true).append(true).open(&path)?;
            file.set_len(whole)?;
            durable::sync_dir(dir)?;
            Ok(file)
        };
        let file = open().map_err(|reason| StoreError::Write {
            path: path.clone(),
            reason,
        })?;
        let inner = Mutex::new(Inner {
            file,
            torn_at: None,
            earned,
        });
        Ok(Self { path, inner })
    }

    /// Keeps a receipt for a task on which this machine spent so long, and returns the sum that its
    /// requester has signed for. Blocks until the receipt is durable.
    ///
    /// # Errors
    /// [`StoreError::Write`]
    pub(super) fn keep(&self, signed: &SignedReceipt, measured: Duration) -> Result<Earned, StoreError> {
        let mut line = serde_json::to_vec(&Line::new(signed, measured)).expect("a receipt is plain data");
        line.push(b'\n');
        let mut inner = self.lock();
        inner
            .append(&line, write_durably)
            .map_err(|reason| StoreError::Write {
                path: self.path.clone(),
                reason,
            })?;
        Ok(add(&mut inner.earned, &signed.receipt, measured))
    }

    /// The work that each requester has signed for, for at most so many requesters: first those
    /// that kept this machine busy for longest.
    pub(super) fn earned(&self, most: usize) -> Vec<Earned> {
        let mut earned: Vec<Earned> = self.lock().earned.values().cloned().collect();
        earned.sort_by_key(|earned| std::cmp::Reverse(earned.measured_ms));
        earned.truncate(most);
        earned
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Adds a line by `write`. If that fails, the part that was written is removed before the next
    /// line comes.
    fn append(
        &mut self,
        line: &[u8],
        write: impl FnOnce(&mut File, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(bytes) = self.torn_at {
            self.file.set_len(bytes)?;
        }
        self.torn_at = Some(self.file.metadata()?.len());
        write(&mut self.file, line)?;
        self.torn_at = None;
        Ok(())
    }
}

fn write_durably(file: &mut File, line: &[u8]) -> io::Result<()> {
    file.write_all(line)?;
    file.sync_data()
}

/// Gives the sum that it was added to.
fn add(earned: &mut BTreeMap<Peer, Earned>, receipt: &Receipt, measured: Duration) -> Earned {
    let sum = match earned.entry(receipt.requester) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(Earned {
            requester: peer_name(receipt.requester),
            first: receipt.accepted,
            ..Earned::default()
        }),
    };
    sum.tasks += 1;
    sum.instructions = sum.instructions.saturating_add(receipt.instructions);
    sum.work_ms = sum.work_ms.saturating_add(receipt.work_ms);
    sum.measured_ms = sum.measured_ms.saturating_add(measured.as_millis() as u64);
    sum.first = sum.first.min(receipt.accepted);
    sum.last = sum.last.max(receipt.accepted);
    sum.clone()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_line_that_was_torn_swallows_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut receipts = Receipts::open(dir.path()).unwrap();
        let inner = receipts.inner.get_mut().unwrap();
        inner.append(b"first\n", write_durably).unwrap();
        // The disk is full in the middle of a line.
        let full = |file: &mut File, line: &[u8]| {
            file.write_all(&line[..3])?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert!(inner.append(b"second\n", full).is_err());
        assert!(inner.append(b"not either\n", full).is_err());
        inner.append(b"third\n", write_durably).unwrap();
        inner.append(b"fourth\n", write_durably).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "first\nthird\nfourth\n");
    }

    fn signed(requester: u8, work_ms: u64) -> SignedReceipt {
        let receipt = Receipt {
            requester: Peer([requester; 32]),
            prover: Peer([0; 32]),
            task: TaskRef {
                job: JobId([1; 32]),
                task: TaskId::Segment(0),
            },
            proof: Blob([1; 32]),
            instructions: 1,
            work_ms,
            accepted: 0,
        };
        let signature = vec![0; 64];
        SignedReceipt { receipt, signature }
    }

    /// The content of a receipt costs its author nothing.
    #[test]
    fn a_payer_is_known_by_what_this_machine_has_measured() {
        let dir = tempfile::tempdir().unwrap();
        let receipts = Receipts::open(dir.path()).unwrap();
        let boasts = receipts
            .keep(&signed(1, u64::MAX), Duration::from_secs(1))
            .unwrap();
        assert!(!boasts.is_useful(), "{boasts:?}");
        let mut pays = Earned::default();
        for count in 1..=10 {
            assert!(!pays.is_useful(), "{count}");
            pays = receipts.keep(&signed(2, 1), USEFUL_AFTER / 10).unwrap();
        }
        assert!(pays.is_useful());
        assert_eq!(receipts.earned(1), [pays], "the most work first");
    }

    #[test]
    fn receipts_of_earlier_builds_are_read() {
        let mut line = serde_json::to_value(Line::new(&signed(1, 2), Duration::from_secs(3))).unwrap();
        line.as_object_mut().unwrap().remove("measured_ms");
        let line: Line = serde_json::from_value(line).unwrap();
        assert_eq!((line.measured_ms, line.work_ms), (0, 2));
    }
}
