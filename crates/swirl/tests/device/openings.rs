//! Commitments, and what opens them, are those of OpenVM's CPU device, for traces of many shapes.
//!
//! Neither looks at constraints, so the tests take random traces and points.

use std::sync::Arc;

use myriad_swirl::SwirlDevice;
use openvm_cpu_backend::{CpuBackend, CpuDevice};
use openvm_stark_backend::{
    AirRef, BaseAirWithPublicValues, FiatShamirTranscript, PartitionedBaseAir, StarkEngine, SystemParams,
    WhirConfig, WhirParams, WhirProximityStrategy,
    air_builders::PartitionedAirBuilder,
    codec::Encode,
    interaction::LogUpSecurityParameters,
    p3_air::{Air, BaseAir},
    p3_field::{BasedVectorSpace, PrimeCharacteristicRing},
    p3_matrix::{Matrix, dense::RowMajorMatrix},
    proof::{StackingProof, WhirProof},
    prover::{
        AirProvingContext, CommittedTraceData, DeviceDataTransporter, OpeningProver, ProvingContext,
        TraceCommitter,
    },
};
use openvm_stark_sdk::{
    config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, BabyBearPoseidon2CpuEngine, Digest, EF, F},
    p3_baby_bear::default_babybear_poseidon2_16,
};

use crate::common::transcript::SmallestWitness;

/// A trace: width, log2 of the height, whether rotated, and the widths of cached traces.
#[derive(Clone)]
struct Trace {
    width: usize,
    log_height: usize,
    rotated: bool,
    cached: Vec<usize>,
}

struct Columns(Trace);

impl BaseAir<F> for Columns {
    fn width(&self) -> usize {
        self.0.width + self.0.cached.iter().sum::<usize>()
    }
}
impl BaseAirWithPublicValues<F> for Columns {}
impl PartitionedBaseAir<F> for Columns {
    fn cached_main_widths(&self) -> Vec<usize> {
        self.0.cached.clone()
    }

    fn common_main_width(&self) -> usize {
        self.0.width
    }
}
impl<AB: PartitionedAirBuilder<F = F>> Air<AB> for Columns {
    fn eval(&self, builder: &mut AB) {
        let [here, next] =
            [0, 1].map(|row| builder.common_main().row_slice(row).expect("two rows")[0].clone());
        builder.assert_bool(here.clone());
        if self.0.rotated {
            builder.assert_eq(here, next);
        }
    }
}

fn elements(seed: usize, count: usize) -> Vec<F> {
    let mut state = seed as u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        F::from_u32((state >> 34) as u32)
    };
    (0..count).map(|_| next()).collect()
}

fn run<D>(
    device: &D,
    params: &SystemParams,
    traces: &[Trace],
) -> (Digest, (StackingProof<SC>, WhirProof<SC>), F)
where
    D: TraceCommitter<CpuBackend<SC>> + DeviceDataTransporter<SC, CpuBackend<SC>>,
    D: OpeningProver<
            CpuBackend<SC>,
            SmallestWitness,
            OpeningPoints = Vec<EF>,
            OpeningProof = (StackingProof<SC>, WhirProof<SC>),
        >,
{
    let engine: BabyBearPoseidon2CpuEngine = BabyBearPoseidon2CpuEngine::new(params.clone());
    let airs: Vec<AirRef<SC>> = traces
        .iter()
        .map(|t| Arc::new(Columns(t.clone())) as AirRef<SC>)
        .collect();
    let (pk, _) = engine.keygen(&airs);
    let pk = device.transport_pk_to_device(&pk);
    let matrix =
        |seed, width: usize, log_height| RowMajorMatrix::new(elements(seed, width << log_height), width);
    let mains: Vec<RowMajorMatrix<F>> = traces
        .iter()
        .enumerate()
        .map(|(air, trace)| matrix(air, trace.width, trace.log_height))
        .collect();
    let (root, data) = device
        .commit(&mains.iter().collect::<Vec<_>>())
        .expect("the traces fit");
    let context = ProvingContext::new(
        mains
            .into_iter()
            .zip(traces)
            .enumerate()
            .map(|(air, (common_main, shape))| {
                let cached_mains = shape.cached.iter().enumerate().map(|(i, &width)| {
                    let trace = matrix(100 * air + i + 7, width, shape.log_height);
                    let (commitment, data) = device.commit(&[&trace]).expect("the trace fits");
                    CommittedTraceData {
                        commitment,
                        trace,
                        data: Arc::new(data),
                    }
                });
                let context = AirProvingContext::new(cached_mains.collect(), common_main, vec![]);
                (air, context)
            })
            .collect(),
    );
    let point = elements(12345, 4 * (params.n_stack + 1));
    let point = point
        .chunks_exact(4)
        .map(|c| EF::from_basis_coefficients_fn(|d| c[d]))
        .collect();
    let mut transcript = SmallestWitness::from(default_babybear_poseidon2_16());
    let proof = device
        .prove_openings(&mut transcript, &pk, context, data, point)
        .unwrap_or_else(|e| panic!("the columns do not open: {e:?}"));
    (root, proof, transcript.sample())
}

fn params(l_skip: usize, n_stack: usize, log_blowup: usize, k: usize) -> SystemParams {
    SystemParams {
        l_skip,
        n_stack,
        w_stack: 1 << 12,
        log_blowup,
        whir: WhirConfig::new(
            log_blowup,
            l_skip + n_stack,
            WhirParams {
                k,
                log_final_poly_len: 3,
                query_phase_pow_bits: 2,
                proximity: WhirProximityStrategy::UniqueDecoding,
                folding_pow_bits: 1,
                mu_pow_bits: 3,
            },
            40,
        ),
        logup: LogUpSecurityParameters {
            max_interaction_count: 1 << 20,
            log_max_message_length: 4,
            pow_bits: 1,
        },
        max_constraint_degree: 3,
    }
}

#[test]
fn commitments_and_openings_are_those_of_openvm() {
    let trace = |width, log_height, rotated, cached: &[usize]| Trace {
        width,
        log_height,
        rotated,
        cached: cached.to_vec(),
    };
    let many = [
        trace(5, 9, true, &[]),
        trace(3, 9, false, &[2, 7]),
        trace(17, 7, true, &[4]),
        trace(1, 5, false, &[]),
        trace(2, 4, true, &[3]),
        trace(6, 3, true, &[]),
        trace(40, 1, false, &[]),
        trace(3, 0, true, &[1]),
    ];
    for (l_skip, n_stack, log_blowup, k) in [
        (4, 5, 1, 4),
        (2, 7, 2, 2),
        (4, 9, 2, 4),
        (3, 8, 3, 3),
        (0, 9, 1, 4),
        (4, 10, 1, 1),
    ] {
        let params = params(l_skip, n_stack, log_blowup, k);
        for traces in [&many[..], &many[2..], &many[..1], &many[6..], &many[3..5]] {
            let expected = run(
                &CpuDevice::new(SC::default_from_params(params.clone())),
                &params,
                traces,
            );
            let actual = run(
                &SwirlDevice::new(SC::default_from_params(params.clone())),
                &params,
                traces,
            );
            let what = format!(
                "l_skip {l_skip}, n_stack {n_stack}, blow-up 2^{log_blowup}, k {k}, {} traces",
                traces.len()
            );
            assert_eq!(actual.0, expected.0, "commitment: {what}");
            let bytes = |proof: &StackingProof<SC>| proof.encode_to_vec().unwrap();
            assert!(
                bytes(&actual.1.0) == bytes(&expected.1.0),
                "stacked reduction: {what}"
            );
            let bytes = |proof: &WhirProof<SC>| proof.encode_to_vec().unwrap();
            assert!(bytes(&actual.1.1) == bytes(&expected.1.1), "WHIR: {what}");
            assert_eq!(actual.2, expected.2, "transcript: {what}");
        }
    }
}
