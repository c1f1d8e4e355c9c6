//! Fuzz targets: what decodes bytes from a peer, a file or the network, given bytes that are nearly
//! right.
//!
//! Each [`Target`] has valid samples, made from real values, so that they follow the formats by
//! themselves. `tests/targets.rs` checks that the samples decode, replays what `corpus/TARGET/` has
//! (lengths that nobody has memory for, depths that no stack has, and whatever showed a fault
//! once), and then changes samples at random, as [`Mutator`] does. It runs on stable Rust without
//! instrumentation: OpenVM takes twelve minutes to compile with other flags, so the mutations know
//! the formats instead of the coverage.
//!
//! Two are elsewhere, beside what makes their samples: proofs, in the engine's `proof_bytes` and in
//! the tests of `myriad prove`, which have real ones. The pages of the journal are no target, only
//! its rows: redb, which reads them, ends the process over some that were changed, and nobody but
//! this machine writes them.
//!
//! Programs are also executed where they load: `programs` changes them instruction by instruction,
//! so that most of them do, `extensions` makes such that use OpenVM's extensions, and
//! `bin/engine-worker.rs` is the child process that a harmful one ends.
//!
//! `samples/fibonacci.vmexe` is `guests/elf/fibonacci.elf` as OpenVM writes programs.

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
/// Where it is set to something else.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}
