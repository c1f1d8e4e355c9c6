//! The sum of the fractions of all bus interactions, proven layer by layer.
//!
//! Each layer is half as long as the one below it; the root is the sum. A sumcheck proves that a
//! layer follows from the one below, and leaves a claim about the one below at a random point
//! (Thaler's notes on GKR; Papini and Haböck, "Improving logarithmic derivative lookups using GKR",
//! ePrint 2023/1284).
//!
//! The layers are as long as the number of interactions, not as the power of two above it: the rest
//! is `0 / alpha` in the input layer, hence `0 / alpha^2`, ... above, and its part in the sums has
//! a closed form.

mod eq;
mod layer;
mod made;
mod rows;
mod sumcheck;

use openvm_stark_backend::{
    FiatShamirTranscript,
    p3_field::{ExtensionField, PrimeCharacteristicRing},
    proof::GkrLayerClaims,
    prover::{LogupZerocheckError, fractional_sumcheck_gkr::FracSumcheckProof},
};
use tracing::info_span;

pub(crate) use self::{
    eq::{LOG_BLOCK_MAX, SplitEq, small_eq},
    layer::unpack,
    made::{Added, Leaves, SINK_BYTES, Sink},
    rows::{GRID, ROW, add},
};
use self::{
    layer::{Layer, Nodes, log_packed_min},
    sumcheck::LayerSumcheck,
};
use crate::packed::{ExtPack, PackedConfig, PackedField, ext_from_fn, log_width, width};

/// The part of the tree that is kept. The proof is the same in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Packs of neighbours of the input layer that are made at once, a power of two. The lowest
    /// layers, as many as its `log2`, are made again for each round that reads them, and all but
    /// one of these are never in memory.
    pub group: usize,
}

impl Kept {
    /// All choices, the fastest first. Each takes less memory than the one before it.
    ///
    /// Groups of 4 packs take twice the memory of groups of 8, and gained no time: the time saved
    /// in making leaves is lost in moving them. Groups of 16 cost 4 to 11 % of a proof's CPU time.
    pub(crate) const ALL: [Self; 2] = [Self { group: 8 }, Self { group: 16 }];
    /// The choice where no limit is known.
    pub(crate) const DEFAULT: Self = Self::ALL[0];
}

/// The number of the lowest layers that are made from the leaves and not kept.
pub(crate) const fn made_layers(kept: Kept, log_len: usize, log_lanes: usize) -> usize {
    let made = kept.group.trailing_zeros() as usize;
    // The rounds of a layer that is made take packs, and leave packs.
    if log_len >= log_lanes + 2 + made { made } else { 0 }
}

/// Proves that the fractions sum to zero; gives also the point at which the input layer is to be
/// evaluated.
pub(crate) fn prove<SC, TS, L>(
    transcript: &mut TS,
    leaves: &L,
    kept: Kept,
) -> Result<(FracSumcheckProof<SC>, Vec<SC::EF>), LogupZerocheckError>
where
    SC: PackedConfig,
    TS: FiatShamirTranscript<SC>,
    L: Leaves<SC::F, SC::EF>,
{
    match kept.group {
        8 => prove_by::<SC, TS, L, 8>(transcript, leaves, kept),
        16 => prove_by::<SC, TS, L, 16>(transcript, leaves, kept),
        group => unreachable!("groups of {group} packs are not among the choices"),
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "the messages of the protocol, in their order"
)]
fn prove_by<SC, TS, L, const G: usize>(
    transcript: &mut TS,
    leaves: &L,
    kept: Kept,
) -> Result<(FracSumcheckProof<SC>, Vec<SC::EF>), LogupZerocheckError>
where
    SC: PackedConfig,
    TS: FiatShamirTranscript<SC>,
    L: Leaves<SC::F, SC::EF>,
{
    debug_assert_eq!(kept.group, G);
    let total = leaves.log_len();
    let made = made_layers(kept, total, log_width::<SC::F>());
    let (root, mut layers) = {
        let _span = info_span!("gkr.tree").entered();
        let mut layers = vec![if made == 0 {
            short_layer(leaves)
        } else {
            made::layer::<_, _, _, G>(leaves, made)
        }];
        while layers[layers.len() - 1].log_len > 0 {
            layers.push(layers[layers.len() - 1].parent());
        }
        (layers.pop().expect("the root is a layer"), layers)
    };
    let Nodes::Scalar { p: root_p, q: root_q } = &root.nodes else {
        unreachable!("short layers are scalar");
    };
    if root_p[0] != SC::EF::ZERO {
        return Err(LogupZerocheckError::NonZeroRootSum);
    }
    transcript.observe_ext(root_q[0]);

    let mut claims_per_layer: Vec<GkrLayerClaims<SC>> = Vec::with_capacity(total);
    let mut sumcheck_polys = Vec::with_capacity(total);
    let mut push = |transcript: &mut TS, [p0, q0, p1, q1]: [SC::EF; 4]| {
        for claim in [p0, q0, p1, q1] {
            transcript.observe_ext(claim);
        }
        claims_per_layer.push(GkrLayerClaims::<SC> {
            p_xi_0: p0,
            q_xi_0: q0,
            p_xi_1: p1,
            q_xi_1: q1,
        });
        let mu = transcript.sample_ext();
        // The claims about the layer at the point with `mu` in front.
        (mu, p0 + mu * (p1 - p0), q0 + mu * (q1 - q0))
    };
    let mut next = |above: usize| {
        layers
            .pop()
            .unwrap_or_else(|| made::layer::<_, _, _, G>(leaves, above))
    };

    let first = next(total - 1);
    let Nodes::Scalar { p, q } = &first.nodes else {
        unreachable!("short layers are scalar");
    };
    let (mu, mut claim_p, mut claim_q) = push(transcript, [p[0], q[0], p[1], q[1]]);
    let mut point = vec![mu];
    for round in 1..total {
        let above = total - round - 1;
        let _span = info_span!("gkr.layer", above).entered();
        let lambda = transcript.sample_ext();
        let claim = claim_p + lambda * claim_q;
        let mut sumcheck = if above < made.saturating_sub(1) {
            LayerSumcheck::<_, _, _, G>::made(leaves, above, &point, lambda, claim)
        } else {
            LayerSumcheck::new(next(above), &point, lambda, claim)
        };
        let mut polys = Vec::with_capacity(round);
        let mut bound = Vec::with_capacity(round + 1);
        for _ in 0..round {
            let poly = sumcheck.round();
            for value in poly {
                transcript.observe_ext(value);
            }
            polys.push(poly);
            let r = transcript.sample_ext();
            sumcheck.bind(r);
            bound.push(r);
        }
        let mu;
        (mu, claim_p, claim_q) = push(transcript, sumcheck.claims());
        bound.insert(0, mu);
        point = bound;
        sumcheck_polys.push(polys);
    }
    let proof = FracSumcheckProof {
        fractional_sum: (SC::EF::ZERO, root_q[0]),
        claims_per_layer,
        sumcheck_polys,
    };
    Ok((proof, point))
}

/// The input layer, where it is too short to be made in groups.
fn short_layer<F: PackedField, EF: ExtensionField<F>, L: Leaves<F, EF>>(leaves: &L) -> Layer<F, EF> {
    let (log_len, pad) = (leaves.log_len(), leaves.pad());
    let (mut p, mut q) = leaves.short();
    p.resize(1 << log_len, F::ZERO);
    q.resize(1 << log_len, pad);
    let nodes = if log_len < log_packed_min::<F>() {
        Nodes::Scalar {
            p: p.into_iter().map(EF::from).collect(),
            q,
        }
    } else {
        let packed = |of: &dyn Fn(usize) -> EF| -> Vec<ExtPack<F, EF>> {
            let packs = 0..1 << (log_len - log_width::<F>());
            let pack = |v: usize| ext_from_fn::<F, EF>(|lane| of(v * width::<F>() + lane));
            packs.map(pack).collect()
        };
        Nodes::Packed {
            p: packed(&|i| p[i].into()),
            q: packed(&|i| q[i]),
            phase: 0,
        }
    };
    Layer { log_len, nodes, pad }
}

#[cfg(test)]
mod tests;
