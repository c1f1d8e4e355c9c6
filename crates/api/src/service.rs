//! The service as a whole.

use serde::{Deserialize, Serialize};

/// The service: what it is, and what it does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Service {
    /// The build, such as `myriad 0.1.0`.
    pub build: String,
    /// Its id on the network.
    pub peer: String,
    pub started_ms: u64,
    pub now_ms: u64,
    /// The engines whose jobs it takes.
    pub engines: Vec<String>,
    /// Jobs that are not over, and the most of them that it takes.
    pub jobs: u64,
    pub jobs_max: u64,
    /// Tasks that are being made.
    pub running: u64,
    /// Tasks whose proofs were accepted since the start.
    pub accepted: u64,
    pub traffic: Traffic,
    /// Bytes that the data folder's file system has left, and all that it has.
    pub disk_free_bytes: u64,
    pub disk_bytes: u64,
}

/// The traffic of the network since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Traffic {
    /// Peers that are connected.
    pub peers: u64,
    /// Bytes of programs, inputs and proofs.
    pub received_bytes: u64,
    pub sent_bytes: u64,
}
