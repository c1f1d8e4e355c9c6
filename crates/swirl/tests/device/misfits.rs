//! A context that does not fit its key is refused with the reason. It is not proven, and does not
//! end the process.

use std::sync::Arc;

use myriad_swirl::{SwirlEngine, SwirlError};
use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    StarkEngine, SystemParams,
    keygen::types::LinearConstraint,
    p3_field::PrimeCharacteristicRing,
    p3_matrix::dense::RowMajorMatrix,
    prover::{
        DeviceDataTransporter, DeviceMultiStarkProvingKey, MultiRapProver, OpeningProver, ProvingContext,
        TraceCommitter,
    },
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, EF, F};

use crate::common::{
    booleans::{Booleans, airs, context},
    circuit::params,
};

type Backend = CpuBackend<BabyBearPoseidon2Config>;
type Key = DeviceMultiStarkProvingKey<Backend>;

/// Three AIRs of 64 rows. Their common traces fill three stacked columns of 256 rows, and the
/// cached and the preprocessed one a column each.
fn shapes() -> [Booleans; 3] {
    let shape = Booleans {
        log_height: 6,
        common: 3,
        pairs: 2,
        degree: 2,
        ..Booleans::default()
    };
    [
        Booleans {
            cached: vec![2],
            ..shape.clone()
        },
        Booleans {
            preprocessed: 1,
            ..shape.clone()
        },
        shape,
    ]
}

/// The error for a context or key that was spoilt.
fn refusal(spoil: impl Fn(&mut Key, &mut ProvingContext<Backend>)) -> SwirlError {
    let shapes = shapes();
    let engine: SwirlEngine = SwirlEngine::new(params(3, 5, 1, 3));
    let (pk, _) = engine.keygen(&airs(&shapes));
    let mut pk = engine.device().transport_pk_to_device(&pk);
    let mut ctx = context(&shapes, engine.device());
    spoil(&mut pk, &mut ctx);
    let Err(refusal) = engine.prove(&pk, ctx) else {
        panic!("a context that does not fit is proven");
    };
    refusal
}

fn rows(width: usize, height: usize) -> RowMajorMatrix<F> {
    RowMajorMatrix::new(F::zero_vec(width * height), width)
}

#[test]
fn heights_that_no_trace_can_have() {
    for (height, max) in [(3, 256), (0, 256), (512, 256)] {
        let refusal = refusal(|_, ctx| ctx.per_trace[2].1.common_main = rows(3, height));
        let SwirlError::Height {
            height: said,
            max: allowed,
            ..
        } = refusal
        else {
            panic!("{height} rows: {refusal}");
        };
        assert_eq!((said, allowed), (height, max));
    }
}

#[test]
fn heights_that_pass_a_limit_together() {
    // 64 rows twice, and 64 rows that count twice.
    let limited = |threshold| {
        move |pk: &mut Key, _: &mut ProvingContext<Backend>| {
            pk.trace_height_constraints = vec![LinearConstraint {
                coefficients: vec![1, 1, 2],
                threshold,
            }];
        }
    };
    let refusal = refusal(limited(256));
    assert!(
        matches!(refusal, SwirlError::Heights { sum: 256, limit: 256 }),
        "{refusal}"
    );
}

#[test]
fn stacked_columns_that_pass_the_limit_together() {
    const COLUMNS: usize = 5;
    for w_stack in [COLUMNS, COLUMNS - 1] {
        let params = SystemParams {
            w_stack,
            ..params(3, 5, 1, 3)
        };
        let engine: SwirlEngine = SwirlEngine::new(params);
        let (pk, vk) = engine.keygen(&airs(&shapes()));
        let pk = engine.device().transport_pk_to_device(&pk);
        let proof = engine.prove(&pk, context(&shapes(), engine.device()));
        let peak = engine.device().memory_model(&pk).peak(&[64; 3], 1);
        if w_stack == COLUMNS {
            engine
                .verify(&vk, &proof.expect("the columns are allowed"))
                .expect("the proof verifies");
            peak.expect("the columns are allowed");
            continue;
        }
        for refusal in [proof.err(), peak.err()] {
            assert!(
                matches!(
                    refusal,
                    Some(SwirlError::Width {
                        columns: COLUMNS,
                        max: 4
                    })
                ),
                "{refusal:?}"
            );
        }
    }
}

#[test]
fn heights_that_the_memory_model_knows_to_be_refused() {
    let engine: SwirlEngine = SwirlEngine::new(params(3, 5, 1, 3));
    let (pk, _) = engine.keygen(&airs(&shapes()));
    let mut pk = engine.device().transport_pk_to_device(&pk);
    // A height of one row counts as the eight rows that are skipped at once, and 33 as 64.
    let heights = [33, 0, 1];
    for (threshold, refused) in [(81, false), (80, true)] {
        pk.trace_height_constraints = vec![LinearConstraint {
            coefficients: vec![1, 1, 2],
            threshold,
        }];
        match engine.device().memory_model(&pk).peak(&heights, 1) {
            Ok(_) if !refused => {}
            Err(SwirlError::Heights { sum: 80, limit: 80 }) if refused => {}
            other => panic!("a limit of {threshold}: {other:?}"),
        }
    }
}

#[test]
fn rows_of_which_there_is_no_proof() {
    let shapes = [Booleans {
        log_height: 0,
        common: 3,
        degree: 2,
        ..Booleans::default()
    }];
    let engine: SwirlEngine = SwirlEngine::new(params(0, 8, 1, 3));
    let (pk, _) = engine.keygen(&airs(&shapes));
    let pk = engine.device().transport_pk_to_device(&pk);
    let refusal = engine.prove(&pk, context(&shapes, engine.device()));
    assert!(matches!(refusal, Err(SwirlError::Airs(_))));
    let refusal = engine.device().memory_model(&pk).peak(&[1], 1);
    assert!(matches!(refusal, Err(SwirlError::Airs(_))), "{refusal:?}");
}

#[test]
fn keys_of_other_parameters() {
    let spoils: [fn(&mut SystemParams); 4] = [
        |params| params.w_stack += 1,
        |params| params.log_blowup += 1,
        |params| params.whir.mu_pow_bits += 1,
        |params| params.logup.pow_bits += 1,
    ];
    for spoil in spoils {
        let refusal = refusal(|pk, _| spoil(&mut pk.params));
        assert!(matches!(refusal, SwirlError::Params(_)), "{refusal}");
    }
}

#[test]
fn airs_that_the_key_does_not_have_or_has_once() {
    let spoils: [fn(&mut Key, &mut ProvingContext<Backend>); 4] = [
        |_, ctx| ctx.per_trace[1].0 = 7,
        |_, ctx| ctx.per_trace[1].0 = 2,
        |_, ctx| ctx.per_trace.clear(),
        |pk, ctx| {
            pk.per_air[0].vk.is_required = true;
            ctx.per_trace.remove(0);
        },
    ];
    for spoil in spoils {
        let refusal = refusal(spoil);
        assert!(matches!(refusal, SwirlError::Airs(_)), "{refusal}");
    }
}

#[test]
fn traces_that_their_air_cannot_have() {
    let spoils: [fn(&mut Key, &mut ProvingContext<Backend>); 5] = [
        |_, ctx| ctx.per_trace[2].1.common_main = rows(4, 64),
        |_, ctx| ctx.per_trace[1].1.common_main = rows(3, 32),
        |_, ctx| ctx.per_trace[0].1.cached_mains.clear(),
        |_, ctx| ctx.per_trace[0].1.cached_mains[0].trace = rows(2, 16),
        |_, ctx| ctx.per_trace[2].1.public_values.push(F::ONE),
    ];
    for spoil in spoils {
        let refusal = refusal(spoil);
        assert!(matches!(refusal, SwirlError::Context { .. }), "{refusal}");
    }
}

/// A commitment that another device, or this one for other traces, made.
#[test]
fn commitments_that_are_not_those_of_their_traces() {
    let with = |params: SystemParams, traces: &[&RowMajorMatrix<F>]| {
        let engine: SwirlEngine = SwirlEngine::new(params);
        let (_, data) = engine.device().commit(traces).expect("the traces fit");
        data
    };
    let usual = || params(3, 5, 1, 3);
    let (trace, other) = (rows(2, 64), rows(1, 64));
    let spoilt = [
        ("columns", with(usual(), &[&other])),
        ("two traces", with(usual(), &[&other, &other])),
        ("rows", with(usual(), &[&rows(2, 32)])),
        ("stacked rows", with(params(3, 6, 1, 3), &[&trace])),
        ("skipped rows", with(params(2, 6, 1, 3), &[&trace])),
        ("leaves", with(params(3, 5, 2, 3), &[&trace])),
        ("rows of a query", {
            let mut params = usual();
            params.whir.k = 2;
            with(params, &[&trace])
        }),
    ];
    for (what, data) in spoilt {
        let root = data.tree.root().expect("a tree has a root");
        let data = Arc::new(data);
        let refusal = refusal(|_, ctx| {
            let cached = &mut ctx.per_trace[0].1.cached_mains[0];
            (cached.commitment, cached.data) = (root, Arc::clone(&data));
        });
        assert!(matches!(refusal, SwirlError::Context { .. }), "{what}: {refusal}");
    }
    let refusal = refusal(|_, ctx| {
        let [cached] = &mut ctx.per_trace[0].1.cached_mains[..] else {
            panic!("there is one cached trace");
        };
        cached.commitment[0] += F::ONE;
    });
    assert!(matches!(refusal, SwirlError::Context { .. }), "{refusal}");
}

/// The phases that OpenVM's `Coordinator` calls one by one refuse what no proof has, too.
#[test]
fn phases_that_are_given_what_does_not_fit() {
    let engine: SwirlEngine = SwirlEngine::new(params(3, 5, 1, 3));
    let device = engine.device();
    let (pk, _) = engine.keygen(&airs(&shapes()));
    let pk = device.transport_pk_to_device(&pk);
    let commit = || {
        let (_, data) = device.commit(&[&rows(3, 64)]).expect("the trace fits");
        data
    };
    let mut ctx = context(&shapes(), device);
    ctx.per_trace[0].1.common_main = RowMajorMatrix::new(vec![], 0);
    let mut transcript = engine.initial_transcript();
    let refusal = device
        .prove_rap_constraints(&mut transcript, &pk, &ctx, &commit())
        .expect_err("a trace without columns is not proven");
    assert!(
        matches!(refusal, SwirlError::Height { height: 0, .. }),
        "{refusal}"
    );
    // The univariate coordinate, and one for each of the eight blocks' bits.
    let point = vec![EF::ONE; 3];
    let refusal = device
        .prove_openings(&mut transcript, &pk, context(&shapes(), device), commit(), point)
        .expect_err("a point that lacks a coordinate opens nothing");
    assert!(
        matches!(refusal, SwirlError::Point { given: 3, needed: 4 }),
        "{refusal}"
    );
}

#[test]
fn traces_that_cannot_be_committed_to() {
    let engine: SwirlEngine = SwirlEngine::new(params(3, 5, 1, 3));
    let Err(refusal) = engine.device().commit(&[]) else {
        panic!("no trace is committed to");
    };
    assert!(matches!(refusal, SwirlError::Airs(_)), "{refusal}");
    for height in [3, 512] {
        let Err(refusal) = engine.device().commit(&[&rows(2, height)]) else {
            panic!("{height} rows are committed to");
        };
        assert!(matches!(refusal, SwirlError::Height { .. }), "{refusal}");
    }
}
