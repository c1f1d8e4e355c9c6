//! `myriad block import`

use std::{path::Path, time::Duration};

use myriad_evm::host::{
    import::{Blocks, ImportOptions, import, import_range},
    inspect::inspect,
};
use serde_json::Value;

use crate::{
    args::Import,
    commands::block::inspect::show,
    error::{Error, block_file},
    files,
    progress::Spinner,
};

/// Most bytes of a genesis file. Mainnet's, with all its accounts, has 0.7 MB.
const GENESIS_BYTES_MAX: usize = 16 << 20;

pub fn run(args: &Import) -> Result<(), Error> {
    let chain_config = args.chain_config.as_deref().map(read_chain_config).transpose()?;
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

/// The `config` object of a genesis file, or the file itself where it is that object.
pub(super) fn read_chain_config(path: &Path) -> Result<Value, Error> {
    let bytes = files::read("the chain configuration", path, GENESIS_BYTES_MAX)?;
    let mut json: Value = serde_json::from_slice(&bytes).map_err(|source| Error::ChainConfig {
        path: path.to_owned(),
        source,
    })?;
    Ok(match json.get_mut("config") {
        Some(config) => config.take(),
        None => json,
    })
}
