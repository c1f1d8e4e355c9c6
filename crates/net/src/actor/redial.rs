//! The peers that this node wants to be connected with, and when it dials them again.

use std::{
    cmp::Reverse,
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId};

use crate::reach::{Recent, Teller};

/// The first pause before a peer is dialled again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Each further pause is twice as long for a peer that was met before, up to this: a link that was
/// cut for half a minute is used again soon after.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Each further pause is four times as long for a peer that was never met, and after this many
/// dials it is given up.
const STRANGER_DIALS_MAX: u32 = 4;
/// A stranger that was not reached is not dialled for this long, whichever peer names it.
const UNREACHED_FOR: Duration = Duration::from_secs(900);
/// The most strangers for which that is remembered.
const UNREACHED_MAX: usize = 1024;
/// Strangers that are dialled at one time, once a second, if the gate has room for this many. Names
/// that others make up must not make this node dial machines all over the internet.
const STRANGERS_AT_ONCE: usize = 8;
/// Peers that are dialled again and again, with those of the bootstrap list among them.
const WANTED_MAX: usize = 128;
/// The time for which a peer that was not seen is dialled, unless it is of the bootstrap list.
const WANTED_FOR: Duration = Duration::from_secs(900);

/// A peer that is dialled until it is connected.
struct Wanted {
    addresses: Vec<Multiaddr>,
    next: Instant,
    pause: Duration,
    /// None for ever.
    until: Option<Instant>,
    /// Whether it was ever connected.
    was_connected: bool,
    /// The time since which the peer is wanted, or of its last connection.
    since: Instant,
    /// The dials since it was seen last.
    dials: u32,
    /// The source that has named it.
    teller: Option<Teller>,
}

/// Peers to be connected with.
pub(super) struct Redial {
    wanted: HashMap<PeerId, Wanted>,
    /// Strangers that were dialled in vain, and the time until which they are not dialled again.
    unreached: Recent<PeerId, Instant>,
}

impl Default for Redial {
    fn default() -> Self {
        Self {
            wanted: HashMap::new(),
            unreached: Recent::new(UNREACHED_MAX),
        }
    }
}

impl Redial {
    /// Wants a connection with a peer for ever.
    pub(super) fn want_for_ever(&mut self, id: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        if let Some(wanted) = self.add(id, addresses, None, now) {
            wanted.until = None;
        }
    }

    /// Wants a connection with a peer until the peer was not seen for a while, was dialled in vain,
    /// or others need its place. `teller` named the peer.
    pub(super) fn want(
        &mut self,
        id: PeerId,
        addresses: Vec<Multiaddr>,
        teller: Option<Teller>,
        now: Instant,
    ) {
        if self.unreached.get(&id).is_some_and(|&until| now < until) {
            return;
        }
        if let Some(wanted) = self.add(id, addresses, teller, now) {
            wanted.until = Some(now + WANTED_FOR);
        }
    }

    fn add(
        &mut self,
        id: PeerId,
        addresses: Vec<Multiaddr>,
        teller: Option<Teller>,
        now: Instant,
    ) -> Option<&mut Wanted> {
        if !self.wanted.contains_key(&id) && self.wanted.len() >= WANTED_MAX && !self.make_place() {
            return None;
        }
        let wanted = self.wanted.entry(id).or_insert(Wanted {
            addresses: Vec::new(),
            next: now,
            pause: PAUSE_MIN,
            until: None,
            was_connected: false,
            since: now,
            dials: 0,
            teller,
        });
        if !addresses.is_empty() {
            wanted.addresses = addresses;
        }
        Some(wanted)
    }

    /// Lets go of one peer, unless all are wanted for ever. Anyone can say that a peer which does
    /// not exist has a job. So a peer that was never met goes first: one that was named by the
    /// teller that named most; among its strangers the one dialled most often, and then the
    /// earliest. If all were met, the one that was met first goes. Its next announcement brings it
    /// back.
    fn make_place(&mut self) -> bool {
        let mut named: HashMap<Option<Teller>, usize> = HashMap::new();
        let strangers = self.wanted.values().filter(|wanted| wanted.is_stranger());
        strangers.for_each(|wanted| *named.entry(wanted.teller).or_default() += 1);
        let passing = self.wanted.iter().filter(|(_, wanted)| wanted.until.is_some());
        let first = passing.min_by_key(|(_, wanted)| {
            let of_teller = named.get(&wanted.teller).copied().unwrap_or(0);
            let named_by = if wanted.was_connected { 0 } else { of_teller };
            (
                wanted.was_connected,
                Reverse((named_by, wanted.dials)),
                wanted.since,
            )
        });
        match first.map(|(&id, _)| id) {
            Some(id) => self.wanted.remove(&id).is_some(),
            None => false,
        }
    }

    pub(super) fn forget(&mut self, id: &PeerId) {
        self.wanted.remove(id);
    }

    /// It is connected: if it is lost, it is dialled at once.
    pub(super) fn connected(&mut self, id: &PeerId, now: Instant) {
        self.unreached.remove(id);
        if let Some(wanted) = self.wanted.get_mut(id) {
            (wanted.next, wanted.pause) = (now + PAUSE_MIN, PAUSE_MIN);
            wanted.until = wanted.until.map(|_| now + WANTED_FOR);
            (wanted.was_connected, wanted.since, wanted.dials) = (true, now, 0);
        }
    }

    /// This machine was suspended: all are dialled at once, and as long as if they had just been
    /// seen.
    pub(super) fn resumed(&mut self, now: Instant) {
        for wanted in self.wanted.values_mut() {
            (wanted.next, wanted.pause, wanted.dials) = (now, PAUSE_MIN, 0);
            wanted.until = wanted.until.map(|_| now + WANTED_FOR);
        }
    }

    /// The unconnected peers that are to be dialled now, with at most `strangers` strangers.
    pub(super) fn due(
        &mut self,
        connected: impl Fn(&PeerId) -> bool,
        strangers: usize,
        now: Instant,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let unreached = &mut self.unreached;
        self.wanted.retain(|id, wanted| {
            if connected(id) {
                return true;
            }
            let ended = wanted.is_stranger() && wanted.dials >= STRANGER_DIALS_MAX && wanted.next <= now;
            if ended {
                unreached.set(*id, now + UNREACHED_FOR);
            }
            !ended && wanted.until.is_none_or(|until| now < until)
        });
        let turn = self.strangers_turn(&connected, strangers.min(STRANGERS_AT_ONCE), now);
        let due = self.wanted.iter_mut().filter(|(id, wanted)| {
            wanted.next <= now && !connected(id) && (!wanted.is_stranger() || turn.contains(id))
        });
        due.map(|(&id, wanted)| {
            wanted.dials += 1;
            wanted.next = now + wanted.pause;
            wanted.pause = if wanted.is_stranger() {
                wanted.pause * 4
            } else {
                (wanted.pause * 2).min(PAUSE_MAX)
            };
            (id, wanted.addresses.clone())
        })
        .collect()
    }
}

impl Redial {
    /// The strangers whose turn it is. The tellers take turns, with one stranger each. A teller's
    /// least-dialled strangers come first, and the latest of them before the others, so that names
    /// that were made up in bulk come after a newcomer.
    fn strangers_turn(&self, connected: impl Fn(&PeerId) -> bool, most: usize, now: Instant) -> Vec<PeerId> {
        type Place = (u32, Reverse<Instant>, PeerId);
        let mut waiting: HashMap<Option<Teller>, Vec<Place>> = HashMap::new();
        for (&id, wanted) in &self.wanted {
            if wanted.is_stranger() && wanted.next <= now && !connected(&id) {
                let place = (wanted.dials, Reverse(wanted.since), id);
                waiting.entry(wanted.teller).or_default().push(place);
            }
        }
        let mut ranked = Vec::new();
        for places in waiting.values_mut() {
            places.sort_unstable();
            ranked.extend(places.iter().enumerate().map(|(rank, place)| (rank, *place)));
        }
        ranked.sort_unstable();
        let turn = ranked.into_iter().take(most);
        turn.map(|(_, (_, _, id))| id).collect()
    }
}

impl Wanted {
    /// Whether only others have named it.
    fn is_stranger(&self) -> bool {
        self.until.is_some() && !self.was_connected
    }
}

#[cfg(test)]
mod tests {
    use crate::reach::{Gate, Scope, ip_of};

    use super::*;

    fn somewhere() -> Vec<Multiaddr> {
        vec!["/ip4/10.0.0.1/tcp/1".parse().unwrap()]
    }

    /// The seconds at which a peer is dialled in half an hour, if it never answers.
    fn dials(redial: &mut Redial, start: Instant, mut before: impl FnMut(&mut Redial, Instant)) -> Vec<u64> {
        let mut at = Vec::new();
        for second in 0..1800 {
            let now = start + Duration::from_secs(second);
            before(redial, now);
            if !redial.due(|_| false, STRANGERS_AT_ONCE, now).is_empty() {
                at.push(second);
            }
        }
        at
    }

    #[test]
    fn a_wanted_peer_is_dialled_with_growing_pauses() {
        let mut redial = Redial::default();
        let id = PeerId::random();
        let now = Instant::now();
        redial.want_for_ever(id, somewhere(), now);
        assert_eq!(
            redial.due(|_| true, STRANGERS_AT_ONCE, now),
            [],
            "it is connected"
        );
        let at = dials(&mut redial, now, |_, _| {});
        assert_eq!(at[..6], [0, 1, 3, 7, 15, 30]);
        assert!(at.len() > 100, "for ever");
        redial.forget(&id);
        assert!(redial.wanted.is_empty());
    }

    #[test]
    fn a_stranger_is_dialled_a_few_times_however_often_it_is_named() {
        let mut redial = Redial::default();
        let id = PeerId::random();
        let now = Instant::now();
        let at = dials(&mut redial, now, |redial, now| {
            redial.want(id, somewhere(), None, now);
        });
        assert_eq!(at[..4], [0, 1, 5, 21]);
        assert!(at.len() <= 8, "{at:?}");

        // One that was met is looked for as long as it may come back.
        redial.want(PeerId::random(), somewhere(), None, now);
        let mut redial = Redial::default();
        redial.want(id, somewhere(), None, now);
        redial.connected(&id, now);
        let at = dials(&mut redial, now, |_, _| {});
        assert!(
            at.len() > 50 && at.last().unwrap() < &WANTED_FOR.as_secs(),
            "{at:?}"
        );
    }

    #[test]
    fn peers_that_are_nowhere_keep_nobody_out() {
        let mut redial = Redial::default();
        let now = Instant::now();
        let [bootstrap, met, unmet, honest] = [(); 4].map(|()| PeerId::random());
        redial.want_for_ever(bootstrap, Vec::new(), now);
        redial.want(met, Vec::new(), None, now);
        redial.want(unmet, Vec::new(), None, now);
        redial.connected(&met, now);
        let mut later = now;
        for _ in 0..2 * WANTED_MAX {
            later += Duration::from_millis(1);
            redial.want(PeerId::random(), Vec::new(), None, later);
            assert!(redial.wanted.len() <= WANTED_MAX);
        }
        redial.want(honest, Vec::new(), None, later);
        assert_eq!(redial.wanted.len(), WANTED_MAX);
        assert!(
            redial.wanted.contains_key(&bootstrap),
            "it was never met, but is wanted for ever"
        );
        assert!(redial.wanted.contains_key(&met));
        assert!(redial.wanted.contains_key(&honest));
        assert!(
            !redial.wanted.contains_key(&unmet),
            "it was wanted before the others"
        );

        let mut full = Redial::default();
        for _ in 0..WANTED_MAX {
            full.want_for_ever(PeerId::random(), Vec::new(), now);
        }
        full.want(honest, Vec::new(), None, now);
        assert!(!full.wanted.contains_key(&honest));
    }

    /// Dials by the gate's own budget, as the node does. The peers that are nowhere take its whole
    /// room.
    #[test]
    fn a_newcomer_is_dialled_as_soon_as_there_is_room_for_one() {
        let mut gate = Gate::new(|_| Some(Scope::Global));
        let mut redial = Redial::default();
        // Their tellers do not tell them apart, either.
        let teller = Some(Teller::Peer(PeerId::random()));
        let nowhere = |n: usize| {
            let address = |part| format!("/ip4/8.{part}.{n}.1/udp/9/quic-v1").parse().unwrap();
            (0..8).map(address).collect()
        };
        let start = Instant::now();
        for n in 0..150 {
            redial.want(PeerId::random(), nowhere(n), teller, start);
        }
        let mut dialled_at = |redial: &mut Redial, second| {
            let now = start + Duration::from_secs(second);
            let due = redial.due(|_| false, gate.room(now), now);
            for (id, addresses) in &due {
                gate.choose(*id);
                for ip in addresses.iter().filter_map(ip_of) {
                    let _ = gate.admit(Some(*id), ip, now);
                }
            }
            due
        };
        let names: usize = (0..30).map(|second| dialled_at(&mut redial, second).len()).sum();
        let left = redial.wanted.values().filter(|wanted| wanted.dials == 0).count();
        assert!(names >= 32 && left >= 64, "{names} dials, {left} left");

        let honest = PeerId::random();
        redial.want(honest, somewhere(), teller, start + Duration::from_secs(30));
        let mut seconds = (30..120).filter(|&second| {
            let due = dialled_at(&mut redial, second);
            due.iter().any(|(id, _)| *id == honest)
        });
        // A place for eight addresses is free after two seconds.
        let first = seconds.next();
        assert!(first.is_some_and(|second| second <= 32), "{first:?}");
    }

    #[test]
    fn the_peer_that_names_most_gives_way_first() {
        let mut redial = Redial::default();
        let mut now = Instant::now();
        let [liar, other] = [(); 2].map(|()| Some(Teller::Peer(PeerId::random())));
        let honest = PeerId::random();
        redial.want(honest, somewhere(), other, now);
        for _ in 0..10 * WANTED_MAX {
            now += Duration::from_millis(1);
            redial.want(PeerId::random(), somewhere(), liar, now);
        }
        assert_eq!(redial.wanted.len(), WANTED_MAX);
        assert!(redial.wanted.contains_key(&honest), "somebody else has named it");
        // A newcomer that another one names finds a place in the flood, too.
        let late = PeerId::random();
        redial.want(late, somewhere(), other, now);
        redial.want(PeerId::random(), somewhere(), liar, now);
        assert!(redial.wanted.contains_key(&late));
        let due = redial.due(|_| false, STRANGERS_AT_ONCE, now);
        assert!(due.iter().any(|(id, _)| *id == late));
        assert_eq!(due.len(), STRANGERS_AT_ONCE);
    }
}
