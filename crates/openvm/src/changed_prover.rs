//! A changed prover, for tests: its proofs are valid, and no node can be made over them.
//!
//! A stranger can change a prover like this. No worker of this build does.

use myriad_engine::{Input, ProveError, Segment};
use myriad_swirl::SwirlError;
use openvm_circuit::{arch::CONNECTOR_AIR_ID, system::connector::DEFAULT_SUSPEND_EXIT_CODE};
use openvm_sdk::{F, SC};
use openvm_stark_backend::{p3_field::PrimeCharacteristicRing, proof::Proof};

use crate::{
    KeyCache, Program,
    probe::{self, Context, Key, Prove},
    prove::SegmentProver,
};

/// Proves a segment that does not end the program, and says that it goes on with exit code 43. The
/// circuit of a segment leaves that code open; the circuit of a leaf requires 42.
///
/// # Errors
/// The errors of a worker's task.
pub fn prove_suspended_with_43(
    program: &Program,
    keys: &KeyCache,
    input: &Input,
    segment: &Segment,
) -> Result<Vec<u8>, ProveError> {
    let mut prover: SegmentProver = SegmentProver::new(program, keys)?;
    probe::with(say_43, || prover.prove(program, input, segment))
}

/// The probe of that prover: has the segment say that the program goes on, but with exit code 43,
/// in the trace as in its public values.
///
/// # Errors
/// The errors of proving.
///
/// # Panics
/// If the segment ends the program.
pub fn say_43(_: &Key, mut context: Context, prove: Prove<'_>) -> Result<Proof<SC>, SwirlError> {
    let connector = context
        .per_trace
        .iter_mut()
        .find(|(air, _)| *air == CONNECTOR_AIR_ID);
    let (_, connector) = connector.expect("every segment has a connector");
    let suspended = F::from_u32(DEFAULT_SUSPEND_EXIT_CODE);
    let mut changed = 0;
    for value in connector
        .common_main
        .values
        .iter_mut()
        .chain(&mut connector.public_values)
    {
        if *value == suspended {
            *value = F::from_u32(43);
            changed += 1;
        }
    }
    assert_eq!(changed, 2, "one in the trace, and one that it shows");
    prove(context)
}
