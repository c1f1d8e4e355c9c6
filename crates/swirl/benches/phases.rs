//! `cargo bench -p myriad-swirl --bench phases [-- LOG_HEIGHT]`: the phases of a proof, beside the
//! speed of the machine.
//!
//! It measures how many Poseidon2 permutations and how many bytes of memory the machine can do in a
//! second. Then it measures a proof of AIRs like those of a VM's segment (default: of 2^18 rows),
//! once for each memory limit, on one thread and on two. For each phase, it says which share of its
//! bound the phase reaches. The commitment has to hash all rows of the codeword, grinding has to
//! try as many witnesses as are expected, and the other phases have to read the traces a number of
//! times. A phase that is far from its bound computes.

#[path = "../tests/device/common/booleans.rs"]
mod booleans;

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use booleans::{Booleans, airs, context};
use myriad_swirl::{SwirlEngine, SwirlError};
use nix::sys::resource::{UsageWho, getrusage};
use openvm_stark_backend::{
    StarkEngine, SystemParams, p3_field::Field, p3_field::PackedValue, p3_field::PrimeCharacteristicRing,
    p3_symmetric::Permutation, prover::DeviceDataTransporter,
};
use openvm_stark_sdk::{
    config::{app_params_with_100_bits_security, baby_bear_poseidon2::F},
    p3_baby_bear::default_babybear_poseidon2_16,
};
use rayon::prelude::*;
use tracing::{Metadata, Subscriber, span};

type Packed = <F as Field>::Packing;

/// Wall and CPU time of each span, added up by name.
#[derive(Default)]
struct Times {
    names: Vec<&'static str>,
    open: BTreeMap<u64, (Instant, Duration)>,
    ended: BTreeMap<&'static str, (Duration, Duration)>,
}

static TIMES: Mutex<Times> = Mutex::new(Times {
    names: vec![],
    open: BTreeMap::new(),
    ended: BTreeMap::new(),
});

struct TimesOfSpans;

impl Subscriber for TimesOfSpans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
        times.names.push(attributes.metadata().name());
        span::Id::from_u64(times.names.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, id: &span::Id) {
        let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
        times.open.insert(id.into_u64(), (Instant::now(), cpu()));
    }

    fn exit(&self, id: &span::Id) {
        let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((start, cpu_start)) = times.open.remove(&id.into_u64()) else {
            return;
        };
        let name = times.names[id.into_u64() as usize - 1];
        let ended = times.ended.entry(name).or_default();
        ended.0 += start.elapsed();
        ended.1 += cpu() - cpu_start;
    }
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process has a usage");
    let time = |t: nix::sys::time::TimeVal| Duration::new(t.tv_sec() as u64, t.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

/// The work that the machine does in a second of one thread's CPU time, while all threads do the
/// same. Measured in this way, other work on the machine does not count.
struct Bounds {
    permutations: f64,
    copied: f64,
    triad: f64,
}

/// Measures on all threads of the pool that this runs in.
fn bounds() -> Bounds {
    let threads = rayon::current_num_threads();
    let permutation = default_babybear_poseidon2_16();
    let (states, rounds) = (64, 1 << 12);
    let start = cpu();
    (0..threads).into_par_iter().for_each(|_| {
        let mut states = vec![[Packed::ONE; 16]; states];
        for _ in 0..rounds {
            for state in &mut states {
                permutation.permute_mut(state);
            }
        }
        black_box(&states);
    });
    let permutations = (threads * states * rounds * Packed::WIDTH) as f64 / (cpu() - start).as_secs_f64();
    // Larger than the last cache of usual machines.
    let words = 16usize << 20;
    let part = words / threads;
    let (a, mut b, mut c) = (vec![1u64; words], vec![2u64; words], vec![3u64; words]);
    let passes = 5;
    let start = cpu();
    for _ in 0..passes {
        b.par_chunks_mut(part)
            .zip(a.par_chunks(part))
            .for_each(|(b, a)| b.copy_from_slice(a));
        black_box(&b);
    }
    let copied = (passes * 2 * 8 * words) as f64 / (cpu() - start).as_secs_f64();
    let start = cpu();
    for _ in 0..passes {
        c.par_chunks_mut(part)
            .zip(a.par_chunks(part))
            .zip(b.par_chunks(part))
            .for_each(|((c, a), b)| {
                for ((c, a), b) in c.iter_mut().zip(a).zip(b) {
                    *c = a.wrapping_add(b.wrapping_mul(3));
                }
            });
        black_box(&c);
    }
    let triad = (passes * 3 * 8 * words) as f64 / (cpu() - start).as_secs_f64();
    Bounds {
        permutations,
        copied,
        triad,
    }
}

fn main() {
    let log_height: usize = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(18);
    tracing::subscriber::set_global_default(TimesOfSpans).expect("it is the first");
    let air = |lower, common, pairs, next| Booleans {
        log_height: log_height - lower,
        common,
        pairs,
        next,
        degree: 3,
        ..Booleans::default()
    };
    // Per row of the highest trace 67 cells and 27 interactions.
    let shapes = [
        air(0, 20, 5, false),
        air(1, 40, 10, true),
        air(2, 60, 8, false),
        air(4, 150, 20, true),
        air(9, 300, 10, true),
    ];
    let cells: usize = shapes.iter().map(|air| air.common << air.log_height).sum();
    let interactions: usize = shapes.iter().map(|air| (2 * air.pairs) << air.log_height).sum();
    println!(
        "{:.1} million cells, {:.1} million interactions",
        cells as f64 / 1e6,
        interactions as f64 / 1e6
    );
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads start");
        pool.install(|| measure(&shapes, log_height, threads));
    }
}

#[expect(clippy::too_many_lines, reason = "the phases of a proof, in their order")]
fn measure(shapes: &[Booleans], log_height: usize, threads: usize) {
    let bounds = bounds();
    println!("\n## {threads} threads\n");
    println!(
        "Poseidon2, packed by {}: {:.1} million permutations a CPU second; memory: copy {:.1} GB/s, triad {:.1} GB/s",
        Packed::WIDTH,
        bounds.permutations / 1e6,
        bounds.copied / 1e9,
        bounds.triad / 1e9
    );
    let engine: SwirlEngine = SwirlEngine::new(app_params_with_100_bits_security(log_height));
    let (pk, _) = engine.keygen(&airs(shapes));
    let pk = engine.device().transport_pk_to_device(&pk);
    let heights: Vec<usize> = shapes.iter().map(|air| 1 << air.log_height).collect();
    let start = Instant::now();
    let model = engine.device().memory_model(&pk);
    println!("the memory model of the key took {:?}", start.elapsed());
    let peak_of = |limit| model.peak_within(&heights, threads, limit);
    let Err(SwirlError::Memory { needed: least, .. }) = peak_of(0) else {
        panic!("a proof takes no memory");
    };
    let usual = model.peak(&heights, threads).expect("the heights are allowed");
    let params = engine.params();
    let rows = 1usize << (params.log_stacked_height() + params.log_blowup);
    let columns = cells_of(shapes).div_ceil(1 << params.log_stacked_height());
    let permutations = rows * (columns.div_ceil(8) + 1);
    let stacked = (4 * columns) << params.log_stacked_height();
    let grinding = grinding(params);
    let mut measured = vec![];
    // Groups of 8 packs: the leaves are made once for the tree, once for the layer below the lowest
    // one that is kept, and twice for each of the two layers below: for their sums, and for the
    // rows that are left. Groups of 16: one layer more, and the input layer once more for its third
    // round.
    for (limit, passes) in [(usual.with_traces(), 6), (least, 9)] {
        let peak = peak_of(limit).expect("it is enough");
        if measured.contains(&peak) {
            continue;
        }
        measured.push(peak);
        let limited: SwirlEngine = SwirlEngine::new(engine.params().clone()).with_memory_limit(limit);
        let context = context(shapes, limited.device());
        TIMES.lock().unwrap_or_else(PoisonError::into_inner).ended.clear();
        let (start, cpu_start) = (Instant::now(), cpu());
        limited
            .prove(&pk, context)
            .expect("the traces satisfy the constraints");
        let (wall, cpu) = (start.elapsed().as_secs_f64(), (cpu() - cpu_start).as_secs_f64());
        println!(
            "\n{:.1} MiB, of which the fraction sums take {:.1}: {wall:.2} s of wall time, {cpu:.2} s of CPU time\n",
            peak.with_traces() as f64 / f64::from(1 << 20),
            (peak.traces + peak.fractions) as f64 / f64::from(1 << 20),
        );
        println!("| phase | wall s | CPU s | share of CPU | of its bound |");
        println!("|---|---|---|---|---|");
        let permuted = |permutations: f64| {
            move |cpu: f64| {
                format!(
                    "{:.0} % of permutations",
                    100.0 * permutations / cpu / bounds.permutations
                )
            }
        };
        let read = |times: usize| {
            move |cpu: f64| {
                format!(
                    "{:.0} % of copying",
                    100.0 * (times * stacked) as f64 / cpu / bounds.copied
                )
            }
        };
        type Bound<'a> = Box<dyn Fn(f64) -> String + 'a>;
        let phases: [(&str, Bound<'_>); 14] = [
            (
                "prover.main_trace_commit",
                Box::new(permuted(permutations as f64)),
            ),
            ("compile", Box::new(|_| String::new())),
            ("prover.rap_constraints.logup_gkr", Box::new(read(passes))),
            ("prover.batch_constraints.round0", Box::new(read(1))),
            ("prover.batch_constraints.fold_ple_evals", Box::new(read(1))),
            ("prover.batch_constraints.mle_rounds", Box::new(|_| String::new())),
            (
                "prover.batch_constraints.column_openings",
                Box::new(|_| String::new()),
            ),
            ("prover.openings", Box::new(read(4))),
            ("stacked_opening_reduction", Box::new(read(3))),
            ("whir_batch", Box::new(read(1))),
            ("whir_sumcheck", Box::new(|_| String::new())),
            ("whir_encode_and_hash", Box::new(|_| String::new())),
            ("whir_open", Box::new(read(1))),
            ("grind for proof-of-work witness", Box::new(permuted(grinding))),
        ];
        let ended = std::mem::take(&mut TIMES.lock().unwrap_or_else(PoisonError::into_inner).ended);
        for (phase, bound) in phases {
            let (wall, phase_cpu) = ended.get(phase).copied().unwrap_or_default();
            let (wall, phase_cpu) = (wall.as_secs_f64(), phase_cpu.as_secs_f64());
            println!(
                "| {phase} | {wall:.3} | {phase_cpu:.3} | {:.1} % | {} |",
                100.0 * phase_cpu / cpu,
                bound(phase_cpu)
            );
        }
    }
}

/// The permutations that all grinding is expected to take. A proof may be lucky or not, and the
/// threads that did not find a witness have tried a few more.
fn grinding(params: &SystemParams) -> f64 {
    let whir = &params.whir;
    let rounds = whir.num_whir_rounds();
    let witnesses = [
        (1, params.logup.pow_bits),
        (1, whir.mu_pow_bits),
        (rounds * whir.k, whir.folding_pow_bits),
        (rounds, whir.query_phase_pow_bits),
    ];
    witnesses
        .iter()
        .map(|&(count, bits)| (count << bits) as f64)
        .sum()
}

fn cells_of(shapes: &[Booleans]) -> usize {
    shapes.iter().map(|air| air.common << air.log_height).sum()
}
