//! Prints the journal of a receipt, in hex: `stock-risc0 FILE IMAGE_ID`.

use std::{env, error::Error, fs};

use hex::FromHex;
use risc0_zkvm::Digest;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [file, image_id] = &args[..] else {
        return Err("usage: stock-risc0 FILE IMAGE_ID".into());
    };
    let image_id = Digest::from_hex(image_id).map_err(|e| format!("the image id {image_id:?}: {e}"))?;
    let journal = stock_risc0::journal(&fs::read(file)?, image_id)?;
    println!("{}", hex::encode(journal));
    Ok(())
}
