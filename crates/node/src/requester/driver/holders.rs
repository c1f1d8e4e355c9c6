//! Knows which peer has which blob, so that the requester need not serve every blob itself.

use std::collections::{BTreeMap, VecDeque};

use myriad_core::{Blob, Peer};

/// Holders that are remembered of one blob. Enough that one of them has time.
const HOLDERS_MAX: usize = 32;
/// Blobs that are remembered. A job has a proof for each task, and two or three files.
const BLOBS_MAX: usize = 1 << 18;

/// Those who said that they hold a blob, or made it. A lie costs who believes it one attempt.
#[derive(Default)]
pub(super) struct Holders {
    of: BTreeMap<Blob, VecDeque<Peer>>,
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
        if holders.len() == HOLDERS_MAX {
            holders.pop_front();
        }
        holders.push_back(peer);
    }

    /// All that one peer holds is out of reach.
    pub(super) fn forget(&mut self, peer: Peer) {
        self.of.retain(|_, holders| {
            holders.retain(|&holder| holder != peer);
            !holders.is_empty()
        });
    }

    /// Some of those who hold it, others each time, so that none is asked by all.
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
        holders.forget(Peer([1; 32]));
        assert_eq!(holders.some(blob, 9).len(), 2);
        for peer in 0..100 {
            holders.add(blob, Peer([peer; 32]));
        }
        assert_eq!(holders.of[&blob].len(), HOLDERS_MAX);
    }
}
