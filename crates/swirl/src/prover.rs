//! A whole proof, from a context to its end.

use std::mem;

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    FiatShamirTranscript,
    p3_field::{ExtensionField, PrimeCharacteristicRing, TwoAdicField},
    p3_matrix::dense::RowMajorMatrix,
    p3_util::log2_strict_usize,
    proof::{Proof, TraceVData},
    prover::{DeviceMultiStarkProvingKey, ProvingContext},
};
use tracing::info_span;

use crate::{PackedConfig, SwirlDevice, SwirlError, commit, constraints, context, device::height, opening};

/// Does the same as `Coordinator::prove` of OpenVM, but drops the common traces as they are
/// stacked. OpenVM keeps them until the end, beside the device's copies.
pub(crate) fn prove<SC, TS>(
    device: &SwirlDevice<SC>,
    transcript: &mut TS,
    mpk: &DeviceMultiStarkProvingKey<CpuBackend<SC>>,
    ctx: ProvingContext<CpuBackend<SC>>,
) -> Result<Proof<SC>, SwirlError>
where
    SC: PackedConfig,
    SC::F: Ord,
    SC::EF: TwoAdicField + ExtensionField<SC::F> + Ord,
    TS: FiatShamirTranscript<SC>,
{
    let _span = info_span!("stark_prove_excluding_trace", phase = "prover").entered();
    let config = device.config();
    context::check::<SC>(config.params(), mpk, &ctx)?;
    let mut ctx = ctx.into_sorted();
    let mut of_airs = vec![0; mpk.per_air.len()];
    for (air, trace) in &ctx.per_trace {
        of_airs[*air] = height(trace);
    }
    let kept = device.kept(mpk, &of_airs)?;
    let heights: Vec<usize> = ctx.per_trace.iter().map(|(_, trace)| height(trace)).collect();
    transcript.observe_commit(mpk.vk_pre_hash);
    let (common_main_commit, common_main) = {
        let _span = info_span!("prover.main_trace_commit", phase = "prover").entered();
        let none = || RowMajorMatrix::new(Vec::new(), 0);
        let traces = ctx.per_trace.iter_mut();
        let traces = traces.map(|(_, trace)| mem::replace(&mut trace.common_main, none()));
        commit::commit_owned(config, traces.collect())?
    };
    transcript.observe_commit(common_main_commit);

    let mut trace_vdata: Vec<Option<TraceVData<SC>>> = vec![None; mpk.per_air.len()];
    let mut public_values: Vec<Vec<SC::F>> = vec![Vec::new(); mpk.per_air.len()];
    for ((air, trace), &height) in ctx.per_trace.iter().zip(&heights) {
        trace_vdata[*air] = Some(TraceVData {
            log_height: log2_strict_usize(height),
            cached_commitments: trace
                .cached_mains
                .iter()
                .map(|cached| cached.commitment)
                .collect(),
        });
        public_values[*air].clone_from(&trace.public_values);
    }
    for ((trace, public_values), pk) in trace_vdata.iter().zip(&public_values).zip(&mpk.per_air) {
        if !pk.vk.is_required {
            transcript.observe(SC::F::from_bool(trace.is_some()));
        }
        if let Some(trace) = trace {
            match &pk.preprocessed_data {
                Some(preprocessed) => transcript.observe_commit(preprocessed.commitment),
                None => transcript.observe(SC::F::from_usize(trace.log_height)),
            }
            for &commitment in &trace.cached_commitments {
                transcript.observe_commit(commitment);
            }
        }
        for &value in public_values {
            transcript.observe(value);
        }
    }

    let ((gkr_proof, batch_constraint_proof), point, restacked) =
        constraints::prove(transcript, mpk, &ctx, &heights, &common_main, kept)?;
    let (stacking_proof, whir_proof) = {
        let _span = info_span!("prover.openings", phase = "prover").entered();
        opening::prove(config, transcript, mpk, ctx, common_main, point, restacked)?
    };
    Ok(Proof {
        public_values,
        trace_vdata,
        common_main_commit,
        gkr_proof,
        batch_constraint_proof,
        stacking_proof,
        whir_proof,
    })
}
