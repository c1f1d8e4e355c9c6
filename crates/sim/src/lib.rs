//! Myriad's own state machine in virtual time, in two parts:
//!
//! - [`faults`]: does it keep its rules, and get every job done, whatever goes wrong?
//! - [`fleet`]: how long does it take with thousands of machines, and what is in the way?
//!
//! The costs of tasks come from the cost model ([`myriad_cost`]). [`plot`] draws plots as SVG, and
//! [`charts`](mod@charts) those of a machine's profile.
//!
//! The library does no I/O but reading a scenario that it is told to. The binary runs simulations
//! by their seeds, and makes `docs/report`.

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

pub mod charts;
pub mod faults;
pub mod fleet;
mod peer;
pub mod plot;
mod queue;
mod rng;

pub use peer::Habit;
pub use rng::Rng;
