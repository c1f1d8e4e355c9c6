//! Knows which peer has which blob, so that the requester need not serve every blob itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use myriad_core::{Blob, Peer};

/// The remembered holders of one blob: enough that one of them has time.
const HOLDERS_MAX: usize = 32;
/// Blobs that are remembered. A job has a proof for each task, and two or three files.
const BLOBS_MAX: usize = 1 << 18;

/// The peers that said that they hold a blob, or that made it. A lie costs the peer that believes
/// it one attempt.
#[derive(Default)]
pub(super) struct Holders {
    of: BTreeMap<Blob, OfBlob>,
    /// The number of blobs for which each of them is named.
    counts: HashMap<Peer, usize>,
}

#[derive(Default)]
struct OfBlob {
    /// The peer from which this node got it. It comes first, since anybody can say that it holds
    /// any blob.
    maker: Option<Peer>,
    others: VecDeque<Peer>,
}

impl OfBlob {
    fn contains(&self, peer: Peer) -> bool {
        self.maker == Some(peer) || self.others.contains(&peer)
    }
}

impl Holders {
    /// A peer says that it holds a blob.
    pub(super) fn add(&mut self, blob: Blob, peer: Peer) {
        let Some(holders) = self.of_blob(blob).filter(|holders| !holders.contains(peer)) else {
            return;
        };
        let surplus = if holders.others.len() == HOLDERS_MAX {
            holders.others.pop_front()
        } else {
            None
        };
        holders.others.push_back(peer);
        self.names(Some(peer), surplus);
    }

    /// This node got a blob from a peer.
    pub(super) fn add_maker(&mut self, blob: Blob, peer: Peer) {
        let Some(holders) = self.of_blob(blob) else {
            return;
        };
        let is_named = holders.contains(peer);
        holders.others.retain(|other| *other != peer);
        let before = holders.maker.replace(peer).filter(|before| *before != peer);
        self.names(Some(peer).filter(|_| !is_named), before);
    }

    fn of_blob(&mut self, blob: Blob) -> Option<&mut OfBlob> {
        let has_room = self.of.len() < BLOBS_MAX || self.of.contains_key(&blob);
        has_room.then(|| self.of.entry(blob).or_default())
    }

    /// One peer is named for one blob more, and another one for one less.
    fn names(&mut self, more: Option<Peer>, less: Option<Peer>) {
        if let Some(more) = more {
            *self.counts.entry(more).or_default() += 1;
        }
        if let Some(less) = less
            && let Some(count) = self.counts.get_mut(&less)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&less);
            }
        }
    }

    /// Everything that these peers hold is out of reach. Anybody can come and go without end, so
    /// peers that hold nothing cost no look at all blobs, and the others together cost one. Returns
    /// whether there was one.
    pub(super) fn forget(&mut self, peers: &[Peer]) -> bool {
        let held = |peer: &&Peer| self.counts.remove(*peer).is_some();
        let gone: BTreeSet<Peer> = peers.iter().filter(held).copied().collect();
        if !gone.is_empty() {
            self.of.retain(|_, holders| {
                holders.maker = holders.maker.filter(|maker| !gone.contains(maker));
                holders.others.retain(|holder| !gone.contains(holder));
                holders.maker.is_some() || !holders.others.is_empty()
            });
        }
        !gone.is_empty()
    }

    /// Some of the peers that hold it: the one that made it, and others, not the same ones each
    /// time.
    pub(super) fn some(&mut self, blob: Blob, count: usize) -> Vec<Peer> {
        let Some(holders) = self.of.get_mut(&blob) else {
            return Vec::new();
        };
        let maker = holders.maker.filter(|_| count > 0);
        let turn = (count - usize::from(maker.is_some())).min(holders.others.len());
        let some = maker.into_iter().chain(holders.others.iter().copied().take(turn));
        let some = some.collect();
        holders.others.rotate_left(turn);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_take_turns_and_are_bounded() {
        let mut holders = Holders::default();
        let blob = Blob([1; 32]);
        assert!(holders.some(blob, 2).is_empty());
        for peer in 0..3 {
            holders.add(blob, Peer([peer; 32]));
            holders.add(blob, Peer([peer; 32]));
        }
        assert_eq!(holders.some(blob, 2), [Peer([0; 32]), Peer([1; 32])]);
        assert_eq!(holders.some(blob, 2), [Peer([2; 32]), Peer([0; 32])]);
        assert!(holders.forget(&[Peer([1; 32])]));
        assert_eq!(holders.some(blob, 9).len(), 2);
        for peer in 0..100 {
            holders.add(blob, Peer([peer; 32]));
        }
        assert_eq!(holders.of[&blob].others.len(), HOLDERS_MAX);
        assert_eq!(holders.counts.len(), HOLDERS_MAX, "nobody else holds anything");
    }

    #[test]
    fn the_maker_of_a_proof_is_named_first_however_many_claim_to_hold_it() {
        let mut holders = Holders::default();
        let (blob, maker) = (Blob([1; 32]), Peer([200; 32]));
        holders.add(blob, maker);
        holders.add_maker(blob, maker);
        for peer in 0..100 {
            holders.add(blob, Peer([peer; 32]));
            holders.add(blob, maker);
        }
        for _ in 0..10 {
            let some = holders.some(blob, 3);
            assert_eq!((some[0], some.len()), (maker, 3));
            assert!(!some[1..].contains(&maker));
        }
        assert_eq!(holders.some(blob, 0), []);
        assert_eq!(holders.some(blob, usize::MAX).len(), 1 + HOLDERS_MAX);
        assert_eq!(holders.counts.len(), 1 + HOLDERS_MAX);
        // It is made again by another one.
        let anew = Peer([99; 32]);
        holders.add_maker(blob, anew);
        assert_eq!(holders.some(blob, 1), [anew]);
        assert!(!holders.counts.contains_key(&maker) && holders.counts[&anew] == 1);
        assert!(holders.forget(&[anew]));
        assert_ne!(holders.some(blob, 1), [anew]);
    }

    /// A job has hundreds of thousands of blobs, and a look would go over each of them.
    #[test]
    fn peers_that_come_and_go_and_hold_nothing_cost_nothing() {
        let mut holders = Holders::default();
        let blobs = [Blob([1; 32]), Blob([2; 32])];
        for blob in blobs {
            for peer in [1, 2] {
                holders.add(blob, Peer([peer; 32]));
            }
        }
        assert!(!holders.forget(&[Peer([8; 32]), Peer([9; 32])]));
        assert!(holders.forget(&[Peer([1; 32]), Peer([9; 32])]));
        assert!(!holders.forget(&[Peer([1; 32])]), "it has come back");
        assert_eq!(holders.some(blobs[0], 9), [Peer([2; 32])]);
        assert!(holders.forget(&[Peer([2; 32])]));
        assert!(holders.of.is_empty() && holders.counts.is_empty());
    }
}
