//! What makes jobs of uploads: the command line implements it, which knows the engines.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use myriad_api::{BlockFacts, JobRequest, Problem};
use myriad_core::JobId;
use myriad_node::{Job, Options};

/// Makes jobs of what was uploaded: it knows program files, blocks and engines.
pub trait Workshop: Send + Sync + 'static {
    /// Makes a job. This may take seconds, and blocks the thread. The paths are those of files on
    /// the service's own disk.
    ///
    /// # Errors
    /// Why there is no job: the words are for the client, and name no path of the service.
    fn make(&self, upload: &Upload<'_>, request: &JobRequest) -> Result<Made, Problem>;

    /// What is needed to continue a job of the data folder, after a restart of the service for one.
    /// It blocks the thread, too.
    ///
    /// # Errors
    /// Why it cannot be continued.
    fn resume(&self, id: JobId) -> Result<Made, Problem>;

    /// The engines whose jobs it makes.
    fn engines(&self) -> Vec<String>;
}

/// What was uploaded. A `name` is that of the client's file, of which the stem is left, in harmless
/// letters.
#[derive(Clone, Copy, Debug)]
pub enum Upload<'a> {
    Program {
        program: &'a Path,
        name: Option<&'a str>,
        /// The text that configures the program's virtual machine.
        config: Option<&'a Path>,
        /// Each file is one item of the input.
        input: &'a [PathBuf],
    },
    Blocks {
        files: &'a [PathBuf],
        name: Option<&'a str>,
    },
}

/// A job that was made of an upload.
pub struct Made {
    pub job: Arc<Job>,
    /// The folder of the proof is another one in the end: that of the job at the service.
    pub options: Options,
    pub block: Option<BlockFacts>,
    /// The public values that the block says the program reveals.
    pub expected_public_values: Option<Vec<u8>>,
}
