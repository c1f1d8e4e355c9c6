//! Makes the proofs above the segments: lifts, joins, and the final receipt.

use myriad_engine::{AggregateError, Level, VerifyError};
use risc0_zkvm::{InnerReceipt, Receipt, recursion};

use crate::{
    program::Program,
    receipts::{self, Node},
};

/// The most children of a node above the leaves; of a leaf, it is one.
const JOINED_MAX: usize = 2;

/// Makes the node on `level` over proofs of neighbours, and says whether it was proven for it or
/// handed on.
pub(crate) fn node(level: Level, children: &[Vec<u8>]) -> Result<Vec<u8>, AggregateError> {
    let max = if level == Level::LEAF { 1 } else { JOINED_MAX };
    if children.is_empty() || children.len() > max {
        return Err(AggregateError::Arity {
            level: level.to_string(),
            actual: children.len(),
            max,
        });
    }
    let node = if level == Level::LEAF {
        lift(level, &children[0])?
    } else {
        joined(level, children)?
    };
    receipts::encode_node(level, node).map_err(|reason| failed(level, reason))
}

fn lift(level: Level, child: &[u8]) -> Result<Node, AggregateError> {
    let segment = receipts::decoded_segment(child).map_err(|e| refused(0, &e))?;
    let values = receipts::journal(&segment);
    let (segment, _) = receipts::segment(child, values.as_deref()).map_err(|e| refused(0, &e))?;
    caught(level, || recursion::lift(&segment))
}

fn joined(level: Level, children: &[Vec<u8>]) -> Result<Node, AggregateError> {
    let below = Level::new(level.number() - 1).expect("it is not a leaf");
    let mut pieces = Vec::new();
    for (child, proof) in children.iter().enumerate() {
        pieces.push(receipts::node(below, proof).map_err(|e| refused(child, &e))?);
    }
    match pieces.as_slice() {
        [(first, before), (second, after)] => {
            before.check_next(after).map_err(|e| refused(1, &e))?;
            caught(level, || recursion::join(first, second))
        }
        _ => Ok(pieces.swap_remove(0).0),
    }
}

/// Makes the file of the final proof of the tree's top, on `level`. The last segment's proof has
/// the values that the program reveals.
pub(crate) fn finish(
    program: &Program,
    level: Level,
    top: &[u8],
    last_segment: &[u8],
) -> Result<Vec<u8>, AggregateError> {
    let (node, boundary) = receipts::node(level, top).map_err(|e| refused(0, &e))?;
    if boundary.exit_code.is_none() {
        let error = VerifyError::boundary("the exit code", "none", "0");
        return Err(refused(0, &error));
    }
    let segment = receipts::decoded_segment(last_segment).map_err(|e| refused(1, &e))?;
    let journal = receipts::journal(&segment).ok_or_else(|| {
        let reason = "the public values are not in it".into();
        refused(1, &VerifyError::Malformed { reason })
    })?;
    let receipt = Receipt::new(InnerReceipt::Succinct(node.clone()), journal.clone());
    receipts::caught(|| receipt.verify_with_context(&receipts::context(), program.image_id))
        .map_err(|e| failed(level, e.to_string()))?;
    receipts::encode_receipt(node, journal).map_err(|reason| failed(level, reason))
}

/// Runs RISC Zero's prover, which panics at some of what it cannot prove.
fn caught(level: Level, prove: impl FnOnce() -> anyhow::Result<Node>) -> Result<Node, AggregateError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(prove))
        .unwrap_or_else(|_| Err(anyhow::anyhow!("it makes the prover panic")))
        .map_err(|e| failed(level, format!("{e:#}")))
}

fn refused(child: usize, error: &VerifyError) -> AggregateError {
    AggregateError::Child {
        child,
        reason: error.to_string(),
    }
}

fn failed(level: Level, reason: String) -> AggregateError {
    AggregateError::Failed {
        level: level.to_string(),
        reason,
    }
}
