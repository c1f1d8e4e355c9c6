//! The state of each peer: its last offer, its leases and how long they are, its pauses, its
//! standing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    forecast::ForecastEntry,
    ids::{Kind, TaskRef},
    input::{Cost, Offer, SPEED_ONE, Trust},
    policy::Policy,
    redundancy::{ONE, share},
    standing::{SPEED_MAX, Standing},
    time::Time,
};

/// The newcomers whose first lease this requester has seen end. At this many, both counts are
/// halved.
const NEWCOMERS_MAX: u32 = 256;
/// The chance, in thousandths, that newcomers deliver before any was seen, and the number of
/// newcomers that it weighs as much as.
const NEWCOMERS_DELIVER: u32 = 800;
const NEWCOMERS_SUPPOSED: u32 = 4;

/// The chance to deliver from which on others may wait for a machine, in thousandths.
const RELIED_ON: u32 = 750;

/// A peer, as this requester has come to know it.
#[derive(Clone, Debug)]
pub(crate) struct PeerState {
    pub offer: Offer,
    pub standing: Standing,
    pub leases: BTreeSet<TaskRef>,
    /// Tasks that it has submitted proofs of and that nobody has looked at yet, with the network
    /// that counts each; see [`Policy::unproven_per_origin`].
    pub unchecked: BTreeMap<TaskRef, Option<u64>>,
    /// How often in a row it was woken and did not come.
    pub overslept: u32,
    /// Leases in a row from which no proof was accepted.
    pub setbacks: u32,
    pub cooling_until: Time,
    pub seen: Time,
    /// When it will have done the last of its leases, as far as is known; [`Time::NEVER`] if it is
    /// late with one.
    pub free_at: Time,
    /// Its entry in the [forecast](crate::forecast::Forecast).
    pub foreseen: Option<ForecastEntry>,
}

/// Counts how first leases of strangers have ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Newcomers {
    kept: u32,
    broken: u32,
}

impl Newcomers {
    /// Takes note of how a lease has ended, if it was the first of a peer with this standing.
    pub(crate) fn note(&mut self, standing: &Standing, kept: bool) {
        if *standing != Standing::default() {
            return;
        }
        *(if kept { &mut self.kept } else { &mut self.broken }) += 1;
        if self.kept + self.broken > NEWCOMERS_MAX {
            self.kept /= 2;
            self.broken /= 2;
        }
    }

    /// The chance that a peer keeps to its first lease, in thousandths.
    pub(crate) fn deliver(self) -> u32 {
        (ONE * self.kept + NEWCOMERS_DELIVER * NEWCOMERS_SUPPOSED)
            / (self.kept + self.broken + NEWCOMERS_SUPPOSED)
    }
}

impl PeerState {
    pub(crate) fn new(offer: Offer, standing: Standing) -> Self {
        Self {
            offer,
            standing,
            leases: BTreeSet::new(),
            unchecked: BTreeMap::new(),
            overslept: 0,
            setbacks: 0,
            cooling_until: Time::default(),
            seen: Time::default(),
            free_at: Time::default(),
            foreseen: None,
        }
    }

    /// Whether it is the requester's own machine.
    pub(crate) fn is_own(&self) -> bool {
        self.offer.trust == Trust::Own
    }

    /// Whether it may be relied on.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_own() || self.standing.is_proven()
    }

    /// Whether it may be forgotten: if it comes back, even after a ban, it is no better than a
    /// new identity.
    pub(crate) fn is_forgettable(&self) -> bool {
        !self.is_proven() && self.leases.is_empty() && self.unchecked.is_empty()
    }

    /// It holds a lease no more.
    pub(crate) fn lets_go(&mut self, task: TaskRef) {
        self.leases.remove(&task);
        if self.leases.is_empty() {
            // A tree that was emptied keeps a node, which for most peers is more than all else that
            // is known of them.
            self.leases = BTreeSet::new();
            self.free_at = Time::default();
        }
    }

    /// Takes note that its proof of a task waits no more to be looked at. Returns the network that
    /// counted it.
    pub(crate) fn is_looked_at(&mut self, task: TaskRef) -> Option<u64> {
        let counted = self.unchecked.remove(&task).flatten();
        if self.unchecked.is_empty() {
            self.unchecked = BTreeMap::new();
        }
        counted
    }

    /// Leases that count against those allowed. So do a stranger's proofs that nobody has looked
    /// at: a liar would have the next task before the first proof is seen to be none. One that was
    /// proven before could hand in nothing for all segments of a plan, which nobody can judge
    /// before the requester has executed them.
    pub(crate) fn held(&self) -> usize {
        let unchecked = if self.is_own() { 0 } else { self.unchecked.len() };
        self.leases.len() + unchecked
    }

    pub(crate) fn leases_allowed(&self, policy: &Policy) -> usize {
        match self.offer.trust {
            Trust::Own => usize::MAX,
            Trust::Stranger if self.is_proven() => policy.leases_max,
            Trust::Stranger => policy.leases_on_probation,
        }
    }

    /// The chance that it keeps to its next lease, in thousandths.
    pub(crate) fn delivers(&self, newcomers: Newcomers) -> u32 {
        match self.offer.trust {
            Trust::Own => ONE,
            Trust::Stranger => self.standing.delivers(newcomers.deliver()),
        }
    }

    /// The speed that is expected of it, in thousandths.
    pub(crate) fn speed(&self, kind: Kind) -> u32 {
        let known = self.standing.speed(kind);
        match known.mean {
            0 => self.offer.speed,
            measured => measured,
        }
        .clamp(known.floor(), SPEED_MAX)
    }

    /// The speed that its proofs have shown, at other kinds of tasks if there is none of this one.
    /// Without any, it is the speed that a stranger claims, up to that of the machine that costs
    /// are measured on.
    pub(crate) fn seen_speed(&self, kind: Kind) -> u32 {
        let known = self.standing.speed(kind);
        let speed = match (known.mean, self.standing.mean_speed()) {
            (0, None) if self.is_own() => self.offer.speed,
            (0, None) => self.offer.speed.min(SPEED_ONE),
            (0, Some(others)) => others,
            (measured, _) => measured,
        };
        speed.clamp(known.floor(), SPEED_MAX)
    }

    /// The time that a task takes here at the speed that its proofs have shown.
    pub(crate) fn seen_to_take(&self, kind: Kind, cost: Cost) -> Duration {
        cost.work.saturating_mul(SPEED_ONE) / self.seen_speed(kind)
    }

    /// Whether others may wait for it.
    pub(crate) fn is_relied_on(&self, newcomers: Newcomers) -> bool {
        let is_good = self.is_proven() && self.standing.banned.is_none();
        is_good && self.overslept == 0 && self.delivers(newcomers) >= RELIED_ON
    }

    /// The time that a task is expected to take here.
    pub(crate) fn expected(&self, kind: Kind, cost: Cost) -> Duration {
        cost.work * SPEED_ONE / self.speed(kind)
    }

    /// The length of a lease: the expected time with some slack. A machine that is known to be
    /// steady gets less slack.
    pub(crate) fn lease_length(&self, kind: Kind, cost: Cost, policy: &Policy) -> Duration {
        if self.is_own() {
            // If an own machine's process ends, the system tells its owner, and nobody else has use
            // for the time.
            return Duration::MAX;
        }
        let speed = self.standing.speed(kind);
        let slack = match speed.samples {
            0 => policy.slack,
            _ => policy
                .slack_steady
                .saturating_add(2 * speed.deviation.saturating_mul(ONE) / speed.mean.max(1))
                .min(policy.slack),
        };
        share(self.expected(kind, cost), slack).max(policy.lease_min)
    }

    /// Among machines alike in memory, the one with the most merit goes first. Until a proof shows
    /// how fast a stranger is, the speed that it claims counts half, and for no more than the
    /// machine that costs are measured on. Each time that it was woken and did not come halves its
    /// merit again.
    pub(crate) fn merit(&self, newcomers: Newcomers) -> u32 {
        let speed = match self.offer.trust {
            Trust::Stranger if !self.is_proven() => self.speed(Kind::Segment).min(SPEED_ONE) / 2,
            Trust::Stranger | Trust::Own => self.speed(Kind::Segment),
        };
        let merit = u64::from(speed) * u64::from(self.delivers(newcomers)) / u64::from(ONE);
        (merit as u32).checked_shr(self.overslept).unwrap_or(0)
    }

    /// It gave a lease back because it had something else to do: a short pause, each time the same.
    pub(crate) fn rest(&mut self, now: Time, policy: &Policy) {
        if !self.is_own() {
            self.cooling_until = self.cooling_until.max(now + policy.rest);
        }
    }

    /// A lease has come to nothing: the peer has to pause, each time in a row for longer.
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
        let offer = Offer {
            memory: 1 << 30,
            speed,
            trust: Trust::Stranger,
            origin: None,
        };
        PeerState::new(offer, Standing::default())
    }

    const COST: Cost = Cost {
        work: Duration::from_secs(10),
        memory: 0,
    };

    #[test]
    fn claims_count_until_work_is_seen() {
        let mut peer = peer(2000);
        assert_eq!(peer.expected(Kind::Leaf, COST), Duration::from_secs(5));
        peer.standing.accept(Kind::Leaf, COST, Duration::from_secs(20));
        assert_eq!(peer.expected(Kind::Leaf, COST), Duration::from_secs(20));
        assert_eq!(
            peer.expected(Kind::Segment, COST),
            Duration::from_secs(5),
            "another kind"
        );
    }

    #[test]
    fn absurd_claims_are_bounded() {
        assert_eq!(peer(0).speed(Kind::Leaf), SPEED_ONE / 4);
        assert_eq!(peer(u32::MAX).speed(Kind::Leaf), SPEED_MAX);
    }

    #[test]
    fn a_steady_peer_gets_shorter_leases() {
        let policy = Policy::default();
        let mut peer = peer(1000);
        let unknown = peer.lease_length(Kind::Leaf, COST, &policy);
        assert_eq!(unknown, Duration::from_secs(30));
        for _ in 0..20 {
            peer.standing.accept(Kind::Leaf, COST, COST.work);
        }
        let steady = peer.lease_length(Kind::Leaf, COST, &policy);
        assert!(steady < unknown && steady >= 2 * COST.work, "{steady:?}");
    }

    #[test]
    fn a_late_peer_gets_longer_leases() {
        let policy = Policy::default();
        let mut peer = peer(1000);
        let before = peer.lease_length(Kind::Leaf, COST, &policy);
        let length = |peer: &PeerState| peer.lease_length(Kind::Leaf, COST, &policy);
        peer.standing.expire(Kind::Leaf, peer.speed(Kind::Leaf));
        assert_eq!(length(&peer), 2 * before);
        for _ in 0..10 {
            peer.standing.expire(Kind::Leaf, peer.speed(Kind::Leaf));
        }
        assert_eq!(length(&peer), 4 * before, "unless it is never seen to deliver");
        peer.standing.accept(Kind::Leaf, COST, 10 * COST.work);
        peer.standing.expire(Kind::Leaf, peer.speed(Kind::Leaf));
        assert!(length(&peer) > 7 * before, "what has delivered slowly is slow");
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

    #[test]
    fn newcomers_are_what_they_turn_out_to_be() {
        let mut newcomers = Newcomers::default();
        assert_eq!(newcomers.deliver(), NEWCOMERS_DELIVER);
        for place in 0..1000 {
            newcomers.note(&Standing::default(), place % 5 == 0);
        }
        assert!((180..240).contains(&newcomers.deliver()), "{newcomers:?}");
    }
}
