//! The arguments of `myriad bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use myriad_engine::MemoryBudget;
use serde::Serialize;

use crate::engines::Choice;

use super::{DataFlags, shared::as_bytes};

/// Measure this machine: the costs of segments, tree, execution, hashing and disk
///
/// Proves segments of two programs for a range of memory budgets, and one small job of each program
/// from start to end. Writes the times and the memory as a profile. `prover` offers the speed in
/// the profile, and `plan` sizes fleets with it. Nothing else should run meanwhile. It takes about
/// half an hour on two cores. --quick measures one small program, in under three minutes. With RISC
/// Zero, a segment for 4 GiB takes three minutes, and twice the memory takes twice the time.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad bench --quick                          a first look, kept in the data folder
  myriad bench --memory 7GiB --plots plots      everything, with plots as SVG
  myriad bench --engine risc0 --memory 16GiB    RISC Zero: segments, lift and join
  myriad bench --out here.json --json | jq .accuracy"
)]
pub struct Bench {
    /// The zkVM to measure
    #[arg(long, value_name = "NAME", default_value = "openvm")]
    pub engine: Choice,
    /// Measure one small program, two budgets, and only the nodes that a job needs
    #[arg(long)]
    pub quick: bool,
    /// Measure with this program of OpenVM only
    #[arg(long, value_name = "PROGRAM", conflicts_with = "quick")]
    pub only: Option<Measure>,
    /// The machine's name in reports [default: its processor]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Numbers of threads to measure with [default: all cores, and one]
    #[arg(long, value_name = "N,N", value_delimiter = ',', help_heading = "Limits")]
    pub threads: Vec<u16>,
    #[command(flatten)]
    pub limits: BenchLimits,
    /// The file to write [default: in the data folder, where `prover` reads it]
    #[arg(long, value_name = "FILE", help_heading = "General")]
    pub out: Option<PathBuf>,
    /// Folder for plots of the measurements, as SVG
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "General")]
    pub plots: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataFlags,
}

/// The settings among the flags.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Limits")]
pub struct BenchLimits {
    /// Most memory of an engine child: leaves out larger budgets and wider nodes [default: 4GiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_bytes")]
    pub memory: Option<MemoryBudget>,
}

/// The program that measures a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Integers and nothing else: plain RISC-V.
    Fibonacci,
    /// A sample L2 block, with the extensions for keccak and secp256k1.
    EvmBlock,
}
