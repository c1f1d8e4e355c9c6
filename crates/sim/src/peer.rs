//! The parts that peers of both wings share: names, habits, pauses, and the worth of their proofs.

use std::time::Duration;

use myriad_core::{Peer, Standing};
use serde::{Deserialize, Serialize};

/// The times of `myriad-node`: how often a lease is renewed, and how long a prover waits to be
/// woken.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(5);
pub(crate) const WAIT: Duration = Duration::from_secs(30);
/// The pause of `myriad-node`: how long a prover waits before it asks a requester again that has
/// banned it, or has no more leases for it.
pub(crate) const BANNED_FOR: Duration = Duration::from_secs(600);
pub(crate) const BUSY_FOR: Duration = Duration::from_millis(500);
/// The time of `myriad-node`: how long after a connection broke the requester takes a peer for
/// lost.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(10);
/// When the requester gives up fetching a proof that is withheld.
pub(crate) const WITHHELD_FOR: Duration = Duration::from_secs(20);
/// A prover never says that it is done before it is, in thousandths.
pub(crate) const PROGRESS_MAX: u64 = 980;

/// The worth of a proof: the first byte of its [`Blob`](myriad_core::Blob).
pub(crate) const GOOD: u8 = 1;
pub(crate) const INVALID: u8 = 2;
pub(crate) const WITHHELD: u8 = 3;
/// It passes every check, and no node can be made over it.
pub(crate) const POISON: u8 = 4;

/// The habit of a machine: its way with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Habit {
    Honest,
    /// Takes it, and is not heard of again until the lease is over.
    Silent,
    /// Says that it makes progress, and never has a proof.
    Pretends,
    /// Sends bytes that are no proof.
    Garbage,
    /// Sends a proof of something else.
    Replays,
    /// Says that it has a proof, and does not hand it over.
    Withholds,
    /// Gives it back after some time, and asks for the next one.
    HandsBack,
    /// Says that it failed.
    Fails,
    /// Says that it is ten times as fast as it is.
    Boasts,
    /// Makes proofs that pass every check, and over which no node can be made. Fleets have none.
    #[serde(skip)]
    Poisons,
}

impl Habit {
    pub const HOSTILE: [Self; 8] = [
        Self::Silent,
        Self::Pretends,
        Self::Garbage,
        Self::Replays,
        Self::Withholds,
        Self::HandsBack,
        Self::Fails,
        Self::Boasts,
    ];

    /// Whether it delivers, sooner or later.
    pub const fn works(self) -> bool {
        matches!(self, Self::Honest | Self::Boasts)
    }
}

/// An odd number, and the one that it makes 1 with, modulo 2^64.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const SPREAD_BACK: u64 = 0xf1de_83e1_9937_733d;
const _: () = assert!(SPREAD.wrapping_mul(SPREAD_BACK) == 1);

/// The name of a machine. They are spread, so that their order says nothing about the machines.
pub(crate) fn name(index: usize) -> Peer {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(index as u64 + 1).wrapping_mul(SPREAD).to_be_bytes());
    Peer(id)
}

/// The number of the machine that has a name.
pub(crate) fn index(name: Peer) -> usize {
    let number = name.0[..8].try_into().expect("8 bytes");
    (u64::from_be_bytes(number).wrapping_mul(SPREAD_BACK) - 1) as usize
}

/// The standing of a machine that has served the requester before.
pub(crate) fn known() -> Standing {
    Standing {
        accepted: 8,
        ..Standing::default()
    }
}
