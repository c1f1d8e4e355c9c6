//! `myriad block prove`

use crate::{
    args::{ProveBlock, ProveFlags},
    blocks::{prove, read},
    error::Error,
    settings::Settings,
};

pub fn run(args: &ProveBlock) -> Result<(), Error> {
    let settings = Settings::load(&ProveFlags::new(&args.work, &args.fleet))?;
    let files = read(&args.files)?;
    prove(&args.files, &files, &settings, &args.fleet, args.work.data.json)
}
