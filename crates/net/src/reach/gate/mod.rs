//! The one gate for addresses: it decides which of them a peer may tell, and which may be dialled
//! when.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use super::{
    budget::{Bucket, Budget, Recent, Rules},
    scope::{Host, Scope, Subnet, Target, ip_of, is_chain, peer_at_end, plain, target},
};
use crate::limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};

/// Attempts at one machine that lead nowhere: a machine that a stranger names must not be bothered
/// for it. A peer that listens by QUIC and TCP takes two.
const HOST_RULES: Rules = Rules {
    free: 4,
    pause: Duration::from_secs(60),
    pause_max: Duration::from_secs(3600),
};
/// Attempts at one subnet that lead nowhere: naming its machines one by one gains little.
const SUBNET_RULES: Rules = Rules {
    free: 16,
    pause: Duration::from_secs(30),
    pause_max: Duration::from_secs(900),
};
/// Attempts at machines where the peer was not met: this many at once, and a further one after each
/// interval. This node does not knock at more doors, whatever it is told. These are for peers that
/// were chosen to be dialled, by turns among the peers that named them.
const CHOSEN_AT_ONCE: u32 = 256;
const CHOSEN_EVERY: Duration = Duration::from_millis(250);
/// Attempts at peers that libp2p's hash table wants to ask by itself, so that liars there take
/// nothing from the others.
const OTHERS_AT_ONCE: u32 = 64;
const OTHERS_EVERY: Duration = Duration::from_secs(1);
/// The most attempts within the longest time that a machine or a subnet rests.
const ATTEMPTS_MAX: u64 = CHOSEN_AT_ONCE as u64
    + OTHERS_AT_ONCE as u64
    + longest_rest().as_secs() / OTHERS_EVERY.as_secs()
    + longest_rest().as_millis() as u64 / CHOSEN_EVERY.as_millis() as u64;
/// Machines, and subnets, whose failures are remembered. It is more than can rest at one time, so
/// that nobody has to wait for a place among them.
const BUDGETS_MAX: usize = 1 << 15;
const _: () = assert!(BUDGETS_MAX as u64 > ATTEMPTS_MAX);
/// Chosen peers that are remembered: all that are dialled within some minutes.
const CHOSEN_MAX: usize = 1024;
/// Addresses that are looked at, of those that a peer is said to have: those of a machine in many
/// networks, and no more work than that.
const SAID_MAX: usize = 64;
/// Names of strangers that are looked up: this many at once, and a further one after each interval.
/// Each look-up asks servers that a stranger has chosen, and shows them this node's address.
const NAMES_AT_ONCE: u32 = 16;
const NAMES_EVERY: Duration = Duration::from_secs(1);
/// Peers whose places are remembered. It is twice the number of connections.
const PLACES_MAX: usize = 4096;

const fn longest_rest() -> Duration {
    if HOST_RULES.pause_max.as_secs() > SUBNET_RULES.pause_max.as_secs() {
        HOST_RULES.pause_max
    } else {
        SUBNET_RULES.pause_max
    }
}

/// The reach of an address: [`Scope::of`], except in tests and in networks that play the internet.
pub(crate) type ScopeOf = fn(IpAddr) -> Option<Scope>;

/// The party that is answerable for a statement, as far as it can be told apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Teller {
    Subnet(Subnet),
    Peer(PeerId),
}

/// The source of a statement where a peer is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Informant<'a> {
    /// The owner of this node.
    Owner,
    /// A machine on the local network, to all machines that listen there.
    Lan,
    /// The peer itself, whose connections come from these addresses; none where they are not known.
    Itself(&'a [IpAddr]),
    /// Another peer, of its own knowledge.
    Another(PeerId, &'a [IpAddr]),
    /// Another peer, that has it from an unknown source.
    Forwarded(PeerId, &'a [IpAddr]),
}

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("{0} is not an address that a node can have")]
    Nowhere(IpAddr),
    #[error("{ip} belongs to a {scope:?} network, and nobody in it has said that the peer is there")]
    OutOfScope { ip: IpAddr, scope: Scope },
    #[error("too many attempts at {what} of {ip} have failed; the next one is in {} s", left.as_secs())]
    Resting {
        ip: IpAddr,
        what: &'static str,
        left: Duration,
    },
    #[error(
        "this node dials no more strangers' machines for now; {ip} has to wait for at least {} ms",
        left.as_millis()
    )]
    Hurried { ip: IpAddr, left: Duration },
    #[error("a name that leads to further names has to come from the owner, and a stranger gave this one")]
    Chain,
    #[error(
        "this node looks up no more strangers' names for now; this one has to wait for at least {} ms",
        left.as_millis()
    )]
    Names { left: Duration },
}

/// An attempt that is under way; [`Gate::reached`] wants to know of each that succeeds. The others
/// have failed, even those for which another address was faster: otherwise a peer that is reached
/// at one address could name others without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    ip: IpAddr,
    on_budget: bool,
}

/// Decides by what it was told before; it has no clock and does no I/O.
pub(crate) struct Gate {
    scope_of: ScopeOf,
    /// Peers that the owner named.
    of_owner: Recent<PeerId, ()>,
    /// Addresses that are not global, and whose peers are believed to have them.
    narrow: Recent<(PeerId, IpAddr), ()>,
    /// Machines where peers have been met.
    met: Recent<(PeerId, Host), ()>,
    /// The farthest reach of this node's connections. The statements of the hash table come over
    /// one of them.
    farthest: Option<Scope>,
    hosts: Budget<Host>,
    subnets: Budget<Subnet>,
    /// Peers that this node has chosen to dial.
    chosen: Recent<PeerId, ()>,
    for_chosen: Bucket,
    for_others: Bucket,
    for_names: Bucket,
}

impl Gate {
    pub(crate) fn new(scope_of: ScopeOf) -> Self {
        Self {
            scope_of,
            of_owner: Recent::new(PLACES_MAX),
            narrow: Recent::new(PLACES_MAX * ADDRESSES_MAX),
            met: Recent::new(2 * PLACES_MAX),
            farthest: None,
            hosts: Budget::new(HOST_RULES, BUDGETS_MAX),
            subnets: Budget::new(SUBNET_RULES, BUDGETS_MAX),
            chosen: Recent::new(CHOSEN_MAX),
            for_chosen: Bucket::new(CHOSEN_AT_ONCE, CHOSEN_EVERY),
            for_others: Bucket::new(OTHERS_AT_ONCE, OTHERS_EVERY),
            for_names: Bucket::new(NAMES_AT_ONCE, NAMES_EVERY),
        }
    }

    /// This node is about to dial a peer of its own choice.
    pub(crate) fn choose(&mut self, id: PeerId) {
        self.chosen.set(id, ());
    }

    /// The number of strangers whose addresses can all be tried now.
    pub(crate) fn room(&self, now: Instant) -> usize {
        self.for_chosen.room(now) as usize / ADDRESSES_MAX
    }

    /// A connection with a peer is there, and it is at this address.
    pub(crate) fn connected(&mut self, id: PeerId, ip: IpAddr) {
        self.met.set((id, Host::of(ip)), ());
        self.farthest = self.farthest.max(Some(self.reach(ip)));
    }

    /// An address of which nothing is known reaches as far as any.
    fn reach(&self, ip: IpAddr) -> Scope {
        (self.scope_of)(ip).unwrap_or(Scope::Global)
    }

    /// Picks, of the addresses that a peer is said to have, those that may be dialled and passed
    /// on, the far-reaching first. One of them is a name at most.
    pub(crate) fn learn(
        &mut self,
        id: PeerId,
        said: Vec<Multiaddr>,
        informant: Informant<'_>,
    ) -> Vec<Multiaddr> {
        if matches!(informant, Informant::Owner) {
            self.of_owner.set(id, ());
            return said;
        }
        let mut has_name = false;
        let believed = said.into_iter().take(SAID_MAX).filter_map(|address| {
            let named = peer_at_end(&address);
            let short = address.to_string().len() <= ADDRESS_BYTES_MAX;
            if !short || named.is_some_and(|named| named != id) {
                return None;
            }
            match target(&address)? {
                Target::Ip(ip) => {
                    let scope = (self.scope_of)(ip)?;
                    self.believes(id, ip, scope, informant)
                        .then_some((scope, Some(ip), address))
                }
                // A chain of names ends where its owner likes, after many lookups.
                Target::Name if has_name || is_chain(&address) => None,
                Target::Name => {
                    has_name = true;
                    Some((Scope::Global, None, address))
                }
            }
        });
        let chosen = choose(believed.collect());
        for &(scope, ip, _) in &chosen {
            if let Some(ip) = ip.filter(|_| scope < Scope::Global) {
                self.narrow.set((id, plain(ip)), ());
            }
        }
        chosen.into_iter().map(|(_, _, address)| address).collect()
    }

    fn believes(&self, id: PeerId, ip: IpAddr, scope: Scope, informant: Informant<'_>) -> bool {
        let reach = |from: &[IpAddr]| {
            let farthest = from.iter().map(|&ip| self.reach(ip)).max();
            farthest.unwrap_or(Scope::Global)
        };
        match informant {
            Informant::Owner => true,
            Informant::Lan => scope >= Scope::Link,
            Informant::Another(_, from) => scope >= reach(from),
            // The origin of a forwarded address is unknown. But a machine at which this node has
            // met the peer is the peer's, which may listen at another port since it was started
            // again.
            Informant::Forwarded(..) => scope == Scope::Global || self.met.contains(&(id, Host::of(ip))),
            // The peer calls from a known address, and another machine of the kind would be
            // somebody else's.
            Informant::Itself(from) => {
                let kind = |ip: &IpAddr| (self.reach(*ip), plain(*ip).is_ipv4());
                let mut alike = from.iter().filter(|&from| kind(from) == kind(&ip)).peekable();
                scope >= reach(from)
                    && (alike.peek().is_none() || alike.any(|&from| Host::of(from) == Host::of(ip)))
            }
        }
    }

    /// Whether a peer may be dialled at an address now, once; `id` is none where the owner gave the
    /// address alone.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) fn admit(&mut self, id: Option<PeerId>, ip: IpAddr, now: Instant) -> Result<Attempt, Refusal> {
        let free = Attempt { ip, on_budget: false };
        let Some(id) = id.filter(|id| !self.of_owner.contains(id)) else {
            return Ok(free);
        };
        let Some(scope) = (self.scope_of)(ip) else {
            return Err(Refusal::Nowhere(ip));
        };
        let of_table = self.farthest.is_some_and(|farthest| scope >= farthest);
        if scope < Scope::Global && !of_table && !self.narrow.contains(&(id, plain(ip))) {
            return Err(Refusal::OutOfScope { ip, scope });
        }
        // Attempts within this machine cost nobody else anything, and many nodes may share its
        // address.
        if scope == Scope::Machine || self.met.contains(&(id, Host::of(ip))) {
            return Ok(free);
        }
        let resting = [
            ("the machine", self.hosts.rests(&Host::of(ip), now)),
            ("the network", self.subnets.rests(&Subnet::of(ip), now)),
        ];
        for (what, left) in resting {
            if let Some(left) = left {
                return Err(Refusal::Resting { ip, what, left });
            }
        }
        let bucket = if self.chosen.contains(&id) {
            &mut self.for_chosen
        } else {
            &mut self.for_others
        };
        bucket.take(now).map_err(|left| Refusal::Hurried { ip, left })?;
        self.hosts.begin(Host::of(ip), now);
        self.subnets.begin(Subnet::of(ip), now);
        Ok(Attempt { ip, on_budget: true })
    }

    /// Whether the name in a peer's address may be looked up now, once; `id` is none where the
    /// owner gave the address alone.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) fn admit_name(
        &mut self,
        id: Option<PeerId>,
        address: &Multiaddr,
        now: Instant,
    ) -> Result<(), Refusal> {
        if id.is_none_or(|id| self.of_owner.contains(&id)) {
            return Ok(());
        }
        if is_chain(address) {
            return Err(Refusal::Chain);
        }
        self.for_names.take(now).map_err(|left| Refusal::Names { left })
    }

    /// The peer that was dialled is there.
    pub(crate) fn reached(&mut self, attempt: Attempt, id: PeerId) {
        self.connected(id, attempt.ip);
        if attempt.on_budget {
            self.hosts.succeeded(&Host::of(attempt.ip));
            self.subnets.succeeded(&Subnet::of(attempt.ip));
        }
    }
}

/// The answerable party; none for a statement of the owner, or of a peer on the local network.
pub(crate) fn teller(id: PeerId, informant: Informant<'_>) -> Option<Teller> {
    let (by, from) = match informant {
        Informant::Owner | Informant::Lan => return None,
        Informant::Itself(from) => (id, from),
        Informant::Another(by, from) | Informant::Forwarded(by, from) => (by, from),
    };
    let global = from.iter().find(|&&ip| Scope::of(ip) == Some(Scope::Global));
    Some(global.map_or(Teller::Peer(by), |&ip| Teller::Subnet(Subnet::of(ip))))
}

/// As many addresses as a peer may have, the far-reaching first, and some of each kind: a machine
/// with many addresses of one family or behind one router is still found by the other one.
fn choose(mut believed: Vec<(Scope, Option<IpAddr>, Multiaddr)>) -> Vec<(Scope, Option<IpAddr>, Multiaddr)> {
    let kind = |(scope, ip, _): &(Scope, Option<IpAddr>, Multiaddr)| (*scope, ip.map(|ip| ip.is_ipv4()));
    let mut seen = HashSet::new();
    believed.retain(|(_, _, address)| seen.insert(address.clone()));
    let mut of_kind: HashMap<_, usize> = HashMap::new();
    let ranks: Vec<usize> = believed
        .iter()
        .map(|one| {
            let count = of_kind.entry(kind(one)).or_default();
            *count += 1;
            // A machine's address occurs twice, by QUIC and by TCP.
            (*count - 1) / 2
        })
        .collect();
    let mut ranked: Vec<_> = ranks.into_iter().zip(believed).collect();
    ranked.sort_by(|(rank, one), (other_rank, other)| (rank, other.0).cmp(&(other_rank, one.0)));
    ranked.truncate(ADDRESSES_MAX);
    ranked.sort_by_key(|(_, one)| std::cmp::Reverse(one.0));
    ranked.into_iter().map(|(_, one)| one).collect()
}

/// Picks the addresses that a node can have, and as many as it may. This node uses it for the
/// addresses that it tells others of itself, and for those that one dial tries.
pub(crate) fn best(addresses: Vec<Multiaddr>, scope_of: ScopeOf) -> Vec<Multiaddr> {
    let reaching = addresses
        .into_iter()
        .filter_map(|address| match target(&address)? {
            Target::Ip(_) => {
                let ip = ip_of(&address)?;
                Some((scope_of(ip)?, Some(ip), address))
            }
            Target::Name => Some((Scope::Global, None, address)),
        });
    choose(reaching.collect())
        .into_iter()
        .map(|(_, _, address)| address)
        .collect()
}

#[cfg(test)]
mod tests;
