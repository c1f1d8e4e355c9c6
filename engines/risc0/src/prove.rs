//! Proves a segment: executes up to it, makes its proof, and puts that into a receipt.

use myriad_engine::{ProveError, Segment, quoted};
use risc0_circuit_rv32im::{Rv32imV2Claim, execute, prove::segment_prover};
use risc0_zkvm::sha::Digestible;

use crate::{
    claims,
    execution::Stopped,
    plan::{Details, Walk},
    program::Job,
    receipts,
};

/// A segment that was executed and can be proven.
pub(crate) struct Executed {
    segment: execute::Segment,
    /// What the program reveals, where it ends.
    public_values: Option<Vec<u8>>,
}

impl Executed {
    /// Its rows, as a power of two.
    pub(crate) fn po2(&self) -> u32 {
        self.segment.po2
    }

    pub(crate) fn public_values(&self) -> Option<&[u8]> {
        self.public_values.as_deref()
    }
}

/// Executes up to a segment, and checks that it is the planned one.
///
/// # Errors
/// [`ProveError::Mismatch`]
pub(crate) fn reach(job: &Job, segment: &Segment) -> Result<Executed, ProveError> {
    let mismatch = |reason: String| ProveError::Mismatch {
        segment: segment.index,
        reason,
    };
    let details = Details::of(segment).map_err(mismatch)?;
    let mut walk = Walk::start(job, details.cut, segment);
    while walk.segments() < segment.index {
        walk.skip().map_err(mismatch)?;
    }
    let executed = walk.follow(segment).map_err(mismatch)?;
    let public_values = segment.last.then(|| walk.journal());
    Ok(Executed {
        segment: executed,
        public_values,
    })
}

/// Proves a segment.
///
/// # Errors
/// [`ProveError::Failed`], and [`ProveError::Unsound`] for a proof that states something else than
/// was executed.
pub(crate) fn prove(index: u32, executed: Executed) -> Result<Vec<u8>, ProveError> {
    let Executed {
        segment,
        public_values,
    } = executed;
    let failed = |reason: String| ProveError::Failed {
        segment: index,
        reason: quoted(&reason),
    };
    let expected = claims::of_segment(&segment.claim).map_err(failed)?;
    let sealed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| segment_prover()?.prove(&segment)));
    drop(segment);
    let seal = sealed
        .map_err(|_| failed("it makes the prover panic".into()))?
        .map_err(|e| failed(format!("{e:#}")))?;
    let proven = Rv32imV2Claim::decode(&seal).map_err(|e| failed(format!("{e:#}")))?;
    let claim = claims::of_segment(&proven).map_err(failed)?;
    if claim.digest() != expected.digest() {
        return Err(ProveError::Unsound {
            segment: index,
            reason: "it states another execution than the one that was proven".into(),
        });
    }
    receipts::encode_segment(&seal, public_values.as_deref()).map_err(failed)
}

impl From<Stopped> for String {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::LongInstruction => "an instruction does not fit a segment of its size".into(),
            Stopped::CutBeforeEnd(reason) | Stopped::Trapped(reason) => reason,
        }
    }
}
