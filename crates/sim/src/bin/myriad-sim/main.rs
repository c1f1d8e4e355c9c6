//! `myriad-sim`: simulations by their seeds, the figures of `docs/SIMULATION.md`, and
//! `docs/report`.
//!
//! ```text
//! cargo run --release -p myriad-sim -- --seeds 0..1000    violations, if there are any
//! cargo run --release -p myriad-sim -- --seeds 17..18 --log 200
//! cargo run --release -p myriad-sim -- --figures
//! cargo run --release -p myriad-sim -- --figures unlike
//! cargo run --release -p myriad-sim -- --fleet docs/report/scenarios/ten-rollups-on-100000.toml
//! cargo run --release -p myriad-sim -- --report docs/report
//! ```

#![forbid(unsafe_code)]

mod figures;
mod report;
mod speed;

use std::{
    fmt::Display,
    ops::Range,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

use clap::Parser;
use myriad_sim::faults::{Failure, Report, Scenario, run};

/// Runs Myriad's own state machine among peers and faults, in virtual time
#[derive(Parser)]
struct Args {
    /// The simulations of these seeds, from the first to before the last
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..1000")]
    seeds: Range<u64>,
    /// The lines that are shown of a simulation that fails
    #[arg(long, value_name = "LINES", default_value_t = 60)]
    log: usize,
    /// Show how each simulation turned out
    #[arg(long)]
    verbose: bool,
    /// Measure what redundancy costs and gains instead, and print these tables, or all
    #[arg(long, value_name = "TABLE", num_args = 0..)]
    figures: Option<Vec<figures::Table>>,
    /// Simulate the fleet of this scenario instead, and print how fast that was and what memory it
    /// took
    #[arg(long, value_name = "FILE")]
    fleet: Option<PathBuf>,
    /// Make the report in this folder again instead, from what lies there
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let bad = || format!("'{text}' is no range of seeds; write it as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(bad)?;
    let range = from.parse().map_err(|_| bad())?..to.parse().map_err(|_| bad())?;
    if range.is_empty() { Err(bad()) } else { Ok(range) }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(tables) = &args.figures {
        figures::print(tables);
        return ExitCode::SUCCESS;
    }
    if let Some(path) = &args.fleet {
        return ended(speed::print(path));
    }
    if let Some(folder) = &args.report {
        return ended(report::write(folder));
    }
    let start = Instant::now();
    let (inputs, crashes) = (AtomicU64::new(0), AtomicU64::new(0));
    let next = AtomicU64::new(args.seeds.start);
    let failed = AtomicBool::new(false);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.seeds.end {
                        break;
                    }
                    match play(seed, args.log) {
                        Ok(report) => {
                            inputs.fetch_add(report.inputs, Ordering::Relaxed);
                            crashes.fetch_add(report.crashes, Ordering::Relaxed);
                            if args.verbose {
                                println!("{seed}: {}", line(&report));
                            }
                        }
                        Err(failure) => {
                            failed.store(true, Ordering::Relaxed);
                            eprintln!("{}", failure_text(seed, &failure));
                        }
                    }
                }
            });
        }
    });
    if failed.into_inner() {
        return ExitCode::FAILURE;
    }
    println!(
        "{} simulations, {} inputs, {} crashes of the requester: no violation, every job done ({:.1} s)",
        args.seeds.end - args.seeds.start,
        inputs.into_inner(),
        crashes.into_inner(),
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

fn ended<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play(seed: u64, lines_kept: usize) -> Result<Report, Box<Failure>> {
    run(&Scenario {
        lines_kept: lines_kept.max(1),
        ..Scenario::random(seed)
    })
}

fn line(report: &Report) -> String {
    format!(
        "{:.1} s, {} leases, {} copies, {} expired, {} banned, log {:02x}{:02x}{:02x}{:02x}",
        report.makespan.as_secs_f64(),
        report.leases,
        report.copies,
        report.expired,
        report.banned,
        report.log[0],
        report.log[1],
        report.log[2],
        report.log[3]
    )
}

fn failure_text(seed: u64, failure: &Failure) -> String {
    let commit = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    let commit = match commit {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".into(),
    };
    format!(
        "seed {seed}, commit {commit}: {failure}\nagain: cargo run --release -p myriad-sim -- --seeds {seed}..{} --log 1000",
        seed + 1
    )
}
