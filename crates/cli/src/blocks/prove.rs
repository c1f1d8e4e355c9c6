//! Proving blocks: `block prove` and `demo`.

use std::path::PathBuf;

use myriad_engine::Input;
use myriad_evm::host::BlockFile;

use super::{BlockReport, title, validated};
use crate::{
    args::ProverFlags,
    error::Error,
    files,
    proving::{self, quoted, verify_command},
    report,
    settings::Settings,
    terminal::hex0x,
};

/// Proves the block, or the batch of blocks, in `files`, which lie at `paths`, and prints the
/// result. There is at least one.
///
/// # Errors
/// A block that is not valid or not known well enough, and whatever proving fails of.
pub fn prove(
    paths: &[PathBuf],
    files: &[BlockFile],
    settings: &Settings,
    flags: &ProverFlags,
    json: bool,
) -> Result<(), Error> {
    let path = &paths[0];
    let (block, input, variant) = validated(paths, files)?;
    if !block.skipped.is_empty() {
        return Err(Error::ParentUnknown {
            path: path.clone(),
            skipped: block.skipped,
        });
    }
    let input = Input::from_bytes(input).map_err(|source| Error::Input {
        path: path.clone(),
        source,
    })?;
    let named: Vec<_> = paths
        .iter()
        .map(|path| format!("--block {}", quoted(path)))
        .collect();
    let verify = named.join(" ");
    let job = proving::job(files::stem(path), variant.load()?, input, verify.clone());
    let outcome = proving::prove(&job, settings, flags, json)?;
    if outcome.public_values != block.public_values.as_slice() {
        return Err(Error::Disagreement {
            actual: hex0x(&outcome.public_values),
            expected: block.public_values.to_string(),
        });
    }
    let verify = verify_command(&outcome.proof_path, &verify);
    let title = title(&block);
    let context = report::Context {
        json,
        title: &title,
        memory: settings.memory,
        verify: &verify,
        block: Some(BlockReport::of(&block)),
    };
    report::proof(&outcome, context)
}
