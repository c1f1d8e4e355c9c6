//! The trie against alloy-trie's root computation, on random changes.

use alloc::{collections::BTreeMap, vec, vec::Vec};
use alloy_primitives::{B256, keccak256};
use alloy_trie::{HashBuilder, Nibbles, proof::ProofRetainer};
use proptest::{collection::vec as vec_of, prelude::*};

use super::*;

/// Root by another implementation.
fn reference_root(content: &BTreeMap<B256, Vec<u8>>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in content {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

/// All nodes of a trie, by another implementation.
fn reference_nodes(content: &BTreeMap<B256, Vec<u8>>) -> Vec<Vec<u8>> {
    let targets = content.keys().map(Nibbles::unpack).collect();
    let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(targets));
    for (key, value) in content {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root();
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    nodes.into_iter().map(|(_, node)| node.to_vec()).collect()
}

fn arena(nodes: &[Vec<u8>]) -> Arena<'_> {
    Arena::new(NodeStore::new(nodes))
}

/// Keys that often share long prefixes, so that extensions and inline nodes come about.
fn key() -> impl Strategy<Value = B256> {
    (0u8..24, 0usize..64, 0u8..16).prop_map(|(seed, depth, digit)| {
        let mut key = keccak256([seed / 8]);
        path::set_nibble(&mut key, depth, digit.into());
        key
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec_of(any::<u8>(), 1..4), vec_of(any::<u8>(), 30..120)]
}

fn change() -> impl Strategy<Value = (B256, Option<Vec<u8>>)> {
    (key(), prop_oneof![2 => value().prop_map(Some), 1 => Just(None)])
}

fn apply(
    arena: &mut Arena<'_>,
    trie: &mut Trie,
    content: &mut BTreeMap<B256, Vec<u8>>,
    changes: &[(B256, Option<Vec<u8>>)],
) -> Result<(), TrieError> {
    for (key, value) in changes {
        match value {
            Some(value) => {
                arena.insert(trie, key, value.clone())?;
                content.insert(*key, value.clone());
            }
            None => {
                arena.remove(trie, key)?;
                content.remove(key);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn roots_agree_from_nothing(changes in vec_of(change(), 0..60)) {
        let mut arena = arena(&[]);
        let (mut trie, mut content) = (Trie::empty(), BTreeMap::new());
        for changes in changes.chunks(7) {
            apply(&mut arena, &mut trie, &mut content, changes).unwrap();
            prop_assert_eq!(arena.root(&trie), reference_root(&content));
        }
    }

    #[test]
    fn roots_agree_on_a_witness(
        before in vec_of((key(), value()), 0..60),
        changes in vec_of(change(), 0..40),
    ) {
        let mut content: BTreeMap<_, _> = before.into_iter().collect();
        let nodes = reference_nodes(&content);
        let mut arena = arena(&nodes);
        let mut trie = Trie::new(reference_root(&content));
        for (key, value) in &content {
            prop_assert_eq!(arena.get(&mut trie, key).unwrap(), Some(value.as_slice()));
        }
        apply(&mut arena, &mut trie, &mut content, &changes).unwrap();
        prop_assert_eq!(arena.root(&trie), reference_root(&content));
        for (key, _) in &changes {
            let expected = content.get(key).map(Vec::as_slice);
            prop_assert_eq!(arena.get(&mut trie, key).unwrap(), expected);
        }
    }

    /// Without a node, a trie gives an error or the right root, and never another one.
    #[test]
    fn a_missing_node_is_never_empty(
        before in vec_of((key(), value()), 1..60),
        changes in vec_of(change(), 1..20),
        missing in any::<prop::sample::Index>(),
    ) {
        let mut content: BTreeMap<_, _> = before.into_iter().collect();
        let mut nodes = reference_nodes(&content);
        let hash = keccak256(nodes.remove(missing.index(nodes.len())));
        let mut arena = arena(&nodes);
        let mut trie = Trie::new(reference_root(&content));
        match apply(&mut arena, &mut trie, &mut content, &changes) {
            Ok(()) => prop_assert_eq!(arena.root(&trie), reference_root(&content)),
            Err(TrieError::MissingNode { hash: named, .. }) => prop_assert_eq!(named, hash),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn any_bytes_are_a_node_or_an_error(bytes in vec_of(any::<u8>(), 0..80), key in key()) {
        let nodes = vec![bytes];
        let mut arena = arena(&nodes);
        let mut trie = Trie::new(keccak256(&nodes[0]));
        let _ = arena.get(&mut trie, &key);
        let _ = arena.remove(&mut trie, &key);
        if arena.insert(&mut trie, &key, vec![1]).is_ok() {
            arena.root(&trie);
        }
    }
}

#[test]
fn an_error_names_the_node_and_its_path() {
    let mut arena = arena(&[]);
    let root = keccak256("a root");
    let error = arena.get(&mut Trie::new(root), &B256::ZERO).unwrap_err();
    assert_eq!(
        error,
        TrieError::MissingNode {
            hash: root,
            path: NodePath::new(&B256::ZERO, 0)
        }
    );
    assert!(error.to_string().ends_with("at path (root)"), "{error}");
    let path = NodePath::new(&B256::repeat_byte(0xa5), 3);
    assert_eq!(path.to_string(), "0xa5a");
}

#[test]
fn the_empty_trie_needs_no_node() {
    let mut arena = arena(&[]);
    let mut trie = Trie::new(EMPTY_ROOT_HASH);
    assert_eq!(arena.get(&mut trie, &B256::ZERO), Ok(None));
    assert_eq!(arena.root(&trie), EMPTY_ROOT_HASH);
}
