//! The figures that the short path is to reach, and the gain of each step towards it alone.

use myriad_sim::fleet::WhatIf;

use super::{Report, ReportError, Simulated, met, seconds, streams, tables::Table};

/// Worlds of a scenario that is simulated with each switch.
const SEEDS: u64 = 3;
/// The stream in which links are measured: rollups that a thousand machines carry.
const MACHINES: u64 = 1000;
const ROLLUPS: u64 = 3;
const HOURS: f64 = 0.25;
/// Arities as they were chosen before leaves had room for several segments.
const ARITIES_BEFORE: [u8; 3] = [1, 1, 3];

/// The findings of other parts of the report.
pub struct Figures {
    /// The seconds on 168 machines with the costs of `evm-block`.
    pub on_168_s: Option<f64>,
    pub on_840_s: Option<f64>,
    pub block_s: Option<f64>,
    pub core_hours: f64,
    /// Ratios of times to the possible times of the trees that were chosen.
    pub beside_possible: Vec<f64>,
    /// The rollups that 10,000 machines carry.
    pub rollups: f64,
    /// The errors of simulations beside their real runs.
    pub errors: Vec<f64>,
}

/// The table of figures to reach.
pub fn targets(report: &mut Report<'_>, figures: &Figures) {
    report.say("## The short path");
    report.say(
        "Two cores of the reference and 4 GiB a machine, costs of `evm-block`. *Before* is the same figure with OpenVM's prover.",
    );
    let mut table = Table::new(&["figure", "before", "aim", "now", ""]);
    let within = |s: Option<f64>, most: f64| s.is_some_and(|s| s <= most);
    for (what, before, aim_s, now) in [
        (
            "90 M instructions on 168 machines",
            "202 s",
            70.0,
            figures.on_168_s,
        ),
        (
            "90 M instructions on 840, four of five of which waste time",
            "222 s",
            90.0,
            figures.on_840_s,
        ),
        ("a block of 30 M gas on 10,000", "172 s", 55.0, figures.block_s),
    ] {
        table.row(&[
            what.into(),
            before.into(),
            seconds(Some(aim_s)),
            seconds(now),
            met(within(now, aim_s)).into(),
        ]);
    }
    table.row(&[
        "core hours of that block, all aggregated".into(),
        "24".into(),
        "4".into(),
        format!("{:.1}", figures.core_hours),
        met(figures.core_hours <= 4.0).into(),
    ]);
    table.row(&[
        "rollups on 10,000 machines, a block of 30 M gas every 12 s".into(),
        "2.8".into(),
        "15".into(),
        format!("{:.1}", figures.rollups),
        met(figures.rollups >= 15.0).into(),
    ]);
    let range = |of: &[f64], show: fn(f64) -> String| {
        let least = of.iter().copied().fold(f64::INFINITY, f64::min);
        let most = of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{} to {}", show(least), show(most))
    };
    table.row(&[
        "time / possible time, for the chosen tree".into(),
        "1.09 to 1.17".into(),
        "1.05 to 1.10".into(),
        range(&figures.beside_possible, |ratio| format!("{ratio:.2}")),
        met(figures.beside_possible.iter().all(|ratio| *ratio <= 1.1)).into(),
    ]);
    table.row(&[
        "error of a simulated run, on the machine of the profile".into(),
        "-15 to -3 %".into(),
        "within 8 %".into(),
        range(&figures.errors, |error| format!("{:+.0} %", 100.0 * error)),
        met(figures.errors.iter().all(|error| error.abs() <= 0.08)).into(),
    ]);
    report.say(table.text());
}

/// The gain of each step alone.
#[expect(clippy::too_many_lines, reason = "the table, row by row")]
pub fn alone(report: &mut Report<'_>) -> Result<(), ReportError> {
    report.say("## The gain of each step alone");
    report.say(&format!(
        "Each row changes one switch (`what_if`) of the first row. Rows marked **not built** show the most that a step could gain: \
         machines know their segment beforehand and give nothing back. In the second column this also helps machines that waste time. \
         The traffic of the requester is that of {ROLLUPS} rollups on {MACHINES} machines."
    ));
    let mut table = Table::new(&[
        "",
        "90 M on 168",
        "90 M on 840, one in five delivers",
        "30 M gas on 10,000",
        "core hours of the block",
        "a rollup receives",
        "it sends",
        "copies of the input that it sends",
        "CPU time in which it verifies a block",
    ]);
    let usual = WhatIf::default();
    let early = WhatIf { early: true, ..usual };
    let ahead = WhatIf { ahead: true, ..usual };
    let swarm = WhatIf { swarm: true, ..usual };
    let delegated = WhatIf {
        delegated: true,
        ..usual
    };
    for (what, what_if) in [
        ("as built", usual),
        (
            "announced after execution, as before",
            WhatIf {
                announced: false,
                ..usual
            },
        ),
        (
            "leaves of one segment, internal-for-leaf nodes of one leaf",
            WhatIf {
                arities: Some(ARITIES_BEFORE),
                ..usual
            },
        ),
        (
            "**not built:** all machines execute; segments are proven as they are cut",
            early,
        ),
        ("**not built:** the next lease is granted ahead", ahead),
        (
            "**not built:** machines forward inputs while they receive them",
            swarm,
        ),
        (
            "**not built:** the requester checks only proofs that were aggregated twice",
            delegated,
        ),
        (
            "**not built:** these four together",
            WhatIf {
                early: true,
                ahead: true,
                swarm: true,
                delegated: true,
                ..usual
            },
        ),
    ] {
        let simulate = |scenario: &str, seeds: u64| -> Result<Simulated, ReportError> {
            let mut file = report.scenario(scenario)?;
            file.seeds = seeds;
            file.what_if = what_if;
            report.simulate(file)
        };
        let block = simulate("block-on-10000", 1)?;
        let mut stream = report.scenario("stream")?;
        stream.what_if = what_if;
        stream.hours = HOURS;
        stream.machines[0].count = MACHINES;
        stream.requesters[0].count = ROLLUPS;
        let stream = report.simulate(stream)?;
        table.row(&[
            what.into(),
            seconds(simulate("90m-on-168", SEEDS)?.makespan_s()),
            seconds(simulate("90m-on-840", SEEDS)?.makespan_s()),
            seconds(block.makespan_s()),
            format!("{:.1}", block.core_hours()),
            streams::gbit(streams::received_gbit(&stream, ROLLUPS as f64)),
            streams::gbit(streams::sent_gbit(&stream, ROLLUPS as f64)),
            format!("{:.0}", streams::copies(&stream)),
            format!("{:.1} s", streams::verified_s(&stream)),
        ]);
    }
    report.say(table.text());
    report.say(
        "Look-ahead lets a slow machine leave a task to a fast one. It has no row, since the machines here differ by little. \
         `docs/SIMULATION.md` has its gain on mixed fleets.",
    );
    Ok(())
}
