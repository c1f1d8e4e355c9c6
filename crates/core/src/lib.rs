//! The job state machine of Myriad: which task goes to whom, and what becomes of it.
//!
//! This crate does no I/O, reads no clock, draws no random numbers and knows no zkVM. A [`Requester`]
//! is told what happened, and says what to do; the same code is driven by the network and by a
//! simulator. *Two that are told the same, say the same.*
//!
//! The life of a task:
//!
//! ```text
//!  waits for its children ──▶ ready ──Offer──▶ leased ──Submitted──▶ being checked ──Accepted──▶ being made
//!                              ▲                 │                        │                       durable
//!                              └── Returned, ────┘                        │                         │
//!                                  lost, expired                          │                      Persisted
//!                              ▲                                          │                         ▼
//!                              └──────────────── Invalid, Unavailable ────┘                       done
//! ```
//!
//! A task that is done is so for good, unless its proof is of no use. A proof may pass the check although no node can be made over it: then all who try the
//! node fail, and look like liars. So the caller is asked to do a node itself that peers keep failing at
//! ([`Output::Try`]). If it finds that an accepted proof is the cause ([`Tried::Refuted`]), that task is done again, its
//! maker is banned, and those are pardoned who were banned because of the node. Where it only seems so ([`Tried::Doubted`]), and where
//! the caller has lost the proof ([`Input::Lost`]), the task is done again and nobody is to blame.
//!
//! A task may be held by several peers: the first accepted proof wins, and the others are revoked. Which tasks
//! are given out again, to whom and when is decided by [`Redundancy`]; who is believed how much follows
//! from its [`Standing`].
//!
//! What always holds, each with a checker in [`invariants`]:
//!
//! - a task is done only with a proof that was checked and accepted;
//! - an accepted proof is neither lost nor replaced, unless the caller has refuted, doubted or lost it;
//! - a banned peer gets no lease, and holds none;
//! - a lease is of a task that can start, and that fits into the memory offered;
//! - a proof becomes obsolete only after all that is made from it is durable;
//! - every task that the final proof needs is done, under way, ready, or waits for others.

mod ids;
mod input;
pub mod invariants;
mod job;
mod output;
mod peers;
mod policy;
mod ready;
mod redundancy;
mod requester;
mod standing;
mod time;
mod tree;

pub use ids::{Blob, JobId, Kind, NodeId, Peer, TaskId, TaskRef};
pub use input::{Cost, Input, JobSpec, Offer, Return, SPEED_ONE, Tried, Trust, Verdict};
pub use job::Stage;
pub use output::{Event, Output, Refusal, Revocation};
pub use policy::{Policy, stalled_after};
pub use redundancy::{Adaptive, Holder, Question, Redundancy, Worth};
pub use requester::{Progress, Requester};
pub use standing::{Speed, Standing};
pub use time::Time;
pub use tree::{Arities, Tree};
