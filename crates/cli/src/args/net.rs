//! The flags of the network, and the arguments of `prover`, `status` and `bootstrap`.

use std::{num::NonZeroUsize, path::PathBuf};

use bytesize::ByteSize;
use clap::Args;
use myriad_engine::MemoryBudget;
use myriad_node::Fleet;
use serde::Serialize;

use crate::engines::Choice;

use super::{
    DataFlags, WorkFlags,
    shared::{as_bytes, size_as_bytes},
};

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

/// Lend this machine: prove for any requester that has a job
///
/// Finds requesters on the local network, or through a bootstrap peer, takes their tasks one at a
/// time, and stays within the limits below. Ctrl-C hands the current task back.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad prover                                        serves requesters on the local network
  myriad prover --memory 2GiB --threads 2              lends no more of this machine than that
  myriad prover --bootstrap /dns4/example.org/udp/4001/quic-v1
  myriad prover --only 12D3KooW...                     serves one requester alone
  myriad prover --engines openvm                       proves for OpenVM alone, whatever else is there
  myriad status                                        in another terminal: shows what it is doing"
)]
pub struct Prover {
    #[command(flatten)]
    pub limits: OwnerFlags,
    #[command(flatten)]
    pub net: NetFlags,
    #[command(flatten)]
    pub data: DataFlags,
    /// Folder of the key cache, where several provers on one machine share it
    #[arg(long, value_name = "DIR", hide = true)]
    pub keys: Option<PathBuf>,
    /// Lend this machine although its kernel cannot confine the engine child
    #[arg(long)]
    pub unconfined: bool,
    /// End when stdin does: for a process that starts provers and may be killed
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
}

/// The limits of the machine's owner.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Limits")]
pub struct OwnerFlags {
    /// Most memory of the engine child [default: 4GiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_bytes")]
    pub memory: Option<MemoryBudget>,
    /// Threads of the engine child [default: the number of cores]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroUsize>,
    /// Priority of the engine child, as for `nice`: 0 to 19, the lowest [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<u8>,
    /// Most disk space for programs, inputs and proofs [default: 20GiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "size_as_bytes")]
    pub disk: Option<ByteSize>,
    /// Most instructions of a job [default: 10 billion]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_instructions: Option<u64>,
    /// Most bytes of a job's input [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "size_as_bytes")]
    pub max_input: Option<ByteSize>,
    /// Prove for these zkVMs only [default: all that this machine has]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<Choice>,
    /// Serve only this requester; repeat it for several
    #[arg(long, value_name = "PEER")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Never serve this requester; repeat it for several
    #[arg(long, value_name = "PEER")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    /// Serve this requester before all others
    #[arg(long, value_name = "PEER")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<String>,
}

/// Show what the prover on this machine is doing, or why it has nothing to do
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad status
  myriad status --json | jq .activity")]
pub struct ShowStatus {
    #[command(flatten)]
    pub data: DataFlags,
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
