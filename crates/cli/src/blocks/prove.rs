//! Proving blocks: `block prove` and `demo`.

use std::path::PathBuf;

use myriad_engine::Input;
use myriad_evm::{Outcome as BlockOutcome, host::BlockFile};
use myriad_node::Outcome;

use super::{BlockReport, title, validated};
use crate::{
    args::ProverFlags,
    error::Error,
    files,
    proving::{self, OwnJob, quoted, verify_command},
    report,
    settings::Settings,
    terminal::hex0x,
};

/// A block, or a batch of them, that is valid and can be proven.
pub(super) struct Ready {
    block: BlockOutcome,
    pub(super) own: OwnJob,
}

impl Ready {
    /// Validates the block, or the batch of blocks, in `files`, which lie at `paths`. There is at
    /// least one.
    ///
    /// # Errors
    /// A block that is not valid or not known well enough.
    pub(super) fn new(paths: &[PathBuf], files: &[BlockFile], settings: &Settings) -> Result<Self, Error> {
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
        let own = proving::job(files::stem(path), variant.load()?, input, verify, settings)?;
        Ok(Self { block, own })
    }

    /// Compares what was proven with the native execution.
    ///
    /// # Errors
    /// [`Error::Disagreement`]
    pub(super) fn compare(&self, outcome: &Outcome) -> Result<(), Error> {
        if outcome.public_values != self.block.public_values.as_slice() {
            return Err(Error::Disagreement {
                actual: hex0x(&outcome.public_values),
                expected: self.block.public_values.to_string(),
            });
        }
        Ok(())
    }

    pub(super) fn facts(&self) -> BlockReport {
        BlockReport::of(&self.block)
    }

    /// Prints the result.
    ///
    /// # Errors
    /// [`Error::Stdout`]
    pub(super) fn report(&self, outcome: &Outcome, settings: &Settings, json: bool) -> Result<(), Error> {
        let verify = verify_command(&outcome.proof_path, &self.own.job.verify);
        let context = report::Context {
            json,
            title: &title(&self.block),
            memory: settings.memory,
            verify: &verify,
            block: Some(self.facts()),
        };
        report::proof(outcome, context)
    }
}

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
    let ready = Ready::new(paths, files, settings)?;
    let outcome = proving::prove(&ready.own, settings, flags, json)?;
    ready.compare(&outcome)?;
    ready.report(&outcome, settings, json)
}
