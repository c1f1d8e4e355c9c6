//! Choosing an aggregation tree: the one that some workers finish soonest.
//!
//! ```text
//!  what each shape of task takes, and for whom: Times ─┐
//!  arities that fit, each with its Tree ───────────────┴─▶ Candidate: how early could it end?      (bound, microseconds)
//!                                                              │ best first, until none can be better
//!                                                              ▼
//!                                                    list_schedule: when does it end?              (milliseconds)
//!                                                              ▼
//!                                                          Chosen: the tree and its timeline
//! ```
//!
//! The planner calls [`choose()`] for fleets, and the drivers in `myriad-node` call it for their
//! jobs.

mod bound;
mod choose;
mod list_schedule;
mod shape;

pub use choose::{Candidate, Chosen, choose};
pub use list_schedule::{ClassTimes, KINDS, SharedCores, Timeline, Times};
pub use shape::{Shape, arities_up_to, counts, shape};

#[cfg(test)]
mod tests;
