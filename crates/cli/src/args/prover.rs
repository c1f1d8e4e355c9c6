//! The arguments of `prover` and `status`.

use std::{num::NonZeroUsize, path::PathBuf};

use bytesize::ByteSize;
use clap::Args;
use myriad_engine::MemoryBudget;
use serde::Serialize;

use crate::engines::Choice;

use super::{
    DataFlags, NetFlags,
    shared::{as_bytes, size_as_bytes},
};

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
    /// Prove for these zkVMs only [default: all there are]
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
