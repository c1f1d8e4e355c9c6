//! The configuration of a node: how it joins the network.

use std::{io, net::IpAddr};

use libp2p::Multiaddr;
use myriad_core::EngineId;
use thiserror::Error;

use crate::{
    blob::BlobStore,
    identity::Identity,
    reach::Scope,
    wire::{ENGINES_MAX, Role},
};

/// The configuration of [`crate::Network::start`].
pub struct Config {
    pub identity: Identity,
    pub role: Role,
    /// Name and version of the software, at most 64 bytes; for people.
    pub build: String,
    /// The engines whose proofs it makes or accepts, [`ENGINES_MAX`] at most.
    pub engines: Vec<EngineId>,
    pub listen: Listen,
    /// Addresses at which others reach this node. A node that has some helps others to find each
    /// other.
    pub external: Vec<Address>,
    /// Peers to begin with.
    pub bootstrap: Vec<Address>,
    /// Whether to look for peers on the local network, and be found there.
    pub mdns: bool,
    /// The store that is served to others, and that fetched blobs go to.
    pub blobs: BlobStore,
    pub limits: Limits,
}

/// The default addresses where a node listens: any port, QUIC and TCP, IPv4 and IPv6. Each is a
/// separate socket, which takes only connections of its own family.
const LISTEN: [&str; 4] = [
    "/ip4/0.0.0.0/udp/0/quic-v1",
    "/ip4/0.0.0.0/tcp/0",
    "/ip6/::/udp/0/quic-v1",
    "/ip6/::/tcp/0",
];

/// The addresses where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Any port of all addresses that the machine has, of either family or of the only one.
    Anywhere,
    /// Each of these addresses.
    At(Vec<Address>),
}

impl Listen {
    /// The addresses, and whether all of them must work.
    pub(crate) fn addresses(&self) -> (Vec<Address>, bool) {
        match self {
            Self::Anywhere => {
                let parsed = LISTEN.map(|text| Address(text.parse().expect("an address")));
                (parsed.to_vec(), false)
            }
            Self::At(addresses) => (addresses.clone(), true),
        }
    }
}

/// The limits of what peers may take from a node.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections. When they are taken, those from networks that have many of them give
    /// way; an eighth is kept for [`crate::Regard::Useful`] peers.
    pub connections: u32,
    /// While the process takes more bytes than this, new connections are refused.
    pub memory_bytes: usize,
    /// Requests that one peer may make in a second, over a while; ten times as many at once.
    pub requests_per_second: u32,
    /// Blobs that are sent at once; a peer that asks for more is told when to come again.
    pub blobs_sent_at_once: usize,
    /// Blobs that are sent to one peer at once.
    pub blobs_sent_per_peer: usize,
    /// The reach of an address, which decides whether a peer may send this node there. It is
    /// [`Scope::of`], except in networks that play the internet.
    pub scope_of: fn(IpAddr) -> Option<Scope>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            memory_bytes: 1 << 30,
            requests_per_second: 20,
            blobs_sent_at_once: 32,
            blobs_sent_per_peer: 4,
            scope_of: Scope::of,
        }
    }
}

/// An address where a node listens or is reached, as `/ip4/192.0.2.1/udp/4001/quic-v1`, with
/// `/p2p/ID` at the end where the peer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub(crate) Multiaddr);

impl std::str::FromStr for Address {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Self, StartError> {
        text.parse().map(Self).map_err(|e| StartError::Address {
            text: text.into(),
            reason: format!("{e}"),
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a node did not join.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(
        "{text:?} is not an address ({reason}); write /ip4/192.0.2.1/udp/4001/quic-v1 or /dns4/example.org/tcp/4001, \
         with /p2p/ID at the end if the peer is known"
    )]
    Address { text: String, reason: String },
    #[error("cannot listen on {address}: {reason}; name another address with --listen")]
    Listen { address: String, reason: String },
    #[error("this machine has {actual} engines, and a greeting has room for {ENGINES_MAX}: lend fewer")]
    Engines { actual: usize },
    #[error("the network cannot be started: {0}")]
    Setup(String),
    #[error("the local network cannot be searched for peers: {0}; --no-mdns turns the search off")]
    Mdns(io::Error),
}

#[cfg(test)]
impl Config {
    /// The configuration of a prover that listens nowhere and knows nobody, with its blobs in
    /// `dir`.
    pub(crate) fn of_lone_prover(dir: &std::path::Path) -> Self {
        Self {
            identity: Identity::ephemeral(),
            role: Role::Prover,
            build: "test".into(),
            engines: Vec::new(),
            listen: Listen::At(Vec::new()),
            external: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            blobs: BlobStore::open(dir, 1 << 20).unwrap(),
            limits: Limits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        for (address, text) in Listen::Anywhere.addresses().0.iter().zip(LISTEN) {
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "127.0.0.1:4001",
            "/ip4/300.0.0.1/tcp/1",
            "/ip4/127.0.0.1/tcp/70000",
        ] {
            assert!(matches!(text.parse::<Address>(), Err(StartError::Address { .. })) || text.is_empty());
        }
    }
}
