//! The flags of the network, and the arguments of `bootstrap`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;
use myriad_node::Fleet;
use serde::Serialize;

use super::WorkFlags;

/// The provers of a job.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Provers")]
pub struct ProverFlags {
    /// Start N provers on this machine; each joins as a remote prover would
    #[arg(long, value_name = "N")]
    pub provers: Option<NonZeroUsize>,
    /// Use all provers that the network finds
    #[arg(long, conflicts_with = "provers")]
    pub network: bool,
    /// With --network: choose segments and tree for this many provers
    #[arg(long, value_name = "N", default_value = "8", requires = "network")]
    pub fleet: NonZeroUsize,
    #[command(flatten)]
    pub net: NetFlags,
}

impl ProverFlags {
    /// Whether the provers join over a network, which may be this machine's own.
    pub fn of_network(&self) -> bool {
        self.network || self.provers.is_some()
    }

    /// The fleet as a job's record has it.
    pub fn kind(&self) -> Fleet {
        match self.provers {
            Some(provers) if !self.network => Fleet::Cluster {
                provers: provers.get(),
            },
            _ if self.network => Fleet::Network {
                provers: self.fleet.get(),
            },
            _ => Fleet::Children,
        }
    }

    /// The flags that a job was begun with.
    pub fn of(kind: Fleet, net: NetFlags) -> Self {
        let count = |provers| NonZeroUsize::new(provers).unwrap_or(NonZeroUsize::MIN);
        let (network, provers, fleet) = match kind {
            Fleet::Children => (false, None, NonZeroUsize::MIN),
            Fleet::Cluster { provers } => (false, Some(count(provers)), NonZeroUsize::MIN),
            Fleet::Network { provers } => (true, None, count(provers)),
        };
        Self {
            provers,
            network,
            fleet,
            net,
        }
    }
}

/// The command line's flags for proving and for the network, as one layer of settings.
#[derive(Serialize)]
pub struct ProveLayer<'a> {
    #[serde(flatten)]
    pub work: &'a WorkFlags,
    #[serde(flatten)]
    pub net: &'a NetFlags,
}

impl<'a> ProveLayer<'a> {
    pub fn new(work: &'a WorkFlags, provers: &'a ProverFlags) -> Self {
        Self {
            work,
            net: &provers.net,
        }
    }
}

/// The settings of the network.
#[derive(Clone, Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Network")]
pub struct NetFlags {
    /// A peer to connect to first: /ip4/192.0.2.1/udp/4001/quic-v1/p2p/ID
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bootstrap: Vec<String>,
    /// An address to listen on [default: any port, QUIC and TCP, IPv4 and IPv6]
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<String>,
    /// An address at which others reach this machine, if it is known
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<String>,
    /// Do not look for peers on the local network
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_mdns: bool,
}

/// Help provers and requesters find each other; proves nothing
///
/// Runs on a machine that others can reach, on a fixed port. It prints its address at the start;
/// others name this address with --bootstrap.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad bootstrap --listen /ip4/0.0.0.0/udp/4001/quic-v1 --listen /ip4/0.0.0.0/tcp/4001
  myriad bootstrap --listen /ip4/0.0.0.0/udp/4001/quic-v1 --external /dns4/example.org/udp/4001/quic-v1"
)]
pub struct Bootstrap {
    #[command(flatten)]
    pub net: NetFlags,
    /// Folder of the identity [env: MYRIAD_DATA_DIR]
    #[arg(long, value_name = "DIR", help_heading = "General")]
    pub data_dir: Option<PathBuf>,
}
