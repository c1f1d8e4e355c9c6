//! The errors of a scenario file.

use std::io;

use myriad_cost::{model::FitError, planner::PlanError, profile::ProfileError};
use thiserror::Error;

/// The most bytes of a scenario file. The longest here has under two thousand.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a scenario is none.
#[derive(Debug, Error)]
pub enum ScenarioError {
    #[error("{path} cannot be read: {source}")]
    Read { path: String, source: io::Error },
    #[error(
        "the scenario has more than the {FILE_BYTES_MAX} bytes that one may have: machines that are alike are one table with a `count`"
    )]
    Long,
    #[error("the scenario is not UTF-8 text: `myriad simulate --example` prints a valid one")]
    Text,
    /// The parser's error, with the line and what may be there.
    #[error("{0}")]
    Toml(Box<toml::de::Error>),
    #[error("{place} is {actual}, and has to be {allowed}")]
    Value {
        place: String,
        actual: String,
        allowed: String,
    },
    #[error("the profile of machines {machines:?}: {source}")]
    Profile { machines: String, source: ProfileError },
    #[error("machines {machines:?} have a profile that no model can be made of: {source}")]
    Model { machines: String, source: FitError },
    #[error("no costs of {program:?} are known for machines {machines:?}; there are those of {known}")]
    Program {
        program: String,
        machines: String,
        known: String,
    },
    /// No machine can do the blocks of a requester.
    #[error("the blocks of requester {requester:?} cannot be proven by this fleet: {source}")]
    Impossible { requester: String, source: PlanError },
}
