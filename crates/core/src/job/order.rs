//! The order of jobs: tasks of the first one go out first.

use std::cmp::Reverse;

use super::Job;
use crate::time::Time;

/// The place of a job among all jobs: by priority; among equals by when they are due, then by age.
pub(crate) fn precedence(job: &Job) -> (Reverse<i32>, Time, u64) {
    let deadline = job.deadline.unwrap_or(Time::NEVER);
    (Reverse(job.priority), deadline, job.sequence)
}
