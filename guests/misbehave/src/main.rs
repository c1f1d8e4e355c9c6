//! A program that fails in the way that its input asks for: it tests how the host reports each
//! failure.
//!
//! Input: one buffer, whose first byte chooses the behaviour (the constants below); the rest is
//! ignored.
//!
//! Public values: [`REVEALED`], if the behaviour is [`SUCCEED`].

#![cfg_attr(target_os = "zkvm", no_main, no_std)]

extern crate alloc;

use core::hint::black_box;

use openvm::{io, platform::rust_rt::terminate};

/// Reveals [`REVEALED`] and exits with code 0.
const SUCCEED: u8 = 0;
/// Panics with the message `misbehave was asked to panic`.
const PANIC: u8 = 1;
/// Exits with [`EXIT_CODE`], without a message.
const EXIT_NON_ZERO: u8 = 2;
/// Never ends; its memory does not grow.
const LOOP_FOR_EVER: u8 = 3;
/// Asks for a second input buffer.
const READ_MISSING_INPUT: u8 = 4;
/// Allocates and touches memory until the allocator gives up.
const ALLOCATE_WITHOUT_END: u8 = 5;

const EXIT_CODE: u8 = 42;

/// The bytes 1 to 32.
const REVEALED: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = i as u8 + 1;
        i += 1;
    }
    bytes
};

openvm::entry!(main);

fn main() {
    let input = io::read_vec();
    let behaviour = *input
        .first()
        .expect("misbehave reads its behaviour from the first input byte, but its input is empty");
    match behaviour {
        SUCCEED => io::reveal_bytes32(REVEALED),
        PANIC => panic!("misbehave was asked to panic"),
        EXIT_NON_ZERO => terminate::<EXIT_CODE>(),
        LOOP_FOR_EVER => loop_for_ever(),
        READ_MISSING_INPUT => drop(black_box(io::read_vec())),
        ALLOCATE_WITHOUT_END => allocate_without_end(),
        other => panic!("misbehave knows no behaviour {other}"),
    }
}

fn loop_for_ever() -> ! {
    let mut counter = 0u32;
    loop {
        counter = black_box(counter.wrapping_add(1));
    }
}

fn allocate_without_end() -> ! {
    const CHUNK_BYTES: usize = 64 * 1024;
    loop {
        core::mem::forget(black_box(alloc::vec![1u8; CHUNK_BYTES]));
    }
}
