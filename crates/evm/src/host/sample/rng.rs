//! The sample chain's randomness: the same seed gives the same numbers, on every machine and in
//! every version. Hence ChaCha8's stream itself, and none of the distributions of `rand`, which
//! may change.

use alloy_primitives::{Address, B256, U256};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// Numbers that follow from a seed.
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// A generator whose numbers follow from the seed.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number from 0 to `end` - 1, as good as evenly spread: the bias is under `end` / 2^64.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `start` to `end` - 1.
    pub(super) fn between(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end - start)
    }

    /// An index of a list that is not empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// 32 random bytes.
    pub fn hash(&mut self) -> B256 {
        let mut bytes = B256::ZERO;
        self.0.fill_bytes(&mut bytes[..]);
        bytes
    }

    pub(super) fn address(&mut self) -> Address {
        let mut bytes = Address::ZERO;
        self.0.fill_bytes(&mut bytes[..]);
        bytes
    }

    /// An amount with 18 decimals, from about 0.001 to 1,000 units, small ones more often than
    /// large ones: six decades, each as likely.
    pub(super) fn amount(&mut self) -> U256 {
        let decade = U256::from(10).pow(U256::from(self.between(12, 18)));
        U256::from(self.between(1_000, 10_000)) * decade / U256::from(10)
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            items.swap(last, other);
        }
    }
}
