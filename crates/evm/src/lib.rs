//! Stateless validation of Ethereum blocks.
#![cfg_attr(not(feature = "host"), no_std)]

extern crate alloc;

pub mod trie;
