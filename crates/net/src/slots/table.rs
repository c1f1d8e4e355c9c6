//! Decides which peers get the connections that there is room for.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr};

use libp2p::{PeerId, swarm::ConnectionId};
use thiserror::Error;

use crate::reach::{Host, Recent, Scope, ScopeOf, Subnet};

/// One connection in this many is kept for peers that have been of use, and one for peers that may
/// come to be.
const RESERVED_SHARE: usize = 8;
/// Connections from one address: those of the machines of a firm or a school behind one router. One
/// person can have many identities that were of some use, too.
const PER_HOST_MAX: usize = 256;
/// One connection in this many may be of one subnet.
const SUBNET_SHARE: usize = 2;
/// [`PER_HOST_MAX`] and [`SUBNET_SHARE`] for strangers alone.
const STRANGERS_PER_HOST_MAX: usize = 128;
const STRANGERS_SUBNET_SHARE: usize = 4;
/// Connections that have not said whose they are: in all, from one address, and from one subnet.
const PENDING_MAX: usize = 256;
const PENDING_PER_HOST_MAX: usize = 32;
const PENDING_PER_SUBNET_MAX: usize = 64;
/// Peers whose worth is remembered.
const REGARDED_MAX: usize = 1 << 16;

/// The worth of a peer to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Regard {
    /// It has done something for this node. There is room for it, unless many such peers are there,
    /// or too many at its address.
    Useful,
    #[default]
    Stranger,
    /// It has done harm. It is let in while there is plenty of room, and is the first to go.
    Harmful,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    #[error("{ip} has {count} connections, and {allowed} are allowed for peers of this kind")]
    Host {
        ip: IpAddr,
        count: usize,
        allowed: usize,
    },
    #[error("the network of {ip} has {count} connections, and {allowed} are allowed for peers of this kind")]
    Subnet {
        ip: IpAddr,
        count: usize,
        allowed: usize,
    },
    #[error("there are {count} connections, and {allowed} are allowed for peers of this kind")]
    Full { count: usize, allowed: usize },
}

struct Open {
    peer: PeerId,
    ip: Option<IpAddr>,
    /// Its number among all that there were.
    number: u64,
    /// It was chosen to go, to make room for another one.
    leaving: bool,
}

/// The connections of a node. It decides, and does nothing itself.
pub(crate) struct Table {
    most: usize,
    scope_of: ScopeOf,
    open: HashMap<ConnectionId, Open>,
    pending: HashMap<ConnectionId, IpAddr>,
    regards: Recent<PeerId, Regard>,
    next: u64,
}

impl Table {
    pub(crate) fn new(most: usize, scope_of: ScopeOf) -> Self {
        Self {
            most,
            scope_of,
            open: HashMap::new(),
            pending: HashMap::new(),
            regards: Recent::new(REGARDED_MAX),
            next: 0,
        }
    }

    pub(crate) fn regard(&mut self, id: PeerId, regard: Regard) {
        match regard {
            Regard::Stranger => drop(self.regards.remove(&id)),
            _ => self.regards.set(id, regard),
        }
    }

    fn regard_of(&self, id: &PeerId) -> Regard {
        self.regards.get(id).copied().unwrap_or_default()
    }

    /// The worth of a peer, and the address of its oldest connection, if it is known.
    pub(crate) fn look(&self, id: &PeerId) -> (Regard, Option<IpAddr>) {
        let own = self.open.values().filter(|open| open.peer == *id);
        let oldest = own.min_by_key(|open| open.number);
        (self.regard_of(id), oldest.and_then(|open| open.ip))
    }

    /// A peer knocks, and has not given its name.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) fn knock(&mut self, connection: ConnectionId, ip: Option<IpAddr>) -> Result<(), Refused> {
        let allowed = PENDING_MAX;
        if self.pending.len() >= allowed {
            let count = self.pending.len();
            return Err(Refused::Full { count, allowed });
        }
        let Some(ip) = ip else {
            return Ok(());
        };
        self.check(
            ip,
            self.pending.values().copied(),
            PENDING_PER_HOST_MAX,
            PENDING_PER_SUBNET_MAX,
        )?;
        self.pending.insert(connection, ip);
        Ok(())
    }

    /// The peer has given its name, or is gone.
    pub(crate) fn knocked(&mut self, connection: ConnectionId) {
        self.pending.remove(&connection);
    }

    /// Whether the machine or the network of an address has too many of `others` already. This
    /// machine may have as many as it likes. So may a local network, whose machines have an address
    /// each.
    fn check(
        &self,
        ip: IpAddr,
        others: impl Iterator<Item = IpAddr> + Clone,
        per_host: usize,
        per_subnet: usize,
    ) -> Result<(), Refused> {
        let scope = (self.scope_of)(ip);
        if scope == Some(Scope::Machine) {
            return Ok(());
        }
        let count = others
            .clone()
            .filter(|&other| Host::of(other) == Host::of(ip))
            .count();
        if count >= per_host {
            let allowed = per_host;
            return Err(Refused::Host { ip, count, allowed });
        }
        let count = others
            .filter(|&other| Subnet::of(other) == Subnet::of(ip))
            .count();
        let is_local = scope.is_some_and(|scope| scope <= Scope::Private);
        if count >= per_subnet && !is_local {
            let allowed = per_subnet;
            return Err(Refused::Subnet { ip, count, allowed });
        }
        Ok(())
    }

    /// Whether a peer may have one more connection; if it may and all are taken, the one that goes
    /// instead.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) fn admit(
        &mut self,
        peer: PeerId,
        ip: Option<IpAddr>,
    ) -> Result<Option<(PeerId, ConnectionId)>, Refused> {
        let regard = self.regard_of(&peer);
        let staying = self.open.values().filter(|open| !open.leaving);
        let useful = staying
            .clone()
            .filter(|open| self.regard_of(&open.peer) == Regard::Useful)
            .count();
        let all = staying.clone().count();
        if let Some(ip) = ip {
            let others = staying.clone().filter_map(|open| open.ip);
            let per_subnet = |share: usize| (self.most / share).max(1);
            self.check(ip, others, PER_HOST_MAX.min(self.most), per_subnet(SUBNET_SHARE))?;
            if regard != Regard::Useful {
                let strangers = staying.filter(|open| self.regard_of(&open.peer) != Regard::Useful);
                let per_host = STRANGERS_PER_HOST_MAX.min(self.most);
                let others = strangers.filter_map(|open| open.ip);
                self.check(ip, others, per_host, per_subnet(STRANGERS_SUBNET_SHARE))?;
            }
        }
        let reserved = self.most / RESERVED_SHARE;
        let (of_kind, other) = match regard {
            Regard::Useful => (useful, Regard::Stranger),
            _ => (all - useful, Regard::Useful),
        };
        let for_kind = self.most - reserved;
        let (count, allowed, from) = match regard {
            _ if of_kind >= for_kind => (of_kind, for_kind, regard),
            // The places for its kind are taken by peers that were there before they came to be of
            // use.
            Regard::Stranger if of_kind < reserved => (all, self.most, other),
            Regard::Useful => (all, self.most, other),
            _ => (all, self.most, regard),
        };
        if count < allowed {
            return Ok(None);
        }
        let full = Refused::Full { count, allowed };
        let victim = self.gives_way(regard, from, ip).ok_or(full)?;
        let open = self.open.get_mut(&victim).ok_or(full)?;
        open.leaving = true;
        Ok(Some((open.peer, victim)))
    }

    /// The connection that gives way to a peer of this regard at this address. It is one of the
    /// useful peers or one of the others, as `from` says. A peer that does harm goes first. Any
    /// stranger goes next, if the newcomer is of use. The latest peer of the largest subnet goes
    /// last, unless the newcomer's own subnet would then be as large.
    fn gives_way(&self, regard: Regard, from: Regard, ip: Option<IpAddr>) -> Option<ConnectionId> {
        if regard == Regard::Harmful {
            return None;
        }
        let is_useful = |regard: Regard| regard == Regard::Useful;
        let leavable = self
            .open
            .iter()
            .filter(|(_, open)| !open.leaving && is_useful(self.regard_of(&open.peer)) == is_useful(from));
        let group = |open: &Open| open.ip.map(Subnet::of);
        let mut sizes: HashMap<Option<Subnet>, usize> = HashMap::new();
        for (_, open) in leavable.clone() {
            *sizes.entry(group(open)).or_default() += 1;
        }
        let own = sizes.get(&ip.map(Subnet::of)).copied().unwrap_or(0);
        let gives_way = |open: &Open| {
            (is_useful(regard) && !is_useful(from))
                || self.regard_of(&open.peer) == Regard::Harmful
                || sizes[&group(open)] > own + 1
        };
        let candidates = leavable.filter(|(_, open)| gives_way(open));
        let first = candidates.min_by_key(|(_, open)| {
            let harmless = self.regard_of(&open.peer) != Regard::Harmful;
            (harmless, Reverse((sizes[&group(open)], open.number)))
        });
        first.map(|(&connection, _)| connection)
    }

    /// A connection that was admitted is there.
    pub(crate) fn opened(&mut self, connection: ConnectionId, peer: PeerId, ip: Option<IpAddr>) {
        self.pending.remove(&connection);
        let open = Open {
            peer,
            ip,
            number: self.next,
            leaving: false,
        };
        self.next += 1;
        self.open.insert(connection, open);
    }

    pub(crate) fn closed(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64;

    /// Peers that knock, and the table that lets some of them in.
    struct Visitors {
        table: Table,
        next: usize,
    }

    impl Visitors {
        fn new() -> Self {
            Self {
                table: Table::new(MOST, Scope::of),
                next: 0,
            }
        }

        /// Whether the peer gets in; a connection that has to go for it is closed.
        fn comes(&mut self, peer: PeerId, from: &str) -> Result<(), Refused> {
            let ip = Some(from.parse().unwrap());
            let instead = self.table.admit(peer, ip)?;
            self.next += 1;
            self.table
                .opened(ConnectionId::new_unchecked(self.next), peer, ip);
            if let Some((_, connection)) = instead {
                self.table.closed(connection);
            }
            assert!(self.table.open.len() <= MOST);
            Ok(())
        }

        fn has(&self, peer: PeerId) -> bool {
            self.table.open.values().any(|open| open.peer == peer)
        }

        /// This many strangers knock from one network after the other.
        fn flood(&mut self, networks: usize, times: usize) {
            for n in 0..times {
                let from = format!(
                    "8.{}.{}.{}",
                    n % networks / 250,
                    n % networks % 250,
                    n / networks % 250
                );
                let _ = self.comes(PeerId::random(), &from);
            }
        }
    }

    #[test]
    fn one_network_of_sybils_keeps_nobody_out() {
        let mut visitors = Visitors::new();
        let early = PeerId::random();
        visitors.comes(early, "9.9.9.9").unwrap();
        visitors.flood(1, 1000);
        assert_eq!(visitors.table.open.len(), 1 + MOST / STRANGERS_SUBNET_SHARE);
        visitors.flood(20, 1000);
        assert!(visitors.has(early), "it is alone in its network");
        for n in 0..10 {
            let late = PeerId::random();
            visitors.comes(late, &format!("11.0.{n}.1")).unwrap();
            assert!(visitors.has(late));
        }
    }

    #[test]
    fn a_peer_that_was_of_use_always_gets_in() {
        let mut visitors = Visitors::new();
        visitors.flood(10_000, 10_000);
        let count = visitors.table.open.len();
        assert_eq!(
            count,
            MOST - MOST / RESERVED_SHARE,
            "the rest is not for strangers"
        );
        assert!(matches!(
            visitors.comes(PeerId::random(), "9.9.9.9"),
            Err(Refused::Full { .. })
        ));
        let for_useful = MOST - MOST / RESERVED_SHARE;
        let useful: Vec<PeerId> = (0..for_useful).map(|_| PeerId::random()).collect();
        for (n, &peer) in useful.iter().enumerate() {
            visitors.table.regard(peer, Regard::Useful);
            visitors.comes(peer, &format!("12.{n}.0.1")).unwrap();
        }
        assert!(useful.iter().all(|&peer| visitors.has(peer)));
        let one_more = PeerId::random();
        visitors.table.regard(one_more, Regard::Useful);
        let refused = visitors.comes(one_more, "9.9.9.9");
        assert_eq!(
            refused,
            Err(Refused::Full {
                count: for_useful,
                allowed: for_useful
            })
        );
        visitors.flood(100, 1000);
        assert!(useful.iter().all(|&peer| visitors.has(peer)));
        assert_eq!(visitors.table.open.len(), MOST, "the rest is for strangers");
    }

    /// One person, each of whose identities has paid, at this many networks: all of them as soon as
    /// they come, or when they are there already.
    fn paid_for(networks: usize, before: bool) -> Visitors {
        let mut visitors = Visitors::new();
        for n in 0..1000 {
            let peer = PeerId::random();
            let pays = |visitors: &mut Visitors| visitors.table.regard(peer, Regard::Useful);
            if before {
                pays(&mut visitors);
            }
            let _ = visitors.comes(peer, &format!("8.0.{}.{}", n % networks, n / networks % 250));
            pays(&mut visitors);
        }
        visitors
    }

    #[test]
    fn one_person_whose_identities_were_of_use_keeps_nobody_out() {
        for before in [false, true] {
            let one = paid_for(1, before);
            assert!(
                one.table.open.len() <= MOST / SUBNET_SHARE,
                "{before}: {}",
                one.table.open.len()
            );
            let mut visitors = paid_for(4, before);
            let [useful, stranger] = [(); 2].map(|()| PeerId::random());
            visitors.table.regard(useful, Regard::Useful);
            visitors.comes(useful, "9.9.9.9").unwrap();
            visitors.comes(stranger, "11.0.0.1").unwrap();
            visitors.flood(4, 1000);
            for _ in 0..1000 {
                let peer = PeerId::random();
                visitors.table.regard(peer, Regard::Useful);
                let _ = visitors.comes(peer, "8.0.0.1");
            }
            assert!(visitors.has(useful) && visitors.has(stranger), "{before}");
        }
    }

    #[test]
    fn one_address_has_so_many_connections_whoever_they_are() {
        let mut table = Table::new(4096, Scope::of);
        let mut there = 0;
        for n in 0..1000 {
            let (peer, ip) = (PeerId::random(), Some("8.8.8.8".parse().unwrap()));
            if table.admit(peer, ip).is_ok() {
                table.opened(ConnectionId::new_unchecked(n), peer, ip);
                table.regard(peer, Regard::Useful);
                there += 1;
            }
        }
        assert_eq!(there, PER_HOST_MAX);
    }

    #[test]
    fn a_harmful_peer_goes_first_and_takes_nobodys_place() {
        let mut visitors = Visitors::new();
        let harmful = PeerId::random();
        visitors.comes(harmful, "9.9.9.9").unwrap();
        visitors.table.regard(harmful, Regard::Harmful);
        visitors.flood(2, 10);
        assert!(visitors.has(harmful), "there is plenty of room");
        visitors.flood(10_000, 1000);
        assert!(!visitors.has(harmful));
        assert!(visitors.comes(harmful, "9.9.9.9").is_err());
        visitors.table.regard(harmful, Regard::Stranger);
        assert_eq!(visitors.table.regards.len(), 0);
    }

    #[test]
    fn machines_behind_one_address_are_bounded_unless_it_is_this_one() {
        let mut table = Table::new(4096, Scope::of);
        let mut comes = |n: usize, from: &str| {
            let (peer, ip) = (PeerId::random(), Some(from.parse().unwrap()));
            let admitted = table.admit(peer, ip);
            table.opened(ConnectionId::new_unchecked(n), peer, ip);
            admitted
        };
        for n in 0..STRANGERS_PER_HOST_MAX {
            assert_eq!(comes(n, "8.8.8.8"), Ok(None));
        }
        assert!(matches!(comes(1000, "8.8.8.8"), Err(Refused::Host { .. })));
        assert!(matches!(comes(1001, "::ffff:8.8.8.8"), Err(Refused::Host { .. })));
        assert_eq!(comes(1002, "8.8.8.9"), Ok(None));
        for n in 2000..2200 {
            assert_eq!(comes(n, "127.0.0.1"), Ok(None));
        }
    }

    #[test]
    fn peers_that_knock_and_say_nothing_are_bounded() {
        let mut table = Table::new(4096, Scope::of);
        let mut knocks = (0..).map(ConnectionId::new_unchecked);
        let mut knock = |table: &mut Table, from: &str| {
            let connection = knocks.next().unwrap();
            table
                .knock(connection, Some(from.parse().unwrap()))
                .map(|()| connection)
        };
        let first = knock(&mut table, "8.8.8.8").unwrap();
        for _ in 1..PENDING_PER_HOST_MAX {
            knock(&mut table, "8.8.8.8").unwrap();
        }
        assert!(matches!(knock(&mut table, "8.8.8.8"), Err(Refused::Host { .. })));
        table.knocked(first);
        assert!(knock(&mut table, "8.8.8.8").is_ok());
        for n in 0..PENDING_PER_HOST_MAX {
            assert!(knock(&mut table, &format!("8.8.8.{n}")).is_ok() || n == 8);
        }
        assert!(knock(&mut table, "8.8.8.99").is_ok());
        assert!(matches!(
            knock(&mut table, "8.8.8.100"),
            Err(Refused::Subnet { .. })
        ));
        for n in 0..250 {
            let _ = knock(&mut table, &format!("9.{n}.1.1"));
        }
        assert!(matches!(knock(&mut table, "11.1.1.1"), Err(Refused::Full { .. })));
    }
}
