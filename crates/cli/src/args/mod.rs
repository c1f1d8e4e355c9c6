//! The command line: its commands, flags and help texts. `main` parses it, and each command takes
//! its own struct.
//!
//! Flags that are also settings (see [`crate::settings`]) are `Option`s without a default here. A
//! flag that is not given stays open for the environment, `myriad.toml` and the defaults, in this
//! order.

mod bench;
mod block;
mod jobs;
mod keys;
mod net;
mod plan;
mod prover;
mod serve;
mod shared;
mod simulate;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, builder::Styles};
use clap_complete::Shell;

pub use bench::{Bench, BenchLimits, Measure};
pub use block::{BlockCommand, ExecuteBlock, Import, Inspect, ProveBlock, Replay, Sample};
pub use jobs::{CancelJob, CleanJobs, JobsCommand, ListJobs, ResumeJob, ShowJob};
pub use keys::{AddKey, KeysCommand, ListKeys, RevokeKey};
pub use net::{Bootstrap, NetFlags, ProveLayer, ProverFlags};
pub use plan::Plan;
pub use prover::{OwnerFlags, Prover, ShowStatus};
pub use serve::{Serve, ServeLayer};
pub use shared::{DataFlags, InputFlags, PublicValues, RunFlags, WorkFlags};
pub use simulate::Simulate;

use crate::{
    engines::Choice,
    terminal::{BOLD, CYAN, GREEN, RED, YELLOW},
};

const STYLES: Styles = Styles::styled()
    .header(BOLD)
    .usage(BOLD)
    .literal(CYAN)
    .placeholder(GREEN)
    .valid(GREEN)
    .invalid(YELLOW)
    .error(RED);

/// One small proof of a large computation, from pieces that fit small machines
///
/// Myriad executes a program in a zkVM, OpenVM or RISC Zero, cuts the execution into segments that
/// fit a memory budget, proves each segment, and aggregates the proofs into one. Its main program
/// validates Ethereum blocks.
#[derive(Debug, Parser)]
#[command(
    name = "myriad",
    version,
    verbatim_doc_comment,
    styles = STYLES,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  myriad demo                                         a sample L2 block, proven and verified here
  myriad prover                                       lend this machine to requesters with blocks to prove
  myriad block prove block.json.gz                    a real block with its witness
  myriad prove fibonacci.elf --input 0x0110270000     any RISC-V program for OpenVM, or for RISC Zero
  myriad verify fibonacci.stark.proof --program fibonacci.elf
  myriad plan --gas 30000000 --nodes 1000             how long a fleet would take for a block

Settings come from flags, else from MYRIAD_* variables, else from ./myriad.toml.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the proof is not valid."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(Demo),
    Prove(Prove),
    Verify(Verify),
    Execute(Execute),
    #[command(subcommand)]
    Block(BlockCommand),
    #[command(subcommand)]
    Jobs(JobsCommand),
    #[command(subcommand)]
    Keys(KeysCommand),
    Prover(Prover),
    Serve(Serve),
    Status(ShowStatus),
    Bootstrap(Bootstrap),
    Bench(Bench),
    Plan(Plan),
    Simulate(Simulate),
    Completions(Completions),
    EngineWorker(EngineWorker),
}

/// Prove a sample L2 block on this machine, start to end
///
/// Makes a block of a synthetic L2 (as `block sample` does) and executes it in the zkVM. Provers on
/// this machine prove every segment and aggregate the proofs into one, and `demo` verifies that
/// one. Each process takes at most 0.75 GiB by default, so that there is more than one segment.
/// With --engine risc0 a small program stands for the block, in 2 GiB.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad demo                               the main job, with the defaults
  myriad demo --memory 7GiB --out proofs    larger pieces, files into another folder
  myriad demo --engine risc0 --provers 2    a small program in RISC Zero's zkVM, by two provers
  myriad demo --json | jq .wall_s           for scripts"
)]
pub struct Demo {
    /// The zkVM
    #[arg(long, value_name = "NAME", default_value = "openvm")]
    pub engine: Choice,
    /// Transactions in the block [default: 2]
    #[arg(long, value_name = "N")]
    pub txs: Option<usize>,
    /// Seed of everything random in the block [default: 0]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub provers: ProverFlags,
    #[command(flatten)]
    pub work: WorkFlags,
}

/// Prove a program: execute, prove segments, aggregate, verify
///
/// Writes NAME.stark.proof and NAME.baseline.json, which `cargo openvm verify stark` reads too; for
/// RISC Zero, NAME.risc0.receipt, which `Receipt::verify` of its own crates takes. Keeps accepted
/// proofs: after an interruption, the same command continues where it stopped.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad prove fibonacci.elf --input 0x0110270000
  myriad prove app.vmexe --config openvm.toml --input input.json --memory 3GiB
  myriad prove app.bin --engine risc0 --input-bytes input --memory 2GiB
  myriad prove hasher.elf --input-bytes document.pdf --out proofs --json
  myriad prove fibonacci.elf --input 0x0110270000 --network     with all provers that can be found"
)]
pub struct Prove {
    /// The program: a RISC-V ELF, a .vmexe of OpenVM, or a .bin of RISC Zero
    #[arg(value_name = "PROGRAM")]
    pub program: PathBuf,
    /// Its zkVM [default: what the file is for; of an ELF, openvm]
    #[arg(long, value_name = "NAME")]
    pub engine: Option<Choice>,
    /// Its openvm.toml [default: NAME.openvm.toml or openvm.toml beside the program, if there is
    /// one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub input: InputFlags,
    #[command(flatten)]
    pub provers: ProverFlags,
    #[command(flatten)]
    pub work: WorkFlags,
}

/// Verify a final proof
///
/// The exit code is 0 if the proof shows that the program ran to its end and revealed the printed
/// public values. It is 3 if the proof does not, for whatever reason.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad verify fibonacci.stark.proof --program fibonacci.elf
  myriad verify fibonacci.stark.proof --program fibonacci.elf --public-values 0x1027...
  myriad verify block.stark.proof --block block.json.gz     shows that this very block is valid"
)]
pub struct Verify {
    /// The final proof: NAME.stark.proof, or NAME.risc0.receipt
    #[arg(value_name = "PROOF")]
    pub proof: PathBuf,
    /// The proven program: an ELF, .vmexe or .bin [default with --block: the built-in one]
    #[arg(long, value_name = "PROGRAM", required_unless_present = "block")]
    pub program: Option<PathBuf>,
    /// Its zkVM [default: as the program or the proof says]
    #[arg(long, value_name = "NAME", requires = "program")]
    pub engine: Option<Choice>,
    /// The program's openvm.toml [default: as `prove` finds it]
    #[arg(long, value_name = "FILE", requires = "program")]
    pub config: Option<PathBuf>,
    /// Demand that it reveals these public values
    #[arg(long, value_name = "HEX", conflicts_with = "block")]
    pub public_values: Option<PublicValues>,
    /// Demand that it is about the block in this file; for a batch, name all files in their order
    #[arg(long, value_name = "FILE")]
    pub block: Vec<PathBuf>,
    #[command(flatten)]
    pub data: DataFlags,
}

/// Run a program without proving it
///
/// Prints the values that the program reveals, the number of its instructions, and the segments
/// into which the memory budget would cut it.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad execute fibonacci.elf --input 0x0110270000
  myriad execute fibonacci.elf --input 0x0110270000 --memory 2GiB --json"
)]
pub struct Execute {
    /// The program: a RISC-V ELF, a .vmexe of OpenVM, or a .bin of RISC Zero
    #[arg(value_name = "PROGRAM")]
    pub program: PathBuf,
    /// Its zkVM [default: what the file is for; of an ELF, openvm]
    #[arg(long, value_name = "NAME")]
    pub engine: Option<Choice>,
    /// Its openvm.toml [default: NAME.openvm.toml or openvm.toml beside the program, if there is
    /// one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub input: InputFlags,
    #[command(flatten)]
    pub run: RunFlags,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad completions bash > ~/.local/share/bash-completion/completions/myriad
  myriad completions zsh > \"${fpath[1]}/_myriad\"
  myriad completions fish > ~/.config/fish/completions/myriad.fish"
)]
pub struct Completions {
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// The child process that executes and proves; other commands start it
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct EngineWorker {
    /// Folder of the key cache
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// Most bytes of data that the process may map; the system refuses more
    #[arg(long, value_name = "BYTES")]
    pub data_bytes_max: Option<u64>,
    /// Bytes of memory that a task may be expected to take, with what is kept for others
    #[arg(long, value_name = "BYTES")]
    pub memory_max: Option<u64>,
    /// Make keys, and do nothing else
    #[arg(long)]
    pub make_keys: bool,
    /// Go on where the kernel cannot confine it
    #[arg(long)]
    pub unconfined: bool,
}

impl Command {
    /// Whether stdout is for one JSON document.
    pub fn json(&self) -> bool {
        match self {
            Self::Demo(args) => args.work.data.json,
            Self::Prove(args) => args.work.data.json,
            Self::Verify(args) => args.data.json,
            Self::Execute(args) => args.run.data.json,
            Self::Block(command) => command.json(),
            Self::Jobs(command) => command.json(),
            Self::Keys(command) => command.json(),
            Self::Prover(args) => args.data.json,
            Self::Status(args) => args.data.json,
            Self::Bench(args) => args.data.json,
            Self::Plan(args) => args.data.json,
            Self::Simulate(args) => args.json,
            Self::Serve(_) | Self::Bootstrap(_) | Self::Completions(_) | Self::EngineWorker(_) => false,
        }
    }
}
