//! Tells how far an address reaches, and which addresses have one owner.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// The reach of an IP address, the narrowest first. A peer is believed to be at an address if it
/// said so over a connection that reaches no further than the address does: a machine of the local
/// network may name others there, and a stranger from the internet may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// This machine.
    Machine,
    /// Machines on the same cable.
    Link,
    /// A network of a home or a firm.
    Private,
    /// Addresses that a provider shares among its customers (RFC 6598), and that many private
    /// overlays use.
    Shared,
    Global,
}

impl Scope {
    /// The reach of an address in whatever form it is written, after the registries of special
    /// addresses of IANA (RFC 6890). None for addresses that no node has: unspecified, multicast,
    /// documentation, benchmarks, and reserved ones.
    pub fn of(ip: IpAddr) -> Option<Self> {
        match plain(ip) {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Option<Self> {
        match ip.octets() {
            [127, ..] => Some(Self::Machine),
            [169, 254, ..] => Some(Self::Link),
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(Self::Private),
            [100, 64..=127, ..] => Some(Self::Shared),
            // This network; protocols; documentation; 6to4 relays; benchmarks; multicast and
            // reserved.
            [0, ..]
            | [192, 0, 0 | 2, _]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            | [224..=255, ..] => None,
            _ => Some(Self::Global),
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Option<Self> {
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Some(Self::Machine),
            [0xfe80..=0xfebf, ..] => Some(Self::Link),
            // Unique local addresses, the former site-local ones, and NAT64 within a network.
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Some(Self::Private),
            // Teredo, benchmarks, ORCHID and other protocols; documentation.
            [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => None,
            [0x2000..=0x3fff, ..] => Some(Self::Global),
            _ => None,
        }
    }
}

/// The IPv4 address that an IPv6 address only wraps, or the address itself: mapped
/// (`::ffff:0:0/96`), compatible (`::/96`), 6to4 (`2002::/16`), or NAT64 (`64:ff9b::/96`). Packets
/// to it end at that IPv4 address.
pub(crate) fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else {
        return ip;
    };
    let wrapped = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => ip,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => wrapped(high, low),
        [0x2002, high, low, ..] => wrapped(high, low),
        _ => ip,
    }
}

/// The machines that are counted as one: an IPv4 address, or the first 64 bits of an IPv6 one,
/// within which a machine takes whatever addresses it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Host(u128);

/// The addresses of one customer of a provider, or of a small provider: 24 bits of an IPv4 address,
/// 48 of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subnet(u128);

fn prefix(ip: IpAddr, v4: u32, v6: u32) -> u128 {
    // IPv4 addresses are mapped, so that both families have numbers of their own.
    let (bits, length) = match plain(ip) {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), 96 + v4),
        IpAddr::V6(ip) => (ip.to_bits(), v6),
    };
    bits & (u128::MAX << (128 - length))
}

impl Host {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(prefix(ip, 32, 64))
    }
}

impl Subnet {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(prefix(ip, 24, 48))
    }
}

/// The form in which an address is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Ip(IpAddr),
    /// A name is looked up when it is dialled, and its addresses are looked at then.
    Name,
}

/// The target of an address of the forms that this node dials: `/ip4|ip6|dns|dns4|dns6/…/tcp/PORT`
/// and `/…/udp/PORT/quic-v1`, with `/p2p/PEER` at the end or not, or `/dnsaddr/…`. None of all
/// others, through relays too.
pub(crate) fn target(address: &Multiaddr) -> Option<Target> {
    let mut parts = address.iter();
    let target = match parts.next()? {
        Protocol::Ip4(ip) => Target::Ip(ip.into()),
        Protocol::Ip6(ip) => Target::Ip(ip.into()),
        Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) => Target::Name,
        Protocol::Dnsaddr(_) => {
            let rest = parts.all(|part| matches!(part, Protocol::P2p(_)));
            return rest.then_some(Target::Name);
        }
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(1..) => {}
        Protocol::Udp(1..) => matches!(parts.next()?, Protocol::QuicV1).then_some(())?,
        _ => return None,
    }
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some(target),
        _ => None,
    }
}

/// Whether an address has a name, to be looked up before it is dialled.
pub(crate) fn has_name(address: &Multiaddr) -> bool {
    use Protocol::{Dns, Dns4, Dns6, Dnsaddr};
    address
        .iter()
        .any(|part| matches!(part, Dns(_) | Dns4(_) | Dns6(_) | Dnsaddr(_)))
}

/// Whether the addresses that a name leads to may be names again.
pub(crate) fn is_chain(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Dnsaddr(_)))
}

/// The IP address that an address begins with.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// The peer that an address ends with.
pub(crate) fn peer_at_end(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(id) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Option<Scope> {
        Scope::of(text.parse().unwrap())
    }

    #[test]
    fn all_spellings_of_an_address_reach_equally_far() {
        let cases = [
            ("127.0.0.1", Some(Scope::Machine)),
            ("127.255.0.9", Some(Scope::Machine)),
            ("169.254.1.1", Some(Scope::Link)),
            ("10.0.0.1", Some(Scope::Private)),
            ("172.16.0.1", Some(Scope::Private)),
            ("172.31.255.255", Some(Scope::Private)),
            ("172.32.0.1", Some(Scope::Global)),
            ("192.168.1.1", Some(Scope::Private)),
            ("100.64.0.1", Some(Scope::Shared)),
            ("100.127.255.1", Some(Scope::Shared)),
            ("100.128.0.1", Some(Scope::Global)),
            ("8.8.8.8", Some(Scope::Global)),
            ("192.0.1.1", Some(Scope::Global)),
            ("0.0.0.0", None),
            ("0.1.2.3", None),
            ("192.0.0.8", None),
            ("192.0.2.1", None),
            ("198.51.100.1", None),
            ("203.0.113.1", None),
            ("192.88.99.1", None),
            ("198.19.0.1", None),
            ("224.0.0.251", None),
            ("240.0.0.1", None),
            ("255.255.255.255", None),
        ];
        for (v4, expected) in cases {
            assert_eq!(scope(v4), expected, "{v4}");
            let [a, b, c, d] = v4.parse::<Ipv4Addr>().unwrap().octets();
            let hex = format!("{a:02x}{b:02x}:{c:02x}{d:02x}");
            for v6 in [
                format!("::ffff:{v4}"),
                format!("64:ff9b::{v4}"),
                format!("2002:{hex}::1"),
            ] {
                assert_eq!(scope(&v6), expected, "{v6}");
            }
            if a > 0 {
                assert_eq!(scope(&format!("::{v4}")), expected, "::{v4}");
            }
        }
        for (v6, expected) in [
            ("::1", Some(Scope::Machine)),
            ("::", None),
            ("fe80::1", Some(Scope::Link)),
            ("febf::1", Some(Scope::Link)),
            ("fec0::1", Some(Scope::Private)),
            ("fd12:3456::1", Some(Scope::Private)),
            ("64:ff9b:1::808:808", Some(Scope::Private)),
            ("2606:4700::1111", Some(Scope::Global)),
            ("2001:200::1", Some(Scope::Global)),
            ("2001:0:1:2::3", None),
            ("2001:db8::1", None),
            ("3fff:fff::1", None),
            ("ff02::fb", None),
            ("100::1", None),
            ("5f00::1", None),
        ] {
            assert_eq!(scope(v6), expected, "{v6}");
        }
    }

    #[test]
    fn what_one_customer_has_is_one_subnet() {
        let host = |text: &str| Host::of(text.parse().unwrap());
        let subnet = |text: &str| Subnet::of(text.parse().unwrap());
        assert_eq!(host("8.8.8.8"), host("::ffff:8.8.8.8"));
        assert_ne!(host("8.8.8.8"), host("8.8.8.9"));
        assert_eq!(host("2606:4700:1:2::3"), host("2606:4700:1:2:ffff::4"));
        assert_ne!(host("2606:4700:1:2::3"), host("2606:4700:1:3::3"));
        assert_eq!(subnet("8.8.8.8"), subnet("8.8.8.200"));
        assert_ne!(subnet("8.8.8.8"), subnet("8.8.9.8"));
        assert_eq!(subnet("2606:4700:1:2::3"), subnet("2606:4700:1:ffff::3"));
        assert_ne!(subnet("2606:4700:1::3"), subnet("2606:4700:2::3"));
    }

    #[test]
    fn only_forms_that_are_dialled_have_a_target() {
        let of = |text: &str| target(&text.parse().unwrap());
        let peer = PeerId::random();
        let ip = Some(Target::Ip("8.8.8.8".parse().unwrap()));
        assert_eq!(of("/ip4/8.8.8.8/tcp/1"), ip);
        assert_eq!(of("/ip4/8.8.8.8/udp/1/quic-v1"), ip);
        assert_eq!(of(&format!("/ip4/8.8.8.8/udp/1/quic-v1/p2p/{peer}")), ip);
        assert_eq!(of("/dns4/example.org/tcp/1"), Some(Target::Name));
        assert_eq!(of("/dns6/example.org/udp/1/quic-v1"), Some(Target::Name));
        assert_eq!(
            of(&format!("/dnsaddr/example.org/p2p/{peer}")),
            Some(Target::Name)
        );
        for nothing in [
            "/ip4/8.8.8.8".to_owned(),
            "/ip4/8.8.8.8/tcp/0".into(),
            "/ip4/8.8.8.8/udp/1".into(),
            "/ip4/8.8.8.8/tcp/80/ws".into(),
            format!("/ip4/8.8.8.8/tcp/1/p2p/{peer}/p2p-circuit"),
            format!("/p2p/{peer}/p2p-circuit"),
            "/memory/1".into(),
            "/unix/%2Ftmp%2Fsocket".into(),
            "/dns4/example.org/tcp/443/tls/ws".into(),
        ] {
            assert_eq!(of(&nothing), None, "{nothing}");
        }
    }
}
