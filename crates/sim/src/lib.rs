//! Worlds of peers in virtual time around the job state machine of Myriad.
//!
//! The requester is [`myriad_core::Requester`] itself, not a copy; what is simulated is all around it:
//! provers with their habits, messages that take time and get lost, crashes of either side, and a disk
//! that has what was made durable. Every property in [`myriad_core::check`] is watched, and when the
//! faults are over every job has to get done.
//!
//! A world follows from its [`Scenario`], and that from a seed: the same seed gives the same
//! [`Report::log`].

mod prover;
mod queue;
mod rng;
pub mod scenario;
mod world;

pub use rng::Rng;
pub use scenario::Scenario;
pub use world::{Failure, Report, run};
