//! Validates an Ethereum block: `myriad_evm::validate`, inside RISC Zero's zkVM.
//!
//! Input: `myriad_evm::StatelessInput` in its own encoding.
//!
//! Journal: the 32 bytes of `myriad_evm::execute::public_values`, as of `guests/evm-block`. They
//! are committed only if the block is valid; otherwise the program panics with what is wrong.
//!
//! The VM's accelerators do SHA-256 and the arithmetic of secp256k1. All else is software.

#![cfg_attr(target_os = "zkvm", no_main)]

#[cfg(any(target_os = "zkvm", test))]
mod curve;
#[cfg(any(target_os = "zkvm", test))]
mod field;
#[cfg(any(target_os = "zkvm", test))]
mod keccak;
#[cfg(target_os = "zkvm")]
#[path = "../../../../../guests/evm-block/src/memcmp.rs"]
mod memcmp;
#[cfg(any(target_os = "zkvm", test))]
mod recover;
#[cfg(target_os = "zkvm")]
mod vm;

#[cfg(target_os = "zkvm")]
risc0_zkvm::guest::entry!(main);

#[cfg(target_os = "zkvm")]
fn main() {
    use myriad_evm::accounting::{Kind, scope};

    myriad_evm::crypto::install(vm::VmCrypto::new());
    let input = scope::<{ Kind::Input as u32 }, _>(|| {
        let input = myriad_risc0_input::read();
        myriad_evm::StatelessInput::decode(input.into())
    });
    let outcome = input
        .map_err(Into::into)
        .and_then(|input| myriad_evm::validate(&input));
    match outcome {
        Ok(outcome) => risc0_zkvm::guest::env::commit_slice(&outcome.public_values.0),
        Err(error) => panic!("{error}"),
    }
}

/// A program of the VM does nothing outside of it.
#[cfg(not(target_os = "zkvm"))]
fn main() {}
