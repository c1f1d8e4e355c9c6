//! What is known of each peer.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    ids::{Kind, TaskRef},
    input::{Cost, Offer, SPEED_ONE, Trust},
    policy::Policy,
    time::Time,
};

/// Speeds are believed within these bounds, in thousandths. A peer that claims to be slower than the
/// lowest would get leases that nobody can wait for.
const SPEED_MIN: u32 = SPEED_ONE / 20;
const SPEED_MAX: u32 = SPEED_ONE * 50;

/// A peer, as this requester has come to know it.
#[derive(Clone, Debug)]
pub(crate) struct PeerState {
    pub offer: Offer,
    pub leases: BTreeSet<TaskRef>,
    /// Tasks that it has submitted proofs of which nobody has looked at yet.
    pub unchecked: BTreeSet<TaskRef>,
    pub accepted: u64,
    pub banned: Option<String>,
    /// Leases in a row from which no proof was accepted.
    pub setbacks: u32,
    pub cooling_until: Time,
    /// Measured for each kind of task, in thousandths; 0 where nothing is.
    speeds: [u32; Kind::ALL.len()],
}

impl PeerState {
    pub(crate) fn new(offer: Offer) -> Self {
        Self {
            offer,
            leases: BTreeSet::new(),
            unchecked: BTreeSet::new(),
            accepted: 0,
            banned: None,
            setbacks: 0,
            cooling_until: Time::default(),
            speeds: [0; Kind::ALL.len()],
        }
    }

    /// Whether it is the requester's own machine.
    pub(crate) fn is_own(&self) -> bool {
        self.offer.trust == Trust::Own
    }

    /// Leases that count against those allowed. On probation, so do proofs that nobody has looked at: a liar
    /// would have the next task before the first proof is seen to be none.
    pub(crate) fn held(&self) -> usize {
        let unchecked = if self.accepted == 0 {
            self.unchecked.len()
        } else {
            0
        };
        self.leases.len() + unchecked
    }

    pub(crate) fn leases_allowed(&self, policy: &Policy) -> usize {
        match self.offer.trust {
            Trust::Own => usize::MAX,
            Trust::Stranger if self.accepted == 0 => policy.leases_on_probation,
            Trust::Stranger => policy.leases_max,
        }
    }

    /// In thousandths.
    pub(crate) fn speed(&self, kind: Kind) -> u32 {
        match self.speeds[kind as usize] {
            0 => self.offer.speed,
            measured => measured,
        }
        .clamp(SPEED_MIN, SPEED_MAX)
    }

    /// How long a task is expected to take here.
    pub(crate) fn expected(&self, kind: Kind, cost: Cost) -> Duration {
        cost.work * SPEED_ONE / self.speed(kind)
    }

    /// Learns from a task that was done. New measurements weigh a quarter, so that one good or bad day
    /// does not decide.
    pub(crate) fn learn(&mut self, kind: Kind, cost: Cost, took: Duration) {
        let micros = took.as_micros().max(1);
        let seen = cost.work.as_micros() * u128::from(SPEED_ONE) / micros;
        let seen = u32::try_from(seen)
            .unwrap_or(SPEED_MAX)
            .clamp(SPEED_MIN, SPEED_MAX);
        let speed = &mut self.speeds[kind as usize];
        *speed = match *speed {
            0 => seen,
            before => (3 * before + seen) / 4,
        };
    }

    /// A lease ran out. Next time the peer is expected to be half as fast: either it is slower than it
    /// looked, or it holds tasks back, and then it gets few.
    pub(crate) fn was_late(&mut self, kind: Kind) {
        self.speeds[kind as usize] = (self.speed(kind) / 2).max(SPEED_MIN);
    }

    /// A lease ran out, a task failed, or a proof could not be had.
    pub(crate) fn disappoint(&mut self, now: Time, policy: &Policy) {
        if self.is_own() {
            return;
        }
        let pause = policy
            .cooling
            .saturating_mul(1u32.checked_shl(self.setbacks).unwrap_or(u32::MAX));
        self.cooling_until = now + pause.min(policy.cooling_max);
        self.setbacks = self.setbacks.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(speed: u32) -> PeerState {
        PeerState::new(Offer {
            memory: 1 << 30,
            speed,
            trust: Trust::Stranger,
        })
    }

    const COST: Cost = Cost {
        work: Duration::from_secs(10),
        memory: 0,
    };

    #[test]
    fn claims_count_until_work_is_seen() {
        let mut peer = peer(2000);
        assert_eq!(peer.expected(Kind::Leaf, COST), Duration::from_secs(5));
        peer.learn(Kind::Leaf, COST, Duration::from_secs(20));
        assert_eq!(peer.expected(Kind::Leaf, COST), Duration::from_secs(20));
        assert_eq!(
            peer.expected(Kind::Segment, COST),
            Duration::from_secs(5),
            "another kind"
        );
    }

    #[test]
    fn absurd_claims_are_bounded() {
        assert_eq!(peer(0).speed(Kind::Leaf), SPEED_MIN);
        assert_eq!(peer(u32::MAX).speed(Kind::Leaf), SPEED_MAX);
        let mut peer = peer(1000);
        peer.learn(Kind::Leaf, COST, Duration::ZERO);
        assert_eq!(peer.speed(Kind::Leaf), SPEED_MAX);
    }

    #[test]
    fn who_is_late_gets_longer_leases() {
        let mut peer = peer(1000);
        peer.learn(Kind::Leaf, COST, Duration::from_millis(1));
        let before = peer.expected(Kind::Leaf, COST);
        for _ in 0..20 {
            peer.was_late(Kind::Leaf);
        }
        assert!(peer.expected(Kind::Leaf, COST) > 100 * before);
        assert_eq!(peer.speed(Kind::Leaf), SPEED_MIN);
    }

    #[test]
    fn pauses_grow_and_stay_finite() {
        let policy = Policy::default();
        let mut peer = peer(1000);
        let mut pauses = Vec::new();
        for _ in 0..100 {
            peer.disappoint(Time(0), &policy);
            pauses.push(peer.cooling_until);
        }
        assert!(pauses.is_sorted() && pauses[0] < pauses[1]);
        assert_eq!(pauses[99], Time(0) + policy.cooling_max);
    }
}
