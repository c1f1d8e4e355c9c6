//! `myriad block import`

use std::time::Duration;

use myriad_evm::host::{
    import::{Blocks, ImportOptions, import, import_range},
    inspect::inspect,
};

use crate::{
    args::Import,
    blocks::show,
    error::{Error, block_file},
    files,
    progress::Spinner,
};

pub fn run(args: &Import) -> Result<(), Error> {
    let chain_config = args
        .chain_config
        .as_deref()
        .map(files::read_chain_config)
        .transpose()?;
    let options = ImportOptions {
        timeout: Duration::from_secs(args.timeout),
        chain_config,
        headers: args.headers.clone(),
        ..ImportOptions::default()
    };
    let file = {
        let _spinner = Spinner::new(format!("fetching block {}", args.block));
        match &args.block {
            Blocks::One(id) => import(&args.rpc, *id, &options)?,
            Blocks::Range(range) => import_range(&args.rpc, range.clone(), &options)?,
        }
    };
    file.write(&args.out).map_err(block_file(&args.out))?;
    let summary = inspect(&file).map_err(block_file(&args.out))?;
    show(&args.out, &summary, args.json)
}
