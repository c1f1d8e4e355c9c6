//! The proofs are byte for byte those of OpenVM's CPU backend.

use myriad_swirl::{SwirlEngine, SwirlError};
use openvm_stark_backend::{
    StarkEngine, SystemParams,
    codec::Encode,
    prover::{DeviceDataTransporter, Prover},
};
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security, baby_bear_poseidon2::BabyBearPoseidon2CpuEngine,
};

use crate::common::{
    booleans::{Booleans, airs, context},
    circuit::{Circuit, Random, Shape, params},
    transcript::SmallestWitness,
};

type Stock = BabyBearPoseidon2CpuEngine<SmallestWitness>;
type Ours = SwirlEngine<SmallestWitness>;

/// Proves with both and compares.
fn compare(circuit: &Circuit, params: &SystemParams, what: &str) {
    let (stock, ours) = (Stock::new(params.clone()), Ours::new(params.clone()));
    let (pk, vk) = stock.keygen(&circuit.airs());
    let expected = stock
        .prove(
            &stock.device().transport_pk_to_device(&pk),
            circuit.context(stock.device()),
        )
        .unwrap_or_else(|e| panic!("{what}: the stock device refuses: {e}"));
    stock
        .verify(&vk, &expected)
        .unwrap_or_else(|e| panic!("{what}: the stock proof does not verify: {e}"));
    let actual = ours
        .prove(
            &ours.device().transport_pk_to_device(&pk),
            circuit.context(ours.device()),
        )
        .unwrap_or_else(|e| panic!("{what}: our device refuses: {e}"));
    let kept = ours
        .prover()
        .prove(
            &ours.device().transport_pk_to_device(&pk),
            circuit.context(ours.device()),
        )
        .unwrap_or_else(|e| panic!("{what}: our device refuses where it does not own the traces: {e}"));
    assert!(same(&kept, &actual), "{what}: it matters who owns the traces");
    if same(&expected, &actual) {
        return;
    }
    // The first part that differs says in which phase to look.
    let same = [
        (
            "commitment",
            expected.common_main_commit == actual.common_main_commit,
        ),
        ("fraction sums", same(&expected.gkr_proof, &actual.gkr_proof)),
        (
            "constraints",
            same(&expected.batch_constraint_proof, &actual.batch_constraint_proof),
        ),
        ("stacking", same(&expected.stacking_proof, &actual.stacking_proof)),
        ("WHIR", same(&expected.whir_proof, &actual.whir_proof)),
    ];
    panic!("{what}: the proofs differ; parts that are the same: {same:?}");
}

fn same<T: Encode>(a: &T, b: &T) -> bool {
    a.encode_to_vec().unwrap() == b.encode_to_vec().unwrap()
}

/// Tries random circuits of each number of rows that are skipped, height and degree.
fn random_circuits(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut random = Random(seed);
        let l_skip = [2, 3, 4, 0][random.below(4)];
        let degree_max = 1 + random.below(4);
        let n_stack = 6 + random.below(3);
        let shape = Shape {
            airs: 1 + random.below(6),
            log_height_max: 1 + random.below(l_skip + n_stack),
            degree_max,
            columns_max: 1 + random.below(8),
            interactions: random.chance(80),
            rotations: random.chance(70),
        };
        let circuit = Circuit::random(&mut random, &shape);
        let log_blowup = 1 + random.below(3);
        let what = format!("seed {seed}, l_skip {l_skip}, n_stack {n_stack}, {shape:?}");
        let params = params(l_skip, n_stack, log_blowup, degree_max);
        if l_skip == 0 && circuit.is_rows() {
            // OpenVM's device panics.
            let ours = Ours::new(params);
            let (pk, _) = ours.keygen(&circuit.airs());
            let pk = ours.device().transport_pk_to_device(&pk);
            let refusal = ours
                .prove(&pk, circuit.context(ours.device()))
                .expect_err("there is no such proof");
            assert!(matches!(refusal, SwirlError::Airs(_)), "{what}: {refusal}");
            continue;
        }
        compare(&circuit, &params, &what);
    }
}

#[test]
fn random_circuits_of_all_kinds_have_the_same_proofs() {
    random_circuits(0..60);
}

#[test]
fn rows_fewer_than_are_skipped_at_once_have_the_same_proofs() {
    for seed in 0..12 {
        let mut random = Random(1000 + seed);
        let shape = Shape {
            airs: 3,
            log_height_max: 3,
            degree_max: 3,
            columns_max: 5,
            interactions: true,
            rotations: true,
        };
        let circuit = Circuit::random(&mut random, &shape);
        compare(&circuit, &params(4, 6, 1, 3), &format!("seed {seed}"));
    }
}

#[test]
fn cached_traces_that_openvm_committed_to_are_opened() {
    let shapes = [Booleans {
        log_height: 6,
        common: 3,
        cached: vec![2, 5],
        degree: 2,
        ..Booleans::default()
    }];
    let params = params(3, 5, 1, 3);
    let (stock, ours) = (Stock::new(params.clone()), Ours::new(params));
    let (pk, _) = ours.keygen(&airs(&shapes));
    let pk = ours.device().transport_pk_to_device(&pk);
    let [own, other] = [context(&shapes, ours.device()), context(&shapes, stock.device())]
        .map(|context| ours.prove(&pk, context).expect("both commitments fit"));
    assert!(same(&own, &other));
}

#[test]
fn proofs_are_the_same_on_any_number_of_threads_and_with_any_memory() {
    let of = |log_height, common, pairs| Booleans {
        log_height,
        common,
        pairs,
        degree: 3,
        next: pairs % 2 == 0,
        ..Booleans::default()
    };
    let shapes = [
        Booleans {
            cached: vec![3],
            ..of(11, 6, 21)
        },
        of(10, 3, 24),
        Booleans {
            preprocessed: 2,
            ..of(7, 30, 3)
        },
        of(1, 4, 2),
    ];
    let params = params(4, 8, 1, 4);
    let stock = Stock::new(params.clone());
    let (pk, _) = stock.keygen(&airs(&shapes));
    let expected = stock
        .prove(
            &stock.device().transport_pk_to_device(&pk),
            context(&shapes, stock.device()),
        )
        .expect("the stock device proves it");
    let heights = shapes.each_ref().map(|air| 1 << air.log_height);
    let mut peaks = std::collections::BTreeSet::new();
    for threads in [1, 2, 3, 16] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads start");
        pool.install(|| {
            let ours = Ours::new(params.clone());
            let pk = ours.device().transport_pk_to_device(&pk);
            let model = ours.device().memory_model(&pk);
            let Err(SwirlError::Memory { needed, .. }) = model.peak_within(&heights, threads, 0) else {
                panic!("a proof takes no memory");
            };
            let usual = model
                .peak(&heights, threads)
                .expect("the heights are allowed")
                .with_traces();
            for limit in [needed, usual] {
                let peak = model
                    .peak_within(&heights, threads, limit)
                    .expect("the limit allows it");
                peaks.insert((threads, peak.fractions));
                let ours = Ours::new(params.clone()).with_memory_limit(limit);
                let actual = ours
                    .prove(&pk, context(&shapes, ours.device()))
                    .unwrap_or_else(|e| panic!("{threads} threads, {limit} bytes: {e}"));
                assert!(same(&expected, &actual), "{threads} threads, {limit} bytes");
            }
        });
    }
    // On many threads, the fraction sums are not the largest phase under each limit.
    let alone = peaks.iter().filter(|(threads, _)| *threads == 1).count();
    assert_eq!(alone, 2, "each limit has a peak of its own: {peaks:?}");
}

/// Each column that is opened takes twice its size, here 8 MiB. On any number of threads there are
/// no more than four of them at once.
#[test]
fn openings_hardly_take_more_memory_on_many_threads() {
    const LOG_HEIGHT: usize = 20;
    /// The working memory of a thread while it hashes, in bytes.
    const OF_THREAD: usize = 1 << 20;
    let shapes = [Booleans {
        log_height: LOG_HEIGHT,
        common: 40,
        degree: 2,
        ..Booleans::default()
    }];
    let engine: SwirlEngine = SwirlEngine::new(app_params_with_100_bits_security(LOG_HEIGHT));
    let (pk, _) = engine.keygen(&airs(&shapes));
    let model = engine
        .device()
        .memory_model(&engine.device().transport_pk_to_device(&pk));
    let whir = |threads| {
        let peak = model.peak(&[1 << LOG_HEIGHT], threads);
        peak.expect("the height is allowed").whir
    };
    assert!(whir(4) > whir(1), "{} and {}", whir(1), whir(4));
    for threads in [5, 16, 64] {
        let more = whir(threads) - whir(4);
        assert!(
            more <= (threads - 4) * OF_THREAD,
            "{threads} threads: {more} bytes more"
        );
    }
}

/// Our device's errors for a circuit, of a few, that `spoil` could spoil.
fn refusals(mut spoil: impl FnMut(&mut Circuit, &mut Random) -> bool) -> Vec<SwirlError> {
    let mut refusals = vec![];
    for seed in 0..20 {
        let mut random = Random(2000 + seed);
        let shape = Shape {
            airs: 4,
            log_height_max: 7,
            degree_max: 3,
            columns_max: 5,
            interactions: true,
            rotations: true,
        };
        let mut circuit = Circuit::random(&mut random, &shape);
        if !spoil(&mut circuit, &mut random) {
            continue;
        }
        let ours = Ours::new(params(2, 6, 1, 3));
        let (pk, _) = ours.keygen(&circuit.airs());
        let pk = ours.device().transport_pk_to_device(&pk);
        refusals.push(
            ours.prove(&pk, circuit.context(ours.device()))
                .expect_err("a spoilt circuit is not proven"),
        );
    }
    assert!(
        refusals.len() > 5,
        "too few circuits could be spoilt: {}",
        refusals.len()
    );
    refusals
}

#[test]
fn buses_that_do_not_balance_are_refused() {
    for refusal in refusals(|circuit, _| circuit.break_balance()) {
        assert!(matches!(refusal, SwirlError::Interactions(_)), "{refusal}");
    }
}

#[test]
fn traces_that_do_not_satisfy_their_constraints_are_refused() {
    for refusal in refusals(Circuit::break_constraint) {
        // A column that is wrong may be looked up as well.
        assert!(
            matches!(refusal, SwirlError::Unsatisfied | SwirlError::Interactions(_)),
            "{refusal}"
        );
    }
}
