//! The device with BabyBear and Poseidon2.

use std::marker::PhantomData;

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    FiatShamirTranscript, StarkEngine, SystemParams,
    proof::Proof,
    prover::{Coordinator, DeviceMultiStarkProvingKey, ProvingContext},
};
use openvm_stark_sdk::{
    config::baby_bear_poseidon2::{BabyBearPoseidon2Config, CpuTranscript, poseidon2_perm},
    p3_baby_bear::Poseidon2BabyBear,
};

use crate::{SwirlDevice, SwirlError, prover};

/// The width of the permutation, in field elements.
const WIDTH: usize = 16;

/// [`SwirlDevice`] with BabyBear and Poseidon2, the configuration of OpenVM's VM and of its
/// aggregation.
pub struct SwirlEngine<TS = CpuTranscript> {
    device: SwirlDevice<BabyBearPoseidon2Config>,
    transcript: PhantomData<TS>,
}

impl<TS> SwirlEngine<TS> {
    /// [`SwirlDevice::with_memory_limit`] for this engine's device.
    pub fn with_memory_limit(mut self, bytes: usize) -> Self {
        self.device = self.device.with_memory_limit(bytes);
        self
    }
}

impl<TS> StarkEngine for SwirlEngine<TS>
where
    TS: FiatShamirTranscript<BabyBearPoseidon2Config> + From<Poseidon2BabyBear<WIDTH>>,
{
    type SC = BabyBearPoseidon2Config;
    type PB = CpuBackend<BabyBearPoseidon2Config>;
    type PD = SwirlDevice<BabyBearPoseidon2Config>;
    type TS = TS;

    fn new(params: SystemParams) -> Self {
        Self {
            device: SwirlDevice::new(BabyBearPoseidon2Config::default_from_params(params)),
            transcript: PhantomData,
        }
    }

    fn config(&self) -> &Self::SC {
        self.device.config()
    }

    fn device(&self) -> &Self::PD {
        &self.device
    }

    fn initial_transcript(&self) -> TS {
        TS::from(poseidon2_perm().clone())
    }

    fn prover_from_transcript(&self, transcript: TS) -> Coordinator<Self::SC, Self::PB, Self::PD, TS> {
        Coordinator::new(CpuBackend::new(), self.device.clone(), transcript)
    }

    /// Takes less memory than the prover of [`Self::prover_from_transcript`], which keeps the
    /// traces to the end.
    fn prove(
        &self,
        pk: &DeviceMultiStarkProvingKey<Self::PB>,
        ctx: ProvingContext<Self::PB>,
    ) -> Result<Proof<Self::SC>, SwirlError> {
        prover::prove(&self.device, &mut self.initial_transcript(), pk, ctx)
    }
}
