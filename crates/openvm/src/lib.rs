//! The zkVM engine of Myriad: execute, segment, prove, aggregate, verify.
//!
//! This is the only crate that knows OpenVM. Its public surface is bytes in, bytes out and typed
//! errors, without anything of OpenVM's, so that another zkVM could stand behind it. It never
//! touches the network. On disk it touches only the folder of the [`KeyCache`] that its caller
//! names.
//!
//! The way of a job through this crate:
//!
//! ```text
//!  image + openvm.toml ──▶ Program ─┐
//!                                   ├─▶ plan ──▶ Segment 0 … Segment n-1        (metered execution)
//!  hex, JSON or bytes  ──▶ Input  ──┘               │            │
//!                                                   ▼            ▼
//!                                            segment proof … segment proof      level 0
//!                                                   └─ 1 to 4 ───┘
//!                                                      leaf                     level 1
//!                                                   └─ 1 to 3 ─┘
//!                                               internal-for-leaf               level 2
//!                                                   └─ 1 to 3 ─┘
//!                                               internal-recursive …            level 3, 4, …
//!                                                        │
//!                                                   final proof                 NAME.stark.proof
//! ```
//!
//! Everything that runs a program or proves runs in a child process, which is a [`worker`]: an
//! out-of-memory kill, a crash or a cancellation costs one task and not the caller. Strangers'
//! proofs are verified there, too. A [`Verifier`] and a [`Program`] take bytes from anywhere. They
//! bound the bytes, and the counts in them, before they decode, and neither panic nor allocate
//! without limit.

#![warn(unreachable_pub)]

mod accounting;
mod aggregate;
mod backend;
mod boundary;
/// Tested here: nothing runs the tests of a build script.
#[cfg(test)]
#[path = "../build.rs"]
#[expect(dead_code, reason = "the entry of the build script is not called")]
mod build;
#[doc(hidden)]
pub mod changed_prover;
mod circuit;
mod config;
#[doc(hidden)]
pub mod devices;
mod error;
mod execute;
mod final_proof;
mod input;
mod keys;
mod memory;
mod own_engine;
#[doc(hidden)]
pub mod probe;
mod program;
mod proof_bytes;
mod prove;
mod truth;
mod verify;
pub mod worker;

pub use accounting::{Account, Spent};
pub use aggregate::Level;
pub use boundary::{Boundary, Root};
pub use config::{Fingerprint, OPENVM_TOML_BYTES_MAX, VmConfig};
pub use error::{
    AggregateError, ConfigError, ExecuteError, InputError, KeyError, ProgramError, ProveError, VerifyError,
};
pub use execute::{Plan, Segment};
pub use final_proof::{FINAL_PROOF_BYTES_MAX, FinalForm, FinalProof};
pub use input::{ENCODED_INPUT_BYTES_MAX, INPUT_BYTES_MAX, INPUT_ITEMS_MAX, Input};
pub use keys::{Filling, KeyCache};
pub use memory::{MEMORY_BUDGET_MIN, MemoryBudget};
pub use program::{PROGRAM_BYTES_MAX, Program};
pub use verify::{NODE_PROOF_BYTES_MAX, ProofOf, SEGMENT_PROOF_BYTES_MAX, Shown, Statement, Verifier};

/// The OpenVM release whose proofs, keys and file formats this build makes and accepts.
pub const OPENVM_VERSION: &str = "2.0.2";
