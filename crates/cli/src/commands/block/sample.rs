//! `myriad block sample`

use myriad_evm::host::{
    inspect::inspect,
    sample::{SampleSpec, generate},
};

use crate::{
    args::Sample,
    blocks::show,
    error::{Error, block_file},
    progress::Spinner,
};

pub fn run(args: &Sample) -> Result<(), Error> {
    let spec = SampleSpec {
        txs: args.txs,
        seed: args.seed,
        ..SampleSpec::default()
    };
    let file = {
        let _spinner = Spinner::new("making a sample block");
        generate(&spec)?
    };
    file.write(&args.out).map_err(block_file(&args.out))?;
    let summary = inspect(&file).map_err(block_file(&args.out))?;
    show(&args.out, &summary, args.json)
}
