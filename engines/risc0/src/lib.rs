//! The work of an engine's child for RISC Zero: execute, cut, prove, lift, join, verify.
//!
//! [`child`] is what `myriad_engine::worker` asks for. [`program`] reads what comes from outside.
//! [`execution`] runs a program and gives the segments as they are cut, and [`host`] answers its
//! system calls; [`watch`] bounds what that takes. [`claims`] says what a segment or a receipt
//! states. [`receipts`] has the bytes of proofs and verifies them; [`recursion`] makes nodes and
//! the final receipt. [`memory`] predicts memory, and [`pages`] counts that of programs.
//!
//! The tree is that of every engine. A segment proof is a `SegmentReceipt`. A leaf lifts it to a
//! `SuccinctReceipt`, and a node above joins two of these, or hands on the one that it has. The
//! final file is a `Receipt`, as a stock RISC Zero verifies it.
//!
//! *Architecture invariant:* every execution of a program on an input is the same on all machines:
//! its random bytes follow from the two.
//!
//! *Architecture invariant:* the bytes of a proof are hostile, and so are those of a program. They
//! are bounded before they are decoded, and RISC Zero's code never sees a seal whose shape was not
//! looked at.

mod child;
mod claims;
mod execution;
mod host;
mod memory;
mod pages;
mod plan;
mod program;
mod prove;
mod receipts;
mod recursion;
#[cfg(test)]
mod samples;
mod watch;

pub use child::{Child, serve};
