//! The job state machine of Myriad: it decides which peer gets which task, and follows the task to
//! its end.
//!
//! This crate does no I/O, reads no clock, draws no random numbers and knows no zkVM. A
//! [`Requester`] takes what happened as its input, and its output is what to do; the network and a
//! simulator drive the same code. *Two requesters with the same inputs have the same outputs.*
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
//! A task that is done stays done, unless its proof turns out to be of no use. A proof may pass the
//! check although no node can be made over it. Then every peer that tries the node fails, and looks
//! like a liar. So when peers keep failing at a node, the state machine asks the caller to make it
//! ([`Output::Try`]). If the caller finds that an accepted proof is the cause
//! ([`TrialVerdict::Refuted`]), that task is done again, its maker is banned, and the peers that
//! were banned because of the node are pardoned. If it only seems so ([`TrialVerdict::Doubted`]),
//! or if the caller has lost the proof ([`Input::Lost`]), the task is done again and nobody is to
//! blame.
//!
//! Several peers may hold a task: the first accepted proof wins, and the other leases are revoked.
//! [`Redundancy`] decides which tasks are given out again, to whom and when. A peer's [`Standing`]
//! says how far it is believed. A peer gets none of the ready tasks where faster ones, as they
//! become free, would end all of them sooner ([`Policy::look_ahead`]).
//!
//! A job may be opened before its plan is there: with a tree that [grows](Tree::growing), to which
//! [`Input::Grow`] adds segments as they are cut, until [`Input::Settle`] brings the tree. Segments
//! are given out, proven and kept meanwhile, and nothing of that is lost when the plan is settled.
//!
//! These rules always hold, each with a checker in [`invariants`]:
//!
//! - a task is done only with a proof that was checked and accepted;
//! - an accepted proof is neither lost nor replaced, unless the caller has refuted, doubted or lost
//!   it;
//! - a banned peer gets no lease, and holds none;
//! - a lease is of a task that can start, and that fits into the memory offered;
//! - a plan that grows has segments and nothing else, and growing and settling it take nothing from
//!   anybody;
//! - a proof becomes obsolete only after all that is made from it is durable;
//! - every task that the final proof needs is done, under way, ready, or waits for others;
//! - a ready task is left for faster machines no longer than it takes on the machine that costs are
//!   measured on, counted from when the last one of its level was given out.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod forecast;
mod holders;
mod ids;
mod input;
pub mod invariants;
mod job;
mod output;
mod peer_table;
mod peers;
mod policy;
mod ready;
mod redundancy;
mod requester;
pub mod spreading;
mod standing;
mod time;
mod tree;

pub use ids::{
    Blob, ENGINE_NAME_MAX, EngineId, EngineName, EngineNameError, JobId, Kind, NodeId, Peer, TaskId, TaskRef,
};
pub use input::{Cost, Input, JobSpec, Offer, Return, SPEED_ONE, TrialVerdict, Trust, Verdict};
pub use job::Stage;
pub use output::{Event, Output, Refusal, Revocation};
pub use policy::{Policy, stalled_after};
pub use redundancy::{Adaptive, Holder, Question, Redundancy, Worth};
pub use requester::{Progress, Requester};
pub use standing::{Speed, Standing};
pub use time::Time;
pub use tree::{Arities, Tree};
