//! The arguments of `myriad plan`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{ArgGroup, Args};
use myriad_engine::MemoryBudget;

use crate::engines::Choice;

use super::{DataFlags, InputFlags, shared::count};

/// Size a fleet: how long a job takes on it, or how many machines a deadline needs
///
/// Finds the best size of segments and shape of the tree for a workload and a fleet. Shows the time
/// of each stage, what limits the fleet, and with --deadline how many machines are needed. It
/// answers at once, by a model of measured machines; --simulate has the real scheduler try the
/// plan.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    group = ArgGroup::new("workload").required(true).args(["instructions", "gas", "program"]),
    after_help = "\
Examples:
  myriad plan --gas 30e6 --nodes 1000                     the time for a block of 30 M gas
  myriad plan --gas 30e6 --deadline 60                    the machines that prove it within a minute
  myriad plan --instructions 90e6 --nodes 840 --honest 0.2 --simulate
  myriad plan --instructions 90e6 --engine risc0 --nodes 840
  myriad plan fibonacci.elf --input 0x0110270000 --nodes 8 --memory 2GiB
  myriad plan --gas 30e6 --profile desk.json:50 --profile attic.json:20 --json | jq .expected_s"
)]
pub struct Plan {
    /// A program: `plan` executes it to find its cost
    #[arg(value_name = "PROGRAM", help_heading = "Workload")]
    pub program: Option<PathBuf>,
    /// The zkVM [default: what the program is for]
    #[arg(long, value_name = "NAME", help_heading = "Workload")]
    pub engine: Option<Choice>,
    /// Its openvm.toml [default: as `prove` finds it]
    #[arg(long, value_name = "FILE", requires = "program", help_heading = "Workload")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub input: InputFlags,
    /// Instructions of the execution
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Workload")]
    pub instructions: Option<u64>,
    /// Gas of a block
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Workload")]
    pub gas: Option<u64>,
    /// Instructions per gas: 5.2 in two measured blocks, 10.1 in a third [default: 5.2]
    #[arg(long, value_name = "X", requires = "gas", help_heading = "Workload")]
    pub instructions_per_gas: Option<f64>,
    /// The program of the profile whose costs are used [default: evm-block, or one like it]
    #[arg(long, value_name = "NAME", help_heading = "Workload")]
    pub costs_of: Option<String>,
    /// Bytes of program and input together
    #[arg(long, value_name = "SIZE", default_value = "6MB", help_heading = "Workload")]
    pub shared: ByteSize,

    /// All machines, honest or not [default: the counts of the profiles, else 1]
    #[arg(long, value_name = "N", help_heading = "Fleet")]
    pub nodes: Option<u64>,
    /// Memory of each machine for one task
    #[arg(long, value_name = "SIZE", default_value = "4GiB", help_heading = "Fleet")]
    pub memory: MemoryBudget,
    /// Threads of each machine [default: the cores of its profile]
    #[arg(long, value_name = "N", help_heading = "Fleet")]
    pub threads: Option<u16>,
    /// The part of the machines that deliver, 0 to 1; the others waste time
    #[arg(long, value_name = "PART", default_value_t = 1.0, help_heading = "Fleet")]
    pub honest: f64,
    /// A profile that `bench` has written, and how many machines are like it
    ///
    /// Several profiles make a mixed fleet. Without one, all machines are like the reference: two
    /// cores of a server.
    #[arg(long, value_name = "FILE[:COUNT]", help_heading = "Fleet")]
    pub profile: Vec<String>,
    /// Uplink of each machine, in Mbit/s
    #[arg(long, value_name = "MBIT", default_value_t = 20.0, help_heading = "Fleet")]
    pub up: f64,
    /// Downlink of each machine, in Mbit/s
    #[arg(long, value_name = "MBIT", default_value_t = 100.0, help_heading = "Fleet")]
    pub down: f64,
    /// Latency from any machine to any other, one way, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30.0, help_heading = "Fleet")]
    pub latency: f64,
    /// Power that a machine draws while it works, in watts
    #[arg(long, value_name = "W", default_value_t = 65.0, help_heading = "Fleet")]
    pub watts: f64,
    /// Price of an hour of a machine's work
    #[arg(long, value_name = "PRICE", default_value_t = 0.0, help_heading = "Fleet")]
    pub price_per_hour: f64,
    /// Price of a kilowatt-hour
    #[arg(long, value_name = "PRICE", default_value_t = 0.0, help_heading = "Fleet")]
    pub price_per_kwh: f64,

    /// Cores of the requester, for verifying
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Requester")]
    pub requester_cores: u32,
    /// Uplink of the requester, in Mbit/s
    #[arg(
        long,
        value_name = "MBIT",
        default_value_t = 100.0,
        help_heading = "Requester"
    )]
    pub requester_up: f64,
    /// Downlink of the requester, in Mbit/s
    #[arg(
        long,
        value_name = "MBIT",
        default_value_t = 500.0,
        help_heading = "Requester"
    )]
    pub requester_down: f64,

    /// Seconds that the job may take: shows how many machines that needs
    #[arg(long, value_name = "SECONDS")]
    pub deadline: Option<f64>,
    /// Have the real scheduler do the job in virtual time, and compare
    #[arg(long)]
    pub simulate: bool,
    #[command(flatten)]
    pub data: DataFlags,
}
