//! Builds tries around the accounts and slots of a replay file, at the depth that they would have
//! among many others.
//!
//! A replay file has the keys that the blocks touch, but not their places in the tries of the
//! chain. So each trie is made up to a depth: down to it all branches are full, and every child
//! that is not on the way to a key that the blocks touch is a hash of nothing. Below it each key
//! has a neighbour, which is a leaf like any other. Nothing is random.
//!
//! ```text
//! depth 0          [ h h h n h h h h h n h h h h h h ]      h: hash of nothing, n: node
//!                          |           |
//! depth LEVELS-1   [ ... n ... ]   [ ... n ... ]
//!                        |               |
//! depth LEVELS     [ key | neighbour ]   neighbour           a key that is not there has its neighbour alone
//! ```

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Header};
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles, TrieAccount,
    nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode},
};
use revm::database::BundleState;

use super::listed_state::{Account, ListedState};
use crate::trie::{Arena, NodeStore, Trie, TrieError};

/// Full levels of the state trie, which then has 16^6 = 17 million accounts.
const ACCOUNT_LEVELS: usize = 6;
/// Full levels of a contract's storage trie, which then has 16^4 = 65,536 slots.
const STORAGE_LEVELS: usize = 4;

/// Nibbles of a key.
const KEY_NIBBLES: usize = 64;

/// A leaf on a touched path; `None` if there is nothing at its end.
type Leaf = (B256, Option<Vec<u8>>);

/// The nodes of all tries before the first block.
pub(super) struct Tries {
    pub(super) state_root: B256,
    pub(super) nodes: Vec<Bytes>,
    storage_roots: BTreeMap<Address, B256>,
}

impl Tries {
    /// Makes the tries of the accounts and slots that are touched.
    pub(super) fn new(listed: &ListedState) -> Self {
        let mut nodes = Vec::new();
        let mut storage_roots = BTreeMap::new();
        let mut leaves = Vec::with_capacity(listed.touched.len());
        for (address, slots) in &listed.touched {
            let account = listed.accounts.get(address);
            let leaf = account.map(|account| {
                let slots = slots.iter().map(|slot| {
                    let value = account.storage.get(slot);
                    (hashed_slot(*slot), value.map(alloy_rlp::encode))
                });
                // An account without code has had no chance to write more than is known; and a
                // creation over storage would fail.
                let levels = (account.code_hash != KECCAK256_EMPTY).then_some(STORAGE_LEVELS);
                let root = trie(
                    slots.collect(),
                    levels,
                    address.as_slice(),
                    &storage_neighbour,
                    &mut nodes,
                );
                storage_roots.insert(*address, root);
                alloy_rlp::encode(trie_account(account, root))
            });
            leaves.push((keccak256(address), leaf));
        }
        let state_root = trie(leaves, Some(ACCOUNT_LEVELS), &[], &account_neighbour, &mut nodes);
        Self {
            state_root,
            nodes,
            storage_roots,
        }
    }
}

/// The tries from block to block.
pub(super) struct Changing<'a> {
    arena: Arena<'a>,
    accounts: Trie,
    storage: BTreeMap<Address, Trie>,
}

impl<'a> Changing<'a> {
    pub(super) fn new(tries: &'a Tries) -> Self {
        let storage = tries.storage_roots.iter();
        Self {
            arena: Arena::new(NodeStore::new(&tries.nodes)),
            accounts: Trie::new(tries.state_root),
            storage: storage
                .map(|(&address, &root)| (address, Trie::new(root)))
                .collect(),
        }
    }

    /// The root after a block's changes, which have led to `listed`.
    pub(super) fn root_after(
        &mut self,
        changes: &BundleState,
        listed: &ListedState,
    ) -> Result<B256, TrieError> {
        let mut removed = Vec::new();
        for (address, change) in &changes.state {
            let key = keccak256(address);
            let Some(account) = listed.accounts.get(address) else {
                self.storage.remove(address);
                removed.push(key);
                continue;
            };
            let storage = self.storage.entry(*address).or_insert_with(Trie::empty);
            if change.was_destroyed() {
                *storage = Trie::empty();
            }
            let slots = || {
                change
                    .storage
                    .iter()
                    .map(|(slot, value)| (hashed_slot(*slot), value.present_value))
            };
            for (key, value) in slots().filter(|(_, value)| !value.is_zero()) {
                self.arena.insert(storage, &key, alloy_rlp::encode(value))?;
            }
            // Last, so that no branch is left with one child in between.
            for (key, _) in slots().filter(|(_, value)| value.is_zero()) {
                self.arena.remove(storage, &key)?;
            }
            let leaf = trie_account(account, self.arena.root(storage));
            self.arena
                .insert(&mut self.accounts, &key, alloy_rlp::encode(leaf))?;
        }
        for key in removed {
            self.arena.remove(&mut self.accounts, &key)?;
        }
        Ok(self.arena.root(&self.accounts))
    }
}

fn trie_account(account: &Account, storage_root: B256) -> TrieAccount {
    TrieAccount {
        nonce: account.nonce,
        balance: account.balance,
        storage_root,
        code_hash: account.code_hash,
    }
}

fn hashed_slot(slot: U256) -> B256 {
    keccak256(B256::from(slot))
}

/// An account without code, by the hash of where it is.
fn account_neighbour(seed: &B256) -> Vec<u8> {
    alloy_rlp::encode(TrieAccount {
        nonce: u64::from(seed[0]),
        // Up to 18 ether.
        balance: U256::from_be_slice(&seed[1..9]),
        storage_root: EMPTY_ROOT_HASH,
        code_hash: KECCAK256_EMPTY,
    })
}

/// The neighbour's value has as many bytes as an amount of a token.
fn storage_neighbour(seed: &B256) -> Vec<u8> {
    alloy_rlp::encode(U256::from_be_slice(&seed[1..11]) | U256::from(1))
}

/// Makes a trie of leaves on paths that are touched, `levels` deep where there is anything but
/// them. Adds its nodes.
fn trie(
    mut leaves: Vec<Leaf>,
    levels: Option<usize>,
    name: &[u8],
    neighbour: &dyn Fn(&B256) -> Vec<u8>,
    nodes: &mut Vec<Bytes>,
) -> B256 {
    leaves.sort_unstable_by_key(|(key, _)| *key);
    // Not even the root's node is needed if nothing is touched.
    let is_padded = levels.is_some() && !leaves.is_empty();
    let mut maker = Maker {
        levels: levels.unwrap_or(0),
        is_padded,
        name,
        neighbour,
        nodes,
    };
    let Some((rlp, reference)) = maker.node(&leaves, 0) else {
        return EMPTY_ROOT_HASH;
    };
    match reference.as_hash() {
        Some(hash) => hash,
        // A root is hashed even where it is shorter than a hash.
        None => {
            let root = keccak256(&rlp);
            nodes.push(rlp.into());
            root
        }
    }
}

struct Maker<'a> {
    levels: usize,
    is_padded: bool,
    name: &'a [u8],
    neighbour: &'a dyn Fn(&B256) -> Vec<u8>,
    nodes: &'a mut Vec<Bytes>,
}

impl Maker<'_> {
    /// The node at a depth above the leaves, all of which go through it.
    fn node(&mut self, leaves: &[Leaf], depth: usize) -> Option<(Vec<u8>, RlpNode)> {
        let there = leaves
            .iter()
            .filter_map(|(key, value)| Some((*key, value.clone()?)));
        if !self.is_padded {
            return self.small(&there.collect::<Vec<_>>(), depth);
        }
        if depth == self.levels {
            let path = prefix(&leaves[0].0, depth);
            let seed = self.seed(&path);
            let key = B256::from_slice(&path.join(&Nibbles::unpack(seed).slice(depth..)).pack());
            let mut there: Vec<_> = there.chain([(key, (self.neighbour)(&seed))]).collect();
            there.sort_unstable_by_key(|(key, _)| *key);
            return self.small(&there, depth);
        }
        let path = prefix(&leaves[0].0, depth);
        let mut rest = leaves;
        let mut references = Vec::with_capacity(16);
        for nibble in 0..16 {
            let count = rest.partition_point(|(key, _)| nibble_at(key, depth) <= nibble);
            let (below, after) = rest.split_at(count);
            rest = after;
            references.push(if below.is_empty() {
                let mut path = path;
                path.push(nibble);
                Some(RlpNode::word_rlp(&self.seed(&path)))
            } else {
                self.node(below, depth + 1).map(|(_, reference)| reference)
            });
        }
        Some(self.branch(&references))
    }

    /// A trie of existing leaves, in their order.
    fn small(&mut self, leaves: &[(B256, Vec<u8>)], depth: usize) -> Option<(Vec<u8>, RlpNode)> {
        let (first, last) = (&leaves.first()?.0, &leaves.last()?.0);
        if let [(key, value)] = leaves {
            let mut rlp = Vec::new();
            LeafNodeRef::new(&Nibbles::unpack(key).slice(depth..), value).rlp(&mut rlp);
            return Some(self.add(rlp));
        }
        let fork = (depth..KEY_NIBBLES).find(|&at| nibble_at(first, at) != nibble_at(last, at))?;
        let mut rest = leaves;
        let mut references = Vec::with_capacity(16);
        for nibble in 0..16 {
            let count = rest.partition_point(|(key, _)| nibble_at(key, fork) <= nibble);
            let (below, after) = rest.split_at(count);
            rest = after;
            references.push(self.small(below, fork + 1).map(|(_, reference)| reference));
        }
        let branch = self.branch(&references);
        if fork == depth {
            return Some(branch);
        }
        let mut rlp = Vec::new();
        ExtensionNodeRef::new(&Nibbles::unpack(first).slice(depth..fork), branch.1.as_slice()).rlp(&mut rlp);
        Some(self.add(rlp))
    }

    fn branch(&mut self, references: &[Option<RlpNode>]) -> (Vec<u8>, RlpNode) {
        let mut payload = Vec::new();
        for reference in references {
            match reference {
                Some(reference) => payload.extend_from_slice(reference.as_slice()),
                None => payload.push(EMPTY_STRING_CODE),
            }
        }
        // No key is the beginning of another one, so that a branch has no value.
        payload.push(EMPTY_STRING_CODE);
        let mut rlp = Vec::new();
        Header {
            list: true,
            payload_length: payload.len(),
        }
        .encode(&mut rlp);
        rlp.extend(payload);
        self.add(rlp)
    }

    /// Takes note of a node that has a hash of its own.
    fn add(&mut self, rlp: Vec<u8>) -> (Vec<u8>, RlpNode) {
        let reference = RlpNode::from_rlp(&rlp);
        if reference.is_hash() {
            self.nodes.push(rlp.clone().into());
        }
        (rlp, reference)
    }

    /// The hash of nothing that stands for the node at a path.
    fn seed(&self, path: &Nibbles) -> B256 {
        keccak256([b"synthetic".as_slice(), self.name, &path.to_vec()].concat())
    }
}

fn prefix(key: &B256, depth: usize) -> Nibbles {
    Nibbles::unpack(key).slice(..depth)
}

fn nibble_at(key: &B256, depth: usize) -> u8 {
    let byte = key[depth / 2];
    if depth.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 0xf
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sample::chain_state::Trie as Whole;

    fn key(number: u64) -> B256 {
        keccak256(number.to_be_bytes())
    }

    /// The trie is compared with alloy-trie's hash builder, which goes through all leaves.
    #[test]
    fn a_trie_of_leaves_alone_is_that_of_others() {
        for count in [0, 1, 2, 3, 17, 400] {
            let leaves = (0..count).map(|number| (key(number), alloy_rlp::encode(number + 1)));
            let whole = Whole::new(leaves.clone()).root();
            let mut nodes = Vec::new();
            let some = leaves.map(|(key, value)| (key, Some(value))).collect();
            assert_eq!(
                trie(some, None, &[], &storage_neighbour, &mut nodes),
                whole,
                "{count}"
            );
            assert_eq!(count == 0, nodes.is_empty());
        }
    }

    /// Its leaves are found, missing keys are known to be missing, and both can change.
    #[test]
    fn a_padded_trie_is_deep_and_holds_its_leaves() {
        let there = |number: u64| !number.is_multiple_of(3);
        let value = |number: u64| alloy_rlp::encode(number + 1);
        let leaves = (0..30).map(|number| (key(number), there(number).then(|| value(number))));
        let mut nodes = Vec::new();
        let root = trie(leaves.collect(), Some(5), b"name", &account_neighbour, &mut nodes);
        // All of 532 bytes: a header of three, 16 hashes, and no value.
        let full = nodes.iter().filter(|node| node.len() == 532).count();
        assert!(full > 30 * 3, "{full}");
        let mut arena = Arena::new(NodeStore::new(&nodes));
        let mut changed = Trie::new(root);
        for number in 0..30 {
            let found = arena.get(&mut changed, &key(number)).unwrap();
            assert_eq!(found.map(<[u8]>::to_vec), there(number).then(|| value(number)));
        }
        assert!(arena.get(&mut changed, &key(31)).is_err(), "it is not known");
        for number in (0..30).filter(|number| there(*number)) {
            arena.remove(&mut changed, &key(number)).unwrap();
        }
        for number in (0..30).filter(|number| !there(*number)) {
            arena.insert(&mut changed, &key(number), value(number)).unwrap();
        }
        let leaves = (0..30).map(|number| (key(number), (!there(number)).then(|| value(number))));
        let swapped = trie(
            leaves.collect(),
            Some(5),
            b"name",
            &account_neighbour,
            &mut Vec::new(),
        );
        assert_eq!(arena.root(&changed), swapped);
        // Another trie has other neighbours.
        let leaf = || vec![(key(1), Some(value(1)))];
        let of = |name: &[u8]| trie(leaf(), Some(5), name, &account_neighbour, &mut Vec::new());
        assert_ne!(of(b"name"), of(b"other"));
    }
}
