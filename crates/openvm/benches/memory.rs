//! Measures the real memory and time of every kind of task, beside the engine's expectation.
//!
//! ```text
//! cargo bench --workspace --bench memory -- [PROGRAM]... [--budgets 2,4] [--tree 1,2,3]
//! cargo bench --workspace --bench memory -- --tools [PROGRAM]...
//! ```
//!
//! A program is `NAME ELF OPENVM_TOML INPUT_FILE`, where `-` stands for no `openvm.toml`, and the
//! input file's bytes are the input. `sample-block` is a synthetic block of 20 transactions, and
//! `sample-block-precompiles` the same for the guest's other variant. Without programs it takes the
//! fibonacci guest with 400,000 rounds.
//!
//! For each program and budget (in GiB) it proves the first, the middle and the largest segment,
//! and finds the boundaries of all. With `--tree` it also makes the nodes of a tree of these
//! arities, at the first budget. The constants in `memory.rs` are fitted to its table. "proof MiB"
//! is what the device's model says that the proof alone takes, from the heights of its traces. The
//! process takes more.
//!
//! With `--tools` it measures instead what the tools of each kind of task take between tasks: it
//! makes the first segment and a node of each circuit twice, in a child that keeps all, and shows
//! the resident memory of the child when the allocator has given back what each task has freed.

use std::{env, fs, path::PathBuf, thread::sleep, time::Duration};

use myriad_engine::{
    Filling, Input, Level, MemoryBudget, Segment,
    worker::{KeyAccess, ServeOptions, Usage, Worker, WorkerConfig},
};
use myriad_evm::host::sample::{self, SampleSpec};
use myriad_openvm::{KeyCache, Program, VmConfig, facts, serve};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

struct Subject {
    name: String,
    image: Vec<u8>,
    openvm_toml: Option<String>,
    input: Input,
}

#[expect(clippy::too_many_lines, reason = "the columns of a table, in their order")]
fn main() -> Fallible<()> {
    // Cargo starts benchmarks in the folder of the crate; paths are those of the workspace.
    env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let keys = keys_dir();
    if args.first().is_some_and(|arg| arg == "engine-worker") {
        return Ok(serve(&ServeOptions {
            keys,
            access: if args.iter().any(|arg| arg == "--make-keys") {
                KeyAccess::Make
            } else {
                KeyAccess::Read
            },
            data_bytes_max: None,
            memory_max: args
                .iter()
                .skip_while(|arg| *arg != "--memory-max")
                .nth(1)
                .map(|bytes| bytes.parse::<u64>())
                .transpose()?,
            unconfined: false,
        })?);
    }
    let mut budgets = vec![2.0, 4.0];
    let mut tree = None;
    let mut tools = false;
    let mut subjects = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--tree" => {
                let list = args.next().ok_or("--tree wants three arities such as 1,2,3")?;
                let arities: Vec<usize> = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
                tree = Some(arities.try_into().map_err(|_| "--tree wants three arities")?);
            }
            "--tools" => tools = true,
            "--budgets" => {
                let list = args.next().ok_or("--budgets wants a list such as 2,4")?;
                budgets = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "sample-block" => subjects.push(sample_block(arg, "evm-block")?),
            "sample-block-precompiles" => subjects.push(sample_block(arg, "evm-block-precompiles")?),
            _ => {
                let mut next = || args.next().ok_or("a program is NAME ELF OPENVM_TOML INPUT_FILE");
                let (elf, toml, input) = (next()?, next()?, next()?);
                subjects.push(Subject {
                    name: arg,
                    image: fs::read(elf)?,
                    openvm_toml: (toml != "-").then(|| fs::read_to_string(toml)).transpose()?,
                    input: Input::from_bytes(fs::read(input)?)?,
                });
            }
        }
    }
    if subjects.is_empty() {
        let elf = PathBuf::from("guests/elf/fibonacci.elf");
        subjects.push(Subject {
            name: "fibonacci".into(),
            image: fs::read(elf)?,
            openvm_toml: None,
            input: Input::from_bytes(400_000u64.to_le_bytes().to_vec())?,
        });
    }
    if tools {
        return subjects.iter().try_for_each(measure_tools);
    }
    println!(
        "| program | task | instructions | Mcells | Minteractions | expected MiB | proof MiB | peak MiB | wall s | cpu s | proof KiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for subject in &subjects {
        for &gib in &budgets {
            measure(
                subject,
                MemoryBudget::from_bytes((gib * f64::from(1 << 30)) as u64),
                tree.filter(|_| gib == budgets[0]),
            )?;
        }
    }
    Ok(())
}

/// A synthetic block, for a variant of the guest.
fn sample_block(name: String, guest: &str) -> Fallible<Subject> {
    let input = sample::generate(&SampleSpec::default())?.to_input()?;
    Ok(Subject {
        name,
        image: fs::read(format!("guests/elf/{guest}.elf"))?,
        openvm_toml: Some(fs::read_to_string(format!("guests/elf/{guest}.openvm.toml"))?),
        input: Input::from_bytes(input.encode())?,
    })
}

/// The pause in which the allocator gives back what a task has freed: several of its delays.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// Shows the resident memory of a child that keeps all tools, between its tasks.
fn measure_tools(subject: &Subject) -> Fallible<()> {
    let mut worker = start(subject, Some(MemoryBudget::from_bytes(1 << 40)))?;
    let mut before = resident_bytes(&worker)?;
    println!("{}: {} MiB resident", subject.name, before >> 20);
    let (plan, _) = worker.plan(MemoryBudget::from_bytes(1 << 30), u64::MAX)?;
    let mut shown = |worker: &Worker, what: &str| {
        sleep(GIVING_BACK);
        let now = resident_bytes(worker)?;
        let more = (now as f64 - before as f64) / f64::from(1 << 20);
        println!("{what}: {} MiB resident, {more:+.0} MiB", now >> 20);
        before = now;
        Fallible::Ok(())
    };
    shown(&worker, "plan")?;
    worker.prepare_verifier()?;
    shown(&worker, "verifier")?;
    for _ in 0..2 {
        let (mut proof, _) = worker.prove(&plan.segments[0])?;
        shown(&worker, "segment")?;
        for level in [Level::LEAF, Level::INTERNAL_FOR_LEAF, Level::INTERNAL_RECURSIVE] {
            proof = worker.aggregate(level, vec![proof])?.0;
            shown(&worker, &level.to_string())?;
        }
    }
    Ok(())
}

fn resident_bytes(worker: &Worker) -> Fallible<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", worker.pid()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|rest| rest.split_whitespace().next());
    Ok(kib
        .ok_or("the system does not say what is resident")?
        .parse::<u64>()?
        << 10)
}

fn measure(subject: &Subject, budget: MemoryBudget, tree: Option<[usize; 3]>) -> Fallible<()> {
    let mut worker = start(subject, None)?;
    let (plan, _) = worker.plan(budget, u64::MAX)?;
    let count = plan.segments.len();
    let (_, usage) = worker.boundaries(&plan.segments)?;
    row(
        subject,
        &format!("boundaries of {count} segments at {budget}"),
        None,
        0,
        usage,
        &[],
    );
    let largest = (0..count)
        .max_by_key(|&i| plan.segments[i].peak_bytes)
        .unwrap_or(0);
    let mut picked = vec![0, count / 2, largest];
    picked.sort_unstable();
    picked.dedup();
    for index in picked {
        let segment = &plan.segments[index];
        let (proof, usage) = worker.prove(segment)?;
        row(
            subject,
            &format!("segment {index}/{count} at {budget}"),
            Some(segment),
            segment.peak_bytes,
            usage,
            &proof,
        );
    }
    if let Some(arities) = tree {
        let program = Program::load(&subject.image, subject.openvm_toml.as_deref())?;
        measure_tree(subject, &program, &mut worker, &plan.segments, arities)?;
    }
    Ok(())
}

/// Makes a tree of these arities (leaves, internal-for-leaf, internal-recursive) up to the second
/// internal-recursive level, with the segments that this needs, and shows each shape of node on
/// each level.
///
/// The nodes below count: the proof of a node of three children is larger than that of one, and
/// costs more to verify.
fn measure_tree(
    subject: &Subject,
    program: &Program,
    worker: &mut Worker,
    segments: &[Segment],
    arities: [usize; 3],
) -> Fallible<()> {
    let [leaf, internal_for_leaf, internal_recursive] = arities;
    let levels = [leaf, internal_for_leaf, internal_recursive, internal_recursive];
    let wanted = segments.len().min(levels.iter().product());
    let mut below: Vec<Vec<u8>> = segments[..wanted]
        .iter()
        .map(|s| worker.prove(s).map(|(proof, _)| proof))
        .collect::<Result<_, _>>()?;
    let mut level = Level::LEAF;
    for arity in levels {
        // Smaller nodes stand for the ends of levels.
        for children in 1..arity.min(below.len()) {
            measure_node(
                subject,
                program,
                worker,
                level,
                internal_for_leaf,
                &below[..children],
            )?;
        }
        below = below
            .chunks(arity)
            .map(|children| measure_node(subject, program, worker, level, internal_for_leaf, children))
            .collect::<Result<_, _>>()?;
        level = level.above();
    }
    Ok(())
}

fn measure_node(
    subject: &Subject,
    program: &Program,
    worker: &mut Worker,
    level: Level,
    internal_for_leaf: usize,
    children: &[Vec<u8>],
) -> Fallible<Vec<u8>> {
    let loaded = program.loaded(&subject.input);
    let (proof, usage) = worker.aggregate(level, children.to_vec())?;
    row(
        subject,
        &format!("{level} of {}", children.len()),
        None,
        loaded.node_peak_bytes(level, children.len(), internal_for_leaf),
        usage,
        &proof,
    );
    Ok(proof)
}

fn keys_dir() -> PathBuf {
    env::temp_dir().join("myriad-bench-keys")
}

/// A child with the job, which keeps what fits into `memory` if that is given.
fn start(subject: &Subject, memory: Option<MemoryBudget>) -> Fallible<Worker> {
    let config = WorkerConfig {
        engine: facts(),
        command: env::current_exe()?,
        args: vec!["engine-worker".into()],
        keys: keys_dir(),
        threads: std::thread::available_parallelism()?.get(),
    };
    let text = subject.openvm_toml.as_deref();
    let vm = text.map_or_else(|| Ok(VmConfig::riscv32()), VmConfig::from_toml)?;
    if !KeyCache::new(keys_dir()).has(&vm) {
        Worker::spawn_for_keys(&config)?.make_keys(subject.openvm_toml.clone(), Filling::Rotten)?;
    }
    let mut worker = match memory {
        Some(memory) => Worker::spawn_within(&config, memory)?,
        None => Worker::spawn(&config)?,
    };
    worker.load(
        subject.image.clone(),
        subject.openvm_toml.clone(),
        subject.input.clone(),
    )?;
    Ok(worker)
}

fn row(subject: &Subject, task: &str, segment: Option<&Segment>, expected: u64, usage: Usage, proof: &[u8]) {
    let millions = |count: u64| format!("{:.1}", count as f64 / 1e6);
    let (instructions, cells, interactions) = segment.map_or_else(Default::default, |s| {
        (
            s.num_insns.to_string(),
            millions(s.cells),
            millions(s.interactions),
        )
    });
    println!(
        "| {} | {task} | {instructions} | {cells} | {interactions} | {} | {} | {} | {:.1} | {:.1} | {} |",
        subject.name,
        expected >> 20,
        usage.planned_bytes >> 20,
        usage.peak_bytes >> 20,
        usage.wall.as_secs_f64(),
        usage.cpu.as_secs_f64(),
        proof.len() >> 10
    );
}
