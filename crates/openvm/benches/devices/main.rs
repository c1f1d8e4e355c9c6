//! Runs OpenVM's CPU device and ours in turn on the same task, each run in a process of its own.
//!
//! ```text
//! cargo bench --workspace --bench devices -- [TASK]... [--threads 1,2] [--around]
//! ```
//!
//! A task is `segment` (655,000 instructions of `fibonacci`), `evm-segment` (190,000 of
//! `evm-block`), `evm-leaf`, `leaf-1`, `leaf-3`, `internal-for-leaf-1`, `-2`, `-3`,
//! `internal-recursive-3` or `final`; all of them if none is named. The inputs of a task are made
//! once by the build and kept in the system's folder for temporary files.
//!
//! A row is about the proof alone, without the work before it: the execution, the traces and, for
//! nodes, the verification of the children. `task` is the peak of the whole process. Phases have
//! their CPU seconds and peak.
//!
//! With `--around`, only our device proves. The table then has everything else that a process does
//! for its first task, and the keys that are made once for a configuration.

mod material;
mod measure;

use std::{env, path::Path, process::Command};

use myriad_engine::Level;
use myriad_openvm::{
    KeyCache, Verifier,
    devices::{self, ProvingEngine},
};
use myriad_swirl::SwirlEngine;
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2CpuEngine;

use material::{Material, SEGMENTS, Subject};
use measure::{
    AROUND, COMMIT, CONSTRAINTS, Clock, Measured, OPENINGS, PROOF, Phases, RUN, Run, VERIFIER, VERIFY, timed,
};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

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
    let proof = match task {
        "segment" | "evm-segment" => {
            devices::prove_segment::<Measured<E>>(program, keys, &subject.input, &subject.segments[0])?
        }
        "final" => devices::finish::<Measured<E>>(
            program,
            keys,
            Level::INTERNAL_RECURSIVE,
            &children[0],
            &children[1],
        )?,
        _ => devices::aggregate::<Measured<E>>(program, keys, level_of(task)?, &children)?,
    };
    // The peak is reset with each phase, and the last one is over.
    let after = whole.stop().peak_bytes;
    let verifier = timed(VERIFIER, || Verifier::new(program, keys))?;
    timed(VERIFY, || -> Fallible<()> {
        match task {
            "segment" | "evm-segment" => drop(verifier.segment(&proof, None)?),
            "final" => drop(verifier.final_proof(&proof)?),
            _ => drop(verifier.node(level_of(task)?, &proof)?),
        }
        Ok(())
    })?;
    let phases = std::mem::take(&mut *RUN.lock().unwrap());
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
            "keys" => make_keys(task)?,
            _ => run::<SwirlEngine>(task)?,
        };
        println!("{}", serde_json::to_string(&run)?);
        return Ok(());
    }
    let mut threads = vec![1, 2];
    let mut is_around = false;
    let mut tasks = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--threads" {
            let list = args.next().ok_or("--threads wants a list such as 1,2")?;
            threads = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
        } else if arg == "--around" {
            is_around = true;
        } else {
            tasks.push(arg);
        }
    }
    if tasks.is_empty() {
        tasks = TASKS.map(String::from).to_vec();
    }
    let binary = env::current_exe()?;
    if is_around {
        return show_around(&binary, &tasks, &threads);
    }
    println!(
        "| task | threads | device | CPU s | wall s | peak MiB | commit | constraints | openings | task MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for task in &tasks {
        // Makes the inputs of the task.
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

/// Makes the keys of a task's program, and nothing else.
fn make_keys(task: &str) -> Fallible<Run> {
    let material = Material::new()?;
    let subject = if task.starts_with("evm") {
        material.evm()?
    } else {
        material.fibonacci()?
    };
    let dir = tempfile::tempdir()?;
    let made = KeyCache::new(dir.path());
    timed(KEYS, || made.ensure(subject.program.config()))?;
    Ok(Run {
        phases: std::mem::take(&mut *RUN.lock().unwrap()),
        task_peak_bytes: 0,
    })
}

const KEYS: &str = "make the keys";

/// The table of what is around the proofs of these tasks.
fn show_around(binary: &Path, tasks: &[String], threads: &[usize]) -> Fallible<()> {
    println!("| task | threads | phase | CPU s | wall s |");
    println!("|---|---|---|---|---|");
    for task in tasks {
        child(binary, "own", task, 2)?;
        for &threads in threads {
            let mut phases = child(binary, "own", task, threads)?.phases;
            phases.extend(child(binary, "keys", task, threads)?.phases.remove_entry(KEYS));
            for phase in AROUND.iter().chain([&KEYS]) {
                if let Some(cost) = phases.get(*phase) {
                    println!(
                        "| {task} | {threads} | {phase} | {:.2} | {:.2} |",
                        cost.cpu_s, cost.wall_s
                    );
                }
            }
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
