//! The arguments of `myriad jobs ...`.

use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{DataFlags, NetFlags};

/// The jobs of this machine: list, show, cancel, resume and remove them
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  myriad jobs list
  myriad jobs resume 3fa9
  myriad jobs gc")]
pub enum JobsCommand {
    List(ListJobs),
    Show(ShowJob),
    Cancel(CancelJob),
    Resume(ResumeJob),
    #[command(name = "gc")]
    Clean(CleanJobs),
}

/// List all jobs, the latest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad jobs list
  myriad jobs list --json | jq '.jobs[] | select(.running)'")]
pub struct ListJobs {
    #[command(flatten)]
    pub data: DataFlags,
}

/// Show a job: its state, its settings, and how to continue it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad jobs show 3fa9")]
pub struct ShowJob {
    /// The job's id, or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub data: DataFlags,
}

/// Stop a job, whichever command is running it, and let `jobs gc` remove it
///
/// A command that proves on the network or with provers of its own ends this job alone. Any other
/// command ends with all its jobs.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad jobs cancel 3fa9"
)]
pub struct CancelJob {
    /// The job's id, or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub data: DataFlags,
}

impl CancelJob {
    /// The time that a requester needs to tell its provers, with room to spare.
    pub const PATIENCE: Duration = Duration::from_secs(30);
}

/// Continue a job, as the command that began it would
///
/// Uses the program, input, memory, provers and output folder that the job began with.
#[derive(Debug, Args, Serialize)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad jobs resume 3fa9
  myriad jobs resume 3fa9 --bootstrap /dns4/example.org/udp/4001/quic-v1"
)]
pub struct ResumeJob {
    /// The job's id, or the beginning of it
    #[arg(value_name = "ID")]
    #[serde(skip)]
    pub id: String,
    #[command(flatten)]
    #[serde(flatten)]
    pub net: NetFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub data: DataFlags,
}

/// Remove jobs that are done or cancelled, and all proofs that no other job has
///
/// Removes all such jobs, unless --older-than or --keep leaves some. Running jobs continue.
/// Does not touch the files of final proofs. Each command that begins a job also removes jobs that
/// ended more than 30 days ago; `keep_jobs` in myriad.toml sets another number of days.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad jobs gc
  myriad jobs gc --older-than 7
  myriad jobs gc --keep 20GiB"
)]
pub struct CleanJobs {
    /// Leave jobs that ended in the last DAYS days
    #[arg(long, value_name = "DAYS")]
    pub older_than: Option<u32>,
    /// Leave the newest jobs, as long as all files that stay take at most this much
    #[arg(long, value_name = "SIZE")]
    pub keep: Option<ByteSize>,
    #[command(flatten)]
    pub data: DataFlags,
}

impl JobsCommand {
    /// Whether stdout is for one JSON document.
    pub fn json(&self) -> bool {
        match self {
            Self::List(args) => args.data.json,
            Self::Show(args) => args.data.json,
            Self::Cancel(args) => args.data.json,
            Self::Resume(args) => args.data.json,
            Self::Clean(args) => args.data.json,
        }
    }
}
