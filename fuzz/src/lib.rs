//! Fuzz targets: what decodes bytes from a peer, a file or the network, given bytes that are nearly right.
//!
//! Each [`Target`] has valid samples, made from real values, so that they follow the formats by themselves. `tests/targets.rs`
//! checks that the samples decode, replays what `corpus/TARGET/` has (inputs that once showed a fault), and then changes
//! samples at random, as [`Mutator`] does. It runs on stable Rust without instrumentation: OpenVM takes twelve minutes to
//! compile with other flags, so the mutations know the formats instead of the coverage.
//!
//! The pages of the journal are not among the targets: redb, which reads them, ends the process over some that were changed.
//! Nobody but this machine writes them.

mod mutate;
mod streams;
pub mod targets;

pub use mutate::Mutator;
pub use targets::{Target, all};
