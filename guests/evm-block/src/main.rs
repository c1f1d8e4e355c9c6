//! Validates an Ethereum block: `myriad_evm::validate`, inside the zkVM.
//!
//! Input: one buffer, `myriad_evm::StatelessInput` in its own encoding.
//!
//! Public values: the 32 bytes of `myriad_evm::execute::public_values`. They are revealed only if
//! the block is valid; otherwise the program panics with what is wrong.
//!
//! The features `keccak` and `secp256k1` (both are on by default) choose the VM's extensions
//! instead of software; the VM configuration has to have those that the program uses.

extern crate alloc;

#[cfg(feature = "precompiles")]
mod bls12_381;
#[cfg(feature = "precompiles")]
mod bn254;
#[cfg(feature = "secp256k1")]
mod curve;
#[cfg(feature = "secp256k1")]
mod digits;
#[cfg(feature = "precompiles")]
mod field;
#[cfg(feature = "secp256k1")]
mod fields;
#[cfg(feature = "secp256k1")]
mod host;
#[cfg(feature = "keccak")]
mod keccak;
#[cfg(target_os = "zkvm")]
mod memcmp;
#[cfg(feature = "secp256k1")]
mod modexp;
#[cfg(feature = "precompiles")]
mod p256;
#[cfg(feature = "precompiles")]
mod pairing;
#[cfg(feature = "precompiles")]
mod point;
#[cfg(feature = "secp256k1")]
mod precompiles;
#[cfg(feature = "secp256k1")]
mod product;
#[cfg(feature = "secp256k1")]
mod recover;
#[cfg(feature = "precompiles")]
mod sha256;

use myriad_evm::accounting::{Kind, scope};

openvm::entry!(main);

fn main() {
    #[cfg(feature = "secp256k1")]
    {
        myriad_evm::crypto::install(precompiles::VmCrypto(recover::VmRecover::new()));
        myriad_evm::arithmetic::multiply_by(product::product);
    }

    let input = scope::<{ Kind::Input as u32 }, _>(|| {
        let input = openvm::io::read_vec();
        myriad_evm::StatelessInput::decode(input.into())
    });
    let outcome = input
        .map_err(Into::into)
        .and_then(|input| myriad_evm::validate(&input));
    match outcome {
        Ok(outcome) => openvm::io::reveal_bytes32(outcome.public_values.0),
        Err(error) => panic!("{error}"),
    }
}
