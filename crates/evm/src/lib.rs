//! The L2 block workload.

#[cfg(feature = "host")]
pub mod host;
