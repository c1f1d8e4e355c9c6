//! The host side of the block workload: everything around a block that the guest never sees.
//!
//! - [`BlockFile`]: one block, or a batch of them, with the part of the state that they need, as it
//!   lies on disk
//! - [`batch`](batch::batch): several of them as one input
//! - [`import`](import::import): a block file from a node
//! - [`replay`](replay::replay): the blocks of a replay file of Linea's tracer, on a synthetic
//!   state
//! - [`inspect`](inspect::inspect): the content of a block file at a glance
//! - [`precompiles`]: how much a block computes in them, which decides what guest is cheapest
//! - [`sample`]: a made-up block, for use without a node
//! - [`chain_config`]: the rules of a chain that is not built in, in geth's words
//!
//! Called by the command line. Nothing here decides whether a block is valid: that is
//! [`validate`](crate::validate), which host and guest share. These modules only decide whether a
//! file or a node's answer can be handed to it at all.

pub mod batch;
pub mod block_file;
pub mod chain_config;
mod excerpt;
pub mod import;
pub mod inspect;
pub mod precompiles;
pub mod replay;
pub mod sample;
mod system_calls;
pub mod transaction_type;
pub mod unsupported_chain;

pub use batch::{BatchError, batch};
pub use block_file::{BlockFile, BlockFileError, Witness};
