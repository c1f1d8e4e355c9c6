//! The state that the actor and the transfers let a node's handles see at any time.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use myriad_core::Peer;
use tokio::sync::Notify;

use crate::wire::Role;

/// A connected peer, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub peer: Peer,
    /// None until it has greeted.
    pub role: Option<Role>,
    pub build: String,
    /// The addresses where it says that it listens.
    pub addresses: Vec<String>,
}

/// The traffic since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of blobs with their hashes, sent and received.
    pub blob_bytes_out: u64,
    pub blob_bytes_in: u64,
    /// Requests, answers and announcements, in both directions.
    pub messages: u64,
}

/// The state that the actor and the transfers let the handles see.
#[derive(Default)]
pub(crate) struct Shared {
    pub closed: Notify,
    peers: Mutex<BTreeMap<Peer, PeerStatus>>,
    listening: Mutex<Vec<String>>,
    pub messages: AtomicU64,
    pub blob_bytes_out: AtomicU64,
    pub blob_bytes_in: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn set_peer(&self, peer: Peer, status: Option<PeerStatus>) {
        match status {
            Some(status) => lock(&self.peers).insert(peer, status),
            None => lock(&self.peers).remove(&peer),
        };
    }

    pub(crate) fn set_listening(&self, addresses: Vec<String>) {
        *lock(&self.listening) = addresses;
    }

    pub(crate) fn count_message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn peers(&self) -> Vec<PeerStatus> {
        lock(&self.peers).values().cloned().collect()
    }

    /// The addresses where a peer says that it listens; none of a peer that is not connected.
    pub(crate) fn addresses_of(&self, peer: Peer) -> Vec<String> {
        let peers = lock(&self.peers);
        peers
            .get(&peer)
            .map(|status| status.addresses.clone())
            .unwrap_or_default()
    }

    pub(crate) fn listening(&self) -> Vec<String> {
        lock(&self.listening).clone()
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            blob_bytes_out: self.blob_bytes_out.load(Ordering::Relaxed),
            blob_bytes_in: self.blob_bytes_in.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
        }
    }
}
