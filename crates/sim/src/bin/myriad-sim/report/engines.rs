//! The part of the report on RISC Zero: the claims on the system that they speak of, beside OpenVM
//! on the same machines.

use std::collections::BTreeSet;

use myriad_cost::{
    model::ProgramModel,
    profile::{Cut, Measured, Program},
    reference,
};

use super::{PROPOSED_S, Report, ReportError, Simulated, seconds, tables::Table, verdict};

const GIB: f64 = (1u64 << 30) as f64;
/// The columns of a segment's trace, by which its cells tell its rows
/// (`engines/risc0/src/memory.rs`).
const COLUMNS: f64 = 315.0;
/// The proposal's memory of segments, by the exponents of their cycles.
const PROPOSED_GB: [(u32, f64); 2] = [(18, 2.0), (19, 4.0)];
/// The speed of a core of an i7-5500U beside one of the reference. It is an assumption: nobody here
/// has measured one. The processor is of 2015, and has AVX2 and no AVX-512.
const HOME_SPEED: f64 = 0.5;
/// Worlds of a scenario here: fewer than elsewhere, since both engines are simulated.
const SEEDS: u64 = 3;

/// User cycles for each unit of gas of the guest `evm-block-risc0`, on average over the three
/// blocks of `docs/ENGINES.md`.
const CYCLES_PER_GAS: f64 = 67.1;

/// A program of each engine whose instructions are plain RISC-V.
const PLAIN: [&str; 2] = ["fibonacci", "fibonacci-risc0"];

pub fn write(report: &mut Report<'_>) -> Result<(), ReportError> {
    report.say("## RISC Zero: the claims on their own ground");
    report.say(
        "The proposal speaks of RISC Zero. Myriad proves its programs on the same network ([Engines](../ENGINES.md)), with the prover of \
         RISC Zero's own crates, on the CPU. This part tests the first three claims with its costs \
         (`profiles/risc0.json`, by `myriad bench --engine risc0`).",
    );
    segments(report);
    nodes(report);
    fleets(report)?;
    block(report)
}

/// Claim 1, by what was measured.
fn segments(report: &mut Report<'_>) {
    let profile = reference::other("risc0").expect("the reference has it");
    let program = &profile.programs[0];
    let mut table = Table::new(&[
        "rows",
        "user cycles",
        "memory, planned",
        "memory, measured",
        "the proposal's",
        "s on two threads",
        "s on an i7-5500U, assumed",
        "proof",
    ]);
    for cut in &program.cuts {
        let po2 = po2(cut);
        let measured = measured(program, cut.budget_bytes);
        let of = |text: &dyn Fn(&Measured) -> String| measured.map_or("-".into(), text);
        let proposed = PROPOSED_GB.iter().find(|(of, _)| *of == po2);
        table.row(&[
            format!("2^{po2}"),
            format!("{:.0}", cut.instructions),
            format!("{:.2} GiB", cut.peak_bytes as f64 / GIB),
            of(&|m| format!("{:.2} GiB", m.peak_bytes as f64 / GIB)),
            proposed.map_or("-".into(), |(_, gb)| format!("{gb:.0} GB")),
            of(&|m| format!("{:.0}", m.undisturbed_wall_s())),
            of(&|m| format!("{:.0}", m.undisturbed_wall_s() / HOME_SPEED)),
            of(&|m| format!("{} KB", m.proof_bytes / 1000)),
        ]);
    }
    report.say(table.text());
    let seen = program.cuts.iter().find(|cut| po2(cut) == PROPOSED_GB[0].0);
    let seen = seen.and_then(|cut| measured(program, cut.budget_bytes));
    let gb = seen.expect("it is measured").peak_bytes as f64 / 1e9;
    let (po2, proposed) = PROPOSED_GB[0];
    report.say(&format!(
        "A dash means that it was not measured. With 2^{po2} rows, the process takes {gb:.1} GB, where the proposal has {proposed:.0} GB: \
         claim 1 {}. Tables and pages take rows, too, so fewer user cycles fit than there are rows. An i7-5500U is assumed to be half as \
         fast as the machine of the profile.",
        verdict(gb <= proposed)
    ));
}

/// The rows of a cut's segments, as a power of two.
fn po2(cut: &Cut) -> u32 {
    (cut.cells / COLUMNS).log2().round() as u32
}

/// The mean of a size is that of its one segment: all have the same number of rows.
fn measured(program: &Program, budget_bytes: u64) -> Option<&Measured> {
    let mut of_budget = program.segments.iter().filter(|sample| {
        sample.budget_bytes == budget_bytes && sample.measured.threads == 2 && !sample.measured.cold
    });
    of_budget.next().map(|sample| &sample.measured)
}

fn nodes(report: &mut Report<'_>) {
    let profile = reference::other("risc0").expect("the reference has it");
    let mut table = Table::new(&[
        "node",
        "children",
        "memory, measured",
        "s on two threads",
        "proof",
    ]);
    let mut shown = BTreeSet::new();
    for node in &profile.programs[0].nodes {
        let counts = !node.measured.cold && node.measured.threads == 2;
        if !counts || !shown.insert((node.stage.name(), node.children)) {
            continue;
        }
        table.row(&[
            node.stage.name().into(),
            node.children.to_string(),
            format!("{:.2} GiB", node.measured.peak_bytes as f64 / GIB),
            format!("{:.1}", node.measured.undisturbed_wall_s()),
            format!("{} KB", node.measured.proof_bytes / 1000),
        ]);
    }
    report.say(table.text());
    report.say("A leaf is a lift, and a node of two children a join. A node of one child is that child's proof, and proves nothing.");
}

/// Claims 2 and 3, by simulation, beside OpenVM on the same fleet.
fn fleets(report: &mut Report<'_>) -> Result<(), ReportError> {
    let mut table = Table::new(&[
        "90 M instructions",
        "OpenVM, `fibonacci`",
        "RISC Zero, `fibonacci-risc0`",
        "times as long",
        "RISC Zero within 4 min 9 s",
    ]);
    let mut works = Vec::new();
    for (what, scenario, speed) in [
        ("168 machines", "90m-on-168", 1.0),
        ("840 machines, one in five of which delivers", "90m-on-840", 1.0),
        ("168 machines, half as fast", "90m-on-168", HOME_SPEED),
    ] {
        let [openvm, risc0] = PLAIN.map(|program| simulated(report, scenario, program, speed));
        let (openvm, risc0) = (openvm?, risc0?);
        let times = [&openvm, &risc0].map(Simulated::makespan_s);
        let ratio = match times {
            [Some(openvm), Some(risc0)] => format!("{:.0}", risc0 / openvm),
            _ => "-".into(),
        };
        table.row(&[
            what.into(),
            seconds(times[0]),
            seconds(times[1]),
            ratio,
            verdict(times[1].is_some_and(|s| s <= PROPOSED_S)).into(),
        ]);
        works.push([openvm, risc0].map(|of| of.core_hours()));
    }
    report.say(table.text());
    let [openvm, risc0] = works[0];
    report.say(&format!(
        "All work of the program with its tree is {openvm:.1} core hours with OpenVM and {risc0:.0} with RISC Zero, which is {:.0} times \
         as much. `fibonacci-risc0` is measured whole, with 4 GiB and less for a segment. For each of its user cycles, a segment costs \
         {:.0} times what OpenVM's costs for an instruction. OpenVM's prover here was made for small CPUs, and RISC Zero's is that of its \
         crates.",
        risc0 / openvm,
        segment_ratio()
    ));
    Ok(())
}

fn simulated(
    report: &Report<'_>,
    scenario: &str,
    program: &str,
    speed: f64,
) -> Result<Simulated, ReportError> {
    let mut file = report.scenario(scenario)?;
    file.seeds = file.seeds.min(SEEDS);
    file.requesters[0].costs_of = program.into();
    file.machines[0].speed = file.machines[0].speed.times(speed);
    report.simulate(file)
}

/// CPU time of an instruction in a segment of 4 GiB: RISC Zero's beside OpenVM's.
fn segment_ratio() -> f64 {
    let each = |program: &ProgramModel| {
        let cut = program.cut_for(4 << 30).expect("a segment fits 4 GiB");
        program.segment(program.load(cut.instructions), 1).cpu_s / cut.instructions
    };
    let [openvm, risc0] = PLAIN.map(|name| each(reference::model().program(name).expect("it is measured")));
    risc0 / openvm
}

/// A block, whose instructions differ from engine to engine.
fn block(report: &mut Report<'_>) -> Result<(), ReportError> {
    let of = |program: &str, instructions_per_gas: Option<f64>| {
        let mut file = report.scenario("block-on-10000")?;
        file.seeds = 1;
        let rollup = &mut file.requesters[0];
        rollup.costs_of = program.into();
        rollup.instructions_per_gas = instructions_per_gas.unwrap_or(rollup.instructions_per_gas);
        report.simulate(file)
    };
    let openvm = of("evm-block", None)?;
    let risc0 = of("fibonacci-risc0", Some(CYCLES_PER_GAS))?;
    let times = [&openvm, &risc0].map(Simulated::makespan_s);
    let with_risc0 = match times {
        [Some(openvm), Some(risc0)] => format!("{risc0:.0} s, {:.0} times as long,", risc0 / openvm),
        _ => "more than an hour".into(),
    };
    report.say(&format!(
        "A block of 30 M gas on 10,000 machines of 4 GiB takes {} and {:.1} core hours with OpenVM. With RISC Zero, it takes {with_risc0} \
         and {:.0} core hours: {CYCLES_PER_GAS} user cycles for each unit of gas by `evm-block-risc0`, each with the costs of \
         `fibonacci-risc0`. Keccak in software must be most of these cycles ([Engines](../ENGINES.md#blocks-on-risc-zero)). So OpenVM proves \
         a block sooner on weak machines, and with {:.0} times less work.",
        seconds(times[0]),
        openvm.core_hours(),
        risc0.core_hours(),
        risc0.core_hours() / openvm.core_hours(),
    ));
    Ok(())
}
