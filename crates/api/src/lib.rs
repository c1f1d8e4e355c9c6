//! The documents of Myriad's HTTP API, version 1.
//!
//! The gateway (`myriad serve`) sends and takes them as JSON, and the client crate has them as its
//! types. Ids and hashes are hex without a prefix, except those of Ethereum, and bytes that a
//! program reveals, which begin with `0x`. Times are milliseconds since 1970, and durations
//! milliseconds, unless a name ends in `_s`. Later releases add fields, and names of states, ends
//! and kinds: a reader ignores a field that it does not know, and such a name is `Unknown`.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod event;
mod job;
mod names;
mod peer;
mod problem;
mod service;
mod task;

pub use event::{Event, EventId, EventIdError, News};
pub use job::{BlockFacts, Job, JobList, JobRequest, JobState, Progress, Proof, ProofForm};
pub use peer::{Peer, PeerState, PeerTask, Peers, Standing};
pub use problem::{Kind, MEDIA_TYPE, Problem};
pub use service::{Service, Traffic};
pub use task::{Arities, Attempt, AttemptEnd, Machine, Task, TaskName, TaskState, Tasks};

/// The header that makes a repeated submission the same one.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
