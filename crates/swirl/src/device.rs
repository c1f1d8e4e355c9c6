//! The device: each trait of OpenVM's prover leads to the module of its phase.

use std::sync::Arc;

use openvm_cpu_backend::{CpuBackend, CpuDevice};
use openvm_stark_backend::{
    FiatShamirTranscript, StarkProtocolConfig, SystemParams,
    keygen::types::MultiStarkProvingKey,
    p3_field::{ExtensionField, TwoAdicField},
    p3_matrix::dense::RowMajorMatrix,
    p3_maybe_rayon::prelude::current_num_threads,
    p3_util::log2_strict_usize,
    proof::{BatchConstraintProof, GkrProof, StackingProof, WhirProof},
    prover::{
        AirProvingContext, ColMajorMatrix, CommittedTraceData, DeviceDataTransporter,
        DeviceMultiStarkProvingKey, DeviceStarkProvingKey, MatrixDimensions, MultiRapProver, OpeningProver,
        ProverDevice, ProvingContext, TraceCommitter, stacked_pcs::StackedPcsData,
    },
};

use crate::{
    MemoryModel, PackedConfig, SwirlError,
    commit::{self, PcsData},
    constraints, context,
    gkr::Kept,
    opening,
};

/// The rows of an AIR's common trace.
pub(crate) fn height<SC: StarkProtocolConfig>(trace: &AirProvingContext<CpuBackend<SC>>) -> usize {
    MatrixDimensions::height(&trace.common_main)
}

/// Proves for [`CpuBackend`], as `openvm_cpu_backend::CpuDevice` does, with the same proofs.
#[derive(Clone)]
pub struct SwirlDevice<SC> {
    stock: CpuDevice<SC>,
    memory_limit: Option<usize>,
}

impl<SC: StarkProtocolConfig> SwirlDevice<SC> {
    /// A device with this configuration and without a memory limit. Its keys have to be made for
    /// the same parameters ([`SwirlError::Params`]).
    pub fn new(config: SC) -> Self {
        Self {
            stock: CpuDevice::new(config),
            memory_limit: None,
        }
    }

    /// Has a proof of [`SwirlEngine`](crate::SwirlEngine) take at most this many bytes, its common
    /// traces included ([`Peak::with_traces`](crate::Peak::with_traces)). Other allocations of the
    /// process are not counted.
    ///
    /// The device keeps as much of the fraction tree as fits, and makes the rest again for each
    /// round that reads it. It keeps 8 bytes for each interaction of each row, as without a limit,
    /// or 4, which costs 4 to 11 % more CPU time (`cargo bench -p myriad-swirl`). Keeping 16 bytes
    /// gained no time, so that is no choice. If 4 bytes are too many, [`SwirlError::Memory`] says
    /// so before anything is computed.
    ///
    /// The phases that [`ProverDevice`] has one by one, as OpenVM's `Coordinator` calls them, know
    /// no limit.
    pub fn with_memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// The configuration that the device was made with.
    pub fn config(&self) -> &SC {
        self.stock.config()
    }

    /// The parameters of [`Self::config`].
    pub fn params(&self) -> &SystemParams {
        self.config().params()
    }
}

impl<SC> SwirlDevice<SC>
where
    SC: PackedConfig,
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
{
    /// Compiles the constraints of a key to say what proofs with it take.
    pub fn memory_model(&self, mpk: &DeviceMultiStarkProvingKey<CpuBackend<SC>>) -> MemoryModel {
        MemoryModel::new(mpk)
    }

    /// The part of the fraction tree to keep within the limit, for traces of these heights: one for
    /// each AIR, or zero where an AIR has none.
    pub(crate) fn kept(
        &self,
        mpk: &DeviceMultiStarkProvingKey<CpuBackend<SC>>,
        heights: &[usize],
    ) -> Result<Kept, SwirlError> {
        match self.memory_limit {
            None => Ok(Kept::DEFAULT),
            Some(limit) => {
                let (kept, _) = self
                    .memory_model(mpk)
                    .kept(heights, current_num_threads(), limit)?;
                Ok(kept)
            }
        }
    }
}

impl<SC, TS> ProverDevice<CpuBackend<SC>, TS> for SwirlDevice<SC>
where
    SC: PackedConfig,
    SC::F: Ord,
    SC::EF: TwoAdicField + ExtensionField<SC::F> + Ord,
    TS: FiatShamirTranscript<SC>,
{
    type Error = SwirlError;
    type DeviceCtx = ();

    fn device_ctx(&self) -> &() {
        &()
    }
}

impl<SC: PackedConfig> TraceCommitter<CpuBackend<SC>> for SwirlDevice<SC>
where
    SC::F: Ord,
{
    type Error = SwirlError;

    fn commit(&self, traces: &[&RowMajorMatrix<SC::F>]) -> Result<(SC::Digest, PcsData<SC>), SwirlError> {
        commit::commit(self.config(), traces)
    }
}

impl<SC, TS> MultiRapProver<CpuBackend<SC>, TS> for SwirlDevice<SC>
where
    SC: PackedConfig,
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
    TS: FiatShamirTranscript<SC>,
{
    type PartialProof = (GkrProof<SC>, BatchConstraintProof<SC>);
    /// The point at which the columns are to be opened: first the univariate coordinate.
    type Artifacts = Vec<SC::EF>;
    type Error = SwirlError;

    fn prove_rap_constraints(
        &self,
        transcript: &mut TS,
        mpk: &DeviceMultiStarkProvingKey<CpuBackend<SC>>,
        ctx: &ProvingContext<CpuBackend<SC>>,
        common_main_pcs_data: &PcsData<SC>,
    ) -> Result<((GkrProof<SC>, BatchConstraintProof<SC>), Vec<SC::EF>), SwirlError> {
        context::check::<SC>(self.params(), mpk, ctx)?;
        let heights: Vec<usize> = ctx.per_trace.iter().map(|(_, trace)| height(trace)).collect();
        let kept = Kept::DEFAULT;
        let (proof, point, _) =
            constraints::prove(transcript, mpk, ctx, &heights, common_main_pcs_data, kept)?;
        Ok((proof, point))
    }
}

impl<SC, TS> OpeningProver<CpuBackend<SC>, TS> for SwirlDevice<SC>
where
    SC: PackedConfig,
    SC::F: Ord,
    SC::EF: TwoAdicField + ExtensionField<SC::F> + Ord,
    TS: FiatShamirTranscript<SC>,
{
    type OpeningProof = (StackingProof<SC>, WhirProof<SC>);
    type OpeningPoints = Vec<SC::EF>;
    type Error = SwirlError;

    fn prove_openings(
        &self,
        transcript: &mut TS,
        mpk: &DeviceMultiStarkProvingKey<CpuBackend<SC>>,
        ctx: ProvingContext<CpuBackend<SC>>,
        common_main_pcs_data: PcsData<SC>,
        point: Vec<SC::EF>,
    ) -> Result<(StackingProof<SC>, WhirProof<SC>), SwirlError> {
        context::check::<SC>(self.params(), mpk, &ctx)?;
        let highest = ctx.per_trace.iter().map(|(_, trace)| height(trace)).max();
        let variables = log2_strict_usize(highest.unwrap_or(1)).saturating_sub(self.params().l_skip);
        if point.len() <= variables {
            return Err(SwirlError::Point {
                given: point.len(),
                needed: 1 + variables,
            });
        }
        opening::prove(
            self.config(),
            transcript,
            mpk,
            ctx,
            common_main_pcs_data,
            point,
            vec![],
        )
    }
}

impl<SC: StarkProtocolConfig> DeviceDataTransporter<SC, CpuBackend<SC>> for SwirlDevice<SC> {
    fn transport_pk_to_device(
        &self,
        mpk: &MultiStarkProvingKey<SC>,
    ) -> DeviceMultiStarkProvingKey<CpuBackend<SC>> {
        let per_air = mpk
            .per_air
            .iter()
            .map(|key| DeviceStarkProvingKey {
                air_name: key.air_name.clone(),
                vk: key.vk.clone(),
                preprocessed_data: key.preprocessed_data.as_ref().map(|data| {
                    let trace = data.mat_view(0);
                    CommittedTraceData {
                        commitment: data.tree.root().expect("a tree has a root"),
                        trace: trace.to_row_major_matrix(),
                        data: Arc::new(commit::lean::<SC>(data)),
                    }
                }),
                other_data: (),
            })
            .collect();
        DeviceMultiStarkProvingKey::new(
            per_air,
            mpk.trace_height_constraints.clone(),
            mpk.max_constraint_degree,
            mpk.params.clone(),
            mpk.vk_pre_hash,
        )
    }

    fn transport_matrix_to_device(&self, matrix: &ColMajorMatrix<SC::F>) -> RowMajorMatrix<SC::F> {
        self.stock.transport_matrix_to_device(matrix)
    }

    fn transport_pcs_data_to_device(&self, pcs_data: &StackedPcsData<SC::F, SC::Digest>) -> PcsData<SC> {
        commit::lean::<SC>(pcs_data)
    }

    fn transport_matrix_from_device_to_host(&self, matrix: &RowMajorMatrix<SC::F>) -> ColMajorMatrix<SC::F> {
        self.stock.transport_matrix_from_device_to_host(matrix)
    }
}
