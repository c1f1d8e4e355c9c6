//! Decodes the bytes of a node.

use alloc::boxed::Box;
use alloy_primitives::B256;
use alloy_rlp::EMPTY_STRING_CODE;

use super::{
    HASH_BYTES, HASH_PREFIX, KEY_NIBBLES,
    arena::{Arena, Child, Inline, Node, Reference, Value},
    path::{Tail, set_nibble},
};

/// Why bytes are not a node.
pub(super) type Malformed = &'static str;

/// An RLP item and what follows it.
struct Item<'a> {
    is_list: bool,
    /// The item with its header.
    raw: &'a [u8],
    payload: &'a [u8],
    rest: &'a [u8],
}

fn item(bytes: &[u8]) -> Result<Item<'_>, Malformed> {
    const ENDS_EARLY: Malformed = "an RLP item ends early";
    let &first = bytes.first().ok_or(ENDS_EARLY)?;
    let (is_list, short) = match first {
        0..0x80 => (false, None),
        0x80..0xc0 => (false, Some(first - 0x80)),
        _ => (true, Some(first - 0xc0)),
    };
    let (start, length) = match short {
        None => (0, 1),
        Some(length @ 0..=55) => (1, usize::from(length)),
        Some(long) => {
            let of_length = usize::from(long) - 55;
            let length = bytes.get(1..1 + of_length).ok_or(ENDS_EARLY)?;
            if of_length > 2 {
                return Err("an RLP item is longer than any trie node");
            }
            let length = length.iter().fold(0, |all, &byte| all << 8 | usize::from(byte));
            (1 + of_length, length)
        }
    };
    let end = start + length;
    let raw = bytes.get(..end).ok_or(ENDS_EARLY)?;
    Ok(Item {
        is_list,
        raw,
        payload: &raw[start..],
        rest: &bytes[end..],
    })
}

impl<'a> Arena<'a> {
    /// Decodes the node at a depth on the way to a key. Only the part of the key above the depth
    /// matters.
    pub(super) fn decode(
        &mut self,
        bytes: &'a [u8],
        key: &B256,
        depth: usize,
    ) -> Result<Node<'a>, Malformed> {
        let list = item(bytes)?;
        if !list.is_list || !list.rest.is_empty() {
            return Err("it is not one RLP list");
        }
        let first = item(list.payload)?;
        let second = item(first.rest)?;
        if second.rest.is_empty() {
            self.decode_short(&first, &second, key, depth)
        } else {
            self.decode_branch(bytes, list.payload, key, depth)
        }
    }

    fn decode_branch(
        &mut self,
        whole: &'a [u8],
        mut items: &'a [u8],
        key: &B256,
        depth: usize,
    ) -> Result<Node<'a>, Malformed> {
        if depth >= KEY_NIBBLES {
            return Err("it is a branch below the end of the key");
        }
        let mut children = Box::new([Child::Empty; 16]);
        for (slot, child) in children.iter_mut().enumerate() {
            // Nearly all children are hashes or empty.
            if let [HASH_PREFIX, rest @ ..] = items
                && let Some((hash, rest)) = rest.split_first_chunk::<HASH_BYTES>()
            {
                *child = Child::Hash(hash.into());
                items = rest;
            } else if let [EMPTY_STRING_CODE, rest @ ..] = items {
                items = rest;
            } else {
                let inline = item(items)?;
                let mut path = *key;
                set_nibble(&mut path, depth, slot);
                *child = self.decode_child(&inline, &path, depth + 1)?;
                items = inline.rest;
            }
        }
        if items != [EMPTY_STRING_CODE] {
            return Err("it is a branch with a value, or with more than 17 items");
        }
        Ok(Node::Branch {
            children,
            witness: Some(whole),
        })
    }

    fn decode_short(
        &mut self,
        path: &Item<'a>,
        second: &Item<'a>,
        key: &B256,
        depth: usize,
    ) -> Result<Node<'a>, Malformed> {
        if path.is_list {
            return Err("its path is a list");
        }
        let (&first, whole) = path.payload.split_first().ok_or("its path is empty")?;
        let (is_leaf, is_odd) = match first >> 4 {
            0 => (false, false),
            1 => (false, true),
            2 => (true, false),
            3 => (true, true),
            _ => return Err("its path has an unknown prefix"),
        };
        let nibbles = 2 * whole.len() + usize::from(is_odd);
        if !is_odd && first & 0xf != 0 {
            return Err("the prefix of its path is not padded with zero");
        }
        if is_leaf {
            if depth + nibbles != KEY_NIBBLES {
                return Err("its path does not end where a key ends");
            }
            if second.is_list {
                return Err("its value is a list");
            }
            // Odd paths have their first nibble in the lower half of the prefix byte: as in the
            // key.
            let tail = Tail::Witness(if is_odd { path.payload } else { whole });
            return Ok(Node::Leaf {
                tail,
                value: Value::Witness(second.payload),
            });
        }
        if nibbles == 0 || depth + nibbles >= KEY_NIBBLES {
            return Err("it is an extension by no nibble, or beyond the end of the key");
        }
        let end = depth + nibbles;
        let mut path = *key;
        let digits = is_odd.then_some(first & 0xf).into_iter();
        let digits = digits.chain(whole.iter().flat_map(|byte| [byte >> 4, byte & 0xf]));
        for (at, digit) in (depth..end).zip(digits) {
            set_nibble(&mut path, at, usize::from(digit));
        }
        let child = self.decode_child(second, &path, end)?;
        if matches!(child, Child::Empty) {
            return Err("it is an extension to nothing");
        }
        Ok(Node::Extension {
            key: path,
            end,
            child,
        })
    }

    fn decode_child(&mut self, child: &Item<'a>, key: &B256, depth: usize) -> Result<Child<'a>, Malformed> {
        if child.is_list {
            let inline = Inline::new(child.raw);
            let inline = inline.ok_or("a child stands in it that is too long for that")?;
            let node = self.decode(child.raw, key, depth)?;
            return Ok(Child::Node(self.push(node, Reference::Inline(inline))));
        }
        match child.payload {
            [] => Ok(Child::Empty),
            hash => match <&[u8; HASH_BYTES]>::try_from(hash) {
                Ok(hash) => Ok(Child::Hash(hash.into())),
                Err(_) => Err("a child is neither a node nor a hash"),
            },
        }
    }
}
