//! The part of the report that holds simulations against real runs.

use std::{fs, path::PathBuf};

use myriad_cost::{
    accuracy::{accuracy, held_out},
    reference,
};
use myriad_sim::fleet::ScenarioFile;
use serde::Deserialize;

use super::{Report, ReportError, met, tables::Table};

/// Real runs, each with the scenario that is to predict it.
const RUNS: [(&str, &str); 2] = [
    ("sample-block", "one-machine"),
    ("fibonacci", "one-machine-fibonacci"),
];
/// The most that a simulation may be away from its run, as a part of it.
const ERROR_MAX: f64 = 0.15;
const MIB: u64 = 1 << 20;

/// The output of `myriad prove --json`, as far as it is of use.
#[derive(Deserialize)]
struct Run {
    instructions: u64,
    segments: u64,
    proof_bytes: u64,
    wall_s: f64,
    peak_memory_bytes: u64,
}

/// Writes how far each simulation is from its run, as a part of it, and returns it.
pub fn write(report: &mut Report<'_>) -> Result<Vec<f64>, ReportError> {
    report.say("## How far the model can be trusted");
    let mut table = Table::new(&[
        "program",
        "held-out segments",
        "time, mean error",
        "from instructions alone",
        "memory, mean error",
    ]);
    let profile = reference::profile();
    for program in &profile.programs {
        let Some(of) = accuracy(&held_out(program, profile.engine_name)) else {
            continue;
        };
        let percent = |part: f64| format!("{:.1} %", 100.0 * part);
        table.row(&[
            program.name.clone(),
            of.segments.to_string(),
            percent(of.wall_mean),
            percent(of.planned_wall_mean),
            percent(of.peak_mean),
        ]);
    }
    report.say(table.text());
    report.say(
        "The model predicted each budget's segments without having seen them. The second table compares whole jobs: real proofs by one \
         prover on two threads, and the same job simulated.",
    );
    let mut table = Table::new(&[
        "run",
        "instructions",
        "segments",
        "simulated with",
        "largest process",
        "proof",
        "real",
        "simulated",
        "error",
        "within 15 %",
    ]);
    let mut errors = Vec::new();
    for (name, scenario) in RUNS {
        let run = load(report, name)?;
        let mut file: ScenarioFile = report.scenario(scenario)?;
        file.requesters[0].instructions = Some(run.instructions as f64);
        let simulated = report.simulate(file)?;
        let simulated_s = simulated.makespan_s().unwrap_or(f64::INFINITY);
        let error = simulated_s / run.wall_s - 1.0;
        errors.push(error);
        table.row(&[
            name.into(),
            run.instructions.to_string(),
            run.segments.to_string(),
            simulated.plan.segment.segments.to_string(),
            format!("{} MiB", run.peak_memory_bytes / MIB),
            format!("{} bytes", run.proof_bytes),
            format!("{:.0} s", run.wall_s),
            format!("{simulated_s:.0} s"),
            format!("{:+.0} %", 100.0 * error),
            met(error.abs() <= ERROR_MAX).into(),
        ]);
    }
    report.say(table.text());
    Ok(errors)
}

fn load(report: &Report<'_>, name: &str) -> Result<Run, ReportError> {
    let path: PathBuf = report.folder.join("measured").join(format!("{name}.json"));
    let bytes = fs::read(&path).map_err(|source| ReportError::File {
        what: "read",
        path: path.clone(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| ReportError::Run { path, source })
}
