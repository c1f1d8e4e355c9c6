//! The peers of the service.

use serde::{Deserialize, Serialize};

use crate::{TaskName, names::names};

/// The peers that are connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Peers {
    /// All that are connected.
    pub connected: u64,
    /// Those with a task first, and then those of the highest speed; 10,000 at most.
    pub peers: Vec<Peer>,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Peer {
    /// Its id on the network.
    pub id: String,
    /// The short form of the id, as progress displays and logs have it.
    pub name: String,
    /// The build that it says it is.
    pub build: String,
    /// The engines that it says it has.
    pub engines: Vec<String>,
    pub state: PeerState,
    pub standing: Standing,
    /// The tasks that it has a lease of.
    pub tasks: Vec<PeerTask>,
    /// Its speed at segments, in thousandths of that of the machine that costs are measured on;
    /// none before it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_milli: Option<u32>,
    /// Proofs of it that were accepted, as far as this service remembers.
    pub accepted: u64,
}

/// What a peer does for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    Proving,
    Idle,
    /// It is no prover, or has no engine that the service asks for.
    Bystander,
    /// One of a later release. No service sends it.
    #[serde(skip_deserializing)]
    Unknown,
}

names!(PeerState {
    Proving = "proving",
    Idle = "idle",
    Bystander = "bystander",
});

/// How far a peer is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A machine of the service's own.
    Own,
    /// It has delivered proofs that were accepted.
    Proven,
    Stranger,
    /// It gets no tasks any more.
    Banned,
    /// One of a later release. No service sends it.
    #[serde(skip_deserializing)]
    Unknown,
}

names!(Standing {
    Own = "own",
    Proven = "proven",
    Stranger = "stranger",
    Banned = "banned",
});

/// A task of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerTask {
    pub job: String,
    pub task: TaskName,
}
