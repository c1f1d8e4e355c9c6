//! Serves blobs: which peers' streams get one of the places that there are.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use libp2p::PeerId;
use libp2p_stream::IncomingStreams;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    blob::{self, BlobStore, ServeLimits},
    config::Limits,
    counting_stream::CountingStream,
    reach::{Host, Scope, ScopeOf, Subnet},
    shared::Shared,
    slots::{Regard, Visitors},
};

/// Turning streams away is work too. When all places are taken, this many further streams at once
/// hear when to come again. The rest are closed.
const TURNED_AWAY_AT_ONCE: usize = 64;
/// The time after which a stream that was turned away should come again.
const RETRY_MS: u32 = 500;
/// The time that such a stream may take to make its request, and to take the answer.
const TURNED_AWAY_TIME_MAX: Duration = Duration::from_secs(5);
/// One place in this many is kept for peers that have been of use.
const RESERVED_SHARE: usize = 4;
/// One place in this many may be of strangers from one subnet.
const SUBNET_SHARE: usize = 4;

/// Serves blobs to all peers that ask, within the limits, until the swarm ends.
///
/// `incoming` has room for one stream, and libp2p closes without a word those that come before it
/// is taken. Nothing here waits for anything, so these are few, and the peer that asks takes it for
/// being busy.
pub(crate) async fn serve(
    mut incoming: IncomingStreams,
    blobs: BlobStore,
    limits: Limits,
    visitors: Visitors,
    shared: Arc<Shared>,
) {
    let limits_served = ServeLimits {
        // Each stream with a place finds a slot: there are as many.
        slots: Arc::new(Semaphore::new(limits.blobs_sent_at_once)),
        retry_ms: RETRY_MS,
        ..ServeLimits::default()
    };
    // A client without a place is told only when to come again.
    let limits_turned_away = ServeLimits {
        slots: Arc::new(Semaphore::new(0)),
        time_max: TURNED_AWAY_TIME_MAX,
        ..limits_served.clone()
    };
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE));
    let places = Places::new(limits);
    while let Some((peer, stream)) = incoming.next().await {
        let (regard, ip) = visitors.look(&peer);
        let place = Place::take(&places, peer, ip, regard);
        let (limits, held) = match (place, Arc::clone(&turned_away).try_acquire_owned()) {
            (Some(place), _) => (limits_served.clone(), Held::Place(place)),
            (None, Ok(permit)) => (limits_turned_away.clone(), Held::TurnedAway(permit)),
            (None, Err(_)) => continue,
        };
        let (blobs, shared) = (blobs.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let _held = held;
            let stream = CountingStream {
                stream,
                read: &shared.blob_bytes_in,
                written: &shared.blob_bytes_out,
            };
            if let Err(e) = blob::serve(&blobs, stream, &limits).await {
                tracing::debug!("peer {peer} was not served a blob: {e}");
            }
        });
    }
}

/// The places that a stream takes up for as long as it lives.
#[expect(dead_code, reason = "only held")]
enum Held {
    Place(Place),
    TurnedAway(OwnedSemaphorePermit),
}

/// The party that a stranger's places count for: peers of one subnet may all be one person's. In a
/// private network each machine has an address of its own. On this machine, only its owner has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    Subnet(Subnet),
    Host(Host),
    /// Peers that were dialled by name.
    Unknown,
}

impl Origin {
    fn of(ip: Option<IpAddr>, scope_of: ScopeOf) -> Option<Self> {
        let Some(ip) = ip else {
            return Some(Self::Unknown);
        };
        match scope_of(ip) {
            Some(Scope::Machine) => None,
            Some(Scope::Link | Scope::Private) => Some(Self::Host(Host::of(ip))),
            _ => Some(Self::Subnet(Subnet::of(ip))),
        }
    }
}

/// The streams that are served at one time.
struct Places {
    most: usize,
    per_peer: usize,
    scope_of: ScopeOf,
    taken: usize,
    of_peer: HashMap<PeerId, usize>,
    /// Those of strangers, in all and by their origins.
    strangers: usize,
    of_origin: HashMap<Origin, usize>,
}

impl Places {
    fn new(limits: Limits) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            most: limits.blobs_sent_at_once,
            per_peer: limits.blobs_sent_per_peer,
            scope_of: limits.scope_of,
            taken: 0,
            of_peer: HashMap::new(),
            strangers: 0,
            of_origin: HashMap::new(),
        }))
    }

    /// Whether there is a place for a stream of this peer. `origin` is that of a stranger, and none
    /// for peers that were of use, and for this machine.
    fn has_room(&self, peer: &PeerId, is_stranger: bool, origin: Option<Origin>) -> bool {
        let for_strangers = self.most - self.most / RESERVED_SHARE;
        let per_origin = (self.most / SUBNET_SHARE).max(1);
        let of_origin = |origin| self.of_origin.get(&origin).copied().unwrap_or(0);
        self.taken < self.most
            && self.of_peer.get(peer).copied().unwrap_or(0) < self.per_peer
            && (!is_stranger || self.strangers < for_strangers)
            && origin.is_none_or(|origin| of_origin(origin) < per_origin)
    }
}

/// The place of one stream.
struct Place {
    places: Arc<Mutex<Places>>,
    peer: PeerId,
    is_stranger: bool,
    /// The party that the place counts for, beside its peer.
    origin: Option<Origin>,
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes one from a count, and forgets a count of zero.
fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Place {
    /// A place for one more stream of a peer, whose connection is with this address.
    fn take(places: &Arc<Mutex<Places>>, peer: PeerId, ip: Option<IpAddr>, regard: Regard) -> Option<Self> {
        let mut inner = lock(places);
        let is_stranger = regard != Regard::Useful;
        let origin = Origin::of(ip, inner.scope_of).filter(|_| is_stranger);
        if !inner.has_room(&peer, is_stranger, origin) {
            return None;
        }
        inner.taken += 1;
        *inner.of_peer.entry(peer).or_default() += 1;
        inner.strangers += usize::from(is_stranger);
        if let Some(origin) = origin {
            *inner.of_origin.entry(origin).or_default() += 1;
        }
        drop(inner);
        Some(Self {
            places: Arc::clone(places),
            peer,
            is_stranger,
            origin,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = lock(&self.places);
        inner.taken -= 1;
        less(&mut inner.of_peer, &self.peer);
        inner.strangers -= usize::from(self.is_stranger);
        if let Some(origin) = &self.origin {
            less(&mut inner.of_origin, origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams of one peer after the other, as many as get a place.
    fn flood(
        places: &Arc<Mutex<Places>>,
        peers: usize,
        regard: Regard,
        from: impl Fn(usize) -> String,
    ) -> Vec<Place> {
        let mut held = Vec::new();
        for number in 0..peers {
            let (peer, ip) = (PeerId::random(), from(number).parse().ok());
            held.extend((0..100).map_while(|_| Place::take(places, peer, ip, regard)));
        }
        held
    }

    fn has_room(places: &Arc<Mutex<Places>>, ip: &str, regard: Regard) -> bool {
        Place::take(places, PeerId::random(), ip.parse().ok(), regard).is_some()
    }

    #[test]
    fn slow_readers_of_one_subnet_keep_nobody_from_being_served() {
        let limits = Limits::default();
        let places = Places::new(limits);
        let held = flood(&places, 1000, Regard::Stranger, |number| {
            format!("8.8.8.{}", number % 250)
        });
        assert_eq!(held.len(), limits.blobs_sent_at_once / SUBNET_SHARE);
        assert!(has_room(&places, "9.9.9.9", Regard::Stranger));
        assert!(!has_room(&places, "8.8.8.251", Regard::Stranger));
        drop(held);
        assert!(has_room(&places, "8.8.8.251", Regard::Stranger));
        let inner = lock(&places);
        assert_eq!((inner.taken, inner.strangers), (0, 0));
        assert!(inner.of_peer.is_empty() && inner.of_origin.is_empty());
    }

    #[test]
    fn some_places_are_for_those_that_were_of_use() {
        let limits = Limits::default();
        let places = Places::new(limits);
        let strangers = flood(&places, 1000, Regard::Harmful, |number| {
            format!("8.8.{}.1", number % 250)
        });
        let reserved = limits.blobs_sent_at_once / RESERVED_SHARE;
        assert_eq!(strangers.len(), limits.blobs_sent_at_once - reserved);
        assert!(!has_room(&places, "9.9.9.9", Regard::Stranger));
        let useful = flood(&places, 1000, Regard::Useful, |_| "9.9.9.9".into());
        assert_eq!(useful.len(), reserved);
    }

    #[test]
    fn machines_of_a_private_network_are_told_apart_and_this_one_has_all_that_strangers_may_have() {
        let limits = Limits::default();
        let per_machine = limits.blobs_sent_at_once / SUBNET_SHARE;
        let strangers = limits.blobs_sent_at_once - limits.blobs_sent_at_once / RESERVED_SHARE;
        for (from, most) in [
            ("192.168.1.1", per_machine),
            ("", per_machine),
            ("127.0.0.1", strangers),
        ] {
            let places = Places::new(limits);
            let held = flood(&places, 1000, Regard::Stranger, |_| from.into());
            assert_eq!(held.len(), most, "{from}");
            assert_eq!(
                has_room(&places, "192.168.1.2", Regard::Stranger),
                most < strangers
            );
        }
    }

    #[test]
    fn one_peer_has_a_few_places() {
        let limits = Limits::default();
        let places = Places::new(limits);
        let held = flood(&places, 1, Regard::Useful, |_| "8.8.8.8".into());
        assert_eq!(held.len(), limits.blobs_sent_per_peer);
    }
}
