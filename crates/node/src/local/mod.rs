//! Proving a job on this machine: [`run`] takes a program and an input to a verified final proof.
//!
//! ```text
//!            plan                    ┌──── engine child ────┐
//!  Job ──▶ (one child) ──▶ Tree ──▶  │ segments, then nodes │ ──▶ verify ──▶ Store ──▶ final proof
//!                           ▲        └──── engine child ────┘        │
//!                           └──────── children are there ◀───────────┘
//! ```
//!
//! The state machine that gives tasks to peers on a network, [`myriad_core::Requester`], gives them
//! to the children here. A node of the aggregation tree is ready as soon as its children are
//! stored. Every proof that comes out of a child is verified before it is stored, and one that is
//! in the store is not made again.

mod child;
mod driver;
mod run;

pub use run::run;
