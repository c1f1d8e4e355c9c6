//! What the service itself knows of a job, and keeps beside the record.

use std::time::Duration;

use myriad_api::{BlockFacts, JobState, Problem, Proof};
use myriad_core::JobId;
use serde::{Deserialize, Serialize};

use crate::Made;

/// Raised when older builds would misread a note.
pub(super) const VERSION: u32 = 1;

/// What the service knows of a job that its record does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub version: u32,
    pub name: String,
    pub engine: String,
    /// The name of the key that it was submitted with.
    pub owner: Option<String>,
    pub priority: i32,
    pub deadline_s: Option<u64>,
    pub block: Option<BlockFacts>,
    pub submitted_ms: u64,
    /// How it has ended; none while it goes on.
    pub end: Option<JobState>,
    pub ended_ms: Option<u64>,
    pub error: Option<Problem>,
    pub verify_ms: u64,
    pub wall_ms: Option<u64>,
    pub in_time: Option<bool>,
    pub segments: u64,
    pub instructions: u64,
    pub reused: u64,
    pub public_values: Option<String>,
    /// When it should be done: `deadline_s` after the submission that says so.
    #[serde(default)]
    pub due_ms: Option<u64>,
    /// The public values that were asked for, in hex, where the submission says which.
    #[serde(default)]
    pub expected_public_values: Option<String>,
    /// It has failed, and the record is done: the proof is one of other public values.
    #[serde(default)]
    pub has_other_values: bool,
}

impl Note {
    /// Makes a job that is continued the one that was asked for: a record says neither how
    /// important it is nor what its proof has to show. Returns its deadline and its owner.
    pub(crate) fn ask_again(self, made: &mut Made, now_ms: u64) -> (Option<u64>, Option<String>) {
        let due_ms = self.due_ms.or_else(|| {
            let within_ms = self.deadline_s?.saturating_mul(1000);
            Some(self.submitted_ms.saturating_add(within_ms))
        });
        made.options.priority = self.priority;
        made.options.deadline = due_ms.map(|due| Duration::from_millis(due.saturating_sub(now_ms)));
        made.block = self.block;
        let expected = self.expected_public_values.map(hex::decode);
        made.expected_public_values = expected.and_then(Result::ok);
        (self.deadline_s, self.owner)
    }

    /// Whether nobody has compared the public values of the proof with those that were asked for.
    pub(super) fn is_unchecked(&self) -> bool {
        self.end.is_none() && self.expected_public_values.is_some()
    }
}

/// A final proof, without what only the run that made it knows.
pub(super) fn proof_of(id: JobId, bytes: u64, has_baseline: bool, verify: &str) -> Proof {
    Proof {
        bytes,
        href: format!("/v1/jobs/{id}/proof"),
        baseline_href: has_baseline.then(|| format!("/v1/jobs/{id}/baseline")),
        verify_ms: 0,
        wall_ms: None,
        in_time: None,
        verify: verify.to_owned(),
    }
}
