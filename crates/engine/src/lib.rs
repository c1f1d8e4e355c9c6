//! What the rest of Myriad knows of an engine, which is a zkVM with its prover.
//!
//! An engine executes a program, cuts the execution into segments, proves these, aggregates the
//! proofs, and verifies proofs of every kind. All of that is done by child processes, and this
//! crate is the border to them: the types that cross it, their limits, the client that starts a
//! child and asks it ([`worker::Worker`]), and the server that an engine puts its own work into
//! ([`worker::serve`], [`worker::Engine`]). Nothing here depends on a zkVM. A job names its engine,
//! and [`worker::Engines`] has the command that starts the engine's children.
//!
//! The way of a job through an engine:
//!
//! ```text
//!  program + configuration ──▶ Loaded ─┐
//!                                      ├─▶ Plan ──▶ Segment 0 … Segment n-1        (execution)
//!  hex, JSON or bytes  ──▶ Input  ─────┘               │            │
//!                                                      ▼            ▼
//!                                               segment proof … segment proof      level 0
//!                                                      └─ neighbours ┘
//!                                                         leaf                     level 1
//!                                                      └─ neighbours ┘
//!                                                  internal-for-leaf               level 2
//!                                                      └─ neighbours ┘
//!                                                  internal-recursive …            level 3, 4, …
//!                                                           │
//!                                                      final proof                 a file of the engine's own format
//! ```
//!
//! The kinds of nodes have their names from OpenVM's tree. Every engine has these levels; what it
//! makes on each, and of how many children, is its own.
//!
//! What only one engine knows crosses as bytes ([`Segment::details`], [`Statement::baseline`]) or
//! as the text of an error. Everything that a child answers is bounded by what it was asked.

#![warn(unreachable_pub)]

mod account;
mod boundary;
mod budget;
/// Tested here: nothing runs the tests of a build script.
#[cfg(test)]
#[path = "../build.rs"]
#[expect(dead_code, reason = "the entry of the build script is not called")]
mod build;
mod error;
mod input;
mod keys;
pub mod known;
mod level;
mod limits;
mod loaded;
mod plan;
mod proof;
pub mod worker;

pub use account::{Account, Spent};
pub use boundary::{Boundary, Root};
pub use budget::{MEMORY_BUDGET_MIN, MemoryBudget};
pub use error::{AggregateError, ExecuteError, InputError, KeyError, ProveError, VerifyError, quoted};
pub use input::{ENCODED_INPUT_BYTES_MAX, FIELD_MODULUS, INPUT_BYTES_MAX, INPUT_ITEMS_MAX, Input, Item};
pub use keys::{Description, Filling, KEY_FILE_BYTES_MAX, KeyFolder};
pub use level::Level;
pub use limits::{
    CHILDREN_MAX, CONFIG_BYTES_MAX, FINAL_PROOF_BYTES_MAX, LABELS_MAX, NODE_PROOF_BYTES_MAX, PLAN_BYTES_MAX,
    PROGRAM_BYTES_MAX, PUBLIC_VALUES_BYTES_MAX, SEGMENT_DETAILS_BYTES_MAX, SEGMENT_PROOF_BYTES_MAX,
    SEGMENTS_MAX,
};
pub use loaded::{EngineFacts, Loaded, NodeMemory};
pub use plan::{Plan, Segment};
pub use proof::{FinalForm, FinalProof, ProofOf, Shown, Statement};
