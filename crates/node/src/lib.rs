//! The drivers. They bring the engine, the network, the disk and the machine together to finish a
//! job.
//!
//! - [`local`]: the requester that proves with engine children on its own machine.
//! - [`requester`]: the one that gives the tasks to peers.
//! - [`prover`]: lends this machine to requesters.
//! - [`bench`](mod@bench): measures this machine.
//!
//! Requesters keep every accepted proof in a [`Store`], so that the same request continues where it
//! stopped.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

pub mod bench;
mod database;
mod group;
mod job;
mod keys;
pub mod local;
mod peers;
mod process;
pub mod prover;
pub mod records;
pub mod requester;
#[doc(hidden)]
pub mod restart;
mod store;
mod text;
mod verifier_pool;
mod watchdog;

pub use group::LimitedWorker;
pub use job::{Event, Fleet, Job, Machine, Observer, Options, Outcome, RunError, Stage};
pub use keys::{KEYS_MEMORY_MIN, make_keys, with_readable_keys};
pub use store::{Store, StoreError, job_id, open_blobs};
pub use verifier_pool::{NoVerifier, Objection, ProgramOnly, VerifierPool};
// The types that the journal's rows decode to, for the fuzz targets.
#[doc(hidden)]
pub use store::{Entry as JournalEntry, Planned as JournalPlan};
