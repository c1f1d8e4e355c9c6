//! The binary that Myriad starts as a child where a job names RISC Zero as its engine.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use myriad_engine::worker::{KeyAccess, ServeOptions};

/// The child process that executes and proves programs of RISC Zero; myriad starts it
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Folder of the key cache, which myriad names for every engine; this one has no keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Most bytes of data that the process may map; the system refuses more
    #[arg(long, value_name = "BYTES")]
    data_bytes_max: Option<u64>,
    /// Bytes of memory that a task may be expected to take, with what is kept for others; this
    /// engine keeps nothing
    #[arg(long, value_name = "BYTES")]
    memory_max: Option<u64>,
    /// Make keys, and do nothing else
    #[arg(long)]
    make_keys: bool,
    /// Go on where the kernel cannot confine it
    #[arg(long)]
    unconfined: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let access = if args.make_keys {
        KeyAccess::Make
    } else {
        KeyAccess::Read
    };
    let served = myriad_engine_risc0::serve(&ServeOptions {
        keys: args.keys,
        access,
        data_bytes_max: args.data_bytes_max,
        memory_max: args.memory_max,
        unconfined: args.unconfined,
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("myriad-engine-risc0: {error}");
            ExitCode::FAILURE
        }
    }
}
