//! `native_keccak256`, which alloy-primitives calls for each hash (feature `native-keccak`).
//!
//! RISC Zero's VM has no instruction for it, and its coprocessor proves apart from the segments, so
//! this is software. Most cycles of a block are in the permutation, which is why it is in machine
//! code.

use myriad_evm::accounting::{Kind, scope};

const HASH_BYTES: usize = 32;
const WORD_BYTES: usize = 4;
/// Bytes that are combined with the state before each permutation.
const RATE: usize = 136;
const STATE_WORDS: usize = 50;
/// Lanes that the permutation keeps inverted.
const INVERTED: [usize; 6] = [1, 2, 8, 12, 17, 20];

/// Writes the Keccak-256 hash of `length` bytes to 32 bytes at `output`.
///
/// # Safety
/// The input is there to be read, and the output to be written.
#[cfg(target_os = "zkvm")]
#[unsafe(no_mangle)]
unsafe extern "C" fn native_keccak256(bytes: *const u8, length: usize, output: *mut u8) {
    // SAFETY: the caller says so.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, length) };
    let hash = keccak256(bytes);
    // SAFETY: the caller says that there is room.
    unsafe { output.copy_from_nonoverlapping(hash.as_ptr(), HASH_BYTES) };
}

fn keccak256(bytes: &[u8]) -> [u8; HASH_BYTES] {
    scope::<{ Kind::Keccak as u32 }, _>(|| {
        let mut sponge = Sponge::new();
        let (blocks, rest) = bytes.as_chunks::<RATE>();
        for block in blocks {
            sponge.absorb(block);
            sponge.permute();
        }
        // The padding of Keccak: a one, zeros, and a one in the last bit of the block.
        let mut last = Block([0; RATE]);
        last.0[..rest.len()].copy_from_slice(rest);
        last.0[rest.len()] = 0x01;
        last.0[RATE - 1] ^= 0x80;
        sponge.absorb(&last.0);
        sponge.permute();
        sponge.hash()
    })
}

#[repr(C, align(4))]
struct Block([u8; RATE]);

/// The state, the lower word of each lane first, and as much room for every second round.
#[repr(C)]
struct Sponge([u32; 2 * STATE_WORDS]);

impl Sponge {
    fn new() -> Self {
        let mut words = [0; 2 * STATE_WORDS];
        for lane in INVERTED {
            words[2 * lane..][..2].fill(u32::MAX);
        }
        Self(words)
    }

    #[inline(always)]
    fn absorb(&mut self, block: &[u8; RATE]) {
        let (words, _) = block.as_chunks::<WORD_BYTES>();
        if block.as_ptr().addr().is_multiple_of(WORD_BYTES) {
            let words = words.as_ptr().cast::<u32>();
            for (i, state) in self.0[..RATE / WORD_BYTES].iter_mut().enumerate() {
                // SAFETY: the block has so many words, and they are aligned.
                *state ^= u32::from_le(unsafe { words.add(i).read() });
            }
        } else {
            for (state, &word) in self.0.iter_mut().zip(words) {
                *state ^= u32::from_le_bytes(word);
            }
        }
    }

    #[cfg(target_os = "zkvm")]
    fn permute(&mut self) {
        // SAFETY: there is room for two states.
        unsafe { myriad_keccak_f(self.0.as_mut_ptr()) };
    }

    /// Outside the VM, for tests.
    #[cfg(not(target_os = "zkvm"))]
    fn permute(&mut self) {
        let (state, _) = self.0.as_chunks_mut::<2>();
        let inversion = |i: usize| if INVERTED.contains(&i) { u64::MAX } else { 0 };
        let mut lanes: [u64; STATE_WORDS / 2] = core::array::from_fn(|i| {
            let [low, high] = state[i].map(u64::from);
            (high << 32 | low) ^ inversion(i)
        });
        tiny_keccak::keccakf(&mut lanes);
        for (i, (words, lane)) in state.iter_mut().zip(lanes).enumerate() {
            let lane = lane ^ inversion(i);
            *words = [lane as u32, (lane >> 32) as u32];
        }
    }

    fn hash(&self) -> [u8; HASH_BYTES] {
        let mut hash = [0; HASH_BYTES];
        let (words, _) = hash.as_chunks_mut();
        for (i, (word, state)) in words.iter_mut().zip(self.0).enumerate() {
            let inversion = if INVERTED.contains(&(i / 2)) { u32::MAX } else { 0 };
            *word = (state ^ inversion).to_le_bytes();
        }
        hash
    }
}

#[cfg(target_os = "zkvm")]
core::arch::global_asm!(include_str!("permutation.s"));

#[cfg(target_os = "zkvm")]
unsafe extern "C" {
    /// 24 rounds on the first of two states; the second is overwritten.
    fn myriad_keccak_f(states: *mut u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around the ends of blocks, from aligned addresses and from others. The permutation
    /// in machine code is tested by the blocks that the whole program executes.
    #[test]
    fn all_lengths_and_alignments_hash_as_elsewhere() {
        let bytes: Vec<u8> = (0..600_u32).map(|i| (i * i / 7) as u8).collect();
        for start in 0..4 {
            for length in 0..=410 {
                let bytes = &bytes[start..][..length];
                assert_eq!(
                    keccak256(bytes),
                    alloy_primitives::keccak256(bytes).0,
                    "{length} bytes from {start}"
                );
            }
        }
    }
}
