//! The arguments of `myriad simulate`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Try a fleet at scale: requesters with blocks, machines of all kinds, in virtual time
///
/// Reads a scenario. It says which requesters have blocks to prove and how often, and which
/// machines there are: how honest, how connected, and how long they stay. The real scheduler gives
/// the tasks out, and machine profiles say how long tasks take (see `bench`). An hour of ten
/// thousand machines takes minutes.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad simulate --example > fleet.toml              a scenario to start from, with every key explained
  myriad simulate fleet.toml                          how long it takes, and what is wasted
  myriad simulate fleet.toml --seeds 20 --out here    many worlds; JSON, CSV and plots into a folder
  myriad simulate fleet.toml --json | jq .lag_s"
)]
pub struct Simulate {
    /// The scenario, in TOML
    #[arg(value_name = "SCENARIO", value_hint = ValueHint::FilePath, required_unless_present = "example")]
    pub scenario: Option<PathBuf>,
    /// Print a scenario with all keys explained
    #[arg(long, exclusive = true)]
    pub example: bool,
    /// Seed of the first world [default: the scenario's, else 1]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Number of worlds, each with the next seed [default: the scenario's, else 1]
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// Folder for outcome.json, blocks.csv, timeline.csv and plots as SVG
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Print one JSON document on stdout instead of a summary
    #[arg(long)]
    pub json: bool,
}
