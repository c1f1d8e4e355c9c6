//! Writes the input bytes that the guest `evm-block` reads for a block file.
//!
//! `cargo run --release -p myriad-evm --example guest_input -- BLOCK.json.gz INPUT.bin`

use std::{env, error::Error, fs};

use myriad_evm::host::BlockFile;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [block, input] = arguments.as_slice() else {
        return Err("usage: guest_input BLOCK.json.gz INPUT.bin".into());
    };
    let bytes = BlockFile::read(block)?.to_input()?.encode();
    fs::write(input, &bytes)?;
    println!("{input}: {} bytes", bytes.len());
    Ok(())
}
