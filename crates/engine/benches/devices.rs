//! OpenVM's CPU device and ours in turn, on the same task, each run in a process of its own.
//!
//! ```text
//! cargo bench --workspace --bench devices -- [TASK]... [--threads 1,2]
//! ```
//!
//! A task is `segment` (655,000 instructions of `fibonacci`), `evm-segment` (190,000 of `evm-block`), `evm-leaf`, `leaf-1`,
//! `leaf-3`, `internal-for-leaf-1`, `-2`, `-3`, `internal-recursive-3` or `final`; all of them if none is named. What a
//! task is made of is made once and kept, by the build, in the system's folder for temporary files.
//!
//! A row is of the proof alone, without what comes before it: the execution, traces and, for nodes, the child
//! proofs' check. `task` is the peak of the whole process. Phases have their CPU seconds and peak.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::Instant,
};

use myriad_engine::{
    Input, KeyCache, Level, MemoryBudget, Plan, Program, Segment,
    devices::{self, Backend, ProvingEngine},
};
use myriad_evm::host::sample::{self, SampleSpec};
use myriad_swirl::SwirlEngine;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use openvm_stark_backend::{
    StarkEngine, SystemParams,
    proof::Proof,
    prover::{Coordinator, DeviceMultiStarkProvingKey, ProverDevice, ProvingContext},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    BabyBearPoseidon2Config as SC, BabyBearPoseidon2CpuEngine,
};
use serde::{Deserialize, Serialize};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Segments of the program whose tree is made.
const SEGMENTS: usize = 3;
const SEGMENT_INSTRUCTIONS: u64 = 655_000;
const EVM_SEGMENT_INSTRUCTIONS: u64 = 190_000;
/// So many rounds of `fibonacci` have somewhat less instructions than [`SEGMENTS`] segments.
const ROUNDS: u64 = 130_000;
/// Large enough that OpenVM's plan cuts nowhere where the benchmark does not.
const PLAN_BUDGET: MemoryBudget = MemoryBudget::from_bytes(64 << 30);

const TASKS: [&str; 10] = [
    "segment",
    "evm-segment",
    "evm-leaf",
    "leaf-1",
    "leaf-3",
    "internal-for-leaf-1",
    "internal-for-leaf-2",
    "internal-for-leaf-3",
    "internal-recursive-3",
    "final",
];

/// What a phase took.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Cost {
    cpu_s: f64,
    wall_s: f64,
    peak_bytes: u64,
}

/// The costs of one run's proof by phase, and the peak of its process.
#[derive(Default, Serialize, Deserialize)]
struct Run {
    phases: BTreeMap<String, Cost>,
    task_peak_bytes: u64,
}

const PROOF: &str = "proof";
const COMMIT: &str = "commit";
const CONSTRAINTS: &str = "constraints";
const OPENINGS: &str = "openings";

/// The phase that a span is, by either device's name for it. What comes after the constraints is the openings.
fn phase_of(span: &str) -> Option<&'static str> {
    match span {
        "prover.main_trace_commit" => Some(COMMIT),
        "prover.rap_constraints" | "prove_zerocheck_and_logup" => Some(CONSTRAINTS),
        _ => None,
    }
}

static RUN: Mutex<BTreeMap<String, Cost>> = Mutex::new(BTreeMap::new());

/// Where a clock stood when a phase began; the peak is that since then.
struct Clock {
    start: Instant,
    cpu_s: f64,
}

impl Clock {
    fn start() -> Self {
        // 5 resets the peak of the resident set; see proc(5).
        fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process reset its own peak");
        Self {
            start: Instant::now(),
            cpu_s: cpu_s(),
        }
    }

    fn stop(self) -> Cost {
        Cost {
            cpu_s: cpu_s() - self.cpu_s,
            wall_s: self.start.elapsed().as_secs_f64(),
            peak_bytes: peak_bytes(),
        }
    }
}

fn cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask what it used");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// The largest resident set since it was reset.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process may read its own state");
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    kib.expect("the state names the peak") << 10
}

/// Follows the spans that are phases. Spans of one thread alone are looked at: the one that proves.
struct Phases;

thread_local! {
    static OPEN: RefCell<Vec<(&'static str, Clock)>> = const { RefCell::new(Vec::new()) };
}

impl Subscriber for Phases {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && phase_of(metadata.name()).is_some()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        // A phase is open once at a time, so that its place among all names is enough.
        Id::from_u64(if phase_of(span.metadata().name()) == Some(COMMIT) {
            1
        } else {
            2
        })
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        let phase = if span.into_u64() == 1 { COMMIT } else { CONSTRAINTS };
        OPEN.with_borrow_mut(|open| open.push((phase, Clock::start())));
    }

    fn exit(&self, _: &Id) {
        let popped = OPEN.with_borrow_mut(Vec::pop);
        if let Some((phase, clock)) = popped {
            RUN.lock().unwrap().insert(phase.into(), clock.stop());
            if phase == CONSTRAINTS {
                OPEN.with_borrow_mut(|open| open.push((OPENINGS, Clock::start())));
            }
        }
    }
}

/// An engine whose proofs are measured.
struct Measured<E>(E);

impl<E: ProvingEngine> StarkEngine for Measured<E> {
    type SC = SC;
    type PB = Backend;
    type PD = E::PD;
    type TS = E::TS;

    fn new(params: SystemParams) -> Self {
        Self(E::new(params))
    }

    fn config(&self) -> &SC {
        self.0.config()
    }

    fn device(&self) -> &E::PD {
        self.0.device()
    }

    fn initial_transcript(&self) -> E::TS {
        self.0.initial_transcript()
    }

    fn prover_from_transcript(&self, transcript: E::TS) -> Coordinator<SC, Backend, E::PD, E::TS> {
        self.0.prover_from_transcript(transcript)
    }

    fn prove(
        &self,
        pk: &DeviceMultiStarkProvingKey<Backend>,
        ctx: ProvingContext<Backend>,
    ) -> Result<Proof<SC>, <E::PD as ProverDevice<Backend, E::TS>>::Error> {
        let start = (Instant::now(), cpu_s());
        let proof = self.0.prove(pk, ctx);
        let openings = OPEN.with_borrow_mut(Vec::pop);
        let mut run = RUN.lock().unwrap();
        if let Some((phase, clock)) = openings {
            run.insert(phase.into(), clock.stop());
        }
        let peak_bytes = run.values().map(|cost| cost.peak_bytes).max().unwrap_or(0);
        let proof_cost = Cost {
            cpu_s: cpu_s() - start.1,
            wall_s: start.0.elapsed().as_secs_f64(),
            peak_bytes,
        };
        run.insert(PROOF.into(), proof_cost);
        proof
    }
}

/// What tasks are made of.
struct Material {
    dir: PathBuf,
    keys: KeyCache,
}

struct Subject {
    program: Program,
    input: Input,
    segments: Vec<Segment>,
}

impl Material {
    fn new() -> Fallible<Self> {
        let dir = env::temp_dir().join(format!("myriad-bench-devices-{}", env!("CARGO_PKG_VERSION")));
        fs::create_dir_all(&dir)?;
        Ok(Self {
            keys: KeyCache::new(dir.join("keys")),
            dir,
        })
    }

    fn fibonacci(&self) -> Fallible<Subject> {
        let program = Program::load(&fs::read("guests/elf/fibonacci.elf")?, None)?;
        self.keys.ensure(program.config())?;
        let input = Input::from_bytes(ROUNDS.to_le_bytes().to_vec())?;
        let plan = devices::plan(&program, &self.keys, &input, PLAN_BUDGET, u64::MAX)?;
        let segments = cut(&plan, SEGMENT_INSTRUCTIONS, SEGMENTS);
        Ok(Subject {
            program,
            input,
            segments,
        })
    }

    /// The block of `myriad demo`, and a segment from its middle.
    fn evm(&self) -> Fallible<Subject> {
        let toml = fs::read_to_string("guests/elf/evm-block.openvm.toml")?;
        let program = Program::load(&fs::read("guests/elf/evm-block.elf")?, Some(&toml))?;
        self.keys.ensure(program.config())?;
        let spec = SampleSpec {
            txs: 2,
            seed: 0,
            ..SampleSpec::default()
        };
        let input = Input::from_bytes(sample::generate(&spec)?.to_input()?.encode())?;
        let plan = devices::plan(&program, &self.keys, &input, PLAN_BUDGET, u64::MAX)?;
        let mut segment = plan.segments[0].clone();
        segment.instret_start = plan.instructions / 2;
        segment.num_insns = EVM_SEGMENT_INSTRUCTIONS;
        segment.last = false;
        Ok(Subject {
            program,
            input,
            segments: vec![segment],
        })
    }

    /// What lies under this name, made if need be.
    fn proof(&self, name: &str, make: impl FnOnce() -> Fallible<Vec<u8>>) -> Fallible<Vec<u8>> {
        let path = self.dir.join(name);
        if let Ok(bytes) = fs::read(&path) {
            return Ok(bytes);
        }
        let bytes = make()?;
        fs::write(&path, &bytes)?;
        Ok(bytes)
    }

    /// The proof of a segment.
    fn segment(&self, name: &str, subject: &Subject, index: usize) -> Fallible<Vec<u8>> {
        self.proof(&format!("{name}-{index}"), || {
            let segment = &subject.segments[index];
            Ok(devices::prove_segment::<SwirlEngine>(
                &subject.program,
                &self.keys,
                &subject.input,
                segment,
            )?)
        })
    }

    /// A node over `arity` nodes of the level below, from the one with this number on. Nodes below it have one child.
    fn node(&self, subject: &Subject, level: Level, arity: usize, first: usize) -> Fallible<Vec<u8>> {
        let children = self.children(subject, level, arity, first)?;
        self.proof(&format!("node-{}-{arity}-{first}", level.number()), || {
            Ok(devices::aggregate::<SwirlEngine>(
                &subject.program,
                &self.keys,
                level,
                &children,
            )?)
        })
    }

    fn children(
        &self,
        subject: &Subject,
        level: Level,
        arity: usize,
        first: usize,
    ) -> Fallible<Vec<Vec<u8>>> {
        (first..first + arity)
            .map(|child| match Level::new(level.number() - 1) {
                Some(below) => self.node(subject, below, 1, child),
                None => self.segment("segment", subject, child),
            })
            .collect()
    }
}

/// The plan's segments, cut to so many instructions; their traces have more room than they need.
fn cut(plan: &Plan, instructions: u64, segments: usize) -> Vec<Segment> {
    (0..segments)
        .map(|index| {
            let mut segment = plan.segments[0].clone();
            segment.index = index as u32;
            segment.instret_start = index as u64 * instructions;
            segment.num_insns = instructions.min(plan.instructions - segment.instret_start);
            segment.last = index + 1 == segments;
            segment
        })
        .collect()
}

fn run<E: ProvingEngine>(task: &str) -> Fallible<Run> {
    let material = Material::new()?;
    let (keys, arity) = (
        &material.keys,
        task.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(1),
    );
    let prepared = |task: &str| -> Fallible<(Subject, Vec<Vec<u8>>)> {
        Ok(match task {
            "segment" => (material.fibonacci()?, vec![]),
            "evm-segment" => (material.evm()?, vec![]),
            "evm-leaf" => {
                let subject = material.evm()?;
                let child = material.segment("evm-segment", &subject, 0)?;
                (subject, vec![child])
            }
            "final" => {
                let subject = material.fibonacci()?;
                let top = material.node(&subject, Level::INTERNAL_RECURSIVE, SEGMENTS, 0)?;
                let last = material.segment("segment", &subject, SEGMENTS - 1)?;
                (subject, vec![top, last])
            }
            _ => {
                let subject = material.fibonacci()?;
                let children = material.children(&subject, level_of(task)?, arity, 0)?;
                (subject, children)
            }
        })
    };
    let (subject, children) = prepared(task)?;
    let program = &subject.program;
    tracing::subscriber::set_global_default(Phases)?;
    let whole = Clock::start();
    match task {
        "segment" | "evm-segment" => {
            devices::prove_segment::<Measured<E>>(program, keys, &subject.input, &subject.segments[0])?;
        }
        "final" => {
            devices::finish::<Measured<E>>(
                program,
                keys,
                Level::INTERNAL_RECURSIVE,
                &children[0],
                &children[1],
            )?;
        }
        _ => {
            devices::aggregate::<Measured<E>>(program, keys, level_of(task)?, &children)?;
        }
    }
    // The peak is reset with each phase, and the last one is over.
    let phases = std::mem::take(&mut *RUN.lock().unwrap());
    let after = whole.stop().peak_bytes;
    let peaks = phases.values().map(|cost| cost.peak_bytes);
    Ok(Run {
        task_peak_bytes: peaks.chain([after]).max().unwrap_or(0),
        phases,
    })
}

fn level_of(task: &str) -> Fallible<Level> {
    match task.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit()) {
        "leaf" | "evm-leaf" => Ok(Level::LEAF),
        "internal-for-leaf" => Ok(Level::INTERNAL_FOR_LEAF),
        "internal-recursive" => Ok(Level::INTERNAL_RECURSIVE),
        other => Err(format!("{other} is none of the tasks: {}", TASKS.join(", ")).into()),
    }
}

fn main() -> Fallible<()> {
    // Cargo starts benchmarks in the folder of the crate; paths are those of the workspace.
    env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [mode, device, task] = args.as_slice()
        && mode == "run"
    {
        let run = match device.as_str() {
            "stock" => run::<BabyBearPoseidon2CpuEngine>(task)?,
            _ => run::<SwirlEngine>(task)?,
        };
        println!("{}", serde_json::to_string(&run)?);
        return Ok(());
    }
    let mut threads = vec![2];
    let mut tasks = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--threads" {
            let list = args.next().ok_or("--threads wants a list such as 1,2")?;
            threads = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
        } else {
            tasks.push(arg);
        }
    }
    if tasks.is_empty() {
        tasks = TASKS.map(String::from).to_vec();
    }
    let binary = env::current_exe()?;
    println!(
        "| task | threads | device | CPU s | wall s | peak MiB | commit | constraints | openings | task MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for task in &tasks {
        // Makes what the task is made of.
        child(&binary, "own", task, 2)?;
        for &threads in &threads {
            let stock = child(&binary, "stock", task, threads)?;
            row(task, threads, "OpenVM", &stock);
            let own = child(&binary, "own", task, threads)?;
            row(task, threads, "ours", &own);
            let (stock_proof, own_proof) = (stock.phases[PROOF], own.phases[PROOF]);
            println!(
                "| {task} | {threads} | ratio | {:.2} | {:.2} | {:.2} | | | | {:.2} |",
                own_proof.cpu_s / stock_proof.cpu_s,
                own_proof.wall_s / stock_proof.wall_s,
                own_proof.peak_bytes as f64 / stock_proof.peak_bytes as f64,
                own.task_peak_bytes as f64 / stock.task_peak_bytes as f64,
            );
        }
    }
    Ok(())
}

fn child(binary: &Path, device: &str, task: &str, threads: usize) -> Fallible<Run> {
    let output = Command::new(binary)
        .args(["run", device, task])
        .env("RAYON_NUM_THREADS", threads.to_string())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last)
        .map_err(|_| format!("{task} by {device}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn row(task: &str, threads: usize, device: &str, run: &Run) {
    let of = |phase: &str| run.phases.get(phase).copied().unwrap_or_default();
    let phase = |phase: &str| format!("{:.1} s, {} MiB", of(phase).cpu_s, of(phase).peak_bytes >> 20);
    println!(
        "| {task} | {threads} | {device} | {:.1} | {:.1} | {} | {} | {} | {} | {} |",
        of(PROOF).cpu_s,
        of(PROOF).wall_s,
        of(PROOF).peak_bytes >> 20,
        phase(COMMIT),
        phase(CONSTRAINTS),
        phase(OPENINGS),
        run.task_peak_bytes >> 20,
    );
}
