//! The arguments of `myriad block ...`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use myriad_evm::host::{import::Blocks, sample::DEFAULT_TXS};

use super::{
    ProverFlags,
    shared::{RunFlags, WorkFlags},
};

/// Make, fetch, inspect, execute and prove blocks
///
/// A block file is JSON, gzipped or not. It has a block or a batch of consecutive blocks, the
/// header of the block before, and the part of the state that the blocks read (their witness).
#[derive(Debug, Subcommand)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad block sample --out sample.json.gz
  myriad block execute sample.json.gz
  myriad block prove sample.json.gz"
)]
pub enum BlockCommand {
    Sample(Sample),
    Import(Import),
    Replay(Replay),
    Inspect(Inspect),
    Execute(ExecuteBlock),
    Prove(ProveBlock),
}

/// Make a synthetic L2 block, offline
///
/// The chain is made up, and the file says so. Its contracts, signatures, tries and header are
/// real. The same numbers give the same file.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad block sample --out sample.json.gz
  myriad block sample --txs 100 --seed 7 --out busy.json.gz"
)]
pub struct Sample {
    /// Transactions in the block
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TXS)]
    pub txs: usize,
    /// Seed of everything random in the block
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// The file to write, gzipped unless its name ends in .json
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Print one JSON document to stdout, also for an error
    #[arg(long, help_heading = "General")]
    pub json: bool,
}

/// Fetch a block or consecutive blocks, with their witness, from a node
///
/// The node has to serve debug_executionWitness, as geth and reth do with their `debug` namespace.
/// `import` executes each block before it writes the file, so that the file can be proven.
/// Consecutive blocks become one file, a batch, with one witness; `import` writes nothing unless
/// all of them are valid. It asks again if the node is overloaded or the connection breaks. It
/// takes proxies from HTTPS_PROXY or ALL_PROXY, with exceptions from NO_PROXY.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad block import --rpc http://localhost:8545 --block latest --out block.json.gz
  myriad block import --rpc http://localhost:8545 --block 20612842 --out block.json.gz
  myriad block import --rpc http://localhost:8545 --block 28279135..28279249 --out batch.json.gz
  myriad block import --rpc https://node.example --header \"x-api-key: $KEY\" --block latest --out block.json.gz"
)]
pub struct Import {
    /// The node's HTTP address
    #[arg(long, value_name = "URL")]
    pub rpc: String,
    /// The block: a number, a hash, latest, safe or finalized; or A..B, from A to B, up to 1024
    #[arg(long, value_name = "BLOCK|A..B")]
    pub block: Blocks,
    /// The file to write, gzipped unless its name ends in .json
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// A header for each request, such as a key; repeat it for several
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Geth's genesis file, or its `config`, for a chain not built in [default: ask the node]
    #[arg(long, value_name = "FILE")]
    pub chain_config: Option<PathBuf>,
    /// Seconds that the node may take for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
    /// Print one JSON document to stdout, also for an error
    #[arg(long, help_heading = "General")]
    pub json: bool,
}

/// Make a block file from a replay file of Linea's tracer
///
/// A replay file has blocks of the chain, and the accounts, slots and codes that they touch.
/// Transactions, receipts and gas are the chain's own, and are compared with the file's. The rest
/// of the state tries is synthetic, and so are the state roots and the hashes of the blocks. The
/// block file says so.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad block replay 28279135-28279249.json.gz --out batch.json.gz
  myriad block execute batch.json.gz"
)]
pub struct Replay {
    /// The replay file, gzipped or not
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The file to write, gzipped unless its name ends in .json
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Geth's genesis file, or its `config`, for a chain not built in
    #[arg(long, value_name = "FILE")]
    pub chain_config: Option<PathBuf>,
    /// Print one JSON document to stdout, also for an error
    #[arg(long, help_heading = "General")]
    pub json: bool,
}

/// Show a summary of a block file, without executing it
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad block inspect block.json.gz
  myriad block inspect block.json.gz --json | jq .witness"
)]
pub struct Inspect {
    /// The block file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON document to stdout, also for an error
    #[arg(long, help_heading = "General")]
    pub json: bool,
}

/// Execute a block, or a batch of consecutive blocks, natively and in the zkVM, and compare
///
/// Makes all checks of a stateless client. If the file lacks the parent's header, skips the checks
/// that need it, and lists them. Shows how many instructions each kind of operation takes.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad block execute block.json.gz
  myriad block execute block.json.gz --json | jq .instructions_per_gas
  myriad block execute 7.json.gz 8.json.gz 9.json.gz
  myriad block execute 7-to-9.json.gz"
)]
pub struct ExecuteBlock {
    /// The block file; for a batch, one file with all its blocks, or several in their order
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub run: RunFlags,
}

/// Prove that a block, or a batch of consecutive blocks, is valid
///
/// The public values of the proof are a hash of the chain's id, the states before and after, the
/// block's hash, and for a batch the number of blocks; `verify --block` compares them.
///
/// With --each, each file gets a proof of its own. All files are read and checked first, and one
/// that is not a valid block ends the command. The provers work at the next block as soon as they
/// have nothing to do for the ones before. A block that cannot be proven ends no other one.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad block prove block.json.gz
  myriad block prove block.json.gz --memory 7GiB --out proofs --json
  myriad block prove 7.json.gz 8.json.gz 9.json.gz                       one proof of all three
  myriad block prove --each 7.json.gz 8.json.gz 9.json.gz --network      three proofs
  myriad block prove --each 7.json.gz 8.json.gz --priority 0,1 --network the second one first"
)]
pub struct ProveBlock {
    /// The block file; for a batch, one file with all its blocks, or several in their order
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Prove each file on its own, beginning the next before the last one is finished
    #[arg(long)]
    pub each: bool,
    /// With --each: the priority of the files; the highest number goes first [default: 0]
    ///
    /// One number for all, or one for each file. Equals share no provers: the first goes first.
    #[arg(
        long,
        value_name = "N,...",
        requires = "each",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    pub priority: Vec<i32>,
    #[command(flatten)]
    pub provers: ProverFlags,
    #[command(flatten)]
    pub work: WorkFlags,
}

impl BlockCommand {
    /// Whether stdout is for one JSON document.
    pub fn json(&self) -> bool {
        match self {
            Self::Sample(args) => args.json,
            Self::Import(args) => args.json,
            Self::Replay(args) => args.json,
            Self::Inspect(args) => args.json,
            Self::Execute(args) => args.run.data.json,
            Self::Prove(args) => args.work.data.json,
        }
    }
}
