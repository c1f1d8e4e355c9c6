//! The states of all peers, by their names.

use std::collections::HashMap;

use crate::{ids::Peer, peers::PeerState};

/// A requester of a large network knows 50,000 peers, and looks at one for each thing that it
/// hears. States lie in one list, and a hash finds the place, so that a look costs two or three
/// misses of the cache instead of one for each level of a tree.
///
/// The hash is keyed at random, because peers choose their names. So there is no iterating: the
/// order would differ from run to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerTable {
    places: HashMap<Peer, u32>,
    states: Vec<Option<PeerState>>,
    /// Places of peers that were forgotten.
    free: Vec<u32>,
}

impl PeerTable {
    pub(crate) fn get(&self, peer: &Peer) -> Option<&PeerState> {
        self.states[*self.places.get(peer)? as usize].as_ref()
    }

    pub(crate) fn get_mut(&mut self, peer: &Peer) -> Option<&mut PeerState> {
        self.states[*self.places.get(peer)? as usize].as_mut()
    }

    pub(crate) fn contains(&self, peer: &Peer) -> bool {
        self.places.contains_key(peer)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Adds a peer, or replaces its state.
    pub(crate) fn insert(&mut self, peer: Peer, state: PeerState) -> &mut PeerState {
        let place = *self.places.entry(peer).or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.states.push(None);
                // One place is taken for each name that `places` holds, which are 36 bytes or more.
                u32::try_from(self.states.len() - 1).expect("the memory ends before")
            })
        });
        self.states[place as usize].insert(state)
    }

    pub(crate) fn remove(&mut self, peer: &Peer) -> Option<PeerState> {
        let place = self.places.remove(peer)?;
        self.free.push(place);
        self.states[place as usize].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        input::{Offer, Trust},
        standing::Standing,
    };

    fn state(memory: u64) -> PeerState {
        let offer = Offer {
            memory,
            speed: 1000,
            trust: Trust::Stranger,
            origin: None,
        };
        PeerState::new(offer, Standing::default())
    }

    #[test]
    fn a_forgotten_peer_leaves_its_place_to_the_next() {
        let mut table = PeerTable::default();
        let peer = |byte| Peer([byte; 32]);
        for byte in 0..3 {
            table.insert(peer(byte), state(byte.into()));
        }
        assert_eq!(table.remove(&peer(1)).map(|state| state.offer.memory), Some(1));
        assert!(table.remove(&peer(1)).is_none() && table.get(&peer(1)).is_none());
        assert_eq!(table.len(), 2);
        table.insert(peer(7), state(7));
        table.insert(peer(0), state(70));
        assert_eq!((table.len(), table.states.len()), (3, 3));
        let memory = |byte| table.get(&peer(byte)).map(|state| state.offer.memory);
        assert_eq!([memory(0), memory(2), memory(7)], [Some(70), Some(2), Some(7)]);
    }
}
