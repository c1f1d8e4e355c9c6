//! Fleets at work: `myriad simulate`. Requesters with blocks or streams of them, machines of many
//! classes that come and go, links that fill up, and between them the state machine itself
//! ([`myriad_core::Requester`]), in virtual time.
//!
//! ```text
//!  ScenarioFile ──▶ Setup: a plan for each requester's blocks, what each task takes on each class
//!   (TOML)            │ one world for each seed, side by side
//!                     ▼
//!                   World: queue of what happens ──▶ Requester (core) ──▶ leases, checks, revocations ─┐
//!                     ▲                                                                              │
//!                     └──── messages, transfers, work, verification take their time ◀────────────────┘
//!                     ▼
//!                   Outcome: makespans, lags, utilisation, waste, bytes
//! ```
//!
//! The costs of tasks come from machine profiles by [`myriad_cost::model`]; only the values that
//! the scenario gives as ranges are drawn. The simulations of [`crate::faults`] look for violations
//! among faults; these ask how long a job takes. `docs/SIMULATION.md` has the assumptions.

mod charts;
mod file;
mod link;
mod machine;
mod outcome;
mod rehearsal;
mod setup;
mod simulate;
mod world;

pub use charts::charts;
pub use file::{Copies, MachineTable, RequesterTable, ScenarioError, ScenarioFile, Spread, WhatIf};
pub use outcome::{Block, Counts, Moment, Outcome, RequesterOutcome, Summary, WorldOutcome};
pub use rehearsal::{MACHINES_REHEARSED_MAX, Rehearsal, RehearsalError, rehearse};
pub use setup::Setup;
pub use simulate::simulate;

#[cfg(test)]
mod tests;
