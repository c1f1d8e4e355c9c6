//! What proving takes, on paper and in virtual time: the cost model, the planner and the simulator.
//!
//! - [`profile`]: what was measured on a machine, as a file; [`model`]: what any task takes, from that; [`accuracy`]: how
//!   well it predicts what it has not seen.
//! - [`reference`](mod@reference): the machine that all others are measured against.
//! - [`planner`]: the best segments and tree for a fleet, how long that takes, and what binds.
//! - [`plot`]: plots as SVG; [`charts`](mod@charts): those of a profile.
//! - [`fleet`]: fleets at work for requesters with streams of blocks, from a scenario file.
//! - [`run`]: worlds of peers around the job state machine.
//!
//! It does no I/O but reading a profile or a scenario that it is told to, and knows neither the engine nor the network, so that the
//! drivers of both can choose with it.
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

pub mod accuracy;
pub mod charts;
pub mod fleet;
pub mod model;
pub mod planner;
pub mod plot;
pub mod profile;
mod prover;
mod queue;
pub mod reference;
mod rng;
pub mod scenario;
mod world;

pub use rng::Rng;
pub use scenario::Scenario;
pub use world::{Failure, Report, run};
