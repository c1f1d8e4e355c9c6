//! `myriad block inspect`

use myriad_evm::host::{BlockFile, inspect::inspect};

use crate::{
    args::Inspect,
    blocks::show,
    error::{Error, block_file},
};

pub fn run(args: &Inspect) -> Result<(), Error> {
    let fail = block_file(&args.file);
    let file = BlockFile::read(&args.file).map_err(&fail)?;
    let summary = inspect(&file).map_err(&fail)?;
    show(&args.file, &summary, args.json)
}
