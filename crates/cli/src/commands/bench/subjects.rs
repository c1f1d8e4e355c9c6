//! The programs and blocks that measure a machine.

use myriad_engine::{Input, MemoryBudget};
use myriad_evm::host::sample::{self, SampleSpec};
use myriad_node::bench::Subject;

use crate::{
    args::{Bench, Measure},
    engines::Choice,
    error::Error,
    guest,
    progress::Spinner,
};

/// Rounds of `fibonacci`, of 15 instructions: several segments at any budget, six at a quarter of a
/// GiB, and two.
const LONG_ROUNDS: u64 = 400_000;
const SHORT_ROUNDS: u64 = 140_000;
const QUICK_ROUNDS: u64 = 26_000;
/// Transactions of the sample blocks: some millions of instructions, and six segments at 4 GiB.
const LONG_TXS: usize = 40;
const SHORT_TXS: usize = 4;

/// Rounds of `fibonacci-risc0`, of 15 cycles: three segments of 2^21 rows, and at the budget of the
/// tree, 2^16, four and two.
const RISC0_LONG_ROUNDS: u64 = 400_000;
const RISC0_SHORT_ROUNDS: u64 = 12_500;
const RISC0_QUICK_ROUNDS: u64 = 5_200;

pub fn subjects(args: &Bench) -> Result<Vec<Subject>, Error> {
    if args.engine == Choice::Risc0 {
        return Ok(vec![fibonacci_risc0(args.quick)?]);
    }
    // A quick look measures only the cheapest program; the other is computed from it.
    let wanted = |measure| match args.only {
        Some(only) => only == measure,
        None => measure == Measure::Fibonacci || !args.quick,
    };
    let mut subjects = Vec::new();
    if wanted(Measure::Fibonacci) {
        subjects.push(fibonacci(if args.quick { QUICK_ROUNDS } else { SHORT_ROUNDS })?);
    }
    if wanted(Measure::EvmBlock) {
        subjects.push(evm_block()?);
    }
    Ok(subjects)
}

fn rounds(rounds: u64) -> Result<Input, Error> {
    Input::from_bytes(rounds.to_le_bytes().to_vec()).map_err(Error::InputText)
}

fn fibonacci_risc0(quick: bool) -> Result<Subject, Error> {
    let (name, image) = guest::FIBONACCI_RISC0;
    Ok(Subject {
        name: name.into(),
        image: image.to_vec(),
        program_config: None,
        long: rounds(RISC0_LONG_ROUNDS)?,
        short: rounds(if quick {
            RISC0_QUICK_ROUNDS
        } else {
            RISC0_SHORT_ROUNDS
        })?,
        whole_budget: MemoryBudget::from_bytes(768 << 20),
    })
}

fn fibonacci(short: u64) -> Result<Subject, Error> {
    let (name, image) = guest::FIBONACCI;
    Ok(Subject {
        name: name.into(),
        image: image.to_vec(),
        program_config: None,
        long: rounds(LONG_ROUNDS)?,
        short: rounds(short)?,
        whole_budget: MemoryBudget::from_bytes(256 << 20),
    })
}

fn evm_block() -> Result<Subject, Error> {
    let _spinner = Spinner::new("making sample blocks");
    let program = guest::Variant::Plain.load()?;
    let block = |txs| {
        let spec = SampleSpec {
            txs,
            ..SampleSpec::default()
        };
        let file = sample::generate(&spec)?;
        let input = file
            .to_input()
            .map_err(crate::error::block_file("the sample block".as_ref()))?;
        Input::from_bytes(input.encode()).map_err(Error::InputText)
    };
    Ok(Subject {
        long: block(LONG_TXS)?,
        short: block(SHORT_TXS)?,
        name: program.name,
        image: program.image,
        program_config: program.config,
        whole_budget: MemoryBudget::from_bytes(640 << 20),
    })
}
