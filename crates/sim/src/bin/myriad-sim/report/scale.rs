//! The part of the report on scale: waste, machines, links and trees, with [`streams`] between
//! them.

use std::fs;

use myriad_core::Kind;
use myriad_cost::{planner::Binds, reference};
use myriad_sim::{
    fleet::Copies,
    plot::{Axis, Colour, Marks, Plot, Series},
};

use super::{Report, ReportError, Simulated, seconds, streams, tables::Table};

/// Values within this part of the best count as equally good.
const ALIKE: f64 = 0.03;

/// Writes how many rollups 10,000 machines carry, and returns it.
pub fn write(report: &mut Report<'_>) -> Result<f64, ReportError> {
    redundancy(report)?;
    machines(report)?;
    let rollups = streams::write(report)?;
    uplink(report)?;
    segments(report)?;
    narrow(report)?;
    Ok(rollups)
}

fn redundancy(report: &mut Report<'_>) -> Result<(), ReportError> {
    report.say("## Fixed or adaptive copies");
    report.say(
        "90 M instructions. 168 machines deliver, among others that waste time; the first column is the share that delivers. `Fixed(5)` \
         gives every task to five machines at once, as the proposal does (1:4). `Adaptive` gives it to one, and to a second where that \
         pays. *Wasted* is the work of delivering machines that led to no accepted proof.",
    );
    let mut table = Table::new(&["delivers", "machines", "Adaptive", "wasted", "Fixed(5)", "wasted"]);
    let mut lines = [Vec::new(), Vec::new()];
    for tenths in [1u32, 2, 3, 5, 7, 10] {
        let honest = f64::from(tenths) / 10.0;
        let machines = (168.0 / honest).round() as u64;
        let mut cells = vec![format!("{honest}"), machines.to_string()];
        for (copies, line) in [Copies::Adaptive, Copies::Fixed(5)].into_iter().zip(&mut lines) {
            let mut file = report.scenario("90m-on-840")?;
            file.seeds = 3;
            file.redundancy = copies;
            file.machines[0].count = machines;
            file.machines[0].honest = honest;
            let simulated = report.simulate(file)?;
            let makespan_s = simulated.makespan_s();
            line.extend(makespan_s.map(|s| (honest, s)));
            cells.push(seconds(makespan_s));
            cells.push(format!("{:.0} %", 100.0 * simulated.outcome.wasted));
        }
        table.row(&cells);
    }
    report.say(table.text());
    let [adaptive, fixed] = lines;
    let faster = |ones: &[(f64, f64)], others: &[(f64, f64)]| -> String {
        let is_faster = |&&(part, s): &&(f64, f64)| {
            let other = others.iter().find(|(other, _)| *other == part);
            other.is_some_and(|(_, other_s)| s < other_s * (1.0 - ALIKE))
        };
        let pairs = ones.iter().filter(is_faster);
        let parts: Vec<String> = pairs.map(|(part, _)| part.to_string()).collect();
        if parts.is_empty() {
            "nowhere".into()
        } else {
            format!("at {}", parts.join(", "))
        }
    };
    report.say(&format!(
        "`Adaptive` is faster by more than {:.0} % {}, `Fixed(5)` {}.",
        100.0 * ALIKE,
        faster(&adaptive, &fixed),
        faster(&fixed, &adaptive)
    ));
    report.plot(
        "redundancy",
        &Plot {
            title: "90 M instructions, 168 machines that deliver, and others".into(),
            x: Axis::linear("share of the machines that delivers"),
            y: Axis::linear("time until the final proof, seconds"),
            series: vec![
                line("Adaptive", Colour::Usual, adaptive),
                line("Fixed(5)", Colour::Other, fixed),
            ],
        },
    )
}

fn line(name: &str, colour: Colour, points: Vec<(f64, f64)>) -> Series {
    Series {
        name: name.into(),
        points,
        marks: Marks::Both,
        colour,
        second: false,
    }
}

fn machines(report: &mut Report<'_>) -> Result<(), ReportError> {
    report.say("## Where more machines stop helping");
    report.say(
        "One block of 30 million gas. *Bound* and *possible* are as under Verdicts. The last column names the resource of which more would \
         help most.",
    );
    let mut table = Table::new(&[
        "machines",
        "block proven after",
        "bound",
        "time / bound",
        "possible",
        "time / possible",
        "machines at work",
        "bound by",
    ]);
    let (mut times, mut bounds) = (Vec::new(), Vec::new());
    let ratio = |s: Option<f64>, bound_s: f64| s.map_or("-".into(), |s| format!("{:.2}", s / bound_s));
    for count in [100, 300, 1000, 3000, 10_000] {
        let simulated = with_machines(report, "block-on-10000", count)?;
        let bound_s = simulated.bound_s();
        let makespan_s = simulated.makespan_s();
        times.extend(makespan_s.map(|s| (count as f64, s)));
        let earliest_s = simulated.earliest_s();
        bounds.push((count as f64, earliest_s));
        table.row(&[
            count.to_string(),
            seconds(makespan_s),
            format!("{bound_s:.0} s"),
            ratio(makespan_s, bound_s),
            format!("{earliest_s:.0} s"),
            ratio(makespan_s, earliest_s),
            format!("{:.0} %", 100.0 * simulated.outcome.utilisation),
            bound_by(simulated.plan.binds).into(),
        ]);
    }
    report.say(table.text());
    report.plot(
        "machines",
        &Plot {
            title: "A block of 30 million gas".into(),
            x: Axis::logarithmic("machines"),
            y: Axis::logarithmic("time until the final proof, seconds"),
            series: vec![
                line("simulated", Colour::Usual, times.clone()),
                line("possible", Colour::Bound, bounds),
            ],
        },
    )?;
    let best_s = times.iter().map(|(_, s)| *s).fold(f64::INFINITY, f64::min);
    let enough = times.iter().find(|(_, s)| *s <= best_s * (1.0 + ALIKE));
    report.say(&format!(
        "More than {:.0} machines make the block at most {:.0} % faster. A segment, its leaf and the nodes above wait for each other, and \
         execution and sending the files get no shorter.",
        enough.map_or(0.0, |(count, _)| *count),
        100.0 * ALIKE
    ));
    Ok(())
}

fn bound_by(binds: Binds) -> &'static str {
    match binds {
        Binds::Machines => "machines",
        Binds::Path => "longest path",
        Binds::RequesterDownlink => "requester's downlink",
        Binds::RequesterCpu => "requester's CPU",
        Binds::Start => "start",
    }
}

fn with_machines(report: &Report<'_>, scenario: &str, count: u64) -> Result<Simulated, ReportError> {
    let mut file = report.scenario(scenario)?;
    file.seeds = 1;
    file.machines[0].count = count;
    report.simulate(file)
}

fn uplink(report: &mut Report<'_>) -> Result<(), ReportError> {
    report.say("## The requester's uplink");
    report.say(
        "90 M instructions on 168 machines. Machines behind NATs cannot reach each other, so the requester sends all inputs.",
    );
    let mut table = Table::new(&["uplink", "open machines", "nine of ten behind NATs"]);
    let mut lines = [Vec::new(), Vec::new()];
    for up_mbit in [20.0, 50.0, 100.0, 300.0, 1000.0, 3000.0] {
        let mut cells = vec![format!("{up_mbit:.0} Mbit/s")];
        for (nat, line) in [0.0, 0.9].into_iter().zip(&mut lines) {
            let mut file = report.scenario("90m-on-168")?;
            file.seeds = 3;
            file.requesters[0].up_mbit = up_mbit;
            file.machines[0].nat = nat;
            let simulated = report.simulate(file)?;
            line.extend(simulated.makespan_s().map(|s| (up_mbit, s)));
            cells.push(seconds(simulated.makespan_s()));
        }
        table.row(&cells);
    }
    report.say(table.text());
    let [open, behind] = lines;
    report.plot(
        "uplink",
        &Plot {
            title: "90 M instructions on 168 machines".into(),
            x: Axis::logarithmic("uplink of the requester, Mbit/s"),
            y: Axis::linear("time until the final proof, seconds"),
            series: vec![
                line("open machines", Colour::Usual, open),
                line("nine of ten behind NATs", Colour::Other, behind),
            ],
        },
    )
}

fn segments(report: &mut Report<'_>) -> Result<(), ReportError> {
    report.say("## The tree's share of the work, by memory");
    let mut table = Table::new(&[
        "memory",
        "segments",
        "arities",
        "tree's share of the work",
        "work",
        "90 M on 168 machines",
    ]);
    let mut last = Vec::new();
    for gib in [0.55, 0.65, 0.75, 1.0, 1.5, 2.0, 4.0] {
        let mut file = report.scenario("90m-on-168")?;
        file.seeds = 1;
        file.machines[0].memory_gib = gib;
        let simulated = report.simulate(file)?;
        let plan = &simulated.plan;
        let of = |segments: bool| -> f64 {
            let stages = plan
                .stages
                .iter()
                .filter(|stage| (stage.stage == "segment") == segments);
            stages.map(|stage| stage.machine_s).sum()
        };
        let (work, tree) = (of(true), of(false));
        let mut cells = vec![
            plan.segment.segments.to_string(),
            arities(&simulated),
            format!("{:.0} %", 100.0 * tree / (work + tree)),
            format!("{:.1} h", (work + tree) / 3600.0),
            seconds(simulated.makespan_s()),
        ];
        if cells == last {
            continue;
        }
        last.clone_from(&cells);
        cells.insert(0, format!("{gib} GiB"));
        table.row(&cells);
    }
    report.say(table.text());
    report.say(
        "More memory allows larger, and so fewer, segments and wider nodes. Both make the tree smaller. Up to 4 GiB were tried; an \
         amount that gives the row of a smaller one is left out.",
    );
    Ok(())
}

fn arities(of: &Simulated) -> String {
    let arities = of.plan.arities;
    format!(
        "{}, {}, {}",
        arities.leaf, arities.internal_for_leaf, arities.internal_recursive
    )
}

/// The profile of a planner that takes internal-recursive nodes of three over nodes of one to take
/// this much memory.
fn profile_before(peak_bytes: u64) -> Result<tempfile::NamedTempFile, ReportError> {
    let mut profile = reference::profile().clone();
    let narrow = profile.programs.iter_mut().flat_map(|program| &mut program.nodes);
    for node in narrow.filter(|node| node.over_ones && node.children == 3) {
        node.measured.peak_bytes = peak_bytes;
    }
    let file = tempfile::NamedTempFile::new().map_err(ReportError::Scratch)?;
    let json = serde_json::to_vec(&profile).expect("a profile is plain data");
    fs::write(file.path(), json).map_err(ReportError::Scratch)?;
    Ok(file)
}

/// The gain of internal-recursive nodes of three where they fit: in narrow trees.
fn narrow(report: &mut Report<'_>) -> Result<(), ReportError> {
    report.say("## Narrow or wide");
    let nodes = || {
        let programs = reference::profile().programs.iter();
        let nodes = programs.flat_map(|program| &program.nodes);
        nodes.filter(|node| node.stage == Kind::InternalRecursive && node.children == 3)
    };
    let peak_mib = |over_ones| {
        let peaks = nodes().filter(|node| node.over_ones == over_ones);
        peaks.map(|node| node.measured.peak_bytes).max().unwrap_or(0) >> 20
    };
    report.say(&format!(
        "An internal-recursive node of three children takes {} MiB over nodes of two, and {} MiB over nodes of one, whose proofs are \
         smaller. *Before*, the planner did not know the difference; *now* it takes whichever tree ends sooner.",
        peak_mib(false),
        peak_mib(true)
    ));
    let file = profile_before(peak_mib(false) << 20)?;
    let mut table = Table::new(&["scenario", "memory", "arities", "before", "arities", "now", ""]);
    let mut differs = false;
    for (name, scenario) in [
        ("90 M instructions, 168 machines", "90m-on-168"),
        (
            "90 M instructions, 840 of which one in five delivers",
            "90m-on-840",
        ),
        ("30 M gas, 10,000 machines", "block-on-10000"),
    ] {
        for gib in [0.55, 0.65] {
            let simulated = |profile: Option<String>| {
                let mut file = report.scenario(scenario)?;
                file.seeds = 3;
                for table in &mut file.machines {
                    table.memory_gib = gib;
                    table.profile.clone_from(&profile);
                }
                report.simulate(file)
            };
            let before = simulated(Some(file.path().display().to_string()))?;
            let now = simulated(None)?;
            if arities(&before) == arities(&now) {
                continue;
            }
            differs = true;
            let gain = before.makespan_s().zip(now.makespan_s());
            table.row(&[
                name.into(),
                format!("{gib} GiB"),
                arities(&before),
                seconds(before.makespan_s()),
                arities(&now),
                seconds(now.makespan_s()),
                gain.map_or("-".into(), |(before, now)| {
                    format!("{:+.0} %", 100.0 * (now / before - 1.0))
                }),
            ]);
        }
    }
    if differs {
        report.say(table.text());
        report.say("Scenarios in which both choose the same tree are left out.");
    } else {
        report.say("In the scenarios of this report, both choose the same trees.");
    }
    Ok(())
}
