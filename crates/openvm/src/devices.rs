//! Proves with devices other than this build's own, for benchmarks that compare them. Also shows
//! tests some inner parts of the engine.

use std::sync::Arc;

use myriad_engine::{
    Account, AggregateError, Boundary, ExecuteError, Input, KeyError, Level, MemoryBudget, Plan, ProveError,
    Segment, VerifyError, worker::Failure,
};
use openvm_circuit::arch::{execution_mode::MeteredCtx, instructions::exe::VmExe};
use openvm_sdk::{F, SC, keygen::AppProvingKey};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::proof::Proof;

use crate::{
    KeyCache, Program, Verifier, accounting,
    aggregate::Aggregator,
    child::{aggregated, finished, proven},
    circuit::Circuit,
    execute,
    prove::{SegmentProof, SegmentProver},
};
pub use crate::{
    backend::{Backend, ProvingEngine},
    execute::Vm,
};

/// Proves a segment with a new engine of this type.
///
/// # Errors
/// The errors of a worker's task.
pub fn prove_segment<E: ProvingEngine>(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    segment: &Segment,
) -> Result<Vec<u8>, ProveError> {
    SegmentProver::<E>::new(program, keys)?.prove(program, input, segment)
}

/// Makes a node of the tree with an engine of this type.
///
/// # Errors
/// The errors of a worker's task.
pub fn aggregate<E: ProvingEngine>(
    program: &Program,
    keys: &KeyCache,
    level: Level,
    children: &[Vec<u8>],
) -> Result<Vec<u8>, AggregateError> {
    Aggregator::<E>::new(program, keys, Circuit::of(level))?.aggregate(level, children)
}

/// Makes the final proof with an engine of this type.
///
/// # Errors
/// The errors of a worker's task.
pub fn finish<E: ProvingEngine>(
    program: &Program,
    keys: &KeyCache,
    level: Level,
    top: &[u8],
    last_segment: &[u8],
) -> Result<Vec<u8>, AggregateError> {
    Aggregator::<E>::new(program, keys, Circuit::of(level))?.finish(level, top, last_segment)
}

/// Proves a segment, and hands the proof out only if it verifies, as a child does.
///
/// # Errors
/// The errors of a worker's task.
pub fn prove_and_verify(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    segment: &Segment,
    verifier: &Verifier,
) -> Result<Vec<u8>, Failure> {
    let mut prover = SegmentProver::new(program, keys)?;
    proven(&mut prover, program, input, segment, || Ok(verifier))
}

/// Makes a node of the tree, and hands it out only if it verifies, as a child does.
///
/// # Errors
/// The errors of a worker's task.
pub fn aggregate_and_verify(
    program: &Program,
    keys: &KeyCache,
    level: Level,
    children: &[Vec<u8>],
    verifier: &Verifier,
) -> Result<Vec<u8>, Failure> {
    let aggregator = Aggregator::new(program, keys, Circuit::of(level))?;
    aggregated(&aggregator, level, children, || Ok(verifier))
}

/// Makes the final proof of [`FinalForm::Small`](myriad_engine::FinalForm), of a top node of at
/// least [`Level::INTERNAL_RECURSIVE`], and hands it out only if it verifies, as a child does.
///
/// # Errors
/// The errors of a worker's task.
pub fn finish_and_verify(
    program: &Program,
    keys: &KeyCache,
    level: Level,
    top: &[u8],
    last_segment: &[u8],
    verifier: &Verifier,
) -> Result<Vec<u8>, Failure> {
    let aggregator = Aggregator::new(program, keys, Circuit::of(level))?;
    finished(Some(&aggregator), level, top, last_segment, || Ok(verifier))
}

/// Makes the final proof of [`FinalForm::Fast`](myriad_engine::FinalForm), and hands it out only if
/// it verifies, as a child does.
///
/// # Errors
/// The errors of a worker's task.
pub fn finish_fast_and_verify(
    level: Level,
    top: &[u8],
    last_segment: &[u8],
    verifier: &Verifier,
) -> Result<Vec<u8>, Failure> {
    finished(None, level, top, last_segment, || Ok(verifier))
}

/// Judges the proof of a segment that reveals nothing as if its STARK held.
///
/// # Errors
/// If it lacks what the circuits above require of it.
pub fn usable_segment(verifier: &Verifier, stark: Proof<SC>) -> Result<Boundary, VerifyError> {
    let proof = SegmentProof {
        stark,
        public_values: None,
    };
    verifier.shown_by_segment(&proof, None)
}

/// Judges a node as if its STARK held.
///
/// # Errors
/// If it lacks what the circuits above require of it.
pub fn usable_node(verifier: &Verifier, level: Level, stark: &Proof<SC>) -> Result<Boundary, VerifyError> {
    verifier.shown_by_node(level, stark)
}

/// Makes the verifier assume that the circuits above can count fewer interactions than this.
pub fn set_interactions_max(verifier: &mut Verifier, max: u32) {
    verifier.set_interactions_max(max);
}

/// The key that a program's segments are proven with.
///
/// # Errors
/// Keys that are missing.
pub fn app_key(program: &Program, keys: &KeyCache) -> Result<AppProvingKey<SdkVmConfig>, KeyError> {
    Ok(keys.get(program.config())?.app)
}

/// A program as OpenVM has it.
pub fn exe(program: &Program) -> Arc<VmExe<F>> {
    Arc::clone(program.exe())
}

/// OpenVM's own commitment to a program.
///
/// # Errors
/// Keys that are missing.
pub fn stock_commitment(program: &Program, keys: &KeyCache) -> Result<[F; 8], ProveError> {
    let prover: SegmentProver = SegmentProver::new(program, keys)?;
    Ok(prover.stock_commitment(program))
}

/// The commitment to a program that proofs of it must have.
pub fn program_commitment(verifier: &Verifier) -> [F; 8] {
    verifier.program_commit
}

/// The virtual machine of a program, by which it is metered.
///
/// # Errors
/// Keys that are missing, or that make no virtual machine.
pub fn vm(program: &Program, keys: &KeyCache) -> Result<Vm, ExecuteError> {
    execute::vm(&keys.get(program.config())?.app)
}

/// The counters of a metered execution.
///
/// # Errors
/// As [`vm`].
pub fn metered_ctx(program: &Program, keys: &KeyCache) -> Result<MeteredCtx, ExecuteError> {
    Ok(execute::metered_ctx(&vm(program, keys)?, program))
}

/// Executes a program and counts by its marks.
///
/// # Errors
/// The errors of a worker's task.
pub fn account(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    instructions_max: u64,
) -> Result<Account, ExecuteError> {
    accounting::account(program, keys, input, instructions_max, &String::new)
}

/// Plans a program's segments; see [`Plan`].
///
/// # Errors
/// The errors of a worker's task.
pub fn plan(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    budget: MemoryBudget,
    instructions_max: u64,
) -> Result<Plan, ExecuteError> {
    crate::execute::plan(program, keys, input, budget, instructions_max, None, &String::new)
}
