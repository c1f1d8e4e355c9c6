//! `myriad serve`, as its page describes it: with a real service, real proofs, and the shell.
//!
//! A test of its own, beside those in `cli`: it keeps all cores busy for minutes.

mod docs;
mod serve;
