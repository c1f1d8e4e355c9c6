//! The costs of proving, on paper: the profile of a machine, the cost model, and the planner.
//!
//! - [`profile`]: the measurements of a machine, as a file.
//! - [`model`]: the cost of any task, fitted to a profile; [`accuracy`]: how well it predicts
//!   measurements that it has not seen.
//! - [`reference`](mod@reference): the machine that all others are measured against.
//! - [`trees`]: aggregation trees on paper, and the choice of one; [`job`]: the choice for a
//!   present job.
//! - [`planner`]: the best segments and tree for a fleet, how long a job takes there, and what
//!   limits it.
//!
//! It reads no clock, draws no number, and does no I/O but reading a profile that it is told to. It
//! knows neither the engine, nor the network, nor a simulator, so that the drivers, the planner and
//! the simulator can all choose with it.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

pub mod accuracy;
pub mod job;
#[doc(hidden)]
pub mod lawful;
pub mod model;
pub mod planner;
pub mod profile;
pub mod reference;
pub mod trees;
