//! Fleets at work: `myriad simulate`. Requesters with blocks or streams of them, machines of many classes that come and
//! go, links that fill up, and between them the state machine itself ([`myriad_core::Requester`]), in virtual time.
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
//! What tasks take is from machine profiles by [`myriad_cost::model`]; nothing is drawn but what the scenario says is. Where the
//! simulations of [`crate::faults`] look for violations among faults, these ask how long it takes.
//! `docs/SIMULATION.md` has the assumptions.

mod charts;
mod file;
mod link;
mod machine;
mod outcome;
mod rehearsal;
mod setup;
mod world;

#[cfg(test)]
mod tests;

use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

pub use charts::charts;
use file::MBIT;
pub use file::{Copies, MachineTable, RequesterTable, ScenarioError, ScenarioFile, Spread};
pub use outcome::{Block, Counts, Moment, Outcome, RequesterOutcome, Summary, WorldOutcome};
pub use rehearsal::{MACHINES_REHEARSED_MAX, Rehearsal, RehearsalError, rehearse};
pub use setup::Setup;

/// Plays the worlds of a scenario, as many at once as there are cores; `done` is told after each how many are done.
pub fn simulate(setup: &Setup, done: impl Fn(u64) + Sync) -> Outcome {
    let file = setup.file();
    let worlds: Mutex<Vec<WorldOutcome>> = Mutex::default();
    let (next, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        for _ in 0..threads.min(file.seeds as usize) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= file.seeds {
                        break;
                    }
                    let world = world::play(setup, file.seed.wrapping_add(place));
                    worlds.lock().unwrap_or_else(PoisonError::into_inner).push(world);
                    done(ended.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    let mut worlds = worlds.into_inner().unwrap_or_else(PoisonError::into_inner);
    worlds.sort_by_key(|world| world.seed.wrapping_sub(file.seed));
    Outcome::of(worlds)
}
