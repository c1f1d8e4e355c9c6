//! `native_keccak256`, which alloy-primitives calls for each hash (feature `native-keccak`), by the
//! VM's instructions.
//!
//! The instructions want words: aligned addresses and whole lengths. Nodes and codes of a witness
//! are aligned in the input, so that most blocks are absorbed from where they are.

use core::slice;

use myriad_evm::accounting::{Kind, scope};

const HASH_BYTES: usize = 32;

/// Writes the Keccak-256 hash of `length` bytes to 32 bytes at `output`.
///
/// # Safety
/// The input is there to be read, and the output to be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn native_keccak256(bytes: *const u8, length: usize, output: *mut u8) {
    // SAFETY: the caller says so.
    let bytes = unsafe { slice::from_raw_parts(bytes, length) };
    let hash = scope::<{ Kind::Keccak as u32 }, _>(|| hash(bytes));
    // SAFETY: the caller says that there is room.
    unsafe { output.copy_from_nonoverlapping(hash.as_ptr(), HASH_BYTES) };
}

/// Outside the VM, for tests.
#[cfg(not(target_os = "zkvm"))]
fn hash(bytes: &[u8]) -> [u8; HASH_BYTES] {
    use tiny_keccak::Hasher;

    let mut hash = [0; HASH_BYTES];
    let mut hasher = tiny_keccak::Keccak::v256();
    hasher.update(bytes);
    hasher.finalize(&mut hash);
    hash
}

#[cfg(target_os = "zkvm")]
use vm::hash;

#[cfg(target_os = "zkvm")]
mod vm {
    use openvm_keccak256_guest::{
        KECCAK_RATE, KECCAK_WIDTH_BYTES, KECCAKF_FUNCT3, KECCAKF_FUNCT7, OPCODE, XORIN_FUNCT3, XORIN_FUNCT7,
    };

    use super::HASH_BYTES;

    const WORD_BYTES: usize = 4;

    #[repr(C, align(4))]
    struct State([u8; KECCAK_WIDTH_BYTES]);

    #[repr(C, align(4))]
    struct Block([u8; KECCAK_RATE]);

    impl State {
        /// Combines up to one block with the state.
        #[inline(always)]
        fn absorb(&mut self, block: &[u8]) {
            let whole = block.len() / WORD_BYTES * WORD_BYTES;
            if block.as_ptr().addr().is_multiple_of(WORD_BYTES) {
                self.xor_words(block.as_ptr(), whole);
            } else {
                let mut aligned = Block([0; KECCAK_RATE]);
                aligned.0[..whole].copy_from_slice(&block[..whole]);
                self.xor_words(aligned.0.as_ptr(), whole);
            }
            for (state, byte) in self.0[whole..].iter_mut().zip(&block[whole..]) {
                *state ^= byte;
            }
        }

        /// `bytes` is aligned, and there are `length` of them: whole words, at most one block.
        #[inline(always)]
        fn xor_words(&mut self, bytes: *const u8, length: usize) {
            if length == 0 {
                return;
            }
            let mut state = self.0.as_mut_ptr();
            openvm::platform::custom_insn_r!(
                opcode = OPCODE,
                funct3 = XORIN_FUNCT3,
                funct7 = XORIN_FUNCT7,
                rd = InOut state,
                rs1 = In bytes,
                rs2 = In length
            );
            let _ = state;
        }

        #[inline(always)]
        fn permute(&mut self) {
            let mut state = self.0.as_mut_ptr();
            openvm::platform::custom_insn_r!(
                opcode = OPCODE,
                funct3 = KECCAKF_FUNCT3,
                funct7 = KECCAKF_FUNCT7,
                rd = InOut state,
                rs1 = Const "x0",
                rs2 = Const "x0",
            );
            let _ = state;
        }
    }

    pub(super) fn hash(bytes: &[u8]) -> [u8; HASH_BYTES] {
        let mut state = State([0; KECCAK_WIDTH_BYTES]);
        let mut blocks = bytes.chunks_exact(KECCAK_RATE);
        for block in &mut blocks {
            state.absorb(block);
            state.permute();
        }
        let rest = blocks.remainder();
        state.absorb(rest);
        // The padding of Keccak: a one, zeros, and a one in the last bit of the block.
        state.0[rest.len()] ^= 0x01;
        state.0[KECCAK_RATE - 1] ^= 0x80;
        state.permute();
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(&state.0[..HASH_BYTES]);
        hash
    }
}
