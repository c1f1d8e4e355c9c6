//! The requesters with jobs, by the records of the hash table that this node keeps for others.

use std::{
    iter,
    time::{Duration, Instant},
};

use libp2p::kad::{ProviderRecord, RecordKey, store::RecordStore};

/// The key of the hash table under which requesters are found that have jobs.
pub(crate) const REQUESTERS_KEY: &[u8] = b"/myriad/requesters/1";
/// Open jobs are announced again after this time, for peers that have just come.
pub(crate) const ANNOUNCE_EVERY: Duration = Duration::from_secs(20);
/// Requesters that a node of the table remembers.
pub(crate) const PROVIDERS_MAX: usize = 64;
/// The lifetime of a provider's record. Requesters say that they have jobs as often as they
/// announce them, and provers should not hear for days of one that is gone.
pub(crate) const PROVIDER_TTL: Duration = Duration::from_secs(6 * ANNOUNCE_EVERY.as_secs());
/// A requester that says it more often than this gains nothing.
const PROVIDED_PAUSE: Duration = Duration::from_secs(ANNOUNCE_EVERY.as_secs() / 2);

/// Keeps a requester's record of itself, at the head of the list. libp2p names only the first
/// twenty to peers that ask, and takes none in when there are 64. So an attacker that fills the
/// table first would keep everybody else out. In this order a requester is named for as long as
/// fewer than twenty have said it since. A repeated record replaces the earlier one: after a
/// restart a requester listens elsewhere.
pub(crate) fn keep(store: &mut impl RecordStore, record: ProviderRecord, now: Instant) {
    // This network has no other key.
    if record.key.as_ref() != REQUESTERS_KEY {
        return;
    }
    let known = store.providers(&record.key);
    let fresh = now + PROVIDER_TTL - PROVIDED_PAUSE;
    let own = known
        .iter()
        .position(|other| other.provider == record.provider && other.expires > Some(fresh));
    if let Some(place) = own {
        if known[place].addresses != record.addresses {
            let mut known = known;
            known[place].addresses = record.addresses;
            replace(store, known.into_iter());
        }
        return;
    }
    let provider = record.provider;
    let others = known
        .into_iter()
        .filter(|other| other.provider != provider && !other.is_expired(now));
    // This node's own record does not expire.
    let (own, others): (Vec<_>, Vec<_>) = others.partition(|other| other.expires.is_none());
    replace(store, own.into_iter().chain(iter::once(record)).chain(others));
}

/// Keeps these records and no others, in this order.
fn replace(store: &mut impl RecordStore, records: impl Iterator<Item = ProviderRecord>) {
    let records: Vec<ProviderRecord> = records.collect();
    for other in store.providers(&RecordKey::new(&REQUESTERS_KEY)) {
        store.remove_provider(&other.key, &other.provider);
    }
    for record in records.into_iter().take(PROVIDERS_MAX) {
        if let Err(e) = store.add_provider(record) {
            tracing::debug!("a requester's record is not kept: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{
        PeerId,
        kad::store::{MemoryStore, MemoryStoreConfig},
    };

    use super::*;

    fn store(own: PeerId) -> MemoryStore {
        let config = MemoryStoreConfig {
            max_records: 0,
            max_value_bytes: 0,
            max_providers_per_key: PROVIDERS_MAX,
            max_provided_keys: 1,
        };
        MemoryStore::with_config(own, config)
    }

    fn record(provider: PeerId, now: Instant) -> ProviderRecord {
        ProviderRecord {
            key: RecordKey::new(&REQUESTERS_KEY),
            provider,
            expires: Some(now + PROVIDER_TTL),
            addresses: Vec::new(),
        }
    }

    fn kept(store: &MemoryStore) -> Vec<PeerId> {
        let records = store.providers(&RecordKey::new(&REQUESTERS_KEY));
        records.into_iter().map(|record| record.provider).collect()
    }

    #[test]
    fn only_records_of_peers_with_jobs_are_kept() {
        let mut store = store(PeerId::random());
        let now = Instant::now();
        let other = ProviderRecord {
            key: RecordKey::new(&b"/another/key"),
            ..record(PeerId::random(), now)
        };
        keep(&mut store, other.clone(), now);
        assert!(store.providers(&other.key).is_empty());
        let id = PeerId::random();
        keep(&mut store, record(id, now), now);
        assert_eq!(kept(&store), [id]);
    }

    #[test]
    fn one_that_listens_elsewhere_since_its_restart_is_told_of_there() {
        let mut store = store(PeerId::random());
        let now = Instant::now();
        let (moved, other) = (PeerId::random(), PeerId::random());
        let at = |address: &str| ProviderRecord {
            addresses: vec![address.parse().unwrap()],
            ..record(moved, now)
        };
        keep(&mut store, at("/ip4/127.0.0.1/tcp/1"), now);
        keep(&mut store, record(other, now), now);
        let later = now + Duration::from_secs(1);
        keep(&mut store, at("/ip4/127.0.0.1/tcp/2"), later);
        assert_eq!(kept(&store), [other, moved], "its place is what it was");
        let records = store.providers(&RecordKey::new(&REQUESTERS_KEY));
        assert_eq!(records[1].addresses, at("/ip4/127.0.0.1/tcp/2").addresses);
    }

    #[test]
    fn the_first_to_fill_the_table_keep_nobody_out() {
        let own = PeerId::random();
        let mut store = store(own);
        let mut now = Instant::now();
        let own_record = ProviderRecord::new(RecordKey::new(&REQUESTERS_KEY), own, Vec::new());
        store.add_provider(own_record).unwrap();
        let squatters: Vec<PeerId> = (0..2 * PROVIDERS_MAX).map(|_| PeerId::random()).collect();
        for &id in &squatters {
            keep(&mut store, record(id, now), now);
        }
        assert_eq!(kept(&store).len(), PROVIDERS_MAX);
        let honest = PeerId::random();
        keep(&mut store, record(honest, now), now);
        assert_eq!(kept(&store)[..2], [own, honest]);

        // Saying it again and again does not bring anyone to the head.
        now += PROVIDED_PAUSE / 2;
        for _ in 0..3 {
            for &id in &squatters[2 * PROVIDERS_MAX - 30..] {
                keep(&mut store, record(id, now), now);
            }
        }
        assert_eq!(kept(&store)[..2], [own, honest]);

        // A requester says once that it has jobs, and again only after it was silent for longer
        // than it ever is.
        now += ANNOUNCE_EVERY;
        keep(&mut store, record(honest, now), now);
        now += PROVIDER_TTL - Duration::from_secs(1);
        keep(&mut store, record(squatters[0], now), now);
        assert_eq!(kept(&store), [own, squatters[0], honest]);
        now += Duration::from_secs(1);
        keep(&mut store, record(squatters[1], now), now);
        assert_eq!(kept(&store), [own, squatters[1], squatters[0]]);
    }
}
