//! Reducing constraints and interactions to claims about columns.
//!
//! First, [`crate::gkr`] sums the fractions of all interactions, which leaves a claim about them at
//! a random point. One batch sumcheck proves this claim, and that all constraints vanish: a
//! univariate round ([`round0`]), then one round for each hypercube coordinate ([`fold`]). It
//! leaves the values of all columns at a random point.
//!
//! The messages are those of `openvm_cpu_backend::logup_zerocheck`; order and names are the same
//! here.

mod air;
mod batch;
mod fold;
mod leaves;
mod program;
mod round0;
mod round_polys;
pub(crate) mod sizes;
mod trace;

use std::borrow::Cow;

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    FiatShamirTranscript, StarkProtocolConfig, calculate_n_logup,
    p3_field::{ExtensionField, PrimeCharacteristicRing, TwoAdicField},
    p3_maybe_rayon::prelude::*,
    p3_util::log2_strict_usize,
    proof::{BatchConstraintProof, GkrProof},
    prover::{
        ColMajorMatrix, MatrixDimensions, ProvingContext, fractional_sumcheck_gkr::FracSumcheckProof,
        stacked_pcs::StackedLayout,
    },
};
use tracing::info_span;

use self::{
    air::Air,
    batch::{Key, Point},
    leaves::{Fractions, TraceLeaves},
    program::Context,
    trace::{Trace, columns},
};
pub(crate) use self::{air::TARGETS, fold::LOG_PAIRS, leaves::GROUPS, round0::LOG_UNITS};
use crate::{
    SwirlError,
    commit::{PcsData, Restacked, stacked},
    gkr::{self, Kept},
    packed::PackedConfig,
};

type PartialProof<SC> = (GkrProof<SC>, BatchConstraintProof<SC>);
type ProofContext<SC> = ProvingContext<CpuBackend<SC>>;
/// The proof, the point of its claims, and the stacked columns of each trace that is no common one.
type Proven<SC> = (
    PartialProof<SC>,
    Vec<<SC as StarkProtocolConfig>::EF>,
    Vec<Restacked<<SC as StarkProtocolConfig>::F>>,
);

/// Proves the constraints and interactions of `ctx`, whose traces are sorted by height, the highest
/// first; gives also the point of the claims, and the stacked columns of preprocessed and cached
/// traces, as [`opening::prove`](crate::opening::prove) takes them.
///
/// `heights` are those of the common traces, whose columns are taken from `common_main` if it has
/// them; `ctx` need not have them then.
#[expect(
    clippy::too_many_lines,
    reason = "the messages of the protocol, in their order"
)]
pub(crate) fn prove<SC, TS>(
    transcript: &mut TS,
    mpk: &Key<SC>,
    ctx: &ProofContext<SC>,
    heights: &[usize],
    common_main: &PcsData<SC>,
    kept: Kept,
) -> Result<Proven<SC>, SwirlError>
where
    SC: PackedConfig,
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
    TS: FiatShamirTranscript<SC>,
{
    let _span = info_span!("prover.rap_constraints", phase = "prover").entered();
    let l_skip = mpk.params.l_skip;
    let stacked = stack::<SC>(mpk, ctx, common_main)?;
    let airs = compile::<SC>(mpk, ctx, heights, &stacked)?;
    let n_max = airs.first().map_or(0, |air| air.trace.log_blocks());
    let mut total_interactions = 0u64;
    let meta: Vec<(usize, usize)> = airs
        .iter()
        .map(|air| {
            let count = air.dag.interactions.len();
            let log_height = log2_strict_usize(air.trace.height).max(l_skip);
            total_interactions += (count as u64) << log_height;
            (count, log_height)
        })
        .collect();
    let n_logup = calculate_n_logup(l_skip, total_interactions);
    let layout = StackedLayout::new(0, l_skip + n_logup, meta)
        .map_err(openvm_stark_backend::prover::LogupZerocheckError::from)?;

    let logup_pow_witness = transcript.grind(mpk.params.logup.pow_bits);
    let alpha = transcript.sample_ext();
    let beta = transcript.sample_ext();
    let longest = airs
        .iter()
        .flat_map(|air| air.dag.interactions.iter().map(|i| i.message.len()))
        .max()
        .unwrap_or(0);
    let beta: Vec<SC::EF> = beta.powers().take(longest + 1).collect();

    let (sums_proof, mut xi) = if total_interactions == 0 {
        let nothing = FracSumcheckProof {
            fractional_sum: (SC::EF::ZERO, SC::EF::ONE),
            claims_per_layer: vec![],
            sumcheck_polys: vec![],
        };
        (nothing, vec![])
    } else {
        let _span = info_span!("prover.rap_constraints.logup_gkr", phase = "prover").entered();
        let fractions = airs
            .iter()
            .zip(&ctx.per_trace)
            .map(|(air, (air_idx, trace_ctx))| {
                let context = Context {
                    public_values: &trace_ctx.public_values,
                    has_preprocessed: mpk.per_air[*air_idx].preprocessed_data.is_some(),
                };
                Fractions::new(air, &context, l_skip, alpha, &beta)
            })
            .collect();
        let leaves = TraceLeaves {
            airs: &airs,
            fractions,
            alpha,
            l_skip,
            log_len: l_skip + n_logup,
        };
        gkr::prove::<SC, _, _>(transcript, &leaves, kept)?
    };
    while xi.len() != l_skip + n_max.max(n_logup) {
        xi.push(transcript.sample_ext());
    }

    let (batch_constraint_proof, r) = batch::prove::<SC, TS>(
        transcript,
        mpk,
        &airs,
        &Point {
            xi,
            l_skip,
            n_logup,
            n_max,
        },
        &layout,
        &beta,
    )?;
    let gkr_proof = GkrProof::<SC> {
        logup_pow_witness,
        q0_claim: sums_proof.fractional_sum.1,
        claims_per_layer: sums_proof.claims_per_layer,
        sumcheck_polys: sums_proof.sumcheck_polys,
    };
    drop(airs);
    let others = stacked.others.into_iter().flatten();
    let others = others.map(|(_, matrix)| match matrix {
        Cow::Owned(matrix) => Some(matrix),
        Cow::Borrowed(_) => None,
    });
    Ok(((gkr_proof, batch_constraint_proof), r, others.collect()))
}

/// The stacked columns of a commitment, and how they are laid out.
type Stacked<'a, SC> = (
    &'a StackedLayout,
    Cow<'a, ColMajorMatrix<<SC as StarkProtocolConfig>::F>>,
);

/// The stacked columns of the common traces, and those of each AIR's other ones: preprocessed,
/// cached.
struct AllStacked<'a, SC: StarkProtocolConfig> {
    common: Stacked<'a, SC>,
    others: Vec<Vec<Stacked<'a, SC>>>,
}

fn stack<'a, SC: PackedConfig>(
    mpk: &'a Key<SC>,
    ctx: &'a ProofContext<SC>,
    common_main: &'a PcsData<SC>,
) -> Result<AllStacked<'a, SC>, SwirlError> {
    let _span = info_span!("stack").entered();
    let traces = ctx
        .per_trace
        .iter()
        .map(|(_, trace)| Cow::Borrowed(&trace.common_main));
    let common = (&common_main.layout, stacked::<SC>(common_main, traces)?);
    let others = ctx.per_trace.iter().map(|(air_idx, trace)| {
        let preprocessed = mpk.per_air[*air_idx].preprocessed_data.iter();
        preprocessed
            .chain(&trace.cached_mains)
            .map(|committed| {
                let data: &PcsData<SC> = &committed.data;
                Ok((
                    &data.layout,
                    stacked::<SC>(data, [Cow::Borrowed(&committed.trace)])?,
                ))
            })
            .collect::<Result<Vec<_>, SwirlError>>()
    });
    Ok(AllStacked {
        common,
        others: others.collect::<Result<_, _>>()?,
    })
}

/// Compiles the AIRs that are present and finds their columns.
fn compile<'a, SC: PackedConfig>(
    mpk: &'a Key<SC>,
    ctx: &'a ProofContext<SC>,
    heights: &[usize],
    stacked: &'a AllStacked<'a, SC>,
) -> Result<Vec<Air<'a, SC::F>>, SwirlError>
where
    SC::EF: TwoAdicField,
{
    let _span = info_span!("compile").entered();
    ctx.per_trace
        .par_iter()
        .zip(heights)
        .enumerate()
        .map(|(trace_idx, ((air_idx, trace_ctx), &height))| {
            let pk = &mpk.per_air[*air_idx];
            let misfit = |reason: String| SwirlError::Context {
                air: pk.air_name.clone(),
                reason,
            };
            let mut matrices = vec![];
            let others = pk.preprocessed_data.iter().chain(&trace_ctx.cached_mains);
            for (committed, (layout, stacked)) in others.zip(&stacked.others[trace_idx]) {
                matrices.push((
                    MatrixDimensions::height(&committed.trace),
                    columns(layout, stacked, 0),
                ));
            }
            matrices.push((height, columns(stacked.common.0, &stacked.common.1, trace_idx)));
            if let Some((other, _)) = matrices.iter().find(|(other, _)| *other != height) {
                return Err(misfit(format!(
                    "a preprocessed or cached trace has {other} rows, the common one has {height}"
                )));
            }
            let dag = &pk.vk.symbolic_constraints;
            let has_preprocessed = pk.preprocessed_data.is_some();
            program::check(
                &dag.constraints.nodes,
                has_preprocessed,
                &matrices
                    .iter()
                    .map(|(_, columns)| columns.len())
                    .collect::<Vec<_>>(),
                trace_ctx.public_values.len(),
            )
            .map_err(misfit)?;
            let matrices = matrices.into_iter().map(|(_, columns)| columns).collect();
            let context = Context {
                public_values: &trace_ctx.public_values,
                has_preprocessed,
            };
            Ok(Air::new(
                dag,
                Trace::new(height, mpk.params.l_skip, matrices),
                &context,
                pk.vk.params.need_rot,
                usize::from(pk.vk.max_constraint_degree),
            ))
        })
        .collect()
}
