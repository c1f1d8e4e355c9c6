//! Verifies receipts as somebody does who has a release of RISC Zero, and nothing of Myriad.

use risc0_zkvm::{Digest, Receipt};

/// The journal of a receipt that shows that the program with this image id ended well.
///
/// # Errors
/// The file is no receipt, or it shows no such thing.
pub fn journal(file: &[u8], image_id: Digest) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let receipt: Receipt = bincode::deserialize(file)?;
    receipt.verify(image_id)?;
    Ok(receipt.journal.bytes)
}
