//! Random numbers that are the same on every machine.

use std::{ops::Range, time::Duration};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A generator for one purpose of one simulation. Only integers are drawn: what floating point
/// makes of logarithms differs between platforms.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The generator of a seed for a purpose: draws for one purpose do not change another.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("myriad simulation v1");
        hasher.update(&seed.to_le_bytes()).update(purpose.as_bytes());
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of a 64-bit remainder is far below anything a simulation could show.
        if end == 0 { 0 } else { self.0.next_u64() % end }
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        let micros = |duration: Duration| duration.as_micros() as u64;
        Duration::from_micros(self.within(micros(range.start)..micros(range.end)))
    }

    /// True this many times in a thousand.
    pub fn chance(&mut self, thousandths: u32) -> bool {
        self.below(1000) < u64::from(thousandths)
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for end in (1..all.len()).rev() {
            all.swap(end, self.below(end as u64 + 1) as usize);
        }
    }
}
