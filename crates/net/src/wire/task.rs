//! Offers, leases, and the messages that follow from them.

use myriad_core::{Blob, EngineId, EngineName, JobId, Peer, TaskRef};
use serde::{Deserialize, Serialize};

use super::{
    Announcement, Bounded, ENGINES_MAX, TEXT_BYTES_MAX, WireError, bound, bound_u64, check_addresses,
    printable,
};
use crate::{
    blob::{BLOB_BYTES_MAX, BlobRef},
    receipt::{SIGNATURE_BYTES, SignedReceipt},
};

/// The most blobs that a prover says it holds.
pub(crate) const HOLDS_MAX: usize = 64;
/// The most peers that are named for one blob.
pub const HOLDERS_MAX: usize = 4;
/// The most proofs that one task takes: leaves take four.
const CHILDREN_MAX: usize = 8;
/// The most bytes of the description of a segment, the bulk of which are the heights of some
/// hundred chips.
const SEGMENT_BYTES_MAX: usize = 8 << 10;
/// The most blobs that one notice names.
pub(crate) const OBSOLETE_MAX: usize = 256;

/// A request of one peer to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A prover has room for one more task.
    Offer(OfferMessage),
    /// A prover is still at its task, and has done this many thousandths of it.
    Renew { task: TaskRef, progress: u16 },
    /// A prover holds the proof.
    Submit {
        task: TaskRef,
        proof: BlobRef,
        spent: Spent,
    },
    /// A prover gives a task back undone.
    Return { task: TaskRef, why: Returned },
    /// A requester tells a prover something.
    Notice(Notice),
    /// A prover means to serve a job that is being executed, and has these blobs.
    Prepare { job: JobId, holds: Vec<Blob> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferMessage {
    /// Bytes for one task.
    pub memory: u64,
    pub threads: u16,
    /// The speed in thousandths of the machine that costs are measured on.
    pub speed: u32,
    /// The engines whose tasks it would do now.
    pub engines: Vec<EngineName>,
    /// The programs and inputs that it has already.
    pub holds: Vec<Blob>,
}

/// The cost of a task, as the prover states it. It is for people, and nobody believes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    /// The most memory that its engine child took, in bytes.
    pub memory_bytes: u64,
}

/// Why a prover gives a task back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Returned {
    /// It is being stopped by its owner.
    Stopping,
    /// It does not go on with the task, and has not failed at it: the owner's limits do not allow
    /// the job, the disk is full, keys cannot be read, or the task takes too long.
    Unwilling {
        #[serde(deserialize_with = "printable")]
        reason: String,
    },
    /// It tried, and failed for this reason.
    Failed {
        #[serde(deserialize_with = "printable")]
        message: String,
    },
    /// Another requester's task came first.
    Surplus,
}

/// A message that a requester sends a prover unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// There is work again.
    Wake,
    /// Leave the task: it is not the prover's any more.
    Revoke {
        task: TaskRef,
        #[serde(deserialize_with = "printable")]
        reason: String,
    },
    /// The verdict on a submitted proof.
    Verdict {
        task: TaskRef,
        accepted: bool,
        #[serde(deserialize_with = "printable")]
        reason: String,
    },
    /// Nobody will ask for these proofs any more.
    Obsolete { proofs: Vec<Blob> },
    /// A job was opened or closed.
    Job(Box<Announcement>),
    /// A proof was accepted, and this receipt shows it to others.
    Receipt(Box<SignedReceipt>),
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The answer to an offer: do this task.
    Lease(Box<Lease>),
    /// The refusal of a request, with the reason.
    Refused(Refused),
    /// The answer to a renewal: this many milliseconds are left now.
    Extended { lease_ms: u64 },
    /// The request has been noted.
    Received,
    /// The files of a job, for a prover that lacks some of them, and the peer that is to send them.
    Files(Box<Sources>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub why: Why,
    /// A text for people.
    #[serde(deserialize_with = "printable")]
    pub reason: String,
    /// The time after which to ask again, in milliseconds. With [`Why::NoWork`] and
    /// [`Why::Memory`], it also means that a wake will come earlier if there is work.
    pub retry_ms: Option<u64>,
}

/// Why something is refused, as far as the other side acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// There is nothing to do now.
    NoWork,
    /// Nothing that is ready fits the memory on offer.
    Memory,
    /// Not now: the peer that asks has to wait, or the prover that is woken is at a task.
    NotNow,
    /// Never again.
    Banned,
    /// The task is not, or no longer, the prover's.
    NotLeased,
    /// More requests than one peer may make.
    TooFast,
    /// The peer is not a requester, or has another build.
    NotServed,
}

/// A task, with all that is needed to do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub task: TaskRef,
    /// Milliseconds until the task goes to another peer.
    pub lease_ms: u64,
    /// Milliseconds of work on the machine that costs are measured on, with one thread.
    pub work_ms: u64,
    /// Bytes of memory that it is expected to take.
    pub memory: u64,
    pub sources: Sources,
    /// Instructions of the whole execution.
    pub instructions: u64,
    pub work: Work,
}

/// The sources of the program and its input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    pub program: Source,
    /// The text that configures its virtual machine, if it needs one.
    pub program_config: Option<Source>,
    pub input: Source,
    /// As in the job's [`Announcement`].
    pub engine: EngineId,
}

/// A blob, and its holders, best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub blob: BlobRef,
    pub holders: Vec<Contact>,
}

/// A peer, and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub peer: Peer,
    pub addresses: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Prove a segment, described as the engine wants it.
    Segment(Vec<u8>),
    Aggregate {
        level: u8,
        children: Vec<Source>,
    },
    Finish {
        level: u8,
        top: Source,
        last_segment: Source,
    },
}

impl Bounded for Request {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Offer(offer) => bound("engines on offer", offer.engines.len(), ENGINES_MAX)
                .and_then(|()| bound("blobs that are held", offer.holds.len(), HOLDS_MAX)),
            Self::Submit { proof, .. } => check_blob(proof),
            Self::Return { why, .. } => match why {
                Returned::Stopping | Returned::Surplus => Ok(()),
                Returned::Unwilling { reason: text } | Returned::Failed { message: text } => check_text(text),
            },
            Self::Notice(notice) => notice.check(),
            Self::Prepare { holds, .. } => bound("blobs that are held", holds.len(), HOLDS_MAX),
            Self::Renew { .. } => Ok(()),
        }
    }
}

impl Bounded for Notice {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Wake => Ok(()),
            Self::Revoke { reason, .. } | Self::Verdict { reason, .. } => check_text(reason),
            Self::Obsolete { proofs } => bound("proofs in a notice", proofs.len(), OBSOLETE_MAX),
            Self::Job(announcement) => announcement.check(),
            Self::Receipt(signed) => bound("bytes of a signature", signed.signature.len(), SIGNATURE_BYTES),
        }
    }
}

impl Bounded for Response {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Lease(lease) => lease.check(),
            Self::Files(sources) => sources.check(),
            Self::Refused(refused) => check_text(&refused.reason),
            Self::Extended { .. } | Self::Received => Ok(()),
        }
    }
}

impl Bounded for Lease {
    fn check(&self) -> Result<(), WireError> {
        self.sources.check()?;
        match &self.work {
            Work::Segment(segment) => bound(
                "bytes of a segment's description",
                segment.len(),
                SEGMENT_BYTES_MAX,
            ),
            Work::Aggregate { children, .. } => {
                bound("children of a node", children.len(), CHILDREN_MAX)?;
                children.iter().try_for_each(Bounded::check)
            }
            Work::Finish {
                top, last_segment, ..
            } => top.check().and_then(|()| last_segment.check()),
        }
    }
}

impl Sources {
    /// The program, the text that configures it if it has one, and the input.
    pub fn all(&self) -> impl Iterator<Item = &Source> {
        [
            Some(&self.program),
            self.program_config.as_ref(),
            Some(&self.input),
        ]
        .into_iter()
        .flatten()
    }
}

impl Bounded for Sources {
    fn check(&self) -> Result<(), WireError> {
        self.all().try_for_each(Bounded::check)
    }
}

impl Bounded for Source {
    fn check(&self) -> Result<(), WireError> {
        check_blob(&self.blob)?;
        bound("holders of a blob", self.holders.len(), HOLDERS_MAX)?;
        self.holders
            .iter()
            .try_for_each(|holder| check_addresses(&holder.addresses))
    }
}

fn check_blob(blob: &BlobRef) -> Result<(), WireError> {
    bound_u64("bytes of a blob", blob.bytes, BLOB_BYTES_MAX)
}

fn check_text(text: &str) -> Result<(), WireError> {
    bound("bytes of a reason", text.len(), TEXT_BYTES_MAX)
}
