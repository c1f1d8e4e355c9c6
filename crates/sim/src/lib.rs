//! Proving in virtual time: fleets at work, and worlds in which anything goes wrong, around Myriad's own state machine.
//!
//! - [`fleet`]: fleets at work for requesters with streams of blocks, from a scenario file.
//! - [`run`]: worlds of peers around the job state machine.
//! - [`plot`]: plots as SVG; [`charts`](mod@charts): those of a machine's profile.
//!
//! What tasks take on a fleet is the cost model's ([`myriad_cost`]). It does no I/O but reading a scenario that it is told to.
//!
//! # Worlds
//!
//! The requester is [`myriad_core::Requester`] itself, not a copy; what is simulated is all around it:
//! provers with their habits, messages that take time and get lost, crashes of either side, and a disk
//! that has what was made durable. Every property in [`myriad_core::check`] is watched, and when the
//! faults are over every job has to get done.
//!
//! A world follows from its [`Scenario`], and that from a seed: the same seed gives the same
//! [`Report::log`].

pub mod charts;
pub mod fleet;
pub mod plot;
mod prover;
mod queue;
mod rng;
pub mod scenario;
mod world;

pub use rng::Rng;
pub use scenario::Scenario;
pub use world::{Failure, Report, run};
