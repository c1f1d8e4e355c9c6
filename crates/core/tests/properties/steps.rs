//! The steps that may happen to a requester, and how often proptest makes up each.

use myriad_core::Redundancy;
use proptest::prelude::*;

use crate::harness::{JOBS, ONCE, PEERS};

/// A peer's way with a lease.
#[derive(Clone, Copy, Debug)]
pub enum Habit {
    Honest,
    Silent,
    HandsBack,
    /// The peer has got a task from another requester, too.
    Surplus,
    Fails,
    Lies,
    Vanishes,
    /// Says that it has the proof, and does not give it.
    Withholds,
    /// An honest machine that hands in its proof without a look at it.
    Naive,
    /// Makes proofs that pass every check, and over which no node can be made.
    Poisons,
}

pub fn habit() -> impl Strategy<Value = Habit> {
    prop_oneof![
        Just(Habit::Honest),
        Just(Habit::Silent),
        Just(Habit::HandsBack),
        Just(Habit::Surplus),
        Just(Habit::Fails),
        Just(Habit::Lies),
        Just(Habit::Vanishes),
        Just(Habit::Withholds),
        Just(Habit::Naive),
        Just(Habit::Poisons),
    ]
}

/// The requester's own ability to do a task.
#[derive(Clone, Copy, Debug)]
pub enum Hand {
    Able,
    Unable,
    /// Each attempt dies over the first proof that it takes.
    Dies,
}

pub fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        2 => Just(Hand::Able),
        1 => Just(Hand::Unable),
        1 => Just(Hand::Dies),
    ]
}

/// A step: which peer does what, and how much time passes.
#[derive(Clone, Debug)]
pub enum Step {
    Offer(usize),
    /// It says that it has the files of a job.
    Has(usize),
    Act(usize, Habit),
    /// A submission out of the blue.
    Intrude(usize, u32),
    Check(bool),
    /// The next fetch stalls; the proof may come later.
    Stall,
    Persist,
    /// The requester does a task itself, and this becomes of it.
    Try(Hand),
    /// The requester's disk damages the proof of a task.
    Rot(usize),
    Lose(usize),
    Decline(usize),
    Renew(usize, u16),
    Pass(u64),
    Open(usize),
    /// A job is opened whose first segments are known.
    OpenGrowing(usize, u32),
    /// This many segments more are known.
    Grow(usize, u32),
    Settle(usize),
    Cancel(usize),
}

pub fn redundancy() -> impl Strategy<Value = Redundancy> {
    prop_oneof![
        Just(Redundancy::default()),
        Just(ONCE),
        Just(Redundancy::Fixed(3))
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let peer = 0..PEERS;
    let job = 0..JOBS;
    prop_oneof![
        6 => peer.clone().prop_map(Step::Offer),
        1 => peer.clone().prop_map(Step::Has),
        6 => (peer.clone(), habit()).prop_map(|(peer, habit)| Step::Act(peer, habit)),
        1 => (peer.clone(), 0..9u32).prop_map(|(peer, segment)| Step::Intrude(peer, segment)),
        5 => any::<bool>().prop_map(Step::Check),
        2 => Just(Step::Stall),
        5 => Just(Step::Persist),
        2 => hand().prop_map(Step::Try),
        1 => any::<usize>().prop_map(Step::Rot),
        1 => peer.clone().prop_map(Step::Lose),
        1 => peer.clone().prop_map(Step::Decline),
        1 => (peer, any::<u16>()).prop_map(|(peer, progress)| Step::Renew(peer, progress)),
        2 => (0..60u64).prop_map(Step::Pass),
        1 => job.clone().prop_map(Step::Open),
        1 => (job.clone(), 0..4u32).prop_map(|(job, known)| Step::OpenGrowing(job, known)),
        2 => (job.clone(), 0..4u32).prop_map(|(job, more)| Step::Grow(job, more)),
        1 => job.clone().prop_map(Step::Settle),
        1 => job.prop_map(Step::Cancel),
    ]
}
