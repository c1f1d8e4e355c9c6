//! Connections: dialling, and what is learned of who is at the other end.

use std::collections::HashMap;

use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    identify,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{
    Actor, LAN_PEERS_MAX,
    peers::{Connected, usable},
};
use crate::{
    behaviour::KAD_PROTOCOL,
    peer::{is_loopback, peer_of},
    wire::{Hello, Role},
};

impl Actor {
    pub(super) fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        for address in &addresses {
            self.swarm.add_peer_address(peer, address.clone());
        }
        let moved = self
            .peers
            .get(&peer)
            .is_some_and(|known| known.has_moved(&addresses));
        // That it has moved anyone can say; the connection will show it.
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
        self.redial.connected(&id);
        let address = endpoint.get_remote_address();
        let peer = self.peers.entry(id).or_insert_with(|| Connected::new(address));
        peer.local &= is_loopback(address);
        let anew = self.renewing.remove(&connection);
        // Not on the first connection alone: where both dial at once, it may be the other one's for each.
        if endpoint.is_dialer() && (peer.hello.is_none() || anew) {
            let hello = self.greeting();
            self.swarm.behaviour_mut().hello.send_request(&id, Ok(hello));
            self.shared.count_message();
        }
    }

    pub(super) fn identified(&mut self, id: PeerId, info: identify::Info) {
        let serves_kad = info.protocols.contains(&KAD_PROTOCOL);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.set_addresses(info.listen_addrs);
        let addresses = peer.addresses.clone();
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
            if self.role == Role::Requester || self.peers.len() < LAN_PEERS_MAX {
                let addresses = usable(addresses, true);
                self.dial(id, addresses.clone());
                self.redial.want(id, addresses, false);
            }
        }
    }

    /// A peer is another process now, on a new connection beside those with the one that is gone. What is sent on
    /// those is lost, and protocols that greet a peer once have greeted the other one; so all are closed, and the two
    /// meet anew. Only the peer itself can bring this about.
    pub(super) fn started_again(&mut self, id: PeerId, hello: &Hello) {
        tracing::debug!("peer {id} was started again");
        let local = self.peers.get(&id).is_some_and(|peer| peer.local);
        let told = hello.jobs.iter().flat_map(|job| &job.addresses);
        let told = told.filter_map(|text| text.parse().ok()).collect();
        if self.role == Role::Prover && hello.role == Role::Requester {
            self.redial.want(id, usable(told, local), false);
        }
        let _ = self.swarm.disconnect_peer_id(id);
    }
}
