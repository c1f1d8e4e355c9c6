//! Counts the garbage that each peer has sent. The count outlives a connection, since a peer can
//! connect again at once.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use libp2p::PeerId;

/// A peer is shut out after this many invalid messages.
const STRIKES_MAX: u32 = 5;
/// A peer is forgiven if it has sent no invalid message for this long.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3600);
/// The most peers whose strikes are remembered, and the most that are shut out. Beyond that the
/// oldest are forgotten. Identities cost nothing, so an attacker with thousands gains nothing by
/// that.
const REMEMBERED_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Strikes {
    /// The strikes of each peer, and the time of its last one.
    of: HashMap<PeerId, (u32, Instant)>,
    blocked: VecDeque<PeerId>,
}

/// The consequence of one more strike.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Strike {
    Borne,
    /// The node stops speaking to it, and may forget that about another peer instead.
    Out {
        instead: Option<PeerId>,
    },
}

impl Strikes {
    pub(super) fn add(&mut self, id: PeerId, now: Instant) -> Strike {
        if self.blocked.contains(&id) {
            // The message was under way when the peer was shut out.
            return Strike::Borne;
        }
        if !self.of.contains_key(&id) && self.of.len() >= REMEMBERED_MAX {
            let oldest = self.of.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(&id, _)| id) {
                self.of.remove(&oldest);
            }
        }
        let (count, last) = self.of.entry(id).or_insert((0, now));
        if now - *last >= FORGIVEN_AFTER {
            *count = 0;
        }
        (*count, *last) = (*count + 1, now);
        if *count < STRIKES_MAX {
            return Strike::Borne;
        }
        self.of.remove(&id);
        self.blocked.push_back(id);
        let instead = (self.blocked.len() > REMEMBERED_MAX)
            .then(|| self.blocked.pop_front())
            .flatten();
        Strike::Out { instead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: Strike = Strike::Out { instead: None };

    #[test]
    fn the_fifth_is_one_too_many_unless_they_are_long_ago() {
        let mut strikes = Strikes::default();
        let (id, other) = (PeerId::random(), PeerId::random());
        let now = Instant::now();
        for _ in 1..STRIKES_MAX {
            assert_eq!(strikes.add(id, now), Strike::Borne);
        }
        assert_eq!(strikes.add(other, now), Strike::Borne);
        assert_eq!(strikes.add(id, now + FORGIVEN_AFTER / 2), OUT);
        for _ in 0..2 * STRIKES_MAX {
            assert_eq!(strikes.add(id, now + FORGIVEN_AFTER / 2), Strike::Borne);
        }

        for _ in 2..STRIKES_MAX {
            strikes.add(other, now);
        }
        assert_eq!(strikes.add(other, now + FORGIVEN_AFTER), Strike::Borne);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut strikes = Strikes::default();
        let mut now = Instant::now();
        let ids: Vec<PeerId> = (0..=REMEMBERED_MAX).map(|_| PeerId::random()).collect();
        for &id in &ids {
            now += Duration::from_millis(1);
            strikes.add(id, now);
        }
        assert_eq!(strikes.of.len(), REMEMBERED_MAX);
        assert!(!strikes.of.contains_key(&ids[0]));

        for (place, &id) in ids.iter().enumerate() {
            let last = (0..STRIKES_MAX)
                .map(|_| strikes.add(id, now))
                .find(|strike| *strike != Strike::Borne);
            let instead = (place == REMEMBERED_MAX).then_some(ids[0]);
            assert_eq!(last, Some(Strike::Out { instead }));
        }
    }
}
