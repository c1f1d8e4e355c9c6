//! The peers that a node is connected with, and those that it wants to be.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::{
    peer::{is_loopback, origin},
    wire::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, Hello},
};

/// The first pause before a peer is dialled again; each further one doubles it.
const REDIAL_MIN: Duration = Duration::from_secs(1);
/// The longest pause: a link that was cut for half a minute is used again soon after.
const REDIAL_MAX: Duration = Duration::from_secs(15);
/// Peers that are dialled again and again. Those of the bootstrap list are among them.
const WANTED_MAX: usize = 128;
/// How long a peer that was not seen is dialled, unless it is of the bootstrap list.
const WANTED_FOR: Duration = Duration::from_secs(900);

/// A connected peer.
pub(super) struct Connected {
    pub since: Instant,
    /// What it said of itself, once it has.
    pub hello: Option<Hello>,
    /// Where it says that it listens.
    pub addresses: Vec<Multiaddr>,
    /// Whether it is on this very machine.
    pub local: bool,
    /// The network that it called from first; see [`crate::peer::origin`].
    pub origin: Option<u64>,
}

impl Connected {
    pub(super) fn new(address: &Multiaddr) -> Self {
        Self {
            since: Instant::now(),
            hello: None,
            addresses: Vec::new(),
            local: is_loopback(address),
            origin: origin(address),
        }
    }

    /// Whether none of the addresses that it is said to have are those that it had: then it seems to have been started
    /// again.
    pub(super) fn has_moved(&self, to: &[Multiaddr]) -> bool {
        let bare = |address: &Multiaddr| {
            let mut address = address.clone();
            if let Some(Protocol::P2p(_)) = address.iter().last() {
                address.pop();
            }
            address
        };
        let had: Vec<Multiaddr> = self.addresses.iter().map(bare).collect();
        !had.is_empty() && !to.is_empty() && !to.iter().any(|address| had.contains(&bare(address)))
    }

    /// Notes where the peer listens. Only a peer on this machine is believed to be reached by a loopback
    /// address: for others it would lead to whatever else listens here.
    pub(super) fn set_addresses(&mut self, told: Vec<Multiaddr>) {
        self.addresses = usable(told, self.local);
    }
}

/// Of the addresses that a peer told, those that may be dialled and passed on, the far-reaching first.
pub(super) fn usable(told: Vec<Multiaddr>, local: bool) -> Vec<Multiaddr> {
    let mut addresses: Vec<Multiaddr> = told
        .into_iter()
        .filter(|address| local || !is_loopback(address))
        .filter(|address| address.to_string().len() <= ADDRESS_BYTES_MAX)
        .collect();
    addresses.sort_by_key(is_loopback);
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

/// A peer that is dialled until it is connected.
struct Wanted {
    addresses: Vec<Multiaddr>,
    next: Instant,
    pause: Duration,
    /// None for ever.
    until: Option<Instant>,
    /// Whether it was there once.
    was_connected: bool,
    /// Since when that is so.
    since: Instant,
}

/// Peers to be connected with.
#[derive(Default)]
pub(super) struct Redial(HashMap<PeerId, Wanted>);

impl Redial {
    /// Wants a connection with a peer from now on: for ever, or until it was not seen for a while, or others
    /// need its place.
    pub(super) fn want(&mut self, id: PeerId, addresses: Vec<Multiaddr>, for_ever: bool) {
        let now = Instant::now();
        if !self.0.contains_key(&id) && self.0.len() >= WANTED_MAX && !self.make_place() {
            return;
        }
        let wanted = self.0.entry(id).or_insert(Wanted {
            addresses: Vec::new(),
            next: now,
            pause: REDIAL_MIN,
            until: None,
            was_connected: false,
            since: now,
        });
        if !addresses.is_empty() {
            wanted.addresses = addresses;
        }
        wanted.until = (!for_ever).then_some(now + WANTED_FOR);
    }

    /// Lets go of one, unless all are wanted for ever. That somebody has a job anyone can say of a peer that
    /// is nowhere; who was never met goes first, and then who was met before all others, whose next
    /// announcement brings it back.
    fn make_place(&mut self) -> bool {
        let passing = self.0.iter().filter(|(_, wanted)| wanted.until.is_some());
        let first = passing.min_by_key(|(_, wanted)| (wanted.was_connected, wanted.since));
        match first.map(|(&id, _)| id) {
            Some(id) => self.0.remove(&id).is_some(),
            None => false,
        }
    }

    pub(super) fn forget(&mut self, id: &PeerId) {
        self.0.remove(id);
    }

    /// It is connected: if it is lost, it is dialled at once.
    pub(super) fn connected(&mut self, id: &PeerId) {
        if let Some(wanted) = self.0.get_mut(id) {
            let now = Instant::now();
            (wanted.next, wanted.pause) = (now + REDIAL_MIN, REDIAL_MIN);
            wanted.until = wanted.until.map(|_| now + WANTED_FOR);
            (wanted.was_connected, wanted.since) = (true, now);
        }
    }

    /// Who is to be dialled now, of those that are not connected.
    pub(super) fn due(&mut self, connected: impl Fn(&PeerId) -> bool) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let now = Instant::now();
        self.0
            .retain(|id, wanted| connected(id) || wanted.until.is_none_or(|until| now < until));
        let due = self
            .0
            .iter_mut()
            .filter(|(id, wanted)| wanted.next <= now && !connected(id));
        due.map(|(&id, wanted)| {
            wanted.next = now + wanted.pause;
            wanted.pause = (wanted.pause * 2).min(REDIAL_MAX);
            (id, wanted.addresses.clone())
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn strangers_do_not_send_anyone_to_loopback() {
        let told = addresses(&["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1"]);
        assert_eq!(usable(told.clone(), false), addresses(&["/ip4/10.0.0.1/tcp/1"]));
        let both = addresses(&["/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"]);
        assert_eq!(usable(told, true), both);
        let many = vec!["/ip4/10.0.0.1/tcp/1".parse().unwrap(); 100];
        assert_eq!(usable(many, false).len(), ADDRESSES_MAX);
    }

    #[test]
    fn who_has_other_addresses_was_started_again() {
        let [was, other] = ["/ip4/10.0.0.1/udp/1/quic-v1", "/ip4/10.0.0.1/udp/2/quic-v1"];
        let named = format!("{was}/p2p/{}", PeerId::random());
        let mut peer = Connected::new(&was.parse().unwrap());
        assert!(
            !peer.has_moved(&addresses(&[other])),
            "nothing is known of it yet"
        );
        peer.set_addresses(addresses(&[was]));
        assert!(peer.has_moved(&addresses(&[other])));
        assert!(!peer.has_moved(&addresses(&[other, &named])));
        assert!(!peer.has_moved(&[]));
    }

    #[test]
    fn who_is_wanted_is_dialled_with_growing_pauses() {
        let mut redial = Redial::default();
        let id = PeerId::random();
        redial.want(id, addresses(&["/ip4/10.0.0.1/tcp/1"]), true);
        assert_eq!(redial.due(|_| true), [], "it is connected");
        assert_eq!(redial.due(|_| false).len(), 1);
        assert_eq!(redial.due(|_| false), [], "it was dialled just now");
        redial.forget(&id);
        assert!(redial.0.is_empty());
    }

    #[test]
    fn peers_that_are_nowhere_keep_nobody_out() {
        let mut redial = Redial::default();
        let [bootstrap, met, unmet, honest] = [(); 4].map(|()| PeerId::random());
        redial.want(bootstrap, Vec::new(), true);
        redial.want(met, Vec::new(), false);
        redial.want(unmet, Vec::new(), false);
        redial.connected(&met);
        for _ in 0..2 * WANTED_MAX {
            redial.want(PeerId::random(), Vec::new(), false);
            assert!(redial.0.len() <= WANTED_MAX);
        }
        redial.want(honest, Vec::new(), false);
        assert_eq!(redial.0.len(), WANTED_MAX);
        assert!(
            redial.0.contains_key(&bootstrap),
            "it was never met, but is wanted for ever"
        );
        assert!(redial.0.contains_key(&met));
        assert!(redial.0.contains_key(&honest));
        assert!(!redial.0.contains_key(&unmet), "it was wanted before the others");

        let mut full = Redial::default();
        for _ in 0..WANTED_MAX {
            full.want(PeerId::random(), Vec::new(), true);
        }
        full.want(honest, Vec::new(), false);
        assert!(!full.0.contains_key(&honest));
    }
}
