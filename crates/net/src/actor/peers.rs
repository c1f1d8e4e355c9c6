//! The peers that this node is connected with.

use std::{net::IpAddr, time::Instant};

use libp2p::{Multiaddr, multiaddr::Protocol};

use crate::{peer::origin, reach::ip_of, wire::Hello};

/// Addresses of one peer's connections that are remembered: it has no more connections at once.
const FROM_MAX: usize = 8;

/// A connected peer.
pub(super) struct Connected {
    pub since: Instant,
    /// Its greeting, once it has sent one.
    pub hello: Option<Hello>,
    /// The addresses at which it says that it listens, as far as they are believed.
    pub addresses: Vec<Multiaddr>,
    /// The addresses that its connections come from or go to; none if a name was dialled.
    pub from: Vec<IpAddr>,
    /// The network that it called from first; see [`crate::peer::origin`].
    pub origin: Option<u64>,
}

impl Connected {
    pub(super) fn new(address: &Multiaddr) -> Self {
        Self {
            since: Instant::now(),
            hello: None,
            addresses: Vec::new(),
            from: Vec::new(),
            origin: origin(address),
        }
    }

    /// It has one more connection.
    pub(super) fn calls_from(&mut self, address: &Multiaddr) {
        if let Some(ip) = ip_of(address).filter(|ip| !self.from.contains(ip)) {
            self.from.truncate(FROM_MAX - 1);
            self.from.push(ip);
        }
    }

    /// Whether it seems to have been started again: none of its addresses is among those in `to`.
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
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_peer_with_other_addresses_was_started_again() {
        let [was, other] = ["/ip4/10.0.0.1/udp/1/quic-v1", "/ip4/10.0.0.1/udp/2/quic-v1"];
        let named = format!("{was}/p2p/{}", PeerId::random());
        let mut peer = Connected::new(&was.parse().unwrap());
        assert!(
            !peer.has_moved(&addresses(&[other])),
            "nothing is known of it yet"
        );
        peer.addresses = addresses(&[was]);
        assert!(peer.has_moved(&addresses(&[other])));
        assert!(!peer.has_moved(&addresses(&[other, &named])));
        assert!(!peer.has_moved(&[]));
    }
}
