//! `myriad bench`: measures this machine, and writes its profile.

mod speed_source;
mod subjects;
mod table;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use myriad_cost::{
    accuracy::{Accuracy, HeldOut, accuracy, held_out},
    profile::Profile,
};
use myriad_engine::MemoryBudget;
use myriad_node::{
    Machine,
    bench::{self, BenchOptions, Step},
    prover::profile_file,
};
use myriad_sim::charts::charts;
use serde::Serialize;

use crate::{
    args::Bench,
    engines::Choice,
    error::Error,
    files,
    progress::Spinner,
    settings::Settings,
    terminal::{self, bytes, duration},
};

/// Budgets whose segments are proven, in GiB. Sizes go in steps, and these are about where they
/// are.
const BUDGETS_GIB: [f64; 11] = [0.25, 0.35, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0];
const BUDGETS_QUICK_GIB: [f64; 2] = [0.25, 0.5];
/// Budgets that an execution is cut for, in GiB: from the least to what few home machines have.
/// Nothing is proven for them, so they may be more than this machine has.
const CUTS_GIB: [f64; 20] = [
    0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.75, 0.85, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 16.0,
];
const CUTS_QUICK_GIB: [f64; 6] = [0.25, 0.35, 0.5, 0.7, 1.0, 4.0];
/// The same for RISC Zero, whose segments double from one size to the next, and their memory with
/// them: from 2^15 rows, the least that an execution is cut for, to 2^21. All but the last are
/// proven, and of a quick look two.
const RISC0_GIB: [f64; 7] = [0.45, 0.75, 1.35, 2.6, 5.0, 10.0, 19.5];
const RISC0_PROVEN: usize = 6;
const RISC0_QUICK_PROVEN: usize = 2;

/// A machine on which tasks had to wait for a larger part of the time is better measured again.
const DISTURBED_MAX: f64 = 0.1;

#[derive(Serialize)]
struct Report<'a> {
    /// The file of the profile.
    path: &'a Path,
    plots: Vec<PathBuf>,
    accuracy: Vec<ProgramAccuracy>,
    profile: &'a Profile,
}

/// The errors of the model at the budgets that were kept from it.
#[derive(Serialize)]
struct ProgramAccuracy {
    program: String,
    #[serde(flatten)]
    accuracy: Option<Accuracy>,
    held_out: Vec<HeldOut>,
}

pub fn run(args: &Bench) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Flags<'a> {
        #[serde(flatten)]
        limits: &'a crate::args::BenchLimits,
        #[serde(flatten)]
        data: &'a crate::args::DataFlags,
    }
    let settings = Settings::load(&Flags {
        limits: &args.limits,
        data: &args.data,
    })?;
    let options = options(args, &settings)?;
    let mut view = View::new(args.data.json);
    let mut profile = bench::run(&options, &mut |step| view.show(step))?;
    drop(view);
    if args.name.is_none() {
        profile.name = format!("{}, {} cores", profile.machine.cpu, profile.machine.cores);
    }
    // A profile that could not be read again is not written.
    let path = args
        .out
        .clone()
        .unwrap_or_else(|| settings.data_dir.join(profile_file(args.engine.name())));
    profile.validate().map_err(|source| Error::Profile {
        path: path.clone(),
        source,
    })?;
    files::write(&path, &profile.to_json())?;
    let plots = match &args.plots {
        Some(folder) => plots(&profile, folder)?,
        None => Vec::new(),
    };
    if args.out.is_none() {
        let lent = settings.engines.ids();
        terminal::note(speed_source::sentence(
            &settings.data_dir,
            &lent,
            args.engine.name(),
        ));
    }
    let disturbed = disturbed(&profile);
    if disturbed > DISTURBED_MAX {
        terminal::note(format_args!(
            "something else ran meanwhile: the tasks had a core for {:.0} % of the time that they wanted one; the profile \
             takes that into account, but measuring again is better",
            100.0 * (1.0 - disturbed)
        ));
    }
    let accuracy: Vec<ProgramAccuracy> = profile
        .programs
        .iter()
        .map(|program| {
            let held_out = held_out(program, profile.engine_name);
            ProgramAccuracy {
                program: program.name.clone(),
                accuracy: accuracy(&held_out),
                held_out,
            }
        })
        .collect();
    let report = Report {
        path: &path,
        plots,
        accuracy,
        profile: &profile,
    };
    if args.data.json {
        return terminal::print_json(&report).map_err(Error::Stdout);
    }
    terminal::print(&table::text(&report)).map_err(Error::Stdout)
}

fn options(args: &Bench, settings: &Settings) -> Result<BenchOptions, Error> {
    if args.engine == Choice::Risc0 && args.only.is_some() {
        return Err(Error::Usage(
            "--only names a program of OpenVM, and --engine risc0 measures with the one that it has: leave --only out".into(),
        ));
    }
    let engine = settings.engines.get(args.engine.name())?;
    let machine = Machine::detect();
    if let Some(free) = machine.free_bytes
        && free < settings.memory.bytes()
    {
        terminal::note(format_args!(
            "{} of memory are free, and a child may use {}; if the system kills a child, lower --memory and measure again",
            bytes(free),
            settings.memory
        ));
    }
    let mut threads: Vec<usize> = args.threads.iter().map(|&n| usize::from(n)).collect();
    if threads.contains(&0) {
        return Err(Error::Usage(
            "--threads names 0 threads, but a task has at least 1".into(),
        ));
    }
    if threads.is_empty() {
        threads = vec![machine.cores, 1];
    }
    let (budgets, cuts): (&[f64], &[f64]) = match (args.engine, args.quick) {
        (Choice::Openvm, true) => (&BUDGETS_QUICK_GIB, &CUTS_QUICK_GIB),
        (Choice::Openvm, false) => (&BUDGETS_GIB, &CUTS_GIB),
        (Choice::Risc0, true) => (&RISC0_GIB[..RISC0_QUICK_PROVEN], &RISC0_GIB),
        (Choice::Risc0, false) => (&RISC0_GIB[..RISC0_PROVEN], &RISC0_GIB),
    };
    let gib = |all: &[f64]| -> Vec<MemoryBudget> {
        let bytes = all.iter().map(|gib| (gib * f64::from(1 << 30)) as u64);
        bytes.map(MemoryBudget::from_bytes).collect()
    };
    Ok(BenchOptions {
        name: args.name.clone().unwrap_or_else(|| "this machine".into()),
        build: concat!("myriad ", env!("CARGO_PKG_VERSION")).into(),
        data_dir: settings.data_dir.clone(),
        memory: settings.memory,
        worker: settings.sole_worker(engine)?,
        threads,
        budgets: gib(budgets),
        cuts: gib(cuts),
        every_arity: !args.quick,
        subjects: subjects::subjects(args)?,
    })
}

/// The part of the time in which threads were ready and had no core.
fn disturbed(profile: &Profile) -> f64 {
    let segments = profile
        .programs
        .iter()
        .flat_map(|p| p.segments.iter().map(|s| &s.measured));
    let nodes = profile
        .programs
        .iter()
        .flat_map(|p| p.nodes.iter().map(|n| &n.measured));
    let sums = segments.chain(nodes).fold((0.0, 0.0), |(waited, cpu), m| {
        (waited + m.waited_s, cpu + m.cpu_s)
    });
    sums.0 / (sums.0 + sums.1)
}

fn plots(profile: &Profile, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for (name, plot) in charts(profile)? {
        let path = folder.join(format!("{name}.svg"));
        files::write(&path, &plot.svg()?)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The display during the measurements: the present step on a terminal, the finished steps in a
/// log.
struct View {
    on_terminal: bool,
    silent: bool,
    spinner: Option<Spinner>,
    measured: usize,
}

impl View {
    fn new(json: bool) -> Self {
        let on_terminal = io::stderr().is_terminal();
        Self {
            on_terminal,
            silent: json && !on_terminal,
            spinner: None,
            measured: 0,
        }
    }

    fn show(&mut self, step: &Step) {
        if self.silent {
            return;
        }
        match step {
            Step::Begins { what } if self.on_terminal => {
                // The old one goes before the new one comes.
                self.spinner = None;
                self.spinner = Some(Spinner::new(format!("{what} ({} measured)", self.measured)));
            }
            Step::Begins { .. } => {}
            Step::Measured {
                what,
                wall,
                peak_bytes,
            } => {
                self.measured += 1;
                if !self.on_terminal {
                    eprintln!("{what}: {}, {}", duration(*wall), bytes(*peak_bytes));
                }
            }
            Step::Skipped { what, why } if !self.on_terminal => eprintln!("{what}: left out, {why}"),
            Step::Skipped { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    /// The rows that RISC Zero's worker cuts for within so many bytes, as a power of two. Its law
    /// of memory is in a workspace of its own, so its numbers are read from there.
    fn rows(bytes: u64) -> u32 {
        const LAW: &str = include_str!("../../../../../engines/risc0/src/memory.rs");
        /// More than it holds of the program and the input.
        const HELD: u64 = 4 << 20;
        let number = |name: &str| {
            let text = LAW.split_once(&format!("const {name}: u64 = ")).expect(name).1;
            let (number, shift) = text.split_once(';').unwrap().0.split_once(" << ").expect(name);
            number.parse::<u64>().unwrap() << shift.parse::<u32>().unwrap()
        };
        let (process, row) = (number("PROCESS_BYTES"), number("ROW_BYTES"));
        ((bytes - HELD - process) / row).ilog2()
    }

    #[test]
    fn each_budget_of_risc_zero_gives_its_size() {
        let sizes = RISC0_GIB.map(|gib| rows((gib * f64::from(1 << 30)) as u64));
        assert_eq!(sizes, [15, 16, 17, 18, 19, 20, 21]);
        for quick in [&["--quick"][..], &[]] {
            let line = [&["myriad", "bench", "--engine", "risc0"], quick].concat();
            let Command::Bench(args) = Cli::parse_from(line).command else {
                panic!("it is no bench");
            };
            let subjects = subjects::subjects(&args).unwrap();
            let of_tree: Vec<u32> = subjects.iter().map(|s| rows(s.whole_budget.bytes())).collect();
            assert_eq!(of_tree, [16]);
        }
    }
}
