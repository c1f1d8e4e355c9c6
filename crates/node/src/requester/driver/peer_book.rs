//! The requester's knowledge of its peers: their greetings, those that it waits for, its memory of
//! them, and their places on the screen.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Peer, Requester, Standing, Trust};
use myriad_net::{Network, Regard, wire::Hello};
use tokio_util::task::TaskTracker;

use super::receipt_book::Settlement;
use crate::requester::backend::PeerBackend;

/// A peer whose connection broke may take this long to come back before its tasks go to others.
const LOST_PATIENCE: Duration = Duration::from_secs(10);
/// After a restart, a peer that was working on a task may take this long to find this requester
/// again.
const RETURN_PATIENCE: Duration = Duration::from_secs(30);
/// The interval at which what was learned of peers is made durable.
const REMEMBER_EVERY: Duration = Duration::from_secs(10);

/// The most useless peers that the user is told about in one run. Names cost nothing, and an
/// attacker with ever new ones must not fill the screen.
const STRANGERS_TOLD_MAX: usize = 16;

pub(super) struct PeerBook {
    backend: Arc<dyn PeerBackend>,
    /// Provers on machines of the requester's own.
    own: BTreeSet<Peer>,
    /// The greeting of each connected peer, and the network that it calls from.
    hellos: HashMap<Peer, (Hello, Option<u64>)>,
    /// The number of the start of each peer that is connected or waited for.
    boots: HashMap<Peer, u32>,
    /// Peers without a connection, and the time until which the requester waits for them.
    away: BTreeMap<Peer, Instant>,
    /// Peers about which something was learned that is not durable yet.
    learned: BTreeSet<Peer>,
    remembered: Instant,
    /// The place on the observer's screen of each prover that is connected or awaited. A new prover
    /// gets the first free place, so that one identity after the other takes no more places than
    /// there are provers at once.
    places: BTreeMap<Peer, usize>,
    /// The number of useless peers that the user was told about.
    strangers_told: usize,
    /// The standings that are being made durable.
    writing: TaskTracker,
}

/// The reason to keep a peer's connection when there are too many.
fn regard(standing: &Standing) -> Regard {
    if standing.banned.is_some() {
        Regard::Harmful
    } else if standing.is_proven() {
        Regard::Useful
    } else {
        Regard::Stranger
    }
}

impl PeerBook {
    pub(super) fn new(backend: Arc<dyn PeerBackend>, own: BTreeSet<Peer>, now: Instant) -> Self {
        Self {
            backend,
            own,
            hellos: HashMap::new(),
            boots: HashMap::new(),
            away: BTreeMap::new(),
            learned: BTreeSet::new(),
            remembered: now,
            places: BTreeMap::new(),
            strangers_told: 0,
            writing: TaskTracker::new(),
        }
    }

    /// These peers were working on a task when an earlier run ended. Those that are not connected
    /// are waited for.
    pub(super) fn await_back(&mut self, peers: impl IntoIterator<Item = Peer>, now: Instant) {
        let until = now + RETURN_PATIENCE;
        for peer in peers {
            if !self.hellos.contains_key(&peer) {
                let patience = self.away.entry(peer).or_insert(until);
                *patience = until.max(*patience);
            }
        }
    }

    /// The standings from earlier jobs, after the network has been told of them.
    pub(super) fn standings(&self, network: &Network) -> Vec<(Peer, Standing)> {
        let standings = self.backend.standings();
        for (peer, standing) in &standings {
            network.regard(*peer, regard(standing));
        }
        for &peer in &self.own {
            network.regard(peer, Regard::Useful);
        }
        standings
    }

    /// A peer has greeted. Returns whether it was started again: its earlier process may have been
    /// working on a task.
    pub(super) fn greeted(&mut self, peer: Peer, hello: Hello, origin: Option<u64>) -> bool {
        self.away.remove(&peer);
        let before = self.boots.insert(peer, hello.boot);
        let is_another = before.is_some_and(|before| before != hello.boot);
        self.hellos.insert(peer, (hello, origin));
        is_another
    }

    /// The greeting of a connected peer, and the network that it calls from.
    pub(super) fn hello(&self, peer: Peer) -> Option<(&Hello, Option<u64>)> {
        self.hellos.get(&peer).map(|(hello, origin)| (hello, *origin))
    }

    /// The greetings of the connected peers.
    pub(super) fn hellos(&self) -> impl Iterator<Item = (Peer, &Hello)> {
        self.hellos.iter().map(|(&peer, (hello, _))| (peer, hello))
    }

    /// The connection with a peer broke.
    pub(super) fn disconnected(&mut self, peer: Peer, now: Instant) {
        self.hellos.remove(&peer);
        self.away.insert(peer, now + LOST_PATIENCE);
    }

    /// The peers that have been away for too long. The requester does not wait for them any more.
    pub(super) fn take_gone(&mut self, now: Instant) -> Vec<Peer> {
        let gone = self.away.iter().filter(|(_, until)| now > **until);
        let gone: Vec<Peer> = gone.map(|(&peer, _)| peer).collect();
        for peer in &gone {
            self.away.remove(peer);
            self.boots.remove(peer);
        }
        gone
    }

    /// Whether a peer is a machine of the requester's own.
    pub(super) fn trust(&self, peer: Peer) -> Trust {
        if self.own.contains(&peer) {
            Trust::Own
        } else {
            Trust::Stranger
        }
    }

    /// Frees the places on the screen of provers that are neither connected nor awaited, except
    /// that of `here`, and returns them. A prover may have left its place before: late news of its
    /// proof gives it another one.
    pub(super) fn take_left(&mut self, here: Peer) -> Vec<usize> {
        let (hellos, away) = (&self.hellos, &self.away);
        let is_left = |peer: &Peer, _: &mut usize| {
            *peer != here && !hellos.contains_key(peer) && !away.contains_key(peer)
        };
        self.places
            .extract_if(.., is_left)
            .map(|(_, place)| place)
            .collect()
    }

    /// The provers that have a place on the screen.
    pub(super) fn places(&self) -> impl Iterator<Item = (Peer, usize)> {
        self.places.iter().map(|(&peer, &place)| (peer, place))
    }

    /// The place of a prover on the screen, if it has one.
    pub(super) fn place(&self, peer: Peer) -> Option<usize> {
        self.places.get(&peer).copied()
    }

    /// The place of a prover on the screen. A prover without one gets one, and then the second
    /// value is true.
    pub(super) fn place_or_new(&mut self, peer: Peer) -> (usize, bool) {
        if let Some(place) = self.place(peer) {
            return (place, false);
        }
        let taken: BTreeSet<usize> = self.places.values().copied().collect();
        let free = (0..)
            .find(|place| !taken.contains(place))
            .expect("there are as many numbers");
        self.places.insert(peer, free);
        (free, true)
    }

    /// Whether the user may be told about one more useless peer. Counts it.
    pub(super) fn may_tell_of_stranger(&mut self) -> bool {
        self.strangers_told += 1;
        self.strangers_told <= STRANGERS_TOLD_MAX
    }

    pub(super) fn learned(&mut self, peer: Peer) {
        self.learned.insert(peer);
    }

    /// Whether it is time to make durable what was learned.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now - self.remembered > REMEMBER_EVERY
    }

    /// Makes durable what was learned of peers, beside everything else, and tells the network.
    pub(super) fn remember(&mut self, requester: &Requester, network: &Network, now: Instant) {
        self.remembered = now;
        let learned = std::mem::take(&mut self.learned).into_iter();
        let standings: Vec<_> = learned
            .filter_map(|peer| Some((peer, requester.standing(peer)?.clone())))
            .collect();
        for (peer, standing) in &standings {
            network.regard(*peer, regard(standing));
        }
        if !standings.is_empty() {
            let backend = Arc::clone(&self.backend);
            self.writing.spawn_blocking(move || backend.remember(&standings));
        }
    }

    /// Makes durable which receipts are owed, beside everything else.
    pub(super) fn settle(&self, settlement: Settlement) {
        let Settlement { owed, paid } = settlement;
        let backend = Arc::clone(&self.backend);
        self.writing.spawn_blocking(move || backend.settle(&owed, &paid));
    }

    /// Waits until all of that is durable. If the disk failed, that was said already.
    pub(super) async fn written(&self) {
        self.writing.close();
        self.writing.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use myriad_net::{SignedReceipt, wire::Role};

    use super::*;

    struct Forgetful;

    impl PeerBackend for Forgetful {
        fn standings(&self) -> Vec<(Peer, Standing)> {
            Vec::new()
        }

        fn remember(&self, _: &[(Peer, Standing)]) {}

        fn owed(&self) -> Vec<SignedReceipt> {
            Vec::new()
        }

        fn settle(&self, _: &[SignedReceipt], _: &[SignedReceipt]) {}
    }

    const PEER: Peer = Peer([1; 32]);

    fn hello(boot: u32) -> Hello {
        Hello {
            version: 1,
            build: "test".into(),
            engines: Vec::new(),
            role: Role::Prover,
            boot,
            clock_ms: 0,
            jobs: Vec::new(),
        }
    }

    #[test]
    fn a_peer_that_comes_back_in_time_is_waited_for_and_one_that_was_started_again_is_another_process() {
        let start = Instant::now();
        let mut peers = PeerBook::new(Arc::new(Forgetful), BTreeSet::new(), start);
        peers.await_back([PEER], start);
        assert!(peers.take_gone(start + RETURN_PATIENCE).is_empty());
        assert!(!peers.greeted(PEER, hello(1), None), "its first process");
        peers.disconnected(PEER, start);
        assert!(peers.hello(PEER).is_none());
        assert!(peers.take_gone(start + LOST_PATIENCE).is_empty());
        assert!(!peers.greeted(PEER, hello(1), Some(5)), "the same process");
        assert_eq!(peers.hello(PEER).unwrap().1, Some(5));
        assert!(peers.greeted(PEER, hello(2), None), "another one");

        peers.disconnected(PEER, start);
        let late = start + LOST_PATIENCE + Duration::from_millis(1);
        assert_eq!(peers.take_gone(late), [PEER]);
        assert!(peers.take_gone(late).is_empty(), "told once");
        assert!(
            !peers.greeted(PEER, hello(3), None),
            "nothing is expected of it any more"
        );
    }

    #[test]
    fn peers_of_no_use_do_not_fill_the_screen() {
        let mut peers = PeerBook::new(Arc::new(Forgetful), BTreeSet::new(), Instant::now());
        let lines = (0..1000).filter(|_| peers.may_tell_of_stranger()).count();
        assert_eq!(lines, STRANGERS_TOLD_MAX);
    }

    #[test]
    fn provers_keep_their_places_on_the_screen() {
        let start = Instant::now();
        let mut peers = PeerBook::new(Arc::new(Forgetful), BTreeSet::new(), start);
        let (other, here) = (Peer([2; 32]), Peer([9; 32]));
        peers.greeted(PEER, hello(1), None);
        peers.greeted(other, hello(1), None);
        assert_eq!(peers.place(PEER), None);
        assert_eq!(peers.place_or_new(PEER), (0, true));
        assert_eq!(peers.place_or_new(other), (1, true));
        assert_eq!(peers.place_or_new(PEER), (0, false));
        assert_eq!(peers.place(other), Some(1));
        peers.disconnected(PEER, start);
        assert!(peers.take_left(here).is_empty(), "it is waited for");
        let late = start + LOST_PATIENCE + Duration::from_millis(1);
        assert_eq!(peers.take_gone(late), [PEER]);
        assert_eq!(peers.take_left(here), [0]);
        assert!(peers.take_left(here).is_empty(), "told once");
        let third = Peer([3; 32]);
        peers.greeted(third, hello(1), None);
        assert_eq!(peers.place_or_new(third), (0, true), "the first that is free");
        // Its earlier claim was being checked until now.
        assert_eq!(peers.place_or_new(PEER), (2, true));
        assert_eq!(peers.place_or_new(here), (3, true));
        assert_eq!(peers.take_left(here), [2], "it is not there to leave it");
        assert_eq!(peers.place_or_new(Peer([4; 32])), (2, true));
        assert_eq!(peers.place(other), Some(1));
    }
}
