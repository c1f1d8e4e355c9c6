//! Runs Ethereum's blockchain tests against `myriad_evm::validate`, the function that the guest
//! runs.
//!
//! ```text
//! conformance DIR [--json FILE] [--only TEXT] [--threads N] [--mutate N [--seed S]]
//! ```
//!
//! `DIR` holds fixtures in the format of ethereum/tests and of execution-spec-tests, in any
//! folders. Each block that has to be valid is validated with a witness of all state, with one of
//! nothing but what it needs, and with that less one part. Each block that has to be invalid must
//! be refused, for a cause of the kind that the fixture names. With `--mutate`, the valid blocks
//! are then changed at random. The exit code is 0 if nothing is wrong, 1 if something is, and 2
//! where the fixtures were not run.

#![forbid(unsafe_code)]

mod cause;
mod fixture;
mod guard;
mod mend;
mod mutate;
mod network;
mod oracle;
mod report;
mod run;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use report::{Fault, Report};
use run::Subject;

const USAGE: &str = "usage: conformance DIR [--json FILE] [--only TEXT] [--threads N] [--mutate N [--seed S]]
  DIR        a folder with blockchain tests of Ethereum, as JSON
  --json     write the report to this file, as JSON
  --only     run only the files whose path has this text
  --threads  how many at once (default: as many as there are processors)
  --mutate   then change valid blocks and witnesses at random, so many times
  --seed     what the changes follow from (default: 0)";

/// Most threads: more than any machine has use for.
const THREADS_MAX: usize = 1024;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => return fail(&format!("{error}\n{USAGE}")),
    };
    guard::silence_panics();
    match conformance(&options) {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("conformance: {error}");
    ExitCode::from(2)
}

fn conformance(options: &Options) -> Result<Report, String> {
    let mut files = Vec::new();
    collect(&options.folder, &mut files)?;
    files.retain(|path| path.to_string_lossy().contains(&options.only));
    files.sort();
    if files.is_empty() {
        return Err(format!(
            "there is no fixture (*.json) to run in {}",
            options.folder.display()
        ));
    }
    let (mut report, subjects) = run_all(options, &files);
    if let Some(mutations) = options.mutations {
        if subjects.is_empty() {
            return Err(format!(
                "no valid block in {} to mutate",
                options.folder.display()
            ));
        }
        report.mutations = Some(mutate::run(&subjects, mutations, options.seed, options.threads));
    }
    print!("{report}");
    if let Some(path) = &options.json {
        let json = serde_json::to_vec_pretty(&report).map_err(|error| error.to_string())?;
        fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report)
}

/// Runs the fixtures of all files, each thread the next that nobody runs.
fn run_all(options: &Options, files: &[PathBuf]) -> (Report, Vec<Subject>) {
    let next = AtomicUsize::new(0);
    let report = Mutex::new(Report::default());
    let subjects = Mutex::new(Vec::new());
    let work = || {
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (part, valid) = run_file(&options.folder, path);
            report.lock().expect("nothing panics with it").add(part);
            if options.mutations.is_some() {
                subjects.lock().expect("nothing panics with it").extend(valid);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(work);
        }
    });
    let mut subjects: Vec<Subject> = subjects.into_inner().expect("nothing panics with it");
    // Threads end in any order, and a seed shall always mean the same.
    subjects.sort_by(|a, b| a.name.cmp(&b.name));
    let mut report = report.into_inner().expect("nothing panics with it");
    report.sort();
    (report, subjects)
}

fn run_file(folder: &Path, path: &Path) -> (Report, Vec<Subject>) {
    let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
    match fixture::read(path) {
        Ok(tests) => run::file(&name, tests),
        Err(message) => {
            let mut report = Report::default();
            report.faults.push(Fault::of_file(name, message));
            (report, Vec::new())
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(())
}

struct Options {
    folder: PathBuf,
    json: Option<PathBuf>,
    only: String,
    threads: usize,
    mutations: Option<u64>,
    seed: u64,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            folder: PathBuf::new(),
            json: None,
            only: String::new(),
            threads: thread::available_parallelism().map_or(1, usize::from),
            mutations: None,
            seed: 0,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} has no value"));
            let number = |text: String| {
                let number = text.parse::<u64>();
                number.map_err(|error| format!("{arg} {text}: {error}"))
            };
            match arg.as_str() {
                "--json" => options.json = Some(value()?.into()),
                "--only" => options.only = value()?,
                "--threads" => {
                    let threads = number(value()?)?;
                    options.threads = usize::try_from(threads).unwrap_or(usize::MAX);
                    if !(1..=THREADS_MAX).contains(&options.threads) {
                        return Err(format!("--threads {threads}: 1 to {THREADS_MAX} are possible"));
                    }
                }
                "--mutate" => options.mutations = Some(number(value()?)?),
                "--seed" => options.seed = number(value()?)?,
                option if option.starts_with('-') => return Err(format!("unknown option {option}")),
                folder if options.folder.as_os_str().is_empty() => options.folder = folder.into(),
                other => return Err(format!("one folder is possible, and {other} is another")),
            }
        }
        if options.folder.as_os_str().is_empty() {
            return Err("no folder is named".to_owned());
        }
        Ok(options)
    }
}
