//! Fuzz targets: they feed nearly right bytes to everything that decodes bytes from a peer, a file
//! or the network.
//!
//! Each [`Target`] has valid samples, made from real values, so that they follow the formats by
//! themselves. `tests/targets.rs` checks that the samples decode, and replays `corpus/TARGET/`:
//! lengths that nobody has memory for, depths that no stack has, and past failures. Then it changes
//! samples at random, as [`Mutator`] does. It runs on stable Rust without instrumentation: OpenVM
//! takes twelve minutes to compile with other flags, so the mutations know the formats instead of
//! the coverage.
//!
//! Two targets are elsewhere, beside the code that makes their samples: proofs, in the engine's
//! `proof_bytes` and in the tests of `myriad prove`, which have real ones. The rows of the journal
//! are a target, and its pages are not: redb, which reads them, ends the process over some changed
//! ones, and only this machine writes them.
//!
//! Programs that load are also executed. `programs` changes them instruction by instruction, so
//! that most of them load. `extensions` makes programs that use OpenVM's extensions.
//! `bin/engine-worker.rs` is the child process that a harmful program ends.
//!
//! `samples/fibonacci.vmexe` is `guests/elf/fibonacci.elf` as OpenVM writes programs.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

pub mod extensions;
mod mutate;
pub mod programs;
mod rpc;
mod streams;
pub mod targets;

pub use mutate::{Mutator, Rng};
pub use targets::{Target, all};

/// A number that the environment may set.
///
/// # Panics
/// If the environment sets it to anything but a number.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}
