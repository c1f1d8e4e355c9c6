//! Proves with devices other than this build's own, for tests and benchmarks that compare them.

pub use crate::backend::{Backend, ProvingEngine};
use crate::{
    Input, KeyCache, Level, Program, Segment, Verifier,
    aggregate::Aggregator,
    error::{AggregateError, KeyError, ProveError},
    prove::SegmentProver,
    worker::{Failure, proven},
};

/// Proves a segment with an engine of this type, which is made anew.
///
/// # Errors
/// Those of a worker's task.
pub fn prove_segment<E: ProvingEngine>(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    segment: &Segment,
) -> Result<Vec<u8>, ProveError> {
    SegmentProver::<E>::new(program, keys)?.prove(program, input, segment)
}

/// Proves a segment with an engine of this type as an engine child does, which hands out no proof that its own verifier
/// refuses.
///
/// # Errors
/// Those of a worker's task.
pub fn hand_out<E: ProvingEngine>(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    segment: &Segment,
) -> Result<Vec<u8>, Failure> {
    let mut prover = SegmentProver::<E>::new(program, keys)?;
    let verifier = Verifier::new(program, keys)?;
    proven(&mut prover, program, input, segment, || Ok(&verifier))
}

/// Whether the STARK of a segment proof verifies, whatever it says.
///
/// # Errors
/// Keys that cannot be read.
pub fn holds(program: &Program, keys: &KeyCache, proof: &[u8]) -> Result<bool, KeyError> {
    Ok(Verifier::new(program, keys)?.holds(proof))
}

/// Makes a node of the tree with an engine of this type.
///
/// # Errors
/// Those of a worker's task.
pub fn aggregate<E: ProvingEngine>(
    program: &Program,
    keys: &KeyCache,
    level: Level,
    children: &[Vec<u8>],
) -> Result<Vec<u8>, AggregateError> {
    Aggregator::<E>::new(program, keys, level.circuit())?.aggregate(level, children)
}

/// Makes the final proof with an engine of this type.
///
/// # Errors
/// Those of a worker's task.
pub fn finish<E: ProvingEngine>(
    program: &Program,
    keys: &KeyCache,
    level: Level,
    top: &[u8],
    last_segment: &[u8],
) -> Result<Vec<u8>, AggregateError> {
    Aggregator::<E>::new(program, keys, level.circuit())?.finish(level, top, last_segment)
}

/// Plans a program's segments; see [`Plan`](crate::Plan).
///
/// # Errors
/// Those of a worker's task.
pub fn plan(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    budget: crate::MemoryBudget,
    instructions_max: u64,
) -> Result<crate::Plan, crate::ExecuteError> {
    crate::execute::plan(program, keys, input, budget, instructions_max, &String::new)
}
