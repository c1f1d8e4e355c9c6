//! Converts between [`Peer`], which all other crates know, and libp2p's `PeerId` and addresses,
//! which they do not.

use libp2p::{Multiaddr, PeerId, identity, multiaddr::Protocol};
use myriad_core::Peer;

/// The peer whose Ed25519 key this is; none for a key of another kind, which no node of ours has.
pub(crate) fn peer_of(id: &PeerId) -> Option<Peer> {
    // The id of an Ed25519 key holds the key itself, so that it can be read back.
    let bytes = id.as_ref().digest();
    let key = identity::PublicKey::try_decode_protobuf(bytes).ok()?;
    let key = key.try_into_ed25519().ok()?;
    Some(Peer(key.to_bytes()))
}

/// None where the bytes are not a point of the curve, so that nobody can have the key.
pub(crate) fn id_of(peer: Peer) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&peer.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// The text by which people and other libp2p software know a peer.
pub fn peer_name(peer: Peer) -> String {
    id_of(peer).map_or_else(|| peer.to_string(), PeerId::to_base58)
}

/// The end of [`peer_name`], enough to tell the peers of one job apart.
pub fn short_name(peer: Peer) -> String {
    let name = peer_name(peer);
    name[name.len().saturating_sub(6)..].to_owned()
}

/// Reads the text of [`peer_name`].
pub fn parse_peer(text: &str) -> Option<Peer> {
    peer_of(&text.parse::<PeerId>().ok()?)
}

/// Splits `/ip4/…/p2p/ID` into the address and the peer.
pub(crate) fn split_peer(mut address: Multiaddr) -> Option<(PeerId, Multiaddr)> {
    match address.pop()? {
        Protocol::P2p(id) => Some((id, address)),
        _ => None,
    }
}

/// The network that an address belongs to, as a number: the first 24 bits of an IPv4 address, the
/// first 48 of an IPv6 one, which one customer of a provider gets. None for addresses that
/// everybody can have: of a LAN, of this machine, and names.
pub(crate) fn origin(address: &Multiaddr) -> Option<u64> {
    match address.iter().next()? {
        Protocol::Ip4(ip) if ip.is_private() || ip.is_loopback() || ip.is_link_local() => None,
        // This bit is above all 48 bits of IPv6 networks.
        Protocol::Ip4(ip) => Some(1 << 48 | u64::from(ip.to_bits() >> 8)),
        Protocol::Ip6(ip) if ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local() => None,
        Protocol::Ip6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => origin(&Multiaddr::from(ip)),
            None => Some((ip.to_bits() >> 80) as u64),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_and_ids_are_the_same_thing() {
        let key = identity::Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let peer = peer_of(&id).unwrap();
        assert_eq!(id_of(peer), Some(id));
        assert_eq!(parse_peer(&peer_name(peer)), Some(peer));
        assert!(peer_name(peer).ends_with(&short_name(peer)));
    }

    #[test]
    fn a_peer_that_cannot_exist_has_no_id() {
        // This is not the encoding of any point.
        let impossible = (0..=u8::MAX)
            .map(|byte| Peer([byte; 32]))
            .find(|&peer| id_of(peer).is_none());
        assert!(impossible.is_some());
        assert_eq!(peer_of(&PeerId::random()), None, "the hash of a larger key");
        assert_eq!(parse_peer("12D3KooW"), None);
    }

    #[test]
    fn machines_of_one_network_have_one_origin() {
        let of = |text: &str| origin(&text.parse().unwrap());
        assert_eq!(
            of("/ip4/203.0.113.7/tcp/1"),
            of("/ip4/203.0.113.250/udp/9/quic-v1")
        );
        assert_ne!(of("/ip4/203.0.113.7/tcp/1"), of("/ip4/203.0.114.7/tcp/1"));
        assert_eq!(
            of("/ip6/2001:db8:1:2::3/tcp/1"),
            of("/ip6/2001:db8:1:ffff::1/tcp/1")
        );
        assert_ne!(of("/ip6/2001:db8:1::1/tcp/1"), of("/ip6/2001:db8:2::1/tcp/1"));
        assert_eq!(of("/ip6/::ffff:203.0.113.7/tcp/1"), of("/ip4/203.0.113.7/tcp/1"));
        for nowhere in [
            "/ip4/192.168.1.2/tcp/1",
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/dns4/example.org/tcp/1",
        ] {
            assert_eq!(of(nowhere), None, "{nowhere}");
        }
    }
}
