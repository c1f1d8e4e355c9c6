//! `myriad demo`: a sample block, proven and verified.

use std::{fs, num::NonZeroUsize};

use myriad_engine::MemoryBudget;
use myriad_evm::host::sample::{self, SampleSpec};
use myriad_node::Machine;

use crate::{
    args::{Demo, ProveLayer},
    blocks,
    error::{self, Error},
    progress::Spinner,
    settings::{self, Settings},
    terminal,
};

/// Stem of the names of the files that the demo writes.
const NAME: &str = "sample-block";

/// The memory that each prover lends by default: so little that the block is more than one segment,
/// and provers work side by side.
const MEMORY: MemoryBudget = MemoryBudget::from_bytes(3 << 28);

pub fn run(args: &Demo) -> Result<(), Error> {
    let mut settings = Settings::load(&ProveLayer::new(&args.work, &args.provers))?;
    if args.work.limits.memory.is_none() && settings.memory == settings::MEMORY {
        settings.memory = MEMORY;
    }
    let spec = SampleSpec {
        txs: args.txs,
        seed: args.seed,
        ..SampleSpec::default()
    };
    let path = settings.out.join(format!("{NAME}.json.gz"));
    let file = {
        let _spinner = Spinner::new("making a sample block");
        let file = sample::generate(&spec)?;
        fs::create_dir_all(&settings.out).map_err(|source| Error::Write {
            what: "the folder",
            path: settings.out.clone(),
            source,
        })?;
        file.write(&path).map_err(error::block_file(&path))?;
        file
    };
    terminal::note(format_args!(
        "the block is made up: {} on a synthetic L2, in {}",
        terminal::plural(spec.txs, "transaction"),
        path.display()
    ));
    let mut flags = args.provers.clone();
    if !flags.network {
        // As many provers as this machine holds: they join as remote ones would.
        let holds = Machine::detect().fitting(settings.memory.bytes());
        let provers = NonZeroUsize::new(settings.children.min(holds)).unwrap_or(NonZeroUsize::MIN);
        flags.provers.get_or_insert(provers);
    }
    blocks::prove(&[path], &[file], &settings, &flags, args.work.data.json)
}
