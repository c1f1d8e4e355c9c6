//! Random circuits, and a transcript that leaves a prover no choice.

pub mod booleans;
pub mod circuit;
pub mod transcript;
