//! The levels of the aggregation tree.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The level of a node in the aggregation tree: 1 for leaves, 2 for internal-for-leaf nodes, 3 and
/// up for internal-recursive ones. The children of a node are all one level below it; segment
/// proofs are level 0. The three kinds are those of OpenVM's tree, each with a circuit of its own;
/// another engine may make nodes of all kinds alike. An engine says for each level how many
/// children a node may have: [`Loaded::most_children`](crate::Loaded::most_children).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Level(u8);

impl Level {
    pub const LEAF: Self = Self(1);
    pub const INTERNAL_FOR_LEAF: Self = Self(2);
    /// The lowest level whose single node can become the final proof.
    pub const INTERNAL_RECURSIVE: Self = Self(3);
    /// OpenVM verifies up to 256 internal-recursive layers; 3 to the power of 61 leaves are enough.
    pub const MAX: Self = Self(64);

    /// The level with this number, if there is one.
    pub fn new(number: u8) -> Option<Self> {
        (1..=Self::MAX.0).contains(&number).then_some(Self(number))
    }

    pub const fn number(self) -> u8 {
        self.0
    }

    /// The level above.
    pub const fn above(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LEAF => write!(f, "leaf (level 1)"),
            Self::INTERNAL_FOR_LEAF => write!(f, "internal-for-leaf (level 2)"),
            Self(number) => write!(f, "internal-recursive (level {number})"),
        }
    }
}
