//! The engine that all proofs of this build are made with.

use myriad_swirl::{SwirlEngine, SwirlError};
use openvm_sdk::SC;
use openvm_stark_backend::{
    StarkEngine, SystemParams,
    proof::Proof,
    prover::{Coordinator, DeviceMultiStarkProvingKey, ProvingContext},
};

use crate::{backend::Backend, probe};

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
