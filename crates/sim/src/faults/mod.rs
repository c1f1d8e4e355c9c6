//! Simulates one requester and its peers while anything goes wrong that can, and watches for
//! violations of the rules.
//!
//! The requester is [`myriad_core::Requester`] itself, not a copy. Its surroundings are simulated:
//! provers with their habits, messages that take time and get lost, crashes of either side, and a
//! disk that keeps what was made durable. Every property in [`myriad_core::invariants`] is watched,
//! and when the faults are over every job has to get done.
//!
//! A simulation follows from its [`Scenario`], and that from a seed: the same seed gives the same
//! [`Report::log`].

pub mod heft;
mod prover;
pub mod scenario;
mod simulation;

pub use scenario::Scenario;
pub use simulation::{Failure, Report, run};
