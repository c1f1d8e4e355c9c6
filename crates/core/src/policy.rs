//! The numbers that decide, each with its reason.

use std::time::Duration;

/// How a requester treats its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A stranger's lease lasts this many times what the task is expected to take. A home machine that is used for
    /// something else meanwhile is easily half as fast as measured.
    pub slack: u32,
    /// No lease is shorter: fetching the inputs and the answer's way take time that no cost counts.
    pub lease_min: Duration,
    /// Renewing stretches a lease to this many times its first length at most, however much progress is claimed.
    pub stretch_max: u32,
    /// Leases that a stranger may hold before its first proof is accepted.
    pub leases_on_probation: usize,
    /// Leases that a stranger may hold afterwards: one to work at, one whose inputs it fetches meanwhile.
    pub leases_max: usize,
    /// After so many failures of a task on the requester's own machines, the job fails. Strangers may be
    /// lying: what fails on them is only not given to them again, and its failures are events.
    pub failures_max: usize,
    /// The first pause after a lease ran out; each further one in a row doubles it.
    pub cooling: Duration,
    /// The longest pause.
    pub cooling_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            slack: 3,
            lease_min: Duration::from_secs(10),
            stretch_max: 4,
            leases_on_probation: 1,
            leases_max: 2,
            failures_max: 3,
            cooling: Duration::from_secs(5),
            cooling_max: Duration::from_secs(600),
        }
    }
}
