//! SHA-256 by the VM's instruction for its compression function.

pub const HASH_BYTES: usize = 32;
const WORD_BYTES: usize = 4;
const BLOCK_BYTES: usize = 64;
/// Bytes at the end of the last block that say how many bits were hashed.
const LENGTH_BYTES: usize = 8;

/// The first words of the fractions of the square roots of the first eight primes (FIPS 180-4,
/// section 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[repr(C, align(4))]
struct Block([u8; BLOCK_BYTES]);

/// Combines a block with the state.
#[cfg(target_os = "zkvm")]
#[inline(always)]
fn compress(state: &mut [u32; 8], block: &Block) {
    use openvm_sha2_guest::{OPCODE, SHA2_FUNCT3, Sha2BaseFunct7};

    let (state, block) = (state.as_mut_ptr(), block.0.as_ptr());
    openvm::platform::custom_insn_r!(
        opcode = OPCODE,
        funct3 = SHA2_FUNCT3,
        funct7 = Sha2BaseFunct7::Sha256 as u8,
        rd = In state,
        rs1 = In state,
        rs2 = In block
    );
}

/// Outside the VM, for tests.
#[cfg(not(target_os = "zkvm"))]
fn compress(state: &mut [u32; 8], block: &Block) {
    sha2::compress256(state, &[block.0.into()]);
}

pub fn hash(bytes: &[u8]) -> [u8; HASH_BYTES] {
    let mut state = START;
    let mut blocks = bytes.chunks_exact(BLOCK_BYTES);
    let mut aligned = Block([0; BLOCK_BYTES]);
    let is_aligned = bytes.as_ptr().addr().is_multiple_of(WORD_BYTES);
    for block in &mut blocks {
        if is_aligned {
            // SAFETY: it has the bytes of a block, and its alignment.
            compress(&mut state, unsafe { &*block.as_ptr().cast() });
        } else {
            aligned.0.copy_from_slice(block);
            compress(&mut state, &aligned);
        }
    }
    // The padding: a one, zeros, and the number of bits.
    let rest = blocks.remainder();
    let mut last = Block([0; BLOCK_BYTES]);
    last.0[..rest.len()].copy_from_slice(rest);
    last.0[rest.len()] = 0x80;
    if rest.len() >= BLOCK_BYTES - LENGTH_BYTES {
        compress(&mut state, &last);
        last.0.fill(0);
    }
    let bits = bytes.len() as u64 * 8;
    last.0[BLOCK_BYTES - LENGTH_BYTES..].copy_from_slice(&bits.to_be_bytes());
    compress(&mut state, &last);
    let mut hash = [0; HASH_BYTES];
    for (bytes, word) in hash.chunks_exact_mut(WORD_BYTES).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}
