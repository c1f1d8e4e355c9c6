//! `myriad simulate`: runs a scenario file.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use myriad_sim::fleet::{self, Outcome, ScenarioFile, Setup, Summary};
use serde::Serialize;

use crate::{
    args::Simulate,
    error::Error,
    files,
    progress::Worlds,
    report::Rows,
    terminal::{self, BOLD, DIM, bytes, count, duration, plural},
};

/// An example of a scenario.
const EXAMPLE: &str = include_str!("example.toml");
/// Requesters that are shown in a summary.
const SHOWN: usize = 12;

#[derive(Serialize)]
struct Report<'a> {
    scenario: &'a str,
    wall_s: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<PathBuf>,
    plans: Vec<PlanReport<'a>>,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// The plan for the blocks of a table of requesters.
#[derive(Serialize)]
struct PlanReport<'a> {
    requester: &'a str,
    segments: u64,
    segment_memory_bytes: u64,
    arities: myriad_cost::planner::TreeArities,
    /// No schedule of one block on an idle fleet is faster.
    bound_s: f64,
    /// The planner's expectation for one block on an idle fleet.
    expected_s: f64,
}

pub fn run(args: &Simulate) -> Result<(), Error> {
    if args.example {
        return terminal::print(EXAMPLE).map_err(Error::Stdout);
    }
    let path = args.scenario.as_deref().unwrap_or(Path::new(""));
    let wrong = |source| Error::Scenario {
        path: path.to_owned(),
        source,
    };
    let mut file = ScenarioFile::load(path).map_err(wrong)?;
    file.seed = args.seed.unwrap_or(file.seed);
    file.seeds = args.seeds.unwrap_or(file.seeds);
    file.validate().map_err(wrong)?;
    let setup = Setup::new(file, path.parent().unwrap_or(Path::new("."))).map_err(wrong)?;
    let start = Instant::now();
    let progress = Worlds::new(setup.file().seeds);
    let outcome = fleet::simulate(&setup, |done| progress.done(done));
    drop(progress);
    let name = path.display().to_string();
    let mut report = Report {
        scenario: &name,
        wall_s: start.elapsed().as_secs_f64(),
        files: Vec::new(),
        plans: setup
            .plans()
            .map(|(requester, plan)| PlanReport {
                requester: &requester.name,
                segments: plan.segment.segments,
                segment_memory_bytes: plan.segment.memory_bytes,
                arities: plan.arities,
                bound_s: plan.bounds.earliest_s,
                expected_s: plan.expected_s,
            })
            .collect(),
        outcome: &outcome,
    };
    if let Some(folder) = &args.out {
        report.files = write(&report, folder)?;
    }
    if args.json {
        return terminal::print_json(&report).map_err(Error::Stdout);
    }
    terminal::print(&text(&report, &setup)).map_err(Error::Stdout)
}

fn write(report: &Report<'_>, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let document = serde_json::to_string_pretty(report).expect("a report is JSON");
    let mut texts = vec![
        ("outcome.json".to_owned(), document),
        ("blocks.csv".to_owned(), report.outcome.blocks_csv()),
        ("timeline.csv".to_owned(), report.outcome.timeline_csv()),
    ];
    for (name, plot) in fleet::charts(report.outcome) {
        texts.push((format!("{name}.svg"), plot.svg()?));
    }
    let mut paths = Vec::new();
    for (name, text) in texts {
        let path = folder.join(name);
        files::write(&path, &text)?;
        paths.push(path);
    }
    Ok(paths)
}

fn seconds(seconds: f64) -> String {
    duration(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))
}

fn summary(of: &Summary) -> String {
    if of.count == 1 {
        return seconds(of.mean);
    }
    format!(
        "{} on average; half within {}, 95 of 100 within {}, all within {}",
        seconds(of.mean),
        seconds(of.median),
        seconds(of.p95),
        seconds(of.most)
    )
}

#[expect(clippy::too_many_lines, reason = "the summary, line by line")]
fn text(report: &Report<'_>, setup: &Setup) -> String {
    let outcome = report.outcome;
    let file = setup.file();
    let machines: u64 = file.machines.iter().map(|table| table.count).sum();
    let blocks: usize = outcome.worlds.iter().map(|world| world.blocks).sum();
    let proven: usize = outcome.worlds.iter().map(|world| world.proven).sum();
    let title = format!(
        "{} of {} proven by {}",
        count(proven as u64),
        plural(blocks, "block"),
        plural(machines as usize, "machine")
    );
    let mut rows = if outcome.all_proven && !outcome.lag_grows {
        Rows::new(&title)
    } else {
        Rows::plain(&title)
    };
    for plan in &report.plans {
        let arities = plan.arities;
        let what = format!(
            "{}: {} cut for {}, nodes of {}, {} and {}; {} on an idle fleet, {} at least",
            plan.requester,
            plural(plan.segments as usize, "segment"),
            bytes(plan.segment_memory_bytes),
            arities.leaf,
            arities.internal_for_leaf,
            arities.internal_recursive,
            seconds(plan.expected_s),
            seconds(plan.bound_s)
        );
        rows.row("a block of", &what);
    }
    if let Some(makespan_s) = &outcome.makespan_s {
        rows.row("all proven", &format!("after {}", summary(makespan_s)));
    }
    if let Some(lag_s) = outcome.lag_s.as_ref().filter(|lag| lag.count > 1) {
        rows.row("a block", &format!("after {}", summary(lag_s)));
    }
    let sum = |of: &dyn Fn(&fleet::WorldOutcome) -> u64| outcome.worlds.iter().map(of).sum::<u64>();
    rows.row(
        "machines",
        &format!(
            "machines that deliver worked {:.1} % of the time; {:.1} % of their work led to no accepted proof",
            100.0 * outcome.utilisation,
            100.0 * outcome.wasted.max(0.0)
        ),
    );
    rows.row(
        "leases",
        &format!(
            "{} for {}; {} ran out; {} banned",
            count(sum(&|world| world.counts.leases)),
            plural(sum(&|world| world.counts.tasks) as usize, "task"),
            count(sum(&|world| world.counts.expired)),
            plural(sum(&|world| world.counts.banned) as usize, "machine")
        ),
    );
    let link = |of: fn(&fleet::RequesterOutcome) -> u64| {
        let per_world = sum(&|world| world.requesters.iter().map(of).sum());
        bytes(per_world / outcome.worlds.len().max(1) as u64)
    };
    rows.row(
        "bytes",
        &format!(
            "requesters sent {} and fetched {}; machines sent each other {}",
            link(|requester| requester.up_bytes),
            link(|requester| requester.down_bytes),
            bytes(sum(&|world| world.counts.between_bytes) / outcome.worlds.len().max(1) as u64)
        ),
    );
    rows.row(
        "simulated",
        &format!(
            "{} in {}, {} told the schedulers",
            plural(outcome.worlds.len(), "world"),
            seconds(report.wall_s),
            plural(sum(&|world| world.counts.inputs) as usize, "event")
        ),
    );
    for path in &report.files {
        rows.row("written", &path.display().to_string());
    }
    format!("{}{}", rows.text(), lags(outcome))
}

/// The lags of the first world's requesters, if they have streams.
fn lags(outcome: &Outcome) -> String {
    let Some(world) = outcome.worlds.first() else {
        return String::new();
    };
    let streams: Vec<_> = world
        .requesters
        .iter()
        .filter(|requester| requester.blocks > 1)
        .collect();
    if streams.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n  {DIM}from a block's arrival to its proof, seed {}{DIM:#}\n",
        world.seed
    );
    for requester in streams.iter().take(SHOWN) {
        let verdict = if requester.lag_grows {
            format!("{BOLD}grows{BOLD:#}")
        } else {
            "steady".into()
        };
        text += &format!(
            "  {:24} {:>5} of {:>5} blocks   {:>10} early, {:>10} late   {verdict}\n",
            requester.name,
            requester.proven,
            requester.blocks,
            seconds(requester.lag_early_s),
            seconds(requester.lag_late_s),
        );
    }
    if streams.len() > SHOWN {
        text += &format!("  {DIM}and {} more{DIM:#}\n", streams.len() - SHOWN);
    }
    text
}
