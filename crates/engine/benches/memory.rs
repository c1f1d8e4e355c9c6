//! Real memory and time of every kind of task, beside what the engine expects of it.
//!
//! ```text
//! cargo bench --workspace --bench memory -- [NAME ELF OPENVM_TOML INPUT_FILE]... [--budgets 2,4] [--tree]
//! ```
//!
//! Without programs it takes the fibonacci guest with 400,000 rounds. `-` stands for no `openvm.toml`;
//! the input file's bytes are the input. For each program and budget (in GiB) it proves the first,
//! the middle and the largest segment, and finds the boundaries of all; with `--tree` it also makes a node
//! of each kind and arity. The constants in `memory.rs` are fitted to its table.

use std::{env, fs, path::PathBuf};

use myriad_engine::{
    Input, Level, MemoryBudget, Segment, VmConfig,
    worker::{ServeOptions, Usage, Worker, WorkerConfig, serve},
};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

struct Subject {
    name: String,
    image: Vec<u8>,
    openvm_toml: Option<String>,
    input: Input,
}

fn main() -> Fallible<()> {
    // Cargo starts benchmarks in the folder of the crate; paths are those of the workspace.
    env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let keys = env::temp_dir().join("myriad-bench-keys");
    if args.first().is_some_and(|arg| arg == "engine-worker") {
        return Ok(serve(&ServeOptions {
            keys,
            data_bytes_max: None,
        })?);
    }
    let mut budgets = vec![2.0, 4.0];
    let mut tree = false;
    let mut subjects = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--tree" => tree = true,
            "--budgets" => {
                let list = args.next().ok_or("--budgets wants a list such as 2,4")?;
                budgets = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
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
    println!(
        "| program | task | instructions | Mcells | Minteractions | expected MiB | peak MiB | wall s | cpu s | proof KiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for subject in &subjects {
        for &gib in &budgets {
            measure(
                subject,
                MemoryBudget::from_bytes((gib * f64::from(1 << 30)) as u64),
                tree && gib == budgets[0],
            )?;
        }
    }
    Ok(())
}

fn measure(subject: &Subject, budget: MemoryBudget, tree: bool) -> Fallible<()> {
    let mut worker = start(subject)?;
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
    if tree {
        measure_tree(subject, &mut worker, &plan.segments)?;
    }
    Ok(())
}

/// Measures nodes of every arity on every kind of level, and internal-recursive ones over their own kind: who works near
/// the top of a tree makes those.
fn measure_tree(subject: &Subject, worker: &mut Worker, segments: &[Segment]) -> Fallible<()> {
    let config = subject
        .openvm_toml
        .as_deref()
        .map_or_else(|| Ok(VmConfig::riscv32()), VmConfig::from_toml)?;
    // The proofs of nodes have one shape, whatever is below them: those to measure with have one child each.
    let mut below: Vec<Vec<u8>> = segments[..segments.len().min(Level::LEAF.children_max(&config).max(3))]
        .iter()
        .map(|s| worker.prove(s).map(|(proof, _)| proof))
        .collect::<Result<_, _>>()?;
    let mut level = Level::LEAF;
    while level <= Level::INTERNAL_RECURSIVE.above() {
        let mut above = Vec::new();
        let most = level.children_max(&config).min(below.len());
        for children in 1..=most {
            let (proof, usage) = worker.aggregate(level, below[..children].to_vec())?;
            row(
                subject,
                &format!("{level} of {children}"),
                None,
                level.peak_bytes(&config, children),
                usage,
                &proof,
            );
            if children == 1 {
                above.push(proof);
            }
        }
        for child in &below[1..] {
            above.push(worker.aggregate(level, vec![child.clone()])?.0);
        }
        (below, level) = (above, level.above());
    }
    Ok(())
}

fn start(subject: &Subject) -> Fallible<Worker> {
    let config = WorkerConfig {
        command: env::current_exe()?,
        args: vec!["engine-worker".into()],
        threads: std::thread::available_parallelism()?.get(),
    };
    let mut worker = Worker::spawn(&config)?;
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
        "| {} | {task} | {instructions} | {cells} | {interactions} | {} | {} | {:.1} | {:.1} | {} |",
        subject.name,
        expected >> 20,
        usage.peak_bytes >> 20,
        usage.wall.as_secs_f64(),
        usage.cpu.as_secs_f64(),
        proof.len() >> 10
    );
}
