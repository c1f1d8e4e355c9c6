//! The verifier circuits of aggregation: `aggregate` proves with them, `verify` looks for them, and
//! `memory` reckons with them.

use myriad_engine::Level;
use openvm_sdk::config::{MAX_NUM_CHILDREN_INTERNAL, MAX_NUM_CHILDREN_LEAF};

/// The three verifier circuits; all internal-recursive levels share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Circuit {
    Leaf,
    InternalForLeaf,
    InternalRecursive,
}

impl Circuit {
    /// The circuit of the nodes of a level.
    pub(crate) fn of(level: Level) -> Self {
        match level {
            Level::LEAF => Self::Leaf,
            Level::INTERNAL_FOR_LEAF => Self::InternalForLeaf,
            _ => Self::InternalRecursive,
        }
    }

    /// The most proofs for which it has room. A leaf evaluates the constraints of the whole VM in a
    /// table with columns for that many proofs, used or not; room for four costs no more time than
    /// room for one.
    pub(crate) const fn children_max(self) -> usize {
        match self {
            Self::Leaf => MAX_NUM_CHILDREN_LEAF,
            Self::InternalForLeaf | Self::InternalRecursive => MAX_NUM_CHILDREN_INTERNAL,
        }
    }
}
