//! `myriad engine-worker`: the process in which programs run and proofs are made.

use myriad_engine::worker::{ServeOptions, serve};

use crate::{args::EngineWorker, error::Error};

pub fn run(args: &EngineWorker) -> Result<(), Error> {
    serve(&ServeOptions {
        keys: args.keys.clone(),
        data_bytes_max: args.data_bytes_max,
    })?;
    Ok(())
}
