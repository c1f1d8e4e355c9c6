//! Block files, as several commands use them: read and validated, proven, claimed, and shown.

mod claim;
mod each;
mod facts;
mod prove;
mod summary;

use std::path::PathBuf;

use myriad_evm::{
    BlockError, Outcome,
    host::{BatchError, BlockFile, batch, precompiles},
};

use crate::{
    error::{Error, block_file},
    guest::Variant,
    progress::Spinner,
};

pub use claim::Claim;
pub use each::prove_each;
pub use facts::BlockReport;
pub use prove::prove;
pub use summary::show;

/// Reads block files: one, or those of a batch.
///
/// # Errors
/// The errors of [`BlockFile::read`].
pub fn read(paths: &[PathBuf]) -> Result<Vec<BlockFile>, Error> {
    let read = |path: &PathBuf| BlockFile::read(path).map_err(block_file(path));
    paths.iter().map(read).collect()
}

/// Validates a block or a batch natively. Returns the outcome, the input of the guest, and the
/// cheapest variant of it.
///
/// # Errors
/// A block that is not valid, or blocks that are no batch.
pub fn validated(paths: &[PathBuf], files: &[BlockFile]) -> Result<(Outcome, Vec<u8>, Variant), Error> {
    let _spinner = Spinner::new("executing the block natively");
    validate(paths, files)
}

/// [`validated`], without a word on the screen.
///
/// # Errors
/// The errors of [`validated`].
pub fn validate(paths: &[PathBuf], files: &[BlockFile]) -> Result<(Outcome, Vec<u8>, Variant), Error> {
    let path_of = |index: usize| paths.get(index).cloned().unwrap_or_default();
    let (result, in_software) = precompiles::in_software(|| batch(files));
    let (input, outcome) = result.map_err(|error| match error {
        BatchError::File { index, source } => block_file(&path_of(index))(source),
        BatchError::Invalid(source @ BlockError::InBatch { .. }) => Error::Batch(source.into()),
        BatchError::Invalid(source) => Error::Block {
            path: path_of(0),
            source,
        },
        source => Error::Batch(source),
    })?;
    let variant = Variant::cheapest(outcome.gas_used, in_software);
    Ok((outcome, input.encode(), variant))
}

/// The title of a block, or of a batch of them.
pub fn title(outcome: &Outcome) -> String {
    let noun = if outcome.blocks > 1 { "Blocks" } else { "Block" };
    format!(
        "{noun} {} of chain {}",
        summary::numbers(outcome.number, outcome.blocks),
        outcome.chain_id
    )
}
