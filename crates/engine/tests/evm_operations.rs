//! The block guest in the VM against the host, which computes in software. For each operation that
//! the guest does by instructions of the VM, a block is full of it and keeps a hash of the results.

use std::{error::Error, fs};

use myriad_evm::{host::sample::operations, validate};
use openvm_sdk::{
    CpuSdk, StdIn,
    config::{AggregationSystemParams, AppConfig},
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_sdk::config::app_params_with_100_bits_security;
use openvm_transpiler::{elf::Elf, openvm_platform::memory::MEM_SIZE};
use serde::Deserialize;

const BY_INSTRUCTIONS: [&str; 6] = [
    "ecrecover",
    "SHA-256",
    "BN254",
    "BLS12-381",
    "point evaluation",
    "P-256",
];

#[derive(Deserialize)]
struct ConfigFile {
    app_vm_config: SdkVmConfig,
}

#[test]
fn the_vm_gives_what_the_host_gives() -> Result<(), Box<dyn Error>> {
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/elf/");
    let elf = fs::read(format!("{guests}evm-block-precompiles.elf"))?;
    let config: ConfigFile = toml::from_str(&fs::read_to_string(format!(
        "{guests}evm-block-precompiles.openvm.toml"
    ))?)?;
    let config = AppConfig::new(
        config.app_vm_config.optimize(),
        app_params_with_100_bits_security(21),
    );
    let sdk = CpuSdk::new(config, AggregationSystemParams::default())?;
    let exe = sdk.convert_to_exe(Elf::decode(&elf, MEM_SIZE as u32)?)?;

    let mut executed = 0;
    for operation in operations::operations() {
        if !BY_INSTRUCTIONS
            .iter()
            .any(|name| operation.name.starts_with(name))
        {
            continue;
        }
        let input = operation.block(operation.gas_min())?.to_input()?;
        let natively = validate(&input)?.public_values;
        let public_values = sdk.execute(exe.clone(), StdIn::from_bytes(&input.encode()))?;
        assert_eq!(public_values, natively.0, "{}", operation.name);
        executed += 1;
    }
    assert!(executed >= 20, "{executed}");
    Ok(())
}
