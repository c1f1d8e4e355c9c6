//! A proof takes the predicted memory, phase by phase: never more, and hardly less.

#![expect(unsafe_code, reason = "an allocator that counts is one")]

#[path = "device/common/booleans.rs"]
mod booleans;
#[allow(
    dead_code,
    reason = "the parameters and the generator are used, and no random circuits"
)]
#[path = "device/common/circuit.rs"]
mod circuit;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::BTreeMap,
    sync::{
        Barrier, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use booleans::{Booleans, airs, context};
use circuit::{Random, params};
use myriad_swirl::{MemoryModel, Peak, SwirlEngine, SwirlError};
use openvm_stark_backend::{
    StarkEngine, SystemParams,
    prover::{DeviceDataTransporter, MatrixDimensions},
};
use openvm_stark_sdk::config::app_params_with_100_bits_security;
use rayon::ThreadPool;
use tracing::{Metadata, Subscriber, span};

/// Tests that allocate while another one counts would be counted by it.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the bytes that are allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
/// The most that were allocated since the last span began or ended.
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: all is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promises are those that this asks for; the same below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() {
            grow(size - layout.size());
        } else {
            LIVE.fetch_sub(layout.size() - size, Relaxed);
        }
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Names of spans by their ids, those that are open with their peaks, and the peaks of those that
/// have ended.
#[derive(Default)]
struct Spans {
    names: Vec<&'static str>,
    open: Vec<(u64, usize)>,
    ended: BTreeMap<&'static str, usize>,
}

static SPANS: Mutex<Spans> = Mutex::new(Spans {
    names: vec![],
    open: vec![],
    ended: BTreeMap::new(),
});

fn spans() -> MutexGuard<'static, Spans> {
    let mut spans = SPANS.lock().unwrap_or_else(PoisonError::into_inner);
    let peak = PEAK.swap(LIVE.load(Relaxed), Relaxed);
    for (_, open) in &mut spans.open {
        *open = peak.max(*open);
    }
    spans
}

/// The number of spans that there is room for before proofs are measured: otherwise the list's
/// growth would be counted as theirs.
const SPANS_MAX: usize = 1 << 18;

struct PeaksOfSpans;

impl Subscriber for PeaksOfSpans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut spans = spans();
        assert!(spans.names.len() < SPANS_MAX, "{SPANS_MAX} spans are too few");
        spans.names.push(attributes.metadata().name());
        span::Id::from_u64(spans.names.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, id: &span::Id) {
        spans().open.push((id.into_u64(), 0));
    }

    fn exit(&self, id: &span::Id) {
        let mut spans = spans();
        let Some(at) = spans.open.iter().rposition(|(open, _)| *open == id.into_u64()) else {
            return;
        };
        let (_, peak) = spans.open.remove(at);
        let name = spans.names[id.into_u64() as usize - 1];
        let ended = spans.ended.entry(name).or_default();
        *ended = peak.max(*ended);
    }
}

type OfPhase = fn(&Peak) -> usize;

/// Spans of the phases that a prediction lists.
const PHASES: [(&str, OfPhase); 6] = [
    ("encode_and_hash", |peak| peak.commit),
    ("prover.rap_constraints.logup_gkr", |peak| peak.fractions),
    ("prover.batch_constraints.round0", |peak| peak.univariate),
    ("prover.batch_constraints.mle_rounds", |peak| peak.rounds),
    ("stacked_opening_reduction", |peak| peak.reduction),
    ("whir", |peak| peak.whir),
];

/// The most by which a prediction may be too high beside [`EXCESS`] of it: the allowance for
/// everything that it does not list, and the working memory of threads, since not all have to be at
/// work at once.
const SLACK: usize = 160 << 10;
const SLACK_OF_THREAD: usize = 1 << 20;
const EXCESS: f64 = 0.03;

/// The number of random shapes.
const RANDOM: u64 = 16;

struct Proven {
    predicted: Peak,
    /// The measured bytes by phase, above those allocated when the proof began.
    measured: Vec<usize>,
}

/// A pool of threads that are at work already. Otherwise the memory that a thread takes when it
/// begins, and gives back after its end, would be counted as the proof's.
fn pool(threads: usize) -> ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads start");
    let all = Barrier::new(threads);
    pool.broadcast(|_| all.wait());
    pool
}

/// Whether an AIR has no trace, as some AIRs of a VM have none in most proofs.
fn is_absent(air: usize) -> bool {
    air % 5 == 3
}

/// Proves on the threads of a pool, with as little as it can where `lean`.
fn prove(shapes: &[Booleans], params: &SystemParams, pool: &ThreadPool, lean: bool) -> Proven {
    let threads = pool.current_num_threads();
    pool.install(|| {
        let mut engine: SwirlEngine = SwirlEngine::new(params.clone());
        let (pk, _) = engine.keygen(&airs(shapes));
        let pk = engine.device().transport_pk_to_device(&pk);
        let mut context = context(shapes, engine.device());
        context.per_trace.retain(|(air, _)| !is_absent(*air));
        let mut heights = vec![0; shapes.len()];
        for (air, trace) in &context.per_trace {
            heights[*air] = trace.common_main.height();
        }
        let model: MemoryModel = engine.device().memory_model(&pk);
        let mut predicted = model.peak(&heights, threads).expect("the heights are allowed");
        if lean {
            let limit = match model.peak_within(&heights, threads, 0) {
                Err(SwirlError::Memory { needed, allowed: 0 }) => needed,
                other => panic!("a proof takes no memory: {other:?}"),
            };
            predicted = model
                .peak_within(&heights, threads, limit)
                .expect("that is the least");
            assert_eq!(predicted.with_traces(), limit);
            engine = engine.with_memory_limit(limit);
        }
        drop(model);
        spans().ended.clear();
        let start = LIVE.load(Relaxed);
        engine
            .prove(&pk, context)
            .expect("the traces satisfy the constraints");
        let mut spans = spans();
        let ended = std::mem::take(&mut spans.ended);
        let measured = |(name, _): &(&str, _)| ended.get(name).map_or(0, |peak| peak.saturating_sub(start));
        Proven {
            predicted,
            measured: PHASES.iter().map(measured).collect(),
        }
    })
}

#[expect(clippy::too_many_lines, reason = "a list of shapes")]
fn shapes() -> Vec<(&'static str, Vec<Booleans>, SystemParams)> {
    let air = |log_height, common, pairs| Booleans {
        log_height,
        common,
        pairs,
        degree: 2,
        ..Booleans::default()
    };
    let of = |log_height| {
        let mut params = app_params_with_100_bits_security(log_height);
        // Grinding takes time and no memory.
        (params.logup.pow_bits, params.whir.mu_pow_bits) = (1, 1);
        (params.whir.folding_pow_bits, params.whir.query_phase_pow_bits) = (1, 1);
        params
    };
    vec![
        ("one row", vec![air(0, 1, 0)], params(2, 6, 1, 3)),
        (
            "small",
            vec![air(5, 3, 2), air(3, 7, 1), air(0, 2, 1)],
            params(4, 6, 2, 3),
        ),
        (
            "kinds",
            vec![
                Booleans {
                    cached: vec![3, 9],
                    next: true,
                    ..air(12, 5, 3)
                },
                Booleans {
                    preprocessed: 4,
                    ..air(12, 2, 0)
                },
                Booleans {
                    next: true,
                    degree: 3,
                    ..air(9, 30, 6)
                },
                air(2, 40, 5),
            ],
            of(12),
        ),
        ("many interactions", vec![air(14, 4, 40), air(13, 3, 21)], of(15)),
        (
            "wide",
            vec![
                Booleans {
                    next: true,
                    degree: 3,
                    ..air(10, 700, 3)
                },
                air(12, 20, 0),
            ],
            of(14),
        ),
        (
            "tall",
            vec![
                Booleans {
                    next: true,
                    ..air(16, 6, 2)
                },
                air(15, 3, 9),
                air(4, 8, 3),
            ],
            of(16),
        ),
        (
            "beside cached ones",
            vec![Booleans {
                preprocessed: 3,
                cached: vec![20],
                ..air(15, 1, 1)
            }],
            of(15),
        ),
        (
            "many short ones",
            (0..60)
                .map(|i| Booleans {
                    next: i % 3 == 0,
                    ..air(i % 9, 4 + i, i % 5)
                })
                .collect(),
            of(12),
        ),
    ]
}

/// Shapes that nobody chose, with the number that they follow from.
fn random_shapes(seed: u64) -> (String, Vec<Booleans>, SystemParams) {
    let mut random = Random(seed);
    let (l_skip, n_stack) = (2 + random.below(4), 6 + random.below(4));
    let log_height_max = 1 + random.below(l_skip + n_stack);
    let shapes: Vec<Booleans> = (0..1 + random.below(9))
        .map(|_| Booleans {
            log_height: random.below(log_height_max + 1),
            common: 1 + random.below(60),
            cached: (0..random.below(3)).map(|_| 1 + random.below(9)).collect(),
            preprocessed: random.below(4),
            pairs: random.below(20),
            next: random.chance(50),
            degree: 2 + random.below(2),
        })
        .collect();
    let params = params(l_skip, n_stack, 1 + random.below(2), 3);
    (
        format!("seed {seed}, 2^{l_skip} rows at once, {shapes:?}"),
        shapes,
        params,
    )
}

#[test]
fn too_little_memory_is_refused_before_anything_is_computed() {
    let _alone = alone();
    let shapes = [Booleans {
        log_height: 12,
        common: 5,
        pairs: 9,
        degree: 2,
        ..Booleans::default()
    }];
    let engine: SwirlEngine = SwirlEngine::new(params(4, 9, 1, 3));
    let (pk, _) = engine.keygen(&airs(&shapes));
    let pk = engine.device().transport_pk_to_device(&pk);
    let threads = rayon::current_num_threads();
    let needed = match engine
        .device()
        .memory_model(&pk)
        .peak_within(&[1 << 12], threads, 4096)
    {
        Err(SwirlError::Memory {
            needed,
            allowed: 4096,
        }) => needed,
        other => panic!("4096 bytes are enough: {other:?}"),
    };
    let lacking = engine.with_memory_limit(needed - 1);
    let refusal = lacking
        .prove(&pk, context(&shapes, lacking.device()))
        .expect_err("a byte is lacking");
    let SwirlError::Memory {
        needed: said,
        allowed,
    } = refusal
    else {
        panic!("{refusal}");
    };
    assert_eq!((said, allowed), (needed, needed - 1));
    let enough = lacking.with_memory_limit(needed);
    enough
        .prove(&pk, context(&shapes, enough.device()))
        .expect("it is enough");
}

#[test]
fn proofs_take_what_was_said_before() {
    let _alone = alone();
    tracing::subscriber::set_global_default(PeaksOfSpans).expect("it is the first");
    spans().names.reserve(SPANS_MAX);
    let pools = [(1, false), (1, true), (2, false), (16, true)].map(|(threads, lean)| (pool(threads), lean));
    let mut wrong = vec![];
    let chosen = shapes()
        .into_iter()
        .map(|(what, shapes, params)| (what.to_owned(), shapes, params));
    for (what, shapes, params) in chosen.chain((0..RANDOM).map(random_shapes)) {
        for (pool, lean) in &pools {
            let (threads, lean) = (pool.current_num_threads(), *lean);
            let proven = prove(&shapes, &params, pool, lean);
            for ((phase, of), &measured) in PHASES.iter().zip(&proven.measured) {
                let predicted = of(&proven.predicted);
                let allowed =
                    (measured as f64 * (1.0 + EXCESS)) as usize + SLACK + (threads - 1) * SLACK_OF_THREAD;
                println!(
                    "{what}, {threads} threads, lean {lean}: {phase}: {measured}, predicted {predicted}"
                );
                if predicted < measured || predicted > allowed {
                    wrong.push(format!(
                        "{what}, {threads} threads, lean {lean}: {phase} takes {measured}, predicted are {predicted}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
