//! The holders and the fetches of one job's files.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{COPIES_PER_PLACE, PEERS_MAX, RETRY, Sender, WAITING_PER_RETRY, Wants};
use crate::{ids::Peer, time::Time};

/// The holders and the fetches of one job.
#[derive(Clone, Debug, Default)]
pub(super) struct OfJob {
    /// All its files together.
    pub(super) bytes: u64,
    pub(super) holders: BTreeMap<Peer, Holder>,
    /// The outcomes of fetches from each peer, former holders included.
    pub(super) records: BTreeMap<Peer, Record>,
    /// The holders, the best to be sent to first.
    pub(super) order: BTreeSet<Order>,
    /// How many of them neither have delivered nor have sent the files to one that has.
    pub(super) unknown: usize,
    /// The number of peers that were sent to a holder so far.
    pub(super) turns: u64,
    pub(super) fetching: BTreeMap<Peer, Fetching>,
    /// The number of peers that fetch from the requester now.
    pub(super) sending: usize,
    /// The peers that were sent to the requester before there were tasks. Each gets one turn, or
    /// else a few that never finish would keep all others from it.
    pub(super) served: BTreeSet<Peer>,
    /// The networks of peers that have not delivered and have a turn at the requester. Each network
    /// has one turn at a time.
    pub(super) origins: BTreeSet<u64>,
    pub(super) waiting: BTreeSet<Peer>,
}

/// The number of peers that fetch from a holder, whether nothing is known of it, its failures, when
/// it was last named, and its name.
pub(super) type Order = (usize, bool, usize, u64, Peer);

#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) load: usize,
    /// Its own word is all there is: it has neither delivered nor sent the files to one that has.
    pub(super) is_unknown: bool,
    pub(super) vain: usize,
    pub(super) turn: u64,
}

/// The outcomes of fetches from one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// The peers whose fetches have failed since the last one that came to its end.
    pub(super) failed: BTreeSet<Peer>,
    /// Whether a peer that is believed has fetched the files from it. After that, strangers'
    /// fetches count no more, or else a few of them could have all holders forgotten.
    pub(super) has_sent: bool,
}

/// How a fetch ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Complete,
    Failed,
    /// The sender is not to blame.
    Otherwise,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fetching {
    pub(super) from: Sender,
    pub(super) bytes: u64,
    pub(super) believed: bool,
    pub(super) since: Time,
    pub(super) until: Time,
    /// The time after which a completed fetch counts as a failure of the sender that was named
    /// first, if the peer was told of others.
    pub(super) late: Time,
    /// Its network, if it has the one turn of that.
    pub(super) origin: Option<u64>,
    /// Copies that its sender was sending then, with this one.
    pub(super) beside: usize,
    /// Whether the peer was told of no other sender.
    pub(super) alone: bool,
}

impl Holder {
    pub(super) fn order(&self, peer: Peer) -> Order {
        (self.load, self.is_unknown, self.vain, self.turn, peer)
    }
}

impl OfJob {
    pub(super) fn take(&mut self, peer: Peer) -> Option<Holder> {
        let holder = self.holders.remove(&peer)?;
        self.order.remove(&holder.order(peer));
        self.unknown -= usize::from(holder.is_unknown);
        Some(holder)
    }

    pub(super) fn put(&mut self, peer: Peer, holder: Holder) {
        self.unknown += usize::from(holder.is_unknown);
        self.order.insert(holder.order(peer));
        self.holders.insert(peer, holder);
    }

    /// Notes how a peer's fetch from a holder ended: the holder's failures now, and whether it has
    /// sent the files to a peer that is believed.
    pub(super) fn note(&mut self, holder: Peer, by: Peer, believed: bool, ended: Ended) -> (usize, bool) {
        if self.records.len() >= PEERS_MAX && !self.records.contains_key(&holder) {
            return (0, false);
        }
        let record = self.records.entry(holder).or_default();
        match ended {
            Ended::Complete => {
                record.failed.clear();
                record.has_sent |= believed;
            }
            Ended::Failed if believed || !record.has_sent => drop(record.failed.insert(by)),
            Ended::Failed | Ended::Otherwise => {}
        }
        (record.failed.len(), record.has_sent)
    }

    /// Whether the requester sends a peer a copy before there are tasks. Nobody else can while
    /// nobody has all. Peers of one network that have not delivered may be one person's, who could
    /// otherwise take all turns and never finish.
    pub(super) fn may_be_sent_to(&self, wants: &Wants, at_once: usize) -> bool {
        let Wants {
            peer,
            believed,
            origin,
            ..
        } = *wants;
        let has_turn = |origin| self.origins.contains(&origin);
        (believed || !origin.is_some_and(has_turn))
            && (self.served.len() < COPIES_PER_PLACE * at_once || self.holders.is_empty())
            && self.served.len() < PEERS_MAX
            && !self.served.contains(&peer)
    }

    /// A peer waits for its turn, and asks again after so long.
    pub(super) fn waits(&mut self, peer: Peer) -> Duration {
        if self.waiting.len() < PEERS_MAX {
            self.waiting.insert(peer);
        }
        RETRY * (1 + self.waiting.len() / WAITING_PER_RETRY) as u32
    }
}
