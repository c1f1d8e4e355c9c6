//! The errors of a task that a child was given.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::{death::Death, protocol::Failure};
use crate::KeyError;

/// Why a task was not done.
#[derive(Debug, Error)]
pub enum WorkerError {
    #[error("cannot start the engine child {}: {reason}", command.display())]
    Start { command: PathBuf, reason: io::Error },
    #[error("{0}")]
    Died(Death),
    /// The child is left waiting for the rest, and is of no use any more.
    #[error("a file for the engine child cannot be read: {0}")]
    File(io::Error),
    #[error("the engine child and its caller do not understand each other: {0}")]
    Protocol(String),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<KeyError> for WorkerError {
    fn from(error: KeyError) -> Self {
        Failure::Keys(error).into()
    }
}
