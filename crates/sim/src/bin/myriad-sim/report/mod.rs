//! Makes `docs/report`: the claims of the proposal that this project began with, put to test. Its
//! figures of Myriad today are computed here, from the profile, the scenarios and the measured runs
//! beside it.

mod claims;
mod engines;
mod scale;
mod steps;
mod streams;
mod tables;
mod validation;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use myriad_cost::planner::{FleetPlan, PlanError};
use myriad_sim::{
    fleet::{self, Outcome, ScenarioError, ScenarioFile, Setup},
    plot::{Plot, PlotError},
};
use thiserror::Error;

const COMMAND: &str = "cargo run --release -p myriad-sim -- --report docs/report";
/// The width of Markdown here, as `cargo xtask verify` demands.
const LINE_CHARS_MAX: usize = 100;

/// The proposal's figure for a program of 90 million cycles on 168 machines: 4 minutes and 9
/// seconds.
const PROPOSED_S: f64 = 249.0;

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    #[error("{} cannot be {what}: {source}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{}: {source}", path.display())]
    Scenario { path: PathBuf, source: ScenarioError },
    #[error("{} is no run of `myriad prove --json`: {source}", path.display())]
    Run {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("no temporary file can be made: {0}; free some space, or name another folder with TMPDIR")]
    Scratch(io::Error),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// The report as it grows.
struct Report<'a> {
    folder: &'a Path,
    text: String,
}

/// A scenario that was simulated, with the plan for its first requester's blocks.
struct Simulated {
    plan: FleetPlan,
    /// The speed that no machine exceeds. The plan is for machines of speed 1.
    fastest: f64,
    outcome: Outcome,
}

/// Makes the report again.
///
/// # Errors
/// The errors of reading, simulating and writing.
pub fn write(folder: &Path) -> Result<(), ReportError> {
    let mut report = Report {
        folder,
        text: String::new(),
    };
    report.say(&format!(
        "# The claims, put to test\n\n\
         A network of thousands of weak machines was proposed to prove the blocks of L2 rollups. This report tests its claims with \
         Myriad's own engine and scheduler. Real proofs give the cost of a task; a simulation of the scheduler in `myriad` gives the \
         time of a fleet.\n\n\
         ```\n{COMMAND}\n```\n\n\
         makes this text and its plots again, byte for byte. It quotes the figures of the proposal and of other provers, \
         such as OpenVM's; it computes all others. Its sources lie beside it: the machine's profile (`profiles/`, by `myriad bench`), \
         runs with real proofs (`measured/`, by `myriad prove --json`), and the scenarios (`scenarios/`, which `myriad simulate` takes \
         as they are). Simulations begin with seed 1. Unless stated otherwise, tasks cost what those of `evm-block` cost, and the speed of \
         each machine is drawn from 0.9 to 1.1 of the profile's. Machines that are all alike all finish at the same moment, which no real \
         ones do."
    ));
    let found = claims::write(&mut report)?;
    engines::write(&mut report)?;
    let errors = validation::write(&mut report)?;
    let rollups = scale::write(&mut report)?;
    let figures = steps::Figures {
        errors,
        rollups,
        ..found
    };
    steps::targets(&mut report, &figures);
    steps::alone(&mut report)?;
    report.say(include_str!("limits.md").trim_end());
    let path = folder.join("README.md");
    fs::write(&path, &report.text).map_err(|source| ReportError::File {
        what: "written",
        path,
        source,
    })
}

impl Report<'_> {
    /// Adds blocks of Markdown, and wraps those that are text.
    fn say(&mut self, blocks: &str) {
        if let Some(heading) = blocks.strip_prefix("## ") {
            // It takes minutes.
            eprintln!("{} ...", heading.lines().next().unwrap_or_default());
        }
        for block in blocks.split("\n\n") {
            if !self.text.is_empty() {
                self.text.push('\n');
            }
            self.text += &wrapped(block);
            self.text.push('\n');
        }
    }

    fn scenario(&self, name: &str) -> Result<ScenarioFile, ReportError> {
        let path = self.folder.join("scenarios").join(format!("{name}.toml"));
        ScenarioFile::load(&path).map_err(|source| ReportError::Scenario { path, source })
    }

    /// A scenario, with the plan for its first requester's blocks.
    fn setup(&self, mut file: ScenarioFile) -> Result<(Setup, FleetPlan), ReportError> {
        let folder = self.folder.join("scenarios");
        let wrong = |source| ReportError::Scenario {
            path: folder.clone(),
            source,
        };
        // A job that is not done in an hour tells nothing more in a day.
        file.patience_hours = file.patience_hours.min(1.0);
        let setup = Setup::new(file, &folder).map_err(wrong)?;
        let (_, plan) = setup.plans().next().expect("a scenario has a requester");
        let plan = plan.clone();
        Ok((setup, plan))
    }

    fn simulate(&self, file: ScenarioFile) -> Result<Simulated, ReportError> {
        let fastest = file.machines.iter().map(|table| table.speed.most());
        let fastest = fastest.fold(0.0, f64::max);
        let (setup, plan) = self.setup(file)?;
        Ok(Simulated {
            plan,
            fastest,
            outcome: fleet::simulate(&setup, |_| ()),
        })
    }

    fn plot(&mut self, name: &str, plot: &Plot) -> Result<(), ReportError> {
        let folder = self.folder.join("plots");
        let path = folder.join(format!("{name}.svg"));
        let svg = plot.svg()?;
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, svg))
            .map_err(|source| ReportError::File {
                what: "written",
                path,
                source,
            })?;
        self.say(&format!("![{}](plots/{name}.svg)", plot.title));
        Ok(())
    }
}

impl Simulated {
    /// The mean over worlds until all was proven; none if that was not in every world.
    fn makespan_s(&self) -> Option<f64> {
        let all = self.outcome.all_proven.then_some(self.outcome.makespan_s)?;
        Some(all?.mean)
    }

    /// Core hours of the plan's work, on machines of two cores.
    fn core_hours(&self) -> f64 {
        2.0 * self.plan.machine_s / 3600.0
    }

    /// The larger of all work by all machines and the longest path by the fastest ones.
    fn bound_s(&self) -> f64 {
        let bounds = &self.plan.bounds;
        bounds.machines_s.max(bounds.path_s / self.fastest)
    }

    /// The bound that no schedule of the plan's tree can pass, after the execution, even if all
    /// machines were as fast as the fastest.
    fn earliest_s(&self) -> f64 {
        self.plan.parts.execute_s + self.plan.bounds.earliest_s / self.fastest
    }
}

/// A block of Markdown with lines of at most [`LINE_CHARS_MAX`] characters, where it is one
/// paragraph of text. Code, tables, headings, images and lists stay as they are.
fn wrapped(block: &str) -> String {
    if block.starts_with(['#', '|', '!', '-']) || block.starts_with("```") {
        return block.into();
    }
    let mut wrapped = String::new();
    let mut chars = 0;
    for word in block.split_whitespace() {
        let added = word.chars().count();
        if chars > 0 && chars + 1 + added > LINE_CHARS_MAX {
            wrapped.push('\n');
            chars = 0;
        } else if chars > 0 {
            wrapped.push(' ');
            chars += 1;
        }
        wrapped += word;
        chars += added;
    }
    wrapped
}

fn verdict(holds: bool) -> &'static str {
    if holds { "**holds**" } else { "**does not hold**" }
}

fn met(is: bool) -> &'static str {
    if is { "met" } else { "**missed**" }
}

/// Seconds for people, or that it was not done.
fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or("not done".into(), |seconds| format!("{seconds:.0} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_and_nothing_else() {
        let long = "word ".repeat(50);
        let wrapped_text = wrapped(&long);
        assert!(wrapped_text.lines().count() > 1);
        assert!(
            wrapped_text
                .lines()
                .all(|line| line.chars().count() <= LINE_CHARS_MAX)
        );
        assert_eq!(wrapped_text.split_whitespace().count(), 50);
        let full = format!("{} {}", "a".repeat(50), "b".repeat(49));
        assert_eq!(wrapped(&full), full);
        for block in [
            format!("| {long} |"),
            format!("## {long}"),
            format!("```\n{long}\n```"),
        ] {
            assert_eq!(wrapped(&block), block);
        }
    }
}
