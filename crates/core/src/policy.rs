//! The numbers that decide, each with its reason.

use std::time::Duration;

use crate::redundancy::Redundancy;

/// A fetch that stalls keeps others waiting for at least this long. A fetch stalls when it is
/// slower than this rate: most homes' uplinks are faster, even while they serve other machines.
const STALLED_MIN: Duration = Duration::from_secs(2);
const STALLED_BYTES_PER_S: u64 = 250_000;

/// Bytes of a claimed proof for which others wait before any has come: more than a leaf or a node
/// has, and most segments. A larger claim buys no more time than this; only bytes that have come
/// do.
const STALLED_BYTES_BELIEVED: u64 = 1 << 20;

/// The time, from the start on, that others wait for a proof of `claimed` bytes while it is fetched
/// from a peer that says that it has it, when `came` bytes have come. After that the caller says
/// [`Input::Stalled`](crate::Input::Stalled).
pub fn stalled_after(claimed: u64, came: u64) -> Duration {
    let bytes = claimed.min(STALLED_BYTES_BELIEVED).max(came);
    STALLED_MIN.saturating_add(Duration::from_millis(
        bytes.saturating_mul(1000) / STALLED_BYTES_PER_S,
    ))
}

/// How a requester treats its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub redundancy: Redundancy,
    /// Whether a machine leaves to faster ones the tasks that they would end sooner. Machines that
    /// share their cores are not faster or slower than each other, whatever was measured.
    pub look_ahead: bool,
    /// The lease of a stranger that has delivered no proof of that kind lasts this many thousandths
    /// of the task's expected time. A home machine that has other work meanwhile is easily half as
    /// fast as measured.
    pub slack: u32,
    /// [`Self::slack`] of a machine that always took the expected time.
    pub slack_steady: u32,
    /// No lease is shorter: fetching the inputs and the answer's way take time that no cost counts.
    pub lease_min: Duration,
    /// Renewing stretches a lease to this many times its first length at most, however much
    /// progress is claimed.
    pub stretch_max: u32,
    /// [`Self::stretch_max`] for a stranger without an accepted proof.
    pub stretch_on_probation: u32,
    /// Leases that a stranger may hold before its first proof is accepted.
    pub leases_on_probation: usize,
    /// Leases that a stranger may hold afterwards: one to work at, and one whose inputs another
    /// build may fetch meanwhile. The prover of `myriad-node` does one task at a time.
    pub leases_max: usize,
    /// A holder is doubted when nothing of its progress was heard for this long, or for a quarter
    /// of the task's expected time if that is longer. Provers report every 5 s, and fetch inputs
    /// before they begin.
    pub doubt_min: Duration,
    /// Leases that strangers of one network, without an accepted proof, may hold together. Their
    /// unchecked proofs count too. At most this many of them are woken when there is work. Others
    /// ask by themselves.
    pub unproven_per_origin: usize,
    /// Peers that are remembered. When there are more, peers of which nothing is known go first.
    pub peers_max: usize,
    /// A job fails after this many failures of one task on the requester's own machines. Strangers
    /// may be lying: a task that fails on them is only not given to them again, and its failures
    /// are events.
    pub own_failures_max: usize,
    /// The caller does a node itself after this many peers have failed at it. One may be a liar or
    /// have bad memory; when several fail, it may be the node. Identities are free, so this bounds
    /// no attack. It costs a peer that fails on purpose this many leases, and the caller one node.
    pub trial_after_peers: usize,
    /// The caller also does it this long after the first failure, if no peer holds it that has
    /// delivered before and is in time: there may be no other peer that could.
    pub trial_after: Duration,
    /// The first pause after a lease ran out; each further one in a row doubles it.
    pub cooling: Duration,
    /// The longest pause.
    pub cooling_max: Duration,
    /// The pause after a peer gave a task back because it had got another requester's. It does not
    /// grow: the machine is busy meanwhile. But one that only takes tasks and gives them back must
    /// not have the next at once.
    pub rest: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            redundancy: Redundancy::default(),
            look_ahead: true,
            slack: 3000,
            slack_steady: 2000,
            lease_min: Duration::from_secs(10),
            stretch_max: 4,
            stretch_on_probation: 2,
            leases_on_probation: 1,
            leases_max: 2,
            doubt_min: Duration::from_secs(12),
            unproven_per_origin: 4,
            peers_max: 50_000,
            own_failures_max: 3,
            trial_after_peers: 3,
            trial_after: Duration::from_secs(60),
            cooling: Duration::from_secs(5),
            cooling_max: Duration::from_secs(600),
            rest: Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_buys_seconds_and_what_comes_buys_time() {
        let silent = stalled_after(u64::MAX, 0);
        assert!(silent < Duration::from_secs(7), "{silent:?}");
        assert_eq!(stalled_after(16 << 20, 0), silent);
        assert!(
            stalled_after(640 << 10, 0) < silent,
            "a small one should come sooner"
        );
        let coming = stalled_after(16 << 20, 10_000_000);
        assert_eq!(coming, STALLED_MIN + Duration::from_secs(40));
    }
}
