//! The engine of Myriad for OpenVM: execute, segment, prove, aggregate, verify.
//!
//! This crate alone drives OpenVM's VM and SDK, and only the binary and the fuzz targets depend on
//! it. To the others it is one of the engines of [`myriad_engine`]: its work is done by child
//! processes ([`serve`]), and no type, error or trait of OpenVM crosses their pipes. It never
//! touches the network. On disk it touches only the folder of the [`KeyCache`] that its caller
//! names.
//!
//! A job's way through it is drawn on the first page of [`myriad_engine`]. A leaf has 1 to 4
//! segments, a node above has 1 to 3 children, all of the level below.
//!
//! Everything that runs a program or proves runs in a child process: an out-of-memory kill, a crash
//! or a cancellation costs one task and not the caller. Strangers' proofs are verified there, too.
//! A [`Verifier`] and a [`Program`] take bytes from anywhere. They bound the bytes, and the counts
//! in them, before they decode, and neither panic nor allocate without limit.

#![warn(unreachable_pub)]

mod accounting;
mod aggregate;
mod backend;
#[doc(hidden)]
pub mod changed_prover;
mod child;
mod circuit;
mod config;
#[doc(hidden)]
pub mod devices;
mod error;
mod execute;
mod final_proof;
mod heights;
mod keys;
mod memory;
mod own_engine;
#[doc(hidden)]
pub mod probe;
mod program;
mod proof_bytes;
mod prove;
mod stdin;
mod tools;
mod truth;
mod verify;

pub use child::{facts, serve};
pub use config::{Fingerprint, VmConfig};
pub use error::{ConfigError, ProgramError};
pub use keys::KeyCache;
pub use program::Program;
pub use verify::Verifier;

/// The OpenVM release whose proofs, keys and file formats this build makes and accepts.
pub const OPENVM_VERSION: &str = "2.0.2";
