//! The binary as a person or a script meets it: its output, and its exit codes.
//!
//! Everything that proves is in [`prove`], one test at a time, since each proof takes all cores for
//! minutes.

mod api_keys;
mod bad_input;
mod bench;
mod block;
mod common;
mod each;
mod engines;
mod execute;
mod keys;
mod plan;
mod prove;
mod simulate;
mod status;
mod usage;
mod worker;
