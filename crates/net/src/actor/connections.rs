//! Connections: dials peers, and notes what it learns of the node at the other end.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    identify,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{Actor, LAN_PEERS_MAX, peers::Connected};
use crate::{
    behaviour::KAD_PROTOCOL,
    messages::Event,
    peer::peer_of,
    reach::{Informant, ip_of, teller},
    record,
    wire::{Hello, Role},
};

impl Actor {
    /// Picks, of the addresses that a peer is said to have, those that may be dialled and passed
    /// on.
    pub(super) fn learn(&self, id: PeerId, said: Vec<Multiaddr>, informant: Informant<'_>) -> Vec<Multiaddr> {
        self.gate.lock().learn(id, said, informant)
    }

    /// Wants a connection with a peer from now on. One that exists counts.
    pub(super) fn want(&mut self, id: PeerId, addresses: Vec<Multiaddr>, informant: Informant<'_>) {
        let now = Instant::now();
        self.redial.want(id, addresses, teller(id, informant), now);
        if self.peers.contains_key(&id) {
            self.redial.connected(&id, now);
        }
    }

    /// The addresses that a peer's connections come from; none if it is not connected any more, as
    /// far as is known.
    pub(super) fn calls_from(&self, id: &PeerId) -> Vec<IpAddr> {
        self.peers
            .get(id)
            .map(|peer| peer.from.clone())
            .unwrap_or_default()
    }

    pub(super) fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        // Peers that only the hash table knows are dialled by the hash table itself.
        if !addresses.is_empty() {
            self.gate.lock().choose(peer);
        }
        for address in &addresses {
            self.swarm.add_peer_address(peer, address.clone());
        }
        let moved = self
            .peers
            .get(&peer)
            .is_some_and(|known| known.has_moved(&addresses));
        // Anyone can say that it has moved. The connection will show whether it has.
        let condition = if moved {
            PeerCondition::NotDialing
        } else {
            PeerCondition::DisconnectedAndNotDialing
        };
        let options = DialOpts::peer_id(peer)
            .condition(condition)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        if moved {
            self.renewing.insert(options.connection_id());
        }
        self.start_dial(options);
    }

    pub(super) fn start_dial(&mut self, options: DialOpts) {
        let connection = options.connection_id();
        let Err(e) = self.swarm.dial(options) else {
            return;
        };
        // No event will tell of it.
        self.dialling.remove(&connection);
        self.renewing.remove(&connection);
        if !matches!(e, DialError::DialPeerConditionFalse(_)) {
            tracing::debug!("a peer is not dialled: {e}");
        }
    }

    pub(super) fn connected(&mut self, id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        if let Some(place) = self.dialling.remove(&connection) {
            self.nameless[place].1 = Some(id);
        }
        if peer_of(&id).is_none() {
            // No node of ours has such a key.
            let _ = self.swarm.disconnect_peer_id(id);
            return;
        }
        self.redial.connected(&id, Instant::now());
        let address = endpoint.get_remote_address();
        if let Some(ip) = ip_of(address) {
            self.gate.lock().connected(id, ip);
        }
        let peer = self.peers.entry(id).or_insert_with(|| Connected::new(address));
        peer.calls_from(address);
        let anew = self.renewing.remove(&connection);
        // Not only on the first connection: if both dial at once, each may see another one as the
        // first.
        if endpoint.is_dialer() && (peer.hello.is_none() || anew) {
            let hello = self.greeting();
            self.swarm.behaviour_mut().hello.send_request(&id, Ok(hello));
            self.shared.count_message();
        }
    }

    pub(super) fn identified(&mut self, id: PeerId, info: identify::Info) {
        let serves_kad = info.protocols.contains(&KAD_PROTOCOL);
        let calls_from = self.calls_from(&id);
        let addresses = self.learn(id, info.listen_addrs, Informant::Itself(&calls_from));
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.addresses.clone_from(&addresses);
        for address in addresses {
            if serves_kad {
                self.swarm.behaviour_mut().kad.add_address(&id, address.clone());
            }
            self.swarm.add_peer_address(id, address);
        }
        self.tell_shared(id);
    }

    pub(super) fn discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let mut of_peer: HashMap<PeerId, Vec<Multiaddr>> = HashMap::new();
        for (id, address) in found {
            of_peer.entry(id).or_default().push(address);
        }
        for (id, addresses) in of_peer {
            let addresses = self.learn(id, addresses, Informant::Lan);
            if self.role == Role::Requester || self.peers.len() < LAN_PEERS_MAX {
                self.dial(id, addresses.clone());
                self.want(id, addresses, Informant::Lan);
            }
        }
    }

    /// This machine wakes from a suspension. The other ends of its connections may be gone, which
    /// would show only after silence. All are opened again at once, by the side that reaches the
    /// other first.
    pub(super) fn resumed(&mut self, time: Duration) {
        tracing::info!(
            "this machine was suspended for {} s: all connections are opened again",
            time.as_secs()
        );
        let now = Instant::now();
        for (&id, peer) in &self.peers {
            if peer.is_compatible() {
                self.redial.want(id, peer.addresses.clone(), None, now);
                self.redial.connected(&id, now);
            }
            let _ = self.swarm.disconnect_peer_id(id);
        }
        self.redial.resumed(now);
        self.announce_next = Instant::now();
        self.searched = None;
        let _ = self.events.send(Event::Resumed { time });
    }

    /// A peer is another process now, on a new connection beside those with the process that is
    /// gone. Messages on the old connections are lost, and protocols that greet a peer once have
    /// greeted the old process. So all are closed, and the two meet again. Only the peer itself can
    /// cause this.
    pub(super) fn started_again(&mut self, id: PeerId, hello: &Hello) {
        tracing::debug!("peer {id} was started again");
        // All its jobs say the same.
        let addresses = hello.jobs.first().map(|job| record::read(&job.record, &id));
        let addresses = addresses.and_then(Result::ok).unwrap_or_default();
        if self.role == Role::Prover && hello.role == Role::Requester {
            let calls_from = self.calls_from(&id);
            let by = Informant::Itself(&calls_from);
            let addresses = self.learn(id, addresses, by);
            self.want(id, addresses, by);
        }
        let _ = self.swarm.disconnect_peer_id(id);
    }
}
