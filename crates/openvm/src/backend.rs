//! The backend that holds traces and keys, and the trait of engines that prove with it. Everything
//! that proves shares them.

use openvm_cpu_backend::CpuBackend;
use openvm_sdk::SC;
use openvm_stark_backend::{StarkEngine, prover::ProverDevice};

/// The types in which traces, keys and commitments of a proof are kept.
pub type Backend = CpuBackend<SC>;

/// An engine that proves: that of this build, and for comparison OpenVM's own.
pub trait ProvingEngine:
    StarkEngine<SC = SC, PB = Backend, PD: ProverDevice<Backend, Self::TS, DeviceCtx = ()>>
{
}

impl<E> ProvingEngine for E where
    E: StarkEngine<SC = SC, PB = Backend, PD: ProverDevice<Backend, <E as StarkEngine>::TS, DeviceCtx = ()>>
{
}
