//! `myriad block replay`

use myriad_evm::host::{inspect::inspect, replay::replay};

use crate::{
    args::Replay,
    blocks::show,
    error::{Error, block_file},
    files::read_chain_config,
    progress::Spinner,
    terminal::note,
};

/// The most remarks that are shown.
const REMARKS_MAX: usize = 20;

pub fn run(args: &Replay) -> Result<(), Error> {
    let chain_config = args.chain_config.as_deref().map(read_chain_config).transpose()?;
    let replayed = {
        let _spinner = Spinner::new("executing the blocks natively");
        replay(&args.file, chain_config.as_ref()).map_err(|source| Error::Replay {
            path: args.file.clone(),
            source,
        })?
    };
    for remark in replayed.remarks.iter().take(REMARKS_MAX) {
        note(format_args!("{remark}"));
    }
    if let Some(more) = replayed
        .remarks
        .len()
        .checked_sub(REMARKS_MAX)
        .filter(|more| *more > 0)
    {
        note(format_args!("and {more} like these"));
    }
    let file = replayed.file;
    file.write(&args.out).map_err(block_file(&args.out))?;
    let summary = inspect(&file).map_err(block_file(&args.out))?;
    show(&args.out, &summary, args.json)
}
