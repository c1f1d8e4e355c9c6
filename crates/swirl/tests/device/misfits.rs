//! A context that does not fit its key is refused with the reason. It is not proven, and does not
//! end the process.

use myriad_swirl::{SwirlEngine, SwirlError};
use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    StarkEngine,
    keygen::types::LinearConstraint,
    p3_field::PrimeCharacteristicRing,
    p3_matrix::dense::RowMajorMatrix,
    prover::{DeviceDataTransporter, DeviceMultiStarkProvingKey, ProvingContext, TraceCommitter},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};

use crate::common::{
    booleans::{Booleans, airs, context},
    circuit::params,
};

type Backend = CpuBackend<BabyBearPoseidon2Config>;
type Key = DeviceMultiStarkProvingKey<Backend>;

/// The error for a context or key that was spoilt.
fn refusal(spoil: impl Fn(&mut Key, &mut ProvingContext<Backend>)) -> SwirlError {
    let shape = Booleans {
        log_height: 6,
        common: 3,
        pairs: 2,
        degree: 2,
        ..Booleans::default()
    };
    let shapes = [
        Booleans {
            cached: vec![2],
            ..shape.clone()
        },
        Booleans {
            preprocessed: 1,
            ..shape.clone()
        },
        shape,
    ];
    let engine: SwirlEngine = SwirlEngine::new(params(3, 5, 1, 3));
    let (pk, _) = engine.keygen(&airs(&shapes));
    let mut pk = engine.device().transport_pk_to_device(&pk);
    let mut ctx = context(&shapes, engine.device());
    spoil(&mut pk, &mut ctx);
    engine
        .prove(&pk, ctx)
        .expect_err("a context that does not fit is not proven")
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

#[test]
fn traces_that_cannot_be_committed_to() {
    let engine: SwirlEngine = SwirlEngine::new(params(3, 5, 1, 3));
    for height in [3, 512] {
        let Err(refusal) = engine.device().commit(&[&rows(2, height)]) else {
            panic!("{height} rows are committed to");
        };
        assert!(matches!(refusal, SwirlError::Height { .. }), "{refusal}");
    }
}
