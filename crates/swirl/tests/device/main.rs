//! The device beside OpenVM's CPU device: the same proofs, the same openings, and a reason for
//! whatever does not fit. They are one target, since each would compile both devices once more.

mod common;
mod misfits;
mod openings;
mod same_proofs;
