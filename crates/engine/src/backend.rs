//! The backend that holds traces and keys, the trait of engines that prove with it, and the engine
//! of this build. Everything that proves shares them.

use myriad_swirl::{SwirlEngine, SwirlError};
use openvm_cpu_backend::CpuBackend;
use openvm_sdk::SC;
use openvm_stark_backend::{
    StarkEngine, SystemParams,
    proof::Proof,
    prover::{Coordinator, DeviceMultiStarkProvingKey, ProverDevice, ProvingContext},
};

use crate::probe;

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

/// The engine of this build: [`SwirlEngine`], whose proofs tests may see and change
/// ([`crate::probe`]).
pub(crate) struct OwnEngine(SwirlEngine);

type Device = <SwirlEngine as StarkEngine>::PD;
type Transcript = <SwirlEngine as StarkEngine>::TS;

impl StarkEngine for OwnEngine {
    type SC = SC;
    type PB = Backend;
    type PD = Device;
    type TS = Transcript;

    fn new(params: SystemParams) -> Self {
        Self(SwirlEngine::new(params))
    }

    fn config(&self) -> &SC {
        self.0.config()
    }

    fn device(&self) -> &Device {
        self.0.device()
    }

    fn initial_transcript(&self) -> Transcript {
        self.0.initial_transcript()
    }

    fn prover_from_transcript(&self, transcript: Transcript) -> Coordinator<SC, Backend, Device, Transcript> {
        self.0.prover_from_transcript(transcript)
    }

    fn prove(
        &self,
        pk: &DeviceMultiStarkProvingKey<Backend>,
        ctx: ProvingContext<Backend>,
    ) -> Result<Proof<SC>, SwirlError> {
        match probe::current() {
            None => self.0.prove(pk, ctx),
            Some(probe) => probe(pk, ctx, &|ctx| self.0.prove(pk, ctx)),
        }
    }
}
