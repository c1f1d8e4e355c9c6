//! `myriad engine-worker`: the child process that runs programs and makes proofs.

use myriad_engine::worker::{KeyAccess, ServeOptions};
use myriad_openvm::serve;

use crate::{args::EngineWorker, error::Error};

pub fn run(args: &EngineWorker) -> Result<(), Error> {
    serve(&ServeOptions {
        keys: args.keys.clone(),
        access: if args.make_keys {
            KeyAccess::Make
        } else {
            KeyAccess::Read
        },
        data_bytes_max: args.data_bytes_max,
        memory_max: args.memory_max,
        unconfined: args.unconfined,
    })?;
    Ok(())
}
