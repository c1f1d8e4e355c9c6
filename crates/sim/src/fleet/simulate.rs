//! Plays the worlds of a scenario, side by side.

use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{
    outcome::{Outcome, WorldOutcome},
    setup::Setup,
    world,
};

/// Plays the worlds of a scenario, as many at once as there are cores; `done` is told after each
/// how many are done.
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
