//! The decoded nodes, and what can be done with a trie: get, insert, remove.

use alloc::{boxed::Box, vec::Vec};
use alloy_primitives::B256;

use super::{
    EMPTY_ROOT_HASH, HASH_BYTES, KEY_NIBBLES, NodePath, NodeStore, TrieError,
    path::{Tail, first_difference, nibble, set_nibble, splice},
};

/// A place in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeId(u32);

/// The target of a reference in a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Child<'a> {
    Empty,
    /// A node that no path has led to yet.
    Hash(&'a B256),
    Node(NodeId),
}

/// The value of a leaf.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Witness(&'a [u8]),
    New(Vec<u8>),
}

impl Value<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Witness(bytes) => bytes,
            Self::New(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
pub(super) enum Node<'a> {
    Branch {
        children: Box<[Child<'a>; 16]>,
        /// The node as it was in the witness: most of it stays when a child changes.
        witness: Option<&'a [u8]>,
    },
    /// The path is the part of `key` from the node's own depth to `end`.
    Extension {
        key: B256,
        end: usize,
        child: Child<'a>,
    },
    Leaf {
        tail: Tail<'a>,
        value: Value<'a>,
    },
}

/// How the parent refers to a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reference {
    /// The node has been changed since its reference was known.
    Changed,
    Hash(B256),
    /// Shorter than a hash: its whole encoding stands in its parent.
    Inline(Inline),
}

/// The encoding of a node that is shorter than a hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inline {
    bytes: [u8; HASH_BYTES - 1],
    length: u8,
}

impl Inline {
    /// `None` for an encoding that is as long as a hash, or longer.
    pub(super) fn new(encoding: &[u8]) -> Option<Self> {
        let mut bytes = [0; HASH_BYTES - 1];
        bytes.get_mut(..encoding.len())?.copy_from_slice(encoding);
        Some(Self {
            bytes,
            length: encoding.len() as u8,
        })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) node: Node<'a>,
    pub(super) reference: Reference,
}

/// The rest of a node after a removal.
enum Rest<'a> {
    /// The key was not there.
    Unchanged,
    Changed(Child<'a>),
}

/// The root of one trie in an [`Arena`].
#[derive(Clone, Copy, Debug)]
pub struct Trie(pub(super) Root);

#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    Empty,
    Hash(B256),
    Node(NodeId),
}

impl Trie {
    /// The trie with this root hash. Its nodes are looked for when they are needed.
    pub fn new(root: B256) -> Self {
        Self(if root == EMPTY_ROOT_HASH {
            Root::Empty
        } else {
            Root::Hash(root)
        })
    }

    /// The trie that holds nothing.
    pub const fn empty() -> Self {
        Self(Root::Empty)
    }

    /// Whether it holds nothing.
    pub const fn is_empty(&self) -> bool {
        matches!(self.0, Root::Empty)
    }

    fn set(&mut self, child: Child<'_>) {
        self.0 = match child {
            Child::Empty => Root::Empty,
            Child::Hash(hash) => Root::Hash(*hash),
            Child::Node(id) => Root::Node(id),
        };
    }
}

/// The nodes of all tries of a block.
#[derive(Debug)]
pub struct Arena<'a> {
    store: NodeStore<'a>,
    pub(super) entries: Vec<Entry<'a>>,
    /// Where changed nodes are encoded.
    pub(super) scratch: Vec<u8>,
}

impl<'a> Arena<'a> {
    pub fn new(store: NodeStore<'a>) -> Self {
        Self {
            // Most nodes of a witness are read; changes make few new ones.
            entries: Vec::with_capacity(store.len() + store.len() / 4),
            scratch: Vec::new(),
            store,
        }
    }

    /// The witness nodes, and which of them have been needed.
    pub fn store(&self) -> &NodeStore<'a> {
        &self.store
    }

    pub(super) fn push(&mut self, node: Node<'a>, reference: Reference) -> NodeId {
        self.entries.push(Entry { node, reference });
        NodeId(self.entries.len() as u32 - 1)
    }

    pub(super) fn entry(&self, id: NodeId) -> &Entry<'a> {
        &self.entries[id.0 as usize]
    }

    pub(super) fn entry_mut(&mut self, id: NodeId) -> &mut Entry<'a> {
        &mut self.entries[id.0 as usize]
    }

    /// Finds the node with this hash, at a depth on the way to a key, and decodes it.
    fn resolve(&mut self, hash: &B256, key: &B256, depth: usize) -> Result<NodeId, TrieError> {
        let Some(bytes) = self.store.take(hash) else {
            return Err(TrieError::MissingNode {
                hash: *hash,
                path: NodePath::new(key, depth),
            });
        };
        let node = self
            .decode(bytes, key, depth)
            .map_err(|reason| TrieError::MalformedNode {
                hash: *hash,
                path: NodePath::new(key, depth),
                reason: reason.into(),
            })?;
        Ok(self.push(node, Reference::Hash(*hash)))
    }

    fn open_root(&mut self, trie: &mut Trie, key: &B256) -> Result<Option<NodeId>, TrieError> {
        Ok(match trie.0 {
            Root::Empty => None,
            Root::Node(id) => Some(id),
            Root::Hash(hash) => {
                let id = self.resolve(&hash, key, 0)?;
                trie.0 = Root::Node(id);
                Some(id)
            }
        })
    }

    /// The node that a child is; `None` for an empty one.
    fn open(&mut self, child: Child<'a>, key: &B256, depth: usize) -> Result<Option<NodeId>, TrieError> {
        Ok(match child {
            Child::Empty => None,
            Child::Node(id) => Some(id),
            Child::Hash(hash) => Some(self.resolve(hash, key, depth)?),
        })
    }

    /// The value at a key.
    ///
    /// # Errors
    /// A node on the way is not in the witness, or not valid.
    pub fn get(&mut self, trie: &mut Trie, key: &B256) -> Result<Option<&[u8]>, TrieError> {
        let Some(mut id) = self.open_root(trie, key)? else {
            return Ok(None);
        };
        let mut depth = 0;
        loop {
            let (child, below) = match &self.entry(id).node {
                Node::Branch { children, .. } => (children[nibble(key, depth)], depth + 1),
                Node::Extension {
                    key: path,
                    end,
                    child,
                } => {
                    if first_difference(path, key, depth, *end) < *end {
                        return Ok(None);
                    }
                    (*child, *end)
                }
                Node::Leaf { .. } => break,
            };
            let Some(next) = self.open(child, key, below)? else {
                return Ok(None);
            };
            if let Child::Hash(_) = child {
                match &mut self.entry_mut(id).node {
                    Node::Branch { children, .. } => children[nibble(key, depth)] = Child::Node(next),
                    Node::Extension { child, .. } => *child = Child::Node(next),
                    Node::Leaf { .. } => {}
                }
            }
            (id, depth) = (next, below);
        }
        Ok(match &self.entry(id).node {
            Node::Leaf { tail, value } if tail.matches(key, depth) => Some(value.bytes()),
            _ => None,
        })
    }

    /// Sets the value at a key. An empty value is not a way to remove one: see [`Self::remove`].
    ///
    /// # Errors
    /// A node on the way is not in the witness, or not valid.
    pub fn insert(&mut self, trie: &mut Trie, key: &B256, value: Vec<u8>) -> Result<(), TrieError> {
        let root = self.open_root(trie, key)?;
        let id = self.insert_at(root, key, 0, Value::New(value))?;
        trie.set(Child::Node(id));
        Ok(())
    }

    fn insert_at(
        &mut self,
        id: Option<NodeId>,
        key: &B256,
        depth: usize,
        value: Value<'a>,
    ) -> Result<NodeId, TrieError> {
        let Some(id) = id else {
            return Ok(self.push_changed(Node::Leaf {
                tail: Tail::Key(*key),
                value,
            }));
        };
        match &mut self.entry_mut(id).node {
            Node::Branch { children, .. } => {
                let slot = nibble(key, depth);
                let child = children[slot];
                let below = self.open(child, key, depth + 1)?;
                let below = self.insert_at(below, key, depth + 1, value)?;
                if let Node::Branch { children, .. } = &mut self.entry_mut(id).node {
                    children[slot] = Child::Node(below);
                }
            }
            Node::Leaf { tail, value: old } => {
                if tail.matches(key, depth) {
                    *old = value;
                } else {
                    let other = tail.key(key, depth);
                    let fork = first_difference(&other, key, depth, KEY_NIBBLES);
                    // The old leaf goes down; its tail ends where it did, and serves there too.
                    self.entry_mut(id).reference = Reference::Changed;
                    return Ok(self.push_fork(key, depth, fork, value, &other, Child::Node(id)));
                }
            }
            Node::Extension {
                key: path,
                end,
                child,
            } => {
                let (path, end, child) = (*path, *end, *child);
                let fork = first_difference(&path, key, depth, end);
                if fork < end {
                    let rest = if fork + 1 == end {
                        child
                    } else {
                        let below = Node::Extension {
                            key: path,
                            end,
                            child,
                        };
                        Child::Node(self.push_changed(below))
                    };
                    return Ok(self.push_fork(key, depth, fork, value, &path, rest));
                }
                let below = self.open(child, key, end)?;
                let below = self.insert_at(below, key, end, value)?;
                if let Node::Extension { child, .. } = &mut self.entry_mut(id).node {
                    *child = Child::Node(below);
                }
            }
        }
        self.entry_mut(id).reference = Reference::Changed;
        Ok(id)
    }

    fn push_changed(&mut self, node: Node<'a>) -> NodeId {
        self.push(node, Reference::Changed)
    }

    /// A branch at depth `fork` with a new leaf and what was there before; above it an extension,
    /// if the branch is further down than `depth`.
    fn push_fork(
        &mut self,
        key: &B256,
        depth: usize,
        fork: usize,
        value: Value<'a>,
        other_key: &B256,
        other: Child<'a>,
    ) -> NodeId {
        let leaf = self.push_changed(Node::Leaf {
            tail: Tail::Key(*key),
            value,
        });
        let mut children = Box::new([Child::Empty; 16]);
        children[nibble(key, fork)] = Child::Node(leaf);
        children[nibble(other_key, fork)] = other;
        let branch = self.push_changed(Node::Branch {
            children,
            witness: None,
        });
        if fork == depth {
            return branch;
        }
        self.push_changed(Node::Extension {
            key: *key,
            end: fork,
            child: Child::Node(branch),
        })
    }

    /// Removes the value at a key, if there is one.
    ///
    /// # Errors
    /// A node on the way is not in the witness, or not valid. Where a branch is left with one
    /// child, that child has to be there too: the two become one node.
    pub fn remove(&mut self, trie: &mut Trie, key: &B256) -> Result<(), TrieError> {
        let Some(root) = self.open_root(trie, key)? else {
            return Ok(());
        };
        if let Rest::Changed(root) = self.remove_at(root, key, 0)? {
            trie.set(root);
        }
        Ok(())
    }

    fn remove_at(&mut self, id: NodeId, key: &B256, depth: usize) -> Result<Rest<'a>, TrieError> {
        let (child, below) = match &self.entry(id).node {
            Node::Leaf { tail, .. } => {
                return Ok(match tail.matches(key, depth) {
                    true => Rest::Changed(Child::Empty),
                    false => Rest::Unchanged,
                });
            }
            Node::Branch { children, .. } => (children[nibble(key, depth)], depth + 1),
            Node::Extension {
                key: path,
                end,
                child,
            } => {
                if first_difference(path, key, depth, *end) < *end {
                    return Ok(Rest::Unchanged);
                }
                (*child, *end)
            }
        };
        let Some(next) = self.open(child, key, below)? else {
            return Ok(Rest::Unchanged);
        };
        let Rest::Changed(rest) = self.remove_at(next, key, below)? else {
            return Ok(Rest::Unchanged);
        };
        let entry = self.entry_mut(id);
        entry.reference = Reference::Changed;
        match &mut entry.node {
            Node::Branch { children, .. } => {
                children[nibble(key, depth)] = rest;
                let mut left = (0..16).filter(|&slot| !matches!(children[slot], Child::Empty));
                match (left.next(), left.next()) {
                    (None, _) => Ok(Rest::Changed(Child::Empty)),
                    (Some(slot), None) => {
                        let child = children[slot];
                        let mut path = *key;
                        set_nibble(&mut path, depth, slot);
                        self.extend(&path, depth, depth + 1, child)
                    }
                    _ => Ok(Rest::Changed(Child::Node(id))),
                }
            }
            Node::Extension { end, .. } => {
                let end = *end;
                self.extend(key, depth, end, rest)
            }
            Node::Leaf { .. } => Ok(Rest::Unchanged),
        }
    }

    /// The node that stands for the path from `depth` to `end` followed by a node: a leaf or an
    /// extension takes the path into its own, a branch gets an extension.
    fn extend(
        &mut self,
        path: &B256,
        depth: usize,
        end: usize,
        child: Child<'a>,
    ) -> Result<Rest<'a>, TrieError> {
        let Some(id) = self.open(child, path, end)? else {
            return Ok(Rest::Changed(Child::Empty));
        };
        let node = match &self.entry(id).node {
            Node::Leaf { tail, value } => Node::Leaf {
                tail: Tail::Key(tail.key(path, end)),
                value: value.clone(),
            },
            Node::Extension {
                key,
                end: below,
                child,
            } => Node::Extension {
                key: splice(path, end, key),
                end: *below,
                child: *child,
            },
            Node::Branch { .. } => Node::Extension {
                key: *path,
                end,
                child: Child::Node(id),
            },
        };
        debug_assert!(depth < end, "a path has at least one nibble");
        Ok(Rest::Changed(Child::Node(self.push_changed(node))))
    }
}
