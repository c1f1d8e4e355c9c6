//! What requesters have signed for this prover: one receipt a line, in a file that its owner can read, copy and show
//! to others.
//!
//! ```text
//! DATA_DIR/provers/N/receipts.jsonl
//! ```
//!
//! Only receipts for proofs that were made here are kept, each once, so that nobody can fill the disk with them. A
//! line that a crash has cut short is cut off at the next start.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use myriad_core::{Blob, JobId, Peer, TaskId, TaskRef};
use myriad_net::{Receipt, SignedReceipt, parse_peer, peer_name};
use serde::{Deserialize, Serialize};

use crate::StoreError;

const FILE: &str = "receipts.jsonl";
/// A line is about 600 bytes; what is longer is none of ours.
const LINE_BYTES_MAX: usize = 4096;

/// The receipts of a prover.
pub(super) struct Receipts {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    earned: BTreeMap<Peer, Earned>,
}

/// What one requester has signed for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earned {
    /// Its name.
    pub requester: String,
    pub tasks: u64,
    /// Instructions of the segments among them.
    pub instructions: u64,
    /// What all of them are reckoned to take on the machine that costs are measured on, in milliseconds.
    pub work_ms: u64,
    /// When the first and the last proof was accepted, in seconds since 1970.
    pub first: u64,
    pub last: u64,
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
}

impl From<&SignedReceipt> for Line {
    fn from(signed: &SignedReceipt) -> Self {
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
        }
    }
}

impl Line {
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
    /// Reads what is in a prover's folder. Lines that are no receipts are left alone, and count for nothing.
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
                match parsed.flatten().and_then(|line| line.receipt()) {
                    Some(signed) => add(&mut earned, &signed.receipt),
                    None => tracing::warn!("a line of {} is no receipt", path.display()),
                }
                line.clear();
            }
        }
        let open = || -> io::Result<File> {
            fs::create_dir_all(dir)?;
            let file = File::options().create(true).append(true).open(&path)?;
            file.set_len(whole)?;
            Ok(file)
        };
        let file = open().map_err(|reason| StoreError::Write {
            path: path.clone(),
            reason,
        })?;
        let inner = Mutex::new(Inner { file, earned });
        Ok(Self { path, inner })
    }

    /// Keeps a receipt. Blocks until it is durable.
    ///
    /// # Errors
    /// [`StoreError::Write`]
    pub(super) fn keep(&self, signed: &SignedReceipt) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(&Line::from(signed)).expect("a receipt is plain data");
        line.push(b'\n');
        let mut inner = self.lock();
        let mut write = || {
            inner.file.write_all(&line)?;
            inner.file.sync_data()
        };
        write().map_err(|reason| StoreError::Write {
            path: self.path.clone(),
            reason,
        })?;
        add(&mut inner.earned, &signed.receipt);
        Ok(())
    }

    /// What each requester has signed for, the most work first, and at most so many of them.
    pub(super) fn earned(&self, most: usize) -> Vec<Earned> {
        let mut earned: Vec<Earned> = self.lock().earned.values().cloned().collect();
        earned.sort_by_key(|earned| std::cmp::Reverse(earned.work_ms));
        earned.truncate(most);
        earned
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(earned: &mut BTreeMap<Peer, Earned>, receipt: &Receipt) {
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
    sum.first = sum.first.min(receipt.accepted);
    sum.last = sum.last.max(receipt.accepted);
}
