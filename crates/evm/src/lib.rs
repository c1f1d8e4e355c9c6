//! Stateless validation of Ethereum blocks.
//!
//! The crate takes a block, its parent and the part of the state that the block reads (the
//! *witness*), and checks all that a stateless client checks. It runs twice: inside the zkVM, where
//! the guest `guests/evm-block` calls [`validate`] and reveals [`Outcome::public_values`], and on
//! the host, where the same code says beforehand whether a block is worth proving.
//!
//! The validation reads no file, no clock and no network: all of that is in the `host` module,
//! which the guest does not have. It trusts no length that it has not checked, and never takes a
//! missing trie node for an empty one.
//!
//! - [`StatelessInput`]: the input, and its encoding as the guest's input bytes
//! - [`ChainConfig`]: forks by timestamp, from Paris to Osaka
//! - [`RuleSet`]: the rules in which a family of chains differs from Ethereum
//! - [`trie`]: a Merkle-Patricia trie over a witness
//! - [`validate`]: the checks, and their result
//! - [`BlockError`]: each way in which a block or its witness can be wrong
//! - [`codes`]: how the codes of a witness lie in the input
//! - [`crypto`]: the hook for accelerated signature recovery
//! - [`arithmetic`]: divisions on the VM's words
//! - [`accounting`]: marks by which the guest's instructions are counted
#![cfg_attr(not(feature = "host"), no_std)]
#![warn(unreachable_pub)]

extern crate alloc;

pub mod accounting;
pub mod arithmetic;
pub mod chain;
pub mod codes;
pub mod crypto;
pub mod error;
pub mod execute;
pub mod fork;
mod header;
#[cfg(feature = "host")]
pub mod host;
pub mod input;
pub mod rules;
mod state;
pub mod trie;

pub use chain::{BlobParams, BlobSchedule, ChainConfig};
pub use error::{BlockError, InputError};
#[cfg(feature = "host")]
pub use execute::{AccountChange, StateChanges, validate_with_changes};
pub use execute::{Outcome, WitnessUse, validate, validate_recording};
pub use fork::Fork;
pub use input::{Parent, StatelessInput};
pub use rules::RuleSet;

/// A transaction as a block holds it: a blob transaction has no sidecar.
pub type Transaction = alloy_consensus::EthereumTxEnvelope<alloy_consensus::TxEip4844>;
/// A block as it travels in RLP.
pub type Block = alloy_consensus::Block<Transaction>;
