//! The engine that all proofs of this build are made with.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use myriad_swirl::{SwirlEngine, SwirlError};
use openvm_sdk::SC;
use openvm_stark_backend::{
    StarkEngine, SystemParams,
    p3_matrix::Matrix,
    p3_maybe_rayon::prelude::current_num_threads,
    proof::Proof,
    prover::{Coordinator, DeviceMultiStarkProvingKey, ProvingContext},
};
use tracing::debug;

use crate::{backend::Backend, probe};

/// The engine of this build: [`SwirlEngine`], whose proofs tests may see and change
/// ([`crate::probe`]).
pub(crate) struct OwnEngine(SwirlEngine);

type Device = <SwirlEngine as StarkEngine>::PD;
type Transcript = <SwirlEngine as StarkEngine>::TS;

/// The most bytes that a proof of this process was planned to take since [`planned_bytes`] was
/// asked.
static PLANNED_BYTES: AtomicU64 = AtomicU64::new(0);

/// The most bytes that a proof of this process was planned to take since the last call: its traces
/// included, and nothing else of the process. Zero if there was no proof.
pub(crate) fn planned_bytes() -> u64 {
    PLANNED_BYTES.swap(0, Relaxed)
}

impl OwnEngine {
    /// Notes what the device's model says that a proof takes. Heights of nodes are known only now.
    fn plan(&self, pk: &DeviceMultiStarkProvingKey<Backend>, ctx: &ProvingContext<Backend>) {
        let mut heights = vec![0; pk.per_air.len()];
        for (air, trace) in &ctx.per_trace {
            if let Some(height) = heights.get_mut(*air) {
                *height = Matrix::height(&trace.common_main);
            }
        }
        // A context that no proof has is refused by the device itself.
        if let Ok(peak) = self
            .device()
            .memory_model(pk)
            .peak(&heights, current_num_threads())
        {
            debug!(?peak, "the proof is planned");
            PLANNED_BYTES.fetch_max(peak.with_traces() as u64, Relaxed);
        }
    }
}

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
        self.plan(pk, &ctx);
        match probe::current() {
            None => self.0.prove(pk, ctx),
            Some(probe) => probe(pk, ctx, &|ctx| self.0.prove(pk, ctx)),
        }
    }
}
