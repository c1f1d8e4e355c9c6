//! The input of Myriad's guests for RISC Zero: the bytes of all input items, one after the other,
//! on standard input.

#![no_std]

extern crate alloc;

use alloc::vec::Vec;

use risc0_zkvm_platform::{fileno::STDIN, syscall::sys_read};

/// Longest input, in bytes: what the host lets in. Memory that is never touched costs nothing.
pub const INPUT_BYTES_MAX: usize = 256 << 20;

/// Reads standard input up to its end.
///
/// # Panics
/// It has more than [`INPUT_BYTES_MAX`].
pub fn read() -> Vec<u8> {
    let mut input = Vec::with_capacity(INPUT_BYTES_MAX + 1);
    // SAFETY: the buffer has so much room.
    let length = unsafe { sys_read(STDIN, input.as_mut_ptr(), input.capacity()) };
    assert!(
        length <= INPUT_BYTES_MAX,
        "the input has more than {INPUT_BYTES_MAX} bytes"
    );
    // SAFETY: the kernel has written them, and it lets no host claim more than there is room for.
    unsafe { input.set_len(length) };
    input
}
