//! Drivers: they bring the engine, the network, the disk and the machine together to finish a job.
//!
//! - [`local`]: the requester that proves with engine children on its own machine.
//! - [`requester`]: the one that gives the tasks to peers.
//! - [`prover`]: lends this machine to requesters.
//! - [`bench`](mod@bench): measures this machine.
//!
//! Requesters keep every accepted proof in a [`Store`], so that the same request goes on where it
//! stopped.

pub mod bench;
mod guarded;
mod job;
pub mod jobs;
pub mod local;
#[doc(hidden)]
pub mod measured;
mod peers;
mod process;
pub mod prover;
pub mod requester;
mod store;
mod text;
mod verifying;
mod watched;

pub use job::{Event, Job, Machine, Observer, Options, Outcome, RunError, Stage};
pub use store::{Store, StoreError, job_id, open_blobs};
pub use verifying::{Objection, ProgramOnly, Verifying};
// What the journal's rows decode to; for the fuzz targets.
#[doc(hidden)]
pub use store::{Entry as JournalEntry, Planned as JournalPlan};

/// What this build's engine makes and accepts, as peers tell each other at first: the fingerprint of the
/// plain configuration. That of a job's own configuration is compared when its program is there.
pub fn engine_fingerprint() -> [u8; 32] {
    static FINGERPRINT: std::sync::LazyLock<[u8; 32]> =
        std::sync::LazyLock::new(|| *myriad_engine::VmConfig::riscv32().fingerprint().as_bytes());
    *FINGERPRINT
}
