//! Opening the stacked columns at the point that the constraints leave.

mod batch;
mod fold;
mod group;
mod packed;
mod piece;
mod reduction;
pub(crate) mod sizes;
mod weights;
mod whir;

use std::{borrow::Cow, iter};

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    FiatShamirTranscript, StarkProtocolConfig,
    p3_field::{ExtensionField, TwoAdicField},
    p3_matrix::dense::RowMajorMatrix,
    poly_common::Squarable,
    proof::{StackingProof, WhirProof},
    prover::{
        ColMajorMatrix, CommittedTraceData, DeviceMultiStarkProvingKey, MatrixDimensions, ProvingContext,
        StackedPcsError, WhirProverError, stacked_pcs::StackedLayout,
    },
};
use tracing::info_span;

pub(crate) use self::whir::OPENED_AT_ONCE;
use crate::{
    SwirlError,
    commit::{PcsData, Restacked, stacked},
    packed::PackedConfig,
};

/// A commitment with its stacked columns.
struct Stacked<'a, SC: StarkProtocolConfig> {
    layout: &'a StackedLayout,
    matrix: Cow<'a, ColMajorMatrix<SC::F>>,
    layers: &'a [Vec<SC::Digest>],
}

impl<'a, SC: StarkProtocolConfig> Stacked<'a, SC> {
    /// Stacks the traces that the commitment is of, unless its data have the stacked columns.
    fn new<'b>(
        data: &'a PcsData<SC>,
        traces: impl IntoIterator<Item = Cow<'b, RowMajorMatrix<SC::F>>>,
    ) -> Result<Self, StackedPcsError> {
        Ok(Self {
            layout: &data.layout,
            matrix: stacked::<SC>(data, traces)?,
            layers: data.tree.digest_layers(),
        })
    }

    fn restacked(data: &'a PcsData<SC>, matrix: ColMajorMatrix<SC::F>) -> Self {
        Self {
            layout: &data.layout,
            matrix: Cow::Owned(matrix),
            layers: data.tree.digest_layers(),
        }
    }

    fn columns(&self) -> impl Iterator<Item = &[SC::F]> {
        self.matrix.values.chunks_exact(self.matrix.height())
    }
}

/// `restacked` has the stacked columns of preprocessed and cached traces in the order of these,
/// where they are at hand. The others are made again.
pub(crate) fn prove<SC, TS>(
    config: &SC,
    transcript: &mut TS,
    mpk: &DeviceMultiStarkProvingKey<CpuBackend<SC>>,
    ctx: ProvingContext<CpuBackend<SC>>,
    common_main: PcsData<SC>,
    point: Vec<SC::EF>,
    restacked: Vec<Restacked<SC::F>>,
) -> Result<(StackingProof<SC>, WhirProof<SC>), SwirlError>
where
    SC: PackedConfig,
    SC::F: Ord,
    SC::EF: TwoAdicField + ExtensionField<SC::F> + Ord,
    TS: FiatShamirTranscript<SC>,
{
    let params = config.params();
    // The commitment of all common traces, then of each AIR the preprocessed one and the cached
    // ones.
    let mut others: Vec<&CommittedTraceData<CpuBackend<SC>>> = Vec::new();
    let mut traces = Vec::with_capacity(ctx.per_trace.len());
    let mut cached = Vec::with_capacity(ctx.per_trace.len());
    let mut need_rot = vec![Vec::with_capacity(ctx.per_trace.len())];
    for (air, trace) in ctx.per_trace {
        need_rot[0].push(mpk.per_air[air].vk.params.need_rot);
        traces.push(trace.common_main);
        cached.push((air, trace.cached_mains));
    }
    for (air, cached) in &cached {
        let key = &mpk.per_air[*air];
        for committed in key.preprocessed_data.iter().chain(cached) {
            others.push(committed);
            need_rot.push(vec![key.vk.params.need_rot]);
        }
    }
    let restacked = restacked.into_iter().chain(iter::repeat_with(|| None));
    let commitments = info_span!("stack_again").in_scope(|| {
        iter::once(Stacked::new(&common_main, traces.into_iter().map(Cow::Owned)))
            .chain(
                others
                    .iter()
                    .zip(restacked)
                    .map(|(committed, restacked)| match restacked {
                        Some(matrix) => Ok(Stacked::restacked(&committed.data, matrix)),
                        None => Stacked::new(&committed.data, [Cow::Borrowed(&committed.trace)]),
                    }),
            )
            .collect::<Result<Vec<_>, _>>()
    })?;

    let (stacking_proof, u) = info_span!("stacked_opening_reduction")
        .in_scope(|| reduction::prove::<SC, TS>(transcript, params, &commitments, &need_rot, &point));

    let (&u_0, u_rest) = u.split_first().ok_or(WhirProverError::UPrismaEmpty)?;
    let point: Vec<SC::EF> = u_0
        .exp_powers_of_2()
        .take(params.l_skip)
        .chain(u_rest.iter().copied())
        .collect();
    let whir_proof = info_span!("whir")
        .in_scope(|| whir::prove::<SC, TS>(transcript, params, config.hasher(), &commitments, &point))?;
    Ok((stacking_proof, whir_proof))
}
