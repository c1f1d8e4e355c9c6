//! Aggregation: proofs of neighbouring pieces become one proof of the piece that they make
//! together.

use std::{fmt, marker::PhantomData, sync::Arc};

use openvm_continuations::prover::{ChildVkKind, InnerCpuProver};
use openvm_sdk::{
    SC,
    config::{MAX_NUM_CHILDREN_INTERNAL, MAX_NUM_CHILDREN_LEAF},
};
use openvm_stark_backend::{
    codec::Encode,
    keygen::types::{MultiStarkProvingKey, MultiStarkVerifyingKey},
    proof::Proof,
};
use serde::{Deserialize, Serialize};
use tracing::info_span;

use crate::{
    KeyCache, Program, VmConfig, backend::ProvingEngine, circuit::Circuit, error::AggregateError,
    final_proof, memory::node_peak_bytes, own_engine::OwnEngine, program::caught, proof_bytes,
    prove::SegmentProof,
};

/// The level of a node in the aggregation tree: 1 for leaves, 2 for internal-for-leaf nodes, 3 and
/// up for internal-recursive ones. The children of a node are all one level below it; segment
/// proofs are level 0.
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

    /// Most children of a node of this level.
    pub fn children_max(self) -> usize {
        self.circuit().children_max()
    }

    /// Expected peak memory, in bytes, of the process that aggregates `children` proofs to a node
    /// of this level for programs of `config`. For more children than are allowed, it is the peak
    /// of the largest allowed number. The process holds parts of the job on top: see
    /// [`Program::held_bytes`].
    ///
    /// `internal_for_leaf` is the number of children of the tree's internal-for-leaf nodes. The
    /// proof of one over more children is larger, and internal-recursive nodes above it take more.
    pub fn peak_bytes(self, config: &VmConfig, children: usize, internal_for_leaf: usize) -> u64 {
        node_peak_bytes(config, self.circuit(), children, internal_for_leaf)
    }

    pub(crate) fn circuit(self) -> Circuit {
        match self {
            Self::LEAF => Circuit::Leaf,
            Self::INTERNAL_FOR_LEAF => Circuit::InternalForLeaf,
            _ => Circuit::InternalRecursive,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.circuit() {
            Circuit::Leaf => write!(f, "leaf (level 1)"),
            Circuit::InternalForLeaf => write!(f, "internal-for-leaf (level 2)"),
            Circuit::InternalRecursive => write!(f, "internal-recursive (level {})", self.0),
        }
    }
}

/// Aggregates on the levels of one circuit. The keys and tables of a circuit take memory, so a
/// process that aggregates holds those of one circuit at a time.
pub(crate) struct Aggregator<E = OwnEngine> {
    circuit: Circuit,
    prover: Prover,
    engine: PhantomData<E>,
}

enum Prover {
    Leaf(InnerCpuProver<MAX_NUM_CHILDREN_LEAF>),
    Internal(InnerCpuProver<MAX_NUM_CHILDREN_INTERNAL>),
}

impl<E: ProvingEngine> Aggregator<E> {
    pub(crate) fn new(program: &Program, keys: &KeyCache, circuit: Circuit) -> Result<Self, AggregateError> {
        let keys = keys.get(program.config())?;
        let app_vk = || keys.app.app_vm_pk.vm_pk.get_vk();
        let _span = info_span!("circuit.make").entered();
        let prover = caught(|| match circuit {
            Circuit::Leaf => Prover::Leaf(prover::<E, _>(app_vk(), keys.leaf, false)),
            Circuit::InternalForLeaf => {
                Prover::Internal(prover::<E, _>(keys.leaf.get_vk(), keys.internal_for_leaf, false))
            }
            Circuit::InternalRecursive => Prover::Internal(prover::<E, _>(
                keys.internal_for_leaf.get_vk(),
                keys.internal_recursive,
                true,
            )),
        })
        .map_err(|reason| AggregateError::Failed {
            level: format!("{circuit:?}"),
            reason,
        })?;
        Ok(Self {
            circuit,
            prover,
            engine: PhantomData,
        })
    }

    pub(crate) fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Proves that the children, in this order, follow each other.
    pub(crate) fn aggregate(&self, level: Level, children: &[Vec<u8>]) -> Result<Vec<u8>, AggregateError> {
        self.prove(level, &decode_children(level, children)?)?
            .encode_to_vec()
            .map_err(|e| AggregateError::Failed {
                level: level.to_string(),
                reason: e.to_string(),
            })
    }

    /// Makes the final proof of [`FinalForm::Small`](crate::FinalForm) of a tree whose top node is
    /// `top`, on `level`.
    ///
    /// `last_segment` is the proof of the program's last segment, which shows the public values.
    pub(crate) fn finish(
        &self,
        level: Level,
        top: &[u8],
        last_segment: &[u8],
    ) -> Result<Vec<u8>, AggregateError> {
        let failed = |reason: String| AggregateError::Failed {
            level: "the final proof".into(),
            reason,
        };
        let (top, public_values) = final_proof::decode_parts(top, last_segment).map_err(failed)?;
        final_proof::encode(self.prove(level.above(), &[top])?, public_values).map_err(failed)
    }

    fn prove(&self, level: Level, children: &[Proof<SC>]) -> Result<Proof<SC>, AggregateError> {
        let failed = |reason: String| AggregateError::Failed {
            level: level.to_string(),
            reason,
        };
        if level.circuit() != self.circuit {
            return Err(failed(format!(
                "the keys at hand are those of {:?}",
                self.circuit
            )));
        }
        if !(1..=self.circuit.children_max()).contains(&children.len()) {
            return Err(AggregateError::Arity {
                level: level.to_string(),
                actual: children.len(),
                max: self.circuit.children_max(),
            });
        }
        let kind = match level {
            Level::LEAF => ChildVkKind::App,
            Level::INTERNAL_FOR_LEAF | Level::INTERNAL_RECURSIVE => ChildVkKind::Standard,
            _ => ChildVkKind::RecursiveSelf,
        };
        // Children that do not fit make the circuit's trace generation panic.
        caught(|| match &self.prover {
            Prover::Leaf(prover) => prover.agg_prove_no_def::<E>(children, kind),
            Prover::Internal(prover) => prover.agg_prove_no_def::<E>(children, kind),
        })
        .and_then(|proved| proved.map_err(|e| e.to_string()))
        .map_err(failed)
    }
}

fn prover<E: ProvingEngine, const N: usize>(
    child: MultiStarkVerifyingKey<SC>,
    own: Arc<MultiStarkProvingKey<SC>>,
    recursive: bool,
) -> InnerCpuProver<N> {
    InnerCpuProver::from_pk::<E>(Arc::new(child), own, recursive, None)
}

fn decode_children(level: Level, children: &[Vec<u8>]) -> Result<Vec<Proof<SC>>, AggregateError> {
    let decode = |bytes: &Vec<u8>| match level {
        Level::LEAF => SegmentProof::decode(bytes).map(|p| p.stark),
        _ => proof_bytes::decode(bytes),
    };
    children
        .iter()
        .enumerate()
        .map(|(child, bytes)| decode(bytes).map_err(|reason| AggregateError::Child { child, reason }))
        .collect()
}
