//! Writes a block that is full of one operation of the EVM, of up to 120 M gas: `cargo run
//! --release -p myriad-evm --example operation_block -- "SSTORE of new slots" 60000000
//! BLOCK.json.gz`.
//!
//! Without arguments it says which operations there are.

use std::{env, error::Error};

use myriad_evm::host::sample::operations::{operations, together};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let mut all = operations().into_iter().chain([together()]);
    let [name, gas, file] = arguments.as_slice() else {
        all.for_each(|operation| println!("{}", operation.name));
        return Ok(());
    };
    let operation = all.find(|operation| operation.name == *name);
    let operation = operation.ok_or("there is no such operation: without arguments, they are listed")?;
    let block = operation.block(gas.parse()?)?;
    block.write(file)?;
    println!(
        "{file}: {} gas, {} transactions, {} bytes of input",
        block.decode_block()?.header.gas_used,
        block.decode_block()?.body.transactions.len(),
        block.to_input()?.encoded_bytes()
    );
    Ok(())
}
