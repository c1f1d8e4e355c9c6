//! The part of the report on the four claims of the proposal and the targets of the project.

use myriad_cost::{
    profile::{Cut, Program},
    reference,
};
use myriad_sim::{
    charts::colour_of,
    plot::{Axis, Marks, Plot, Series},
};

use super::{
    PROPOSED_S, Report, ReportError, Simulated, met, seconds, steps::Figures, tables::Table, verdict,
};

const GIB: f64 = (1u64 << 30) as f64;
/// Cycles of segments for which the proposal has 2 and 4 GB.
const CYCLES_2_GB: u32 = 1 << 18;
const CYCLES_4_GB: u32 = 1 << 19;
/// Linea's time for the inner proof of a block of 30 million gas on 96 cores, by the proposal.
const LINEA_S: f64 = 300.0;
const LINEA_CORES: f64 = 96.0;
const LINEA_GB: f64 = 384.0;
const TARGET_168_S: f64 = 120.0;
const TARGET_840_S: f64 = 150.0;
const TARGET_BLOCK_S: f64 = 60.0;

/// 90 million instructions that cost what those of a program do.
struct Costs {
    program: &'static str,
    /// The simulation on 168 machines.
    honest: Simulated,
    /// The simulation on 840 machines, of which one in five delivers.
    wasted: Simulated,
}

impl Costs {
    fn of(report: &Report<'_>, program: &'static str) -> Result<Self, ReportError> {
        let simulate = |scenario| {
            let mut file = report.scenario(scenario)?;
            file.requesters[0].costs_of = program.into();
            report.simulate(file)
        };
        Ok(Self {
            program,
            honest: simulate("90m-on-168")?,
            wasted: simulate("90m-on-840")?,
        })
    }
}

/// Writes this part's findings; other parts of the report write theirs.
#[expect(clippy::too_many_lines, reason = "the page, from top to bottom")]
pub fn write(report: &mut Report<'_>) -> Result<Figures, ReportError> {
    let programs = reference::profile().programs.iter();
    let costs = programs.map(|program| Costs::of(report, &program.name));
    let costs = costs.collect::<Result<Vec<_>, _>>()?;
    let block = report.simulate(report.scenario("block-on-10000")?)?;
    let stream = report.simulate(report.scenario("ten-rollups")?)?;
    report.say("## Verdicts");
    let within = |of: &Simulated, limit_s: f64| of.makespan_s().is_some_and(|s| s <= limit_s);
    let mut table = Table::new(&["claim", "how it was tested", "figure", "verdict"]);
    for program in &reference::profile().programs {
        let [two, four] = [2.0, 4.0].map(|gib| largest(program, gib));
        table.row(&[
            "1. 2 GB are enough for segments of 2^18 cycles, 4 GB for 2^19".into(),
            format!("measured, real segments of `{}`", program.name),
            format!(
                "{} within 2 GiB (2^18 is {CYCLES_2_GB}), {} within 4 GiB (2^19 is {CYCLES_4_GB})",
                fitting(two),
                fitting(four)
            ),
            verdict(two >= Some(CYCLES_2_GB.into()) && four >= Some(CYCLES_4_GB.into())).into(),
        ]);
    }
    let honest: fn(&Costs) -> &Simulated = |of| &of.honest;
    let wasted: fn(&Costs) -> &Simulated = |of| &of.wasted;
    for (claim, how, simulated) in [
        (
            "2. 168 machines prove 90 M cycles in 4 min 9 s",
            "`scenarios/90m-on-168.toml`",
            honest,
        ),
        (
            "3. 840 machines, one in five of which delivers, prove 90 M cycles in 4 min 9 s",
            "`scenarios/90m-on-840.toml`, wasters of six kinds",
            wasted,
        ),
    ] {
        for of in &costs {
            table.row(&[
                claim.into(),
                format!("simulated, {how}, costs of `{}`", of.program),
                seconds(simulated(of).makespan_s()),
                verdict(within(simulated(of), PROPOSED_S)).into(),
            ]);
        }
    }
    table.row(&[
        "4. 10,000 machines carry ten rollups with blocks of 30 M gas".into(),
        "simulated, `scenarios/ten-rollups.toml`: a block each every 12 s for an hour".into(),
        format!(
            "{} of {} blocks proven in that hour",
            proven(&stream),
            blocks(&stream)
        ),
        verdict(stream.outcome.all_proven && !stream.outcome.lag_grows).into(),
    ]);
    report.say(table.text());
    report.say(
        "The proposal assumes machines of 2015 (two cores of an i7-5500U). The scenarios assume two cores of a server of 2023 \
         (`profiles/epyc-2-cores.json`); a table below repeats claim 2 with slower ones. `fibonacci` uses plain RISC-V instructions, \
         like the proposal's cycles. `evm-block` proves blocks of Ethereum and has extensions for keccak and secp256k1; one such \
         instruction does the work, and takes the memory, of hundreds.",
    );
    let mut table = Table::new(&["target of this project", "figure", "bound", ""]);
    let mut targets = Vec::new();
    for of in &costs {
        let what = "90 M instructions on 168 machines within 120 s";
        targets.push((
            format!("{what}, costs of `{}`", of.program),
            &of.honest,
            TARGET_168_S,
        ));
        let what = "90 M instructions on 840 machines, 80 % of which waste time, within 150 s";
        targets.push((
            format!("{what}, costs of `{}`", of.program),
            &of.wasted,
            TARGET_840_S,
        ));
    }
    let what = "a block of 30 M gas on 10,000 machines within 60 s";
    targets.push((what.into(), &block, TARGET_BLOCK_S));
    for (what, of, limit_s) in targets {
        table.row(&[
            what,
            seconds(of.makespan_s()),
            format!("{:.0} s", of.bound_s()),
            met(within(of, limit_s)).into(),
        ]);
    }
    let honest = costs.iter().map(|of| {
        let what = format!("90 M instructions on 168 machines, costs of `{}`", of.program);
        (what, &of.honest)
    });
    let honest: Vec<_> = honest
        .chain([("30 M gas on 10,000 machines".to_owned(), &block)])
        .collect();
    let bound = honest.iter().map(|(what, of)| {
        (
            format!("time at most 1.10 of the bound: {what}"),
            of,
            of.bound_s(),
        )
    });
    let possible = honest.iter().map(|(what, of)| {
        (
            format!("time at most 1.10 of the possible time: {what}"),
            of,
            of.earliest_s(),
        )
    });
    for (what, of, bound_s) in bound.chain(possible) {
        let ratio = of.makespan_s().map(|s| s / bound_s);
        table.row(&[
            what,
            ratio.map_or("not done".into(), |ratio| format!("{ratio:.2}")),
            "1.10".into(),
            met(ratio.is_some_and(|ratio| ratio <= 1.1)).into(),
        ]);
    }
    report.say(table.text());
    report.say(&format!(
        "The bound is the larger of two times: all work divided among all machines, and the longest path from a segment to the final \
         proof, by the fastest machines alone. It leaves out the requester's execution. Where the two are close, no schedule reaches it, \
         because towards the root fewer tasks can run at once. The *possible* time follows from both for the chosen tree \
         (`docs/PLANNING.md`), if all machines were as fast as the fastest, with the execution: {}. If all were of speed 1, it would be {} s.",
        honest
            .iter()
            .map(|(what, of)| format!("{:.0} s ({what})", of.earliest_s()))
            .collect::<Vec<_>>()
            .join(", "),
        honest
            .iter()
            .map(|(_, of)| format!("{:.0}", of.plan.parts.execute_s + of.plan.bounds.earliest_s))
            .collect::<Vec<_>>()
            .join(", ")
    ));
    memory(report, evm())?;
    report.say("## Claims 2 and 3: a program of 90 million instructions");
    for of in &costs {
        stages(report, of);
    }
    slower(report, &costs)?;
    linea(report, &block);
    let evm = costs.iter().find(|of| of.program == "evm-block");
    Ok(Figures {
        on_168_s: evm.and_then(|of| of.honest.makespan_s()),
        on_840_s: evm.and_then(|of| of.wasted.makespan_s()),
        block_s: block.makespan_s(),
        core_hours: block.core_hours(),
        beside_possible: honest
            .iter()
            .filter_map(|(_, of)| Some(of.makespan_s()? / of.earliest_s()))
            .collect(),
        rollups: 0.0,
        errors: Vec::new(),
    })
}

fn evm() -> &'static Program {
    reference::profile()
        .program("evm-block")
        .expect("the reference has it")
}

fn proven(of: &Simulated) -> usize {
    of.outcome.worlds.iter().map(|world| world.proven).sum()
}

fn blocks(of: &Simulated) -> usize {
    of.outcome.worlds.iter().map(|world| world.blocks).sum()
}

/// The average instructions of a segment, for the largest segments that stayed within this much
/// memory.
fn largest(program: &Program, gib: f64) -> Option<f64> {
    let within = program
        .cuts
        .iter()
        .filter(|cut| cut.peak_bytes as f64 <= gib * GIB);
    within.map(|cut| cut.instructions).max_by(f64::total_cmp)
}

fn fitting(instructions: Option<f64>) -> String {
    instructions.map_or("no cut that was measured is".into(), |instructions| {
        format!("{instructions:.0} instructions are")
    })
}

fn memory(report: &mut Report<'_>, program: &Program) -> Result<(), ReportError> {
    report.say("## Claim 1: memory of a segment");
    let mut table = Table::new(&[
        "budget",
        "instructions a segment",
        "segments of the program",
        "peak",
        "s on two threads",
    ]);
    let mut cuts = program.cuts.clone();
    cuts.dedup_by_key(|cut| cut.peak_bytes);
    for cut in &cuts {
        let of_budget = program.segments.iter().filter(|sample| {
            sample.budget_bytes == cut.budget_bytes && sample.measured.threads == 2 && !sample.measured.cold
        });
        let times: Vec<f64> = of_budget
            .map(|sample| sample.measured.undisturbed_wall_s())
            .collect();
        let mean_s = times.iter().sum::<f64>() / times.len().max(1) as f64;
        table.row(&[
            format!("{:.2} GiB", cut.budget_bytes as f64 / GIB),
            format!("{:.0}", cut.instructions),
            cut.segments.to_string(),
            format!("{:.2} GiB", cut.peak_bytes as f64 / GIB),
            if times.is_empty() {
                "-".into()
            } else {
                format!("{mean_s:.1}")
            },
        ]);
    }
    report.say(table.text());
    report.say(
        "Measured with `myriad bench`; the peak is the engine's expectation for the largest segment. Budgets that give the same segments as \
         a smaller one are left out. The proposal counts cycles of Risc0; this table counts instructions of OpenVM.",
    );
    let points = |of: fn(&Cut) -> f64| {
        cuts.iter()
            .map(move |cut| (of(cut), cut.peak_bytes as f64 / GIB))
            .collect()
    };
    report.plot(
        "memory",
        &Plot {
            title: "Memory of a segment of evm-block".into(),
            x: Axis::logarithmic("instructions of the segment"),
            y: Axis::linear("peak memory of the process, GiB"),
            series: vec![Series {
                name: "evm-block".into(),
                points: points(|cut| cut.instructions),
                marks: Marks::Both,
                colour: colour_of("evm-block"),
                second: false,
            }],
        },
    )
}

fn stages(report: &mut Report<'_>, costs: &Costs) {
    let plan = &costs.honest.plan;
    let all: f64 = plan.stages.iter().map(|stage| stage.machine_s).sum();
    let mut table = Table::new(&["stage", "tasks", "machine time", "share"]);
    for stage in &plan.stages {
        table.row(&[
            stage.stage.into(),
            stage.tasks.to_string(),
            format!("{:.0} s", stage.machine_s),
            format!("{:.0} %", 100.0 * stage.machine_s / all),
        ]);
    }
    report.say(table.text());
    let parts = &plan.parts;
    report.say(&format!(
        "`{}`: {} segments of {:.0} instructions, nodes of {}, {} and {} children. First the requester executes for {:.0} s, and the \
         planner expects program and input to take {:.0} s to arrive. At speed 1, the longest path then takes at least {:.0} s; all work, \
         spread over all machines, {:.0} s.",
        costs.program,
        plan.segment.segments,
        plan.segment.instructions,
        plan.arities.leaf,
        plan.arities.internal_for_leaf,
        plan.arities.internal_recursive,
        parts.execute_s,
        parts.distribute_s,
        plan.bounds.path_s,
        plan.bounds.machines_s
    ));
}

fn slower(report: &mut Report<'_>, costs: &[Costs]) -> Result<(), ReportError> {
    let mut table = Table::new(&[
        "costs of",
        "mean speed, reference = 1",
        "168 machines",
        "within 4 min 9 s",
    ]);
    for of in costs {
        for speed in [1.0, 0.75, 0.5, 0.25] {
            let mut file = report.scenario("90m-on-168")?;
            file.requesters[0].costs_of = of.program.into();
            file.machines[0].speed = file.machines[0].speed.times(speed);
            let simulated = report.simulate(file)?;
            let makespan_s = simulated.makespan_s();
            table.row(&[
                format!("`{}`", of.program),
                format!("{speed}"),
                seconds(makespan_s),
                verdict(makespan_s.is_some_and(|s| s <= PROPOSED_S)).into(),
            ]);
        }
    }
    report.say(table.text());
    Ok(())
}

fn linea(report: &mut Report<'_>, block: &Simulated) {
    let linea_hours = LINEA_S * LINEA_CORES / 3600.0;
    report.say("## Claim 4: a block of 30 million gas, side by side");
    let mut table = Table::new(&[
        "",
        "Linea, by the proposal",
        "10,000 machines of two cores and 4 GiB",
    ]);
    table.row(&[
        "time".into(),
        format!("{LINEA_S:.0} s"),
        seconds(block.makespan_s()),
    ]);
    table.row(&[
        "core hours".into(),
        format!("{linea_hours:.1}"),
        format!("{:.1}", block.core_hours()),
    ]);
    table.row(&[
        "largest memory in one place".into(),
        format!("{LINEA_GB:.0} GB"),
        "4 GiB".into(),
    ]);
    table.row(&[
        "what is proven".into(),
        "the inner proof only".into(),
        "all, to one final STARK proof".into(),
    ]);
    report.say(table.text());
    report.say(
        "Linea's prover has circuits for the EVM and one machine that holds all data; its figure leaves out aggregation. Here, a general \
         virtual machine runs a stateless client, every segment is proven and aggregated, and proofs travel over home links.",
    );
    report.say("Published figures of GPU clusters. None was repeated here.");
    let mut table = Table::new(&["", "hardware", "blocks of Ethereum", "mean", "within 12 s"]);
    for PublishedCluster {
        name,
        source,
        hardware,
        blocks,
        mean,
        within_12_s,
    } in CLUSTERS
    {
        table.row(&[
            format!("[{name}]({source})"),
            hardware.into(),
            blocks.into(),
            mean.into(),
            within_12_s.into(),
        ]);
    }
    report.say(table.text());
}

struct PublishedCluster {
    name: &'static str,
    source: &'static str,
    hardware: &'static str,
    blocks: &'static str,
    mean: &'static str,
    within_12_s: &'static str,
}

/// The figures are from the pages that they name.
const CLUSTERS: [PublishedCluster; 2] = [
    PublishedCluster {
        name: "SP1 Hypercube, May 2025",
        source: "https://blog.succinct.xyz/sp1-hypercube",
        hardware: "a cluster of GPUs",
        blocks: "mainnet",
        mean: "10.3 s",
        within_12_s: "93 %",
    },
    PublishedCluster {
        name: "Pico Prism, October 2025",
        source: "https://4pillars.io/en/issues/pico-prism-one-stone-two-wins-speed-and-efficiency",
        hardware: "64 RTX 5090",
        blocks: "gas limit of 45 M",
        mean: "6.9 s",
        within_12_s: "99.6 %",
    },
];
