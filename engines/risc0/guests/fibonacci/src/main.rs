//! The `n`-th Fibonacci number modulo 2^64: a program whose length is chosen by its input, for
//! tests and benchmarks. It is `guests/fibonacci` for RISC Zero, with the same input and output.
//!
//! Input: `n` as 4 or 8 little-endian bytes.
//!
//! Journal, 32 bytes:
//!
//! | bytes  | content                               |
//! |--------|---------------------------------------|
//! | 0..8   | `n`, little-endian                    |
//! | 8..16  | `fib(n) mod 2^64`, little-endian      |
//! | 16..32 | zero                                  |

#![cfg_attr(target_os = "zkvm", no_main, no_std)]
#![cfg_attr(
    not(any(target_os = "zkvm", test)),
    expect(dead_code, reason = "only the VM and tests run it")
)]

#[cfg(target_os = "zkvm")]
risc0_zkvm::guest::entry!(main);

#[cfg(target_os = "zkvm")]
fn main() {
    let public_values = public_values(&myriad_risc0_input::read());
    risc0_zkvm::guest::env::commit_slice(&public_values);
}

/// A program of the VM does nothing outside of it.
#[cfg(not(target_os = "zkvm"))]
fn main() {}

fn public_values(input: &[u8]) -> [u8; 32] {
    let n = parse_n(input);
    let mut public_values = [0; 32];
    public_values[..8].copy_from_slice(&n.to_le_bytes());
    public_values[8..16].copy_from_slice(&fibonacci(n).to_le_bytes());
    public_values
}

fn parse_n(input: &[u8]) -> u64 {
    if let Ok(bytes) = input.try_into() {
        u32::from_le_bytes(bytes).into()
    } else if let Ok(bytes) = input.try_into() {
        u64::from_le_bytes(bytes)
    } else {
        panic!(
            "fibonacci reads n as 4 or 8 little-endian bytes, but its input has {} bytes",
            input.len()
        );
    }
}

/// `fib(0) = 0`, `fib(1) = 1`. One addition for each step, on purpose: the work is proportional to
/// `n`.
fn fibonacci(n: u64) -> u64 {
    let (mut current, mut next) = (0u64, 1u64);
    for _ in 0..n {
        (current, next) = (next, current.wrapping_add(next));
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_sequence_and_wraps() {
        assert_eq!([0, 1, 2, 3, 10].map(fibonacci), [0, 1, 1, 2, 55]);
        assert_eq!(
            fibonacci(93),
            12_200_160_415_121_876_738,
            "the last that fits 64 bits"
        );
        assert_eq!(fibonacci(94), fibonacci(92).wrapping_add(fibonacci(93)));
    }

    #[test]
    fn reads_both_widths() {
        assert_eq!(parse_n(&7u32.to_le_bytes()), 7);
        assert_eq!(parse_n(&u64::MAX.to_le_bytes()), u64::MAX);
    }

    #[test]
    fn public_values_have_n_and_the_number() {
        let mut expected = [0; 32];
        (expected[0], expected[8]) = (10, 55);
        assert_eq!(public_values(&10u32.to_le_bytes()), expected);
    }

    #[test]
    #[should_panic(expected = "4 or 8 little-endian bytes, but its input has 5 bytes")]
    fn names_a_wrong_length() {
        parse_n(&[0; 5]);
    }
}
