//! `myriad block prove`

use crate::{
    args::{ProveBlock, ProveLayer},
    blocks::{prove, prove_each, read},
    error::Error,
    settings::Settings,
};

pub fn run(args: &ProveBlock) -> Result<(), Error> {
    let settings = Settings::load(&ProveLayer::new(&args.work, &args.provers))?;
    if args.each {
        return prove_each(args, &settings);
    }
    let files = read(&args.files)?;
    prove(&args.files, &files, &settings, &args.provers, args.work.data.json)
}
