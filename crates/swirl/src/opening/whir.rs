//! Opening the stacked columns of all commitments at one point: WHIR.
//!
//! The protocol is that of `prove_whir_opening` of `openvm-stark-backend`, message by message
//! (Arnon, Chiesa, Fenzi, Yogev: "WHIR: Reed-Solomon Proximity Testing with Super-Fast
//! Verification", ePrint 2024/1586). The computation differs:
//!
//! - columns are batched before anything is computed on them, since all of it is linear: one vector
//!   becomes evaluations on the hypercube, instead of every column;
//! - sumchecks run over packed elements in place;
//! - no codeword is kept: queried rows are computed again from the messages;
//! - the weights of a round's queries are added up as products of two tables of square-root size.

use openvm_stark_backend::{
    FiatShamirTranscript, StarkProtocolConfig, SystemParams,
    p3_field::{BasedVectorSpace, ExtensionField, PrimeCharacteristicRing, TwoAdicField},
    p3_maybe_rayon::prelude::*,
    p3_util::log2_strict_usize,
    proof::{MerkleProof, WhirProof},
    prover::{MatrixDimensions, error::WhirProverError},
};
use tracing::info_span;

use super::{
    Stacked, batch,
    packed::{Values, fold_both, product_round},
    weights,
};
use crate::{
    PackedConfig,
    commit::{encode, message::Chunks, open},
};

/// A codeword of extension elements: the messages of their basis coefficients and the tree.
struct Folded<SC: StarkProtocolConfig> {
    messages: Vec<Vec<SC::F>>,
    log_blowup: usize,
    layers: Vec<Vec<SC::Digest>>,
}

#[expect(
    clippy::too_many_lines,
    reason = "the messages of the protocol, in their order"
)]
pub(crate) fn prove<SC, TS>(
    transcript: &mut TS,
    params: &SystemParams,
    hasher: &SC::Hasher,
    commitments: &[Stacked<SC>],
    point: &[SC::EF],
) -> Result<WhirProof<SC>, WhirProverError>
where
    SC: PackedConfig,
    SC::EF: TwoAdicField + ExtensionField<SC::F>,
    TS: FiatShamirTranscript<SC>,
{
    let whir = &params.whir;
    let mu_pow_witness = transcript.grind(whir.mu_pow_bits);
    let mu: SC::EF = transcript.sample_ext();

    let columns: Vec<&[SC::F]> = commitments.iter().flat_map(Stacked::columns).collect();
    let mut m = log2_strict_usize(commitments[0].matrix.height());
    let mut log_domain = m + params.log_blowup;
    let rows = 1usize << whir.k;

    let mut f: Values<SC::F, SC::EF> =
        info_span!("whir_batch").in_scope(|| batch::hypercube_values(&columns, mu, params.l_skip));
    let mobius: Vec<_> = point.iter().map(|&u| (SC::EF::ONE - u.double(), u)).collect();
    let mut w = Values::products(&mobius);

    let mut proof = WhirProof::<SC> {
        mu_pow_witness,
        whir_sumcheck_polys: Vec::new(),
        codeword_commits: Vec::new(),
        ood_values: Vec::new(),
        folding_pow_witnesses: Vec::new(),
        query_phase_pow_witnesses: Vec::new(),
        initial_round_opened_rows: Vec::new(),
        initial_round_merkle_proofs: Vec::new(),
        codeword_opened_values: Vec::new(),
        codeword_merkle_proofs: Vec::new(),
        final_poly: Vec::new(),
    };
    let mut previous: Option<Folded<SC>> = None;

    for (round, config) in whir.rounds.iter().enumerate() {
        let last = round + 1 == whir.num_whir_rounds();
        info_span!("whir_sumcheck", round).in_scope(|| {
            for _ in 0..whir.k {
                let evaluations = product_round(&mut f, &mut w);
                for evaluation in evaluations {
                    transcript.observe_ext(evaluation);
                }
                proof.whir_sumcheck_polys.push(evaluations);
                proof
                    .folding_pow_witnesses
                    .push(transcript.grind(whir.folding_pow_bits));
                let alpha: SC::EF = transcript.sample_ext();
                let values = core::mem::replace(&mut f, Values::Plain(Vec::new()));
                let weights = core::mem::replace(&mut w, Values::Plain(Vec::new()));
                (f, w) = fold_both(values, weights, alpha);
            }
        });
        m -= whir.k;

        // Multilinear coefficients of the folded polynomial, which are the coefficients of a
        // univariate one.
        let mut messages = f.to_planes();
        messages.par_iter_mut().for_each(|plane| batch::moebius(plane));
        let coefficient = |i: usize| SC::EF::from_basis_coefficients_fn(|d| messages[d][i]);
        let mut next = None;
        let mut out_of_domain = None;
        if last {
            proof.final_poly = (0..1 << m).map(coefficient).collect();
            for &coefficient in &proof.final_poly {
                transcript.observe_ext(coefficient);
            }
        } else {
            let log_blowup = log_domain - 1 - m;
            let layers = info_span!("whir_encode_and_hash", round).in_scope(|| {
                let messages: Vec<&[SC::F]> = messages.iter().map(Vec::as_slice).collect();
                encode::tree(hasher, &messages, log_blowup, rows)
            });
            let root = layers[layers.len() - 1][0];
            transcript.observe_commit(root);
            proof.codeword_commits.push(root);

            let z: SC::EF = transcript.sample_ext();
            let value = (0..1usize << m)
                .rev()
                .fold(SC::EF::ZERO, |sum, i| sum * z + coefficient(i));
            transcript.observe_ext(value);
            proof.ood_values.push(value);
            out_of_domain = Some(z);
            next = Some(Folded {
                messages,
                log_blowup,
                layers,
            });
        }

        proof
            .query_phase_pow_witnesses
            .push(transcript.grind(whir.query_phase_pow_bits));
        let queries: Vec<usize> = (0..config.num_queries)
            .map(|_| transcript.sample_bits(log_domain - whir.k) as usize)
            .collect();
        info_span!("whir_open", round).in_scope(|| match &previous {
            None => {
                for data in commitments {
                    let rows = open_commitment::<SC>(data, params, &queries);
                    proof.initial_round_opened_rows.push(rows);
                    proof
                        .initial_round_merkle_proofs
                        .push(paths(data.layers, &queries));
                }
            }
            Some(codeword) => {
                proof
                    .codeword_opened_values
                    .push(open_folded(codeword, rows, &queries));
                proof
                    .codeword_merkle_proofs
                    .push(paths(&codeword.layers, &queries));
            }
        });
        previous = next;

        let gamma: SC::EF = transcript.sample_ext();
        if let Some(z) = out_of_domain {
            info_span!("whir_weights", round).in_scope(|| {
                let omega = SC::F::two_adic_generator(log_domain - whir.k);
                let points: Vec<(SC::F, SC::EF)> = queries
                    .iter()
                    .map(|&query| omega.exp_u64(query as u64))
                    .zip(gamma.powers().skip(2))
                    .collect();
                weights::add(&mut w, m, (z, gamma), &points);
            });
        }
        log_domain -= 1;
    }
    if proof.final_poly.is_empty() {
        return Err(WhirProverError::FinalPolyNone);
    }
    Ok(proof)
}

/// Columns whose queried rows are computed at once, however many threads there are: for each, the
/// prover takes the memory of two. More threads work on the same columns.
pub(crate) const OPENED_AT_ONCE: usize = 4;

/// For each query, the rows of the commitment's codeword that its leaf holds.
fn open_commitment<SC: PackedConfig>(
    data: &Stacked<SC>,
    params: &SystemParams,
    queries: &[usize],
) -> Vec<Vec<Vec<SC::F>>> {
    let rows = 1usize << params.k_whir();
    let chunks = Chunks::new(params.l_skip);
    let all: Vec<&[SC::F]> = data.columns().collect();
    let columns: Vec<Vec<Vec<SC::F>>> = if current_num_threads() <= OPENED_AT_ONCE {
        let open = |column: &&[SC::F]| {
            let mut message = column.to_vec();
            chunks.encode_alone(&mut message);
            open::open(&message, params.log_blowup, rows, queries)
        };
        all.par_iter().map(open).collect()
    } else {
        let open = |column: &&[SC::F]| {
            let mut message = column.to_vec();
            chunks.encode(&mut message);
            open::open_together(&message, params.log_blowup, rows, queries)
        };
        all.chunks(OPENED_AT_ONCE)
            .flat_map(|some| some.par_iter().map(open).collect::<Vec<_>>())
            .collect()
    };
    (0..queries.len())
        .map(|query| {
            (0..rows)
                .map(|t| columns.iter().map(|column| column[query][t]).collect())
                .collect()
        })
        .collect()
}

/// For each query, the values of the codeword that its leaf holds.
fn open_folded<SC: StarkProtocolConfig>(
    codeword: &Folded<SC>,
    rows: usize,
    queries: &[usize],
) -> Vec<Vec<SC::EF>> {
    let planes: Vec<Vec<Vec<SC::F>>> = codeword
        .messages
        .par_iter()
        .map(|message| open::open(message, codeword.log_blowup, rows, queries))
        .collect();
    (0..queries.len())
        .map(|query| {
            (0..rows)
                .map(|t| SC::EF::from_basis_coefficients_fn(|d| planes[d][query][t]))
                .collect()
        })
        .collect()
}

/// The siblings on the way from each queried leaf to the root.
fn paths<D: Copy>(layers: &[Vec<D>], queries: &[usize]) -> Vec<MerkleProof<D>> {
    let below_root = &layers[..layers.len() - 1];
    queries
        .iter()
        .map(|&query| {
            below_root
                .iter()
                .enumerate()
                .map(|(i, layer)| layer[query >> i ^ 1])
                .collect()
        })
        .collect()
}
