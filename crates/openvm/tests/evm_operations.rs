//! The block guest in the VM against the host. For each operation that the guest does by
//! instructions of the VM, and each division, a block is full of it and keeps a result.

use std::{error::Error, fs, path::Path};

use myriad_engine::Input;
use myriad_evm::{host::sample::operations, validate};
use myriad_openvm::{KeyCache, Program, devices};

const COMPARED: [&str; 12] = [
    "ecrecover",
    "MODEXP",
    "DIV",
    "SDIV",
    "MOD",
    "MULMOD",
    "ADDMOD",
    "SHA-256",
    "BN254",
    "BLS12-381",
    "point evaluation",
    "P-256",
];

#[test]
fn the_vm_gives_what_the_host_gives() -> Result<(), Box<dyn Error>> {
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/elf/");
    let elf = fs::read(format!("{guests}evm-block-precompiles.elf"))?;
    let openvm_toml = fs::read_to_string(format!("{guests}evm-block-precompiles.openvm.toml"))?;
    let program = Program::load(&elf, Some(&openvm_toml))?;
    // All tests of the workspace share the keys, from one run to the next.
    let keys = KeyCache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("data/keys"));
    keys.ensure(program.config())?;

    let mut executed = 0;
    for operation in operations::operations() {
        if !COMPARED.iter().any(|name| operation.name.starts_with(name)) {
            continue;
        }
        let input = operation.block(operation.gas_min())?.to_input()?;
        let natively = validate(&input)?.public_values;
        let input = Input::from_bytes(input.encode())?;
        let account = devices::account(&program, &keys, &input, u64::MAX)?;
        assert_eq!(account.public_values, natively.0, "{}", operation.name);
        executed += 1;
    }
    assert!(executed >= 20, "{executed}");
    Ok(())
}
