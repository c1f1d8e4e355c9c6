//! Nibbles of a key, always at their own place in the key.
//!
//! The path of a leaf or an extension is a part of a key. It is kept where it is in the key, so
//! that two paths are compared byte by byte and none is ever shifted.

use alloy_primitives::B256;

use super::KEY_NIBBLES;

/// The nibble of a key at a depth of 0 to 63.
#[inline]
pub(super) fn nibble(key: &B256, depth: usize) -> usize {
    let byte = key[depth / 2];
    usize::from(if depth.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 0xf
    })
}

/// Sets the nibble of a key at a depth of 0 to 63.
#[inline]
pub(super) fn set_nibble(key: &mut B256, depth: usize, nibble: usize) {
    let byte = &mut key[depth / 2];
    *byte = if depth.is_multiple_of(2) {
        (*byte & 0x0f) | ((nibble as u8) << 4)
    } else {
        (*byte & 0xf0) | nibble as u8
    };
}

/// A key that agrees with `prefix` up to a depth, and with `rest` from there on.
pub(super) fn splice(prefix: &B256, depth: usize, rest: &B256) -> B256 {
    let mut key = *rest;
    key[..depth / 2].copy_from_slice(&prefix[..depth / 2]);
    if !depth.is_multiple_of(2) {
        set_nibble(&mut key, depth - 1, nibble(prefix, depth - 1));
    }
    key
}

/// The end of a leaf's key, from the depth of the leaf on (or from further up).
#[derive(Clone, Copy, Debug)]
pub(super) enum Tail<'a> {
    /// Bytes of a witness node. They end where the key ends.
    Witness(&'a [u8]),
    /// A whole key.
    Key(B256),
}

impl Tail<'_> {
    /// The bytes of the key that hold the nibbles from a depth on. If the depth is odd, the upper
    /// half of the first one is not part of the path.
    #[inline]
    pub(super) fn after(&self, depth: usize) -> &[u8] {
        match self {
            Self::Witness(bytes) => &bytes[bytes.len() - (KEY_NIBBLES / 2 - depth / 2)..],
            Self::Key(key) => &key[depth / 2..],
        }
    }

    /// Whether the key ends like this, from a depth on.
    #[inline]
    pub(super) fn matches(&self, key: &B256, depth: usize) -> bool {
        let (tail, end) = (self.after(depth), &key[depth / 2..]);
        if depth.is_multiple_of(2) {
            tail == end
        } else {
            (tail[0] ^ end[0]) & 0xf == 0 && tail[1..] == end[1..]
        }
    }

    /// The whole key, given one that agrees with it up to a depth.
    pub(super) fn key(&self, prefix: &B256, depth: usize) -> B256 {
        match self {
            Self::Witness(_) => {
                let mut rest = B256::ZERO;
                rest[depth / 2..].copy_from_slice(self.after(depth));
                splice(prefix, depth, &rest)
            }
            Self::Key(key) => *key,
        }
    }
}

/// The first depth, between two others, at which two keys differ; `end` if they do not.
pub(super) fn first_difference(a: &B256, b: &B256, start: usize, end: usize) -> usize {
    (start..end)
        .find(|&depth| nibble(a, depth) != nibble(b, depth))
        .unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;

    #[test]
    fn a_spliced_key_has_both_parts() {
        let (a, b) = (keccak256([1]), keccak256([2]));
        for depth in 0..=KEY_NIBBLES {
            let key = splice(&a, depth, &b);
            for i in 0..KEY_NIBBLES {
                let from = if i < depth { &a } else { &b };
                assert_eq!(nibble(&key, i), nibble(from, i));
            }
        }
    }

    #[test]
    fn a_tail_matches_its_own_key_only() {
        let key = keccak256([1]);
        for depth in 0..KEY_NIBBLES {
            let bytes = &key[depth / 2..];
            for tail in [Tail::Witness(bytes), Tail::Key(key)] {
                assert!(tail.matches(&key, depth));
                assert_eq!(tail.key(&key, depth), key);
                for other in depth..KEY_NIBBLES {
                    let mut changed = key;
                    set_nibble(&mut changed, other, nibble(&key, other) ^ 1);
                    assert!(!tail.matches(&changed, depth));
                    assert_eq!(first_difference(&key, &changed, depth, KEY_NIBBLES), other);
                }
            }
        }
    }
}
