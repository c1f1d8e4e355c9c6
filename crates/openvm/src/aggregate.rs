//! Aggregation: proofs of neighbouring pieces become one proof of the piece that they make
//! together.

use std::{marker::PhantomData, sync::Arc};

use myriad_engine::{AggregateError, Level};
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
use tracing::info_span;

use crate::{
    KeyCache, Program, backend::ProvingEngine, circuit::Circuit, final_proof, own_engine::OwnEngine,
    program::caught, proof_bytes, prove::SegmentProof,
};

/// Aggregates on the levels of one circuit. Its keys and tables take memory: see [`crate::tools`].
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

    /// Proves that the children, in this order, follow each other.
    pub(crate) fn aggregate(&self, level: Level, children: &[Vec<u8>]) -> Result<Vec<u8>, AggregateError> {
        self.prove(level, &decode_children(level, children)?)?
            .encode_to_vec()
            .map_err(|e| AggregateError::Failed {
                level: level.to_string(),
                reason: e.to_string(),
            })
    }

    /// Makes the final proof of [`FinalForm::Small`](myriad_engine::FinalForm) of a tree whose top
    /// node is `top`, on `level`.
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
        if Circuit::of(level) != self.circuit {
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
