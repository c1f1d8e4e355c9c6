//! The errors of a proof: why a context was not proven.

use openvm_stark_backend::prover::{
    LogupZerocheckError, StackedPcsError, StackedReductionError, WhirProverError,
};
use thiserror::Error;

/// Why a context was not proven.
#[derive(Debug, Error)]
pub enum SwirlError {
    /// The traces do not fit the stacked matrix, or the matrix cannot be committed to.
    #[error("commitment: {0}")]
    Commit(#[from] StackedPcsError),
    /// The interactions do not balance, so that the fractions do not sum to zero.
    #[error("interactions: {0}")]
    Interactions(#[from] LogupZerocheckError),
    /// The context does not fit the key of one of its AIRs.
    #[error("the context of {air} does not fit its key: {reason}")]
    Context { air: String, reason: String },
    /// The set of AIRs with traces does not fit the key.
    #[error("the context does not fit the key: {0}")]
    Airs(String),
    /// A trace's height is no power of two, or more than the parameters allow.
    #[error("{trace} has {height} rows, and powers of two up to {max} are allowed")]
    Height {
        trace: String,
        height: usize,
        max: usize,
    },
    /// All heights together pass a limit of the key, so that a verifier would refuse the proof.
    #[error(
        "the rows of all traces, weighted as the key says, are {sum}; they have to be fewer than {limit}; prove less at once"
    )]
    Heights { sum: u64, limit: u32 },
    /// All traces together fill more stacked columns than the parameters allow, so that a verifier
    /// would refuse the proof.
    #[error("the traces fill {columns} stacked columns, and {max} are allowed; prove less at once")]
    Width { columns: usize, max: usize },
    /// The key was made for other parameters than the device's.
    #[error("the key was made for other parameters than the device's: {0}; make the device with the key's")]
    Params(String),
    /// The point of the claims lacks coordinates.
    #[error(
        "the point at which the traces are opened has {given} coordinates, and at least {needed} are needed; \
         pass the point that `prove_rap_constraints` gave"
    )]
    Point { given: usize, needed: usize },
    /// A proof that keeps as little as possible takes more memory than the device was given.
    #[error("the proof takes {needed} bytes, and {allowed} are allowed; allow more, or prove less at once")]
    Memory { needed: usize, allowed: usize },
    /// Some constraint is not satisfied by its trace, or the claimed sums of interactions are not
    /// those of the traces.
    #[error("the traces do not satisfy their constraints; check how they were generated")]
    Unsatisfied,
    /// The claims about columns could not be reduced to one about the stacked columns.
    #[error("stacked reduction: {0}")]
    Reduction(#[from] StackedReductionError),
    /// The stacked columns could not be opened.
    #[error("opening: {0}")]
    Opening(#[from] WhirProverError),
}
