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
    of: BTreeMap<Blob, VecDeque<Peer>>,
    /// The number of blobs for which each of them is named.
    counts: HashMap<Peer, usize>,
}

impl Holders {
    pub(super) fn add(&mut self, blob: Blob, peer: Peer) {
        if !self.of.contains_key(&blob) && self.of.len() >= BLOBS_MAX {
            return;
        }
        let holders = self.of.entry(blob).or_default();
        if holders.contains(&peer) {
            return;
        }
        if holders.len() == HOLDERS_MAX
            && let Some(first) = holders.pop_front()
            && let Some(count) = self.counts.get_mut(&first)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&first);
            }
        }
        holders.push_back(peer);
        *self.counts.entry(peer).or_default() += 1;
    }

    /// Everything that these peers hold is out of reach. Anybody can come and go without end, so
    /// peers that hold nothing cost no look at all blobs, and the others together cost one. Returns
    /// whether there was one.
    pub(super) fn forget(&mut self, peers: &[Peer]) -> bool {
        let held = |peer: &&Peer| self.counts.remove(*peer).is_some();
        let gone: BTreeSet<Peer> = peers.iter().filter(held).copied().collect();
        if !gone.is_empty() {
            self.of.retain(|_, holders| {
                holders.retain(|holder| !gone.contains(holder));
                !holders.is_empty()
            });
        }
        !gone.is_empty()
    }

    /// Some of the peers that hold it, others each time, so that not everybody asks the same one.
    pub(super) fn some(&mut self, blob: Blob, count: usize) -> Vec<Peer> {
        let Some(holders) = self.of.get_mut(&blob) else {
            return Vec::new();
        };
        let some = holders.iter().copied().take(count).collect();
        let turn = count.min(holders.len());
        holders.rotate_left(turn);
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
        assert_eq!(holders.of[&blob].len(), HOLDERS_MAX);
        assert_eq!(holders.counts.len(), HOLDERS_MAX, "nobody else holds anything");
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
