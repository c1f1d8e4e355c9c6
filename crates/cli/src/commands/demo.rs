//! `myriad demo`: a sample block, or a small program for RISC Zero, proven and verified.

use std::{fs, num::NonZeroUsize, path::Path};

use myriad_engine::{Input, MemoryBudget};
use myriad_evm::host::sample::{self, SampleSpec};
use myriad_node::Machine;

use crate::{
    args::{Demo, ProveLayer, ProverFlags},
    blocks,
    engines::Choice,
    error::{self, Error},
    files::ProgramFile,
    guest,
    progress::Spinner,
    proving::{self, quoted, verify_command},
    report,
    settings::{self, Settings},
    terminal,
};

/// Stem of the names of the files that the demo writes.
const NAME: &str = "sample-block";

/// Transactions of the block: fewer than `block sample` makes, so that proving takes minutes on two
/// cores.
const TXS: usize = 2;

/// The memory that each prover lends by default: so little that the block is more than one segment,
/// and provers work side by side.
const MEMORY: MemoryBudget = MemoryBudget::from_bytes(3 << 28);
/// The same for RISC Zero: the least that its lifts and joins fit into.
const MEMORY_RISC0: MemoryBudget = MemoryBudget::from_bytes(2 << 30);
/// Additions of the program for RISC Zero: two segments for that memory, of 2^17 and 2^16 rows.
const ROUNDS_RISC0: u64 = 8_000;

pub fn run(args: &Demo) -> Result<(), Error> {
    let mut settings = Settings::load(&ProveLayer::new(&args.work, &args.provers))?;
    if args.engine == Choice::Risc0 && (args.txs.is_some() || args.seed.is_some()) {
        return Err(Error::Usage(
            "--txs and --seed describe a block, and --engine risc0 proves a small program in its place: leave them out, or \
             prove a block with OpenVM"
                .into(),
        ));
    }
    settings.engines.get(args.engine.name())?;
    if args.work.limits.memory.is_none() && settings.memory == settings::MEMORY {
        settings.memory = match args.engine {
            Choice::Openvm => MEMORY,
            Choice::Risc0 => MEMORY_RISC0,
        };
    }
    make_dir(&settings.out)?;
    let mut flags = args.provers.clone();
    if !flags.network {
        // As many provers as this machine holds: they join as remote ones would.
        let holds = Machine::detect().fitting(settings.memory.bytes());
        let provers = NonZeroUsize::new(settings.children.min(holds)).unwrap_or(NonZeroUsize::MIN);
        flags.provers.get_or_insert(provers);
    }
    match args.engine {
        Choice::Openvm => block(args, &settings, &flags),
        Choice::Risc0 => program(args, &settings, &flags),
    }
}

fn make_dir(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::Write {
        what: "the folder",
        path: path.to_owned(),
        source,
    })
}

/// A sample block, in OpenVM.
fn block(args: &Demo, settings: &Settings, flags: &ProverFlags) -> Result<(), Error> {
    let spec = SampleSpec {
        txs: args.txs.unwrap_or(TXS),
        seed: args.seed.unwrap_or_default(),
        ..SampleSpec::default()
    };
    let path = settings.out.join(format!("{NAME}.json.gz"));
    let file = {
        let _spinner = Spinner::new("making a sample block");
        let file = sample::generate(&spec)?;
        file.write(&path).map_err(error::block_file(&path))?;
        file
    };
    terminal::note(format_args!(
        "the block is made up: {} on a synthetic L2, in {}",
        terminal::plural(spec.txs, "transaction"),
        path.display()
    ));
    blocks::prove(&[path], &[file], settings, flags, args.work.data.json)
}

/// A small program, in RISC Zero. Its file is written, too, because `verify` takes it.
fn program(args: &Demo, settings: &Settings, flags: &ProverFlags) -> Result<(), Error> {
    let (name, image) = guest::FIBONACCI_RISC0;
    let path = settings.out.join(format!("{name}.elf"));
    fs::write(&path, image).map_err(|source| Error::Write {
        what: "the program",
        path: path.clone(),
        source,
    })?;
    terminal::note(format_args!(
        "the program adds {} times, modulo 2^64; it is in {}",
        terminal::count(ROUNDS_RISC0),
        path.display()
    ));
    let used = |source| Error::Program {
        path: path.clone(),
        source,
    };
    let program = ProgramFile::of(args.engine.name(), name.into(), image.to_vec(), None).map_err(used)?;
    let input = Input::from_bytes(ROUNDS_RISC0.to_le_bytes().to_vec()).map_err(Error::InputText)?;
    let verify = format!("--program {} --engine {}", quoted(&path), args.engine.name());
    let own = proving::job(name.into(), program, input, verify, settings)?;
    let outcome = proving::prove(&own, settings, flags, args.work.data.json)?;
    let context = report::Context {
        json: args.work.data.json,
        title: name,
        memory: settings.memory,
        verify: &verify_command(&outcome.proof_path, &own.job.verify),
        block: None::<()>,
    };
    report::proof(&outcome, context)
}
