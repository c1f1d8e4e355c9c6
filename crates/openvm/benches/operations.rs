//! Measures the cost of each operation of the EVM to a prover: blocks full of it are executed in
//! the VM and not proven.
//!
//! ```text
//! cargo bench --workspace --bench operations -- [NAME]... [--gas 1000000] [--guest ELF OPENVM_TOML]
//! ```
//!
//! A row has instructions and trace cells (OpenVM's `execute_metered_cost`) per gas, without those
//! of a block that does nothing, and the time that the block takes natively. With names, only
//! operations whose names contain one of them are measured. In the VM, each block has to give the
//! public values that it has natively.

use std::{env, fs, time::Instant};

use myriad_evm::{
    host::sample::operations::{Operation, nothing, operations},
    validate,
};
use openvm_circuit::system::memory::merkle::public_values::extract_public_values;
use openvm_sdk::{
    CpuSdk, DefaultStarkEngine, StdIn,
    config::{AggregationSystemParams, AppConfig},
    prover::AppProver,
};
use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};
use openvm_stark_sdk::config::app_params_with_100_bits_security;
use openvm_transpiler::{elf::Elf, openvm_platform::memory::MEM_SIZE};
use serde::Deserialize;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const GAS: u64 = 1_000_000;
/// The stacked height of the keys, of which only the widths of the tables matter here.
const LOG_STACKED_HEIGHT: usize = 21;

#[derive(Deserialize)]
struct ConfigFile {
    app_vm_config: SdkVmConfig,
}

fn main() -> Fallible<()> {
    // Cargo starts benchmarks in the folder of the crate; paths are those of the workspace.
    env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    let mut gas = GAS;
    let mut guest = ["guests/elf/evm-block.elf", "guests/elf/evm-block.openvm.toml"].map(String::from);
    let mut names = Vec::new();
    let mut args = env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--gas" => gas = args.next().ok_or("--gas wants a number")?.parse()?,
            "--guest" => {
                let mut next = || args.next().ok_or("--guest wants an ELF and an openvm.toml");
                guest = [next()?, next()?];
            }
            _ => names.push(arg),
        }
    }

    let [elf, openvm_toml] = guest;
    let vm = Metered::new(&fs::read(elf)?, &fs::read_to_string(openvm_toml)?)?;
    let base = vm.run(&nothing(), gas)?;
    println!(
        "a block that does nothing: {} instructions, {} cells\n",
        base.instructions, base.cells
    );
    println!("| operation | instructions per gas | cells per gas | gas | native ms |\n|---|---|---|---|---|");
    let is_named =
        |operation: &Operation| names.is_empty() || names.iter().any(|name| operation.name.contains(name));
    for operation in operations().iter().filter(|operation| is_named(operation)) {
        // Costly operations get more than one round.
        let run = vm.run(operation, gas.max(operation.gas_min()))?;
        let per_gas = |all: u64, base: u64| all.saturating_sub(base) as f64 / run.gas as f64;
        println!(
            "| {} | {:.1} | {:.0} | {} | {:.1} |",
            operation.name,
            per_gas(run.instructions, base.instructions),
            per_gas(run.cells, base.cells),
            run.gas,
            run.native_ms,
        );
    }
    Ok(())
}

struct Run {
    gas: u64,
    instructions: u64,
    cells: u64,
    native_ms: f64,
}

/// A guest in a VM that counts.
struct Metered {
    prover: AppProver<DefaultStarkEngine, SdkVmCpuBuilder>,
}

impl Metered {
    fn new(elf: &[u8], openvm_toml: &str) -> Fallible<Self> {
        let vm = toml::from_str::<ConfigFile>(openvm_toml)?
            .app_vm_config
            .optimize();
        let config = AppConfig::new(vm, app_params_with_100_bits_security(LOG_STACKED_HEIGHT));
        let sdk = CpuSdk::new(config, AggregationSystemParams::default())?;
        let elf = Elf::decode(elf, MEM_SIZE as u32)?;
        Ok(Self {
            prover: sdk.app_prover(elf)?,
        })
    }

    fn run(&self, operation: &Operation, gas: u64) -> Fallible<Run> {
        let input = operation.block(gas)?.to_input()?;
        let start = Instant::now();
        let outcome = validate(&input)?;
        let native_ms = start.elapsed().as_secs_f64() * 1e3;

        let vm = self.prover.vm();
        let interpreter = vm.metered_cost_interpreter(&self.prover.exe())?;
        let stdin = StdIn::from_bytes(&input.encode());
        let (cost, state) = interpreter.execute_metered_cost(stdin, vm.build_metered_cost_ctx())?;
        let public_values = extract_public_values(32, &state.memory.memory);
        if public_values != outcome.public_values.0 {
            return Err(format!("{}: the VM and this machine disagree", operation.name).into());
        }
        Ok(Run {
            gas: outcome.gas_used,
            instructions: cost.instret,
            cells: cost.cost,
            native_ms,
        })
    }
}
