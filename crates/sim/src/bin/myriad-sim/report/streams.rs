//! The part of the report on streams: how many rollups a fleet carries.

use std::thread;

use myriad_sim::fleet::RequesterOutcome;

use super::{Report, ReportError, Simulated, met, tables::Table};

/// Time between a rollup's blocks.
const EVERY_S: f64 = 12.0;
/// The gas of each block, in millions.
const MEGAGAS: f64 = 30.0;
/// The tried parts of what all machines have work for, in hundredths.
const PARTS: [u32; 3] = [90, 100, 110];
/// Fleets, and for how many hours each is simulated: with more machines more happens in an hour,
/// and a block is proven sooner.
const FLEETS: [(u64, f64); 2] = [(1000, 1.0), (10_000, 0.25)];
/// A fleet that is simulated with ten rollups; the most that it carries is only reckoned, because
/// hundreds of requesters that each know every machine take too much memory.
const RECKONED: u64 = 100_000;
/// The most that one rollup may receive, in Gbit/s, and the most inputs that it may send of each
/// block.
const RECEIVED_MAX: f64 = 0.25;
const COPIES_MAX: f64 = 8.0;

/// Writes how many rollups fleets carry, and returns it for 10,000 machines.
#[expect(clippy::too_many_lines, reason = "the page, from top to bottom")]
pub fn write(report: &mut Report<'_>) -> Result<f64, ReportError> {
    report.say("## How many rollups a fleet carries");
    report.say(
        "Rollups with a block of 30 million gas every 12 s. By the planner's estimate all machines together can work for so many. Of that, \
         three parts are simulated, as blocks that come at an even pace: a part is carried if blocks do not wait longer and longer. The lag is \
         from a block's arrival to its proof, with the seconds in which the requester executes it.",
    );
    let mut table = Table::new(&[
        "machines",
        "estimate",
        "part",
        "rollups",
        "lag, median",
        "lag, 95 %",
        "machines at work",
        "work in vain",
        "a rollup receives",
        "it sends",
        "",
    ]);
    let mut carried = Vec::new();
    for (machines, hours) in FLEETS {
        let most = most(report, machines)?;
        let simulated = stream(report, machines, hours, most)?;
        for (part, simulated) in PARTS.iter().zip(&simulated) {
            let rollups = most * f64::from(*part) / 100.0;
            let outcome = &simulated.outcome;
            let holds = !outcome.lag_grows && outcome.lag_s.is_some();
            if holds {
                carried.push((machines, rollups));
            }
            let lag = |of: fn(&myriad_sim::fleet::Summary) -> f64| {
                let lag_s = outcome.lag_s.as_ref().map(of);
                lag_s.map_or("-".into(), |lag_s| format!("{lag_s:.0} s"))
            };
            table.row(&[
                machines.to_string(),
                format!("{most:.1} rollups"),
                format!("{part} %"),
                format!("{rollups:.2}"),
                lag(|lag| lag.median),
                lag(|lag| lag.p95),
                format!("{:.0} %", 100.0 * outcome.utilisation),
                format!("{:.0} %", 100.0 * outcome.wasted),
                gbit(received_gbit(simulated, rollups)),
                gbit(sent_gbit(simulated, rollups)),
                if holds { "carried" } else { "**lag grows**" }.into(),
            ]);
        }
    }
    report.say(table.text());
    let mut largest = Table::new(&["machines", "rollups carried", "gas a second", "estimate"]);
    for (machines, _) in FLEETS {
        let of = carried.iter().filter(|(of, _)| *of == machines);
        let rollups = of.map(|(_, rollups)| *rollups).fold(0.0, f64::max);
        largest.row(&[
            machines.to_string(),
            format!("{rollups:.2}"),
            gas(rollups),
            format!("{:.1}", most(report, machines)?),
        ]);
    }
    let ten = report.simulate(report.scenario("ten-rollups-on-100000")?)?;
    let rollups = ten.outcome.worlds[0].requesters.len() as f64;
    largest.row(&[
        RECKONED.to_string(),
        format!("{rollups:.0} simulated"),
        gas(rollups),
        format!("{:.1}", most(report, RECKONED)?),
    ]);
    report.say(largest.text());
    let world = &ten.outcome.worlds[0];
    let (lag, utilisation) = (ten.outcome.lag_s.as_ref(), ten.outcome.utilisation);
    report.say(&format!(
        "{RECKONED} machines have {:.0} % of their time to spare for ten rollups, for an hour: {} of {} blocks were proven in that hour, {:.0} s after they \
         came (median). `docs/SIMULATION.md` says how fast that is simulated, and in how much memory.",
        100.0 * (1.0 - utilisation),
        world.proven,
        world.blocks,
        lag.map_or(f64::NAN, |lag| lag.median),
    ));
    report.say("## What a requester must carry");
    report.say(
        "A requester fetches and verifies every proof that is submitted to it, once: when it checks it. What a rollup receives is what its link has \
         to carry, however many machines there are; where it is less, proofs wait for each other there, and machines have nothing to do. The \
         children of a node go from the machines that made them to the one that makes the node, and through the requester only where \
         these cannot reach each other. Machines fetch program and input from each other while the requester executes the block, which sends more copies \
         where its link is fast; those that begin without them get them from a machine that has them, or else from the requester.",
    );
    let mut table = Table::new(&[
        "machines",
        "rollups",
        "a rollup receives",
        "aim",
        "",
        "inputs that it sends of each block",
        "aim",
        "",
    ]);
    let (received, copies) = (received_gbit(&ten, rollups), copies(&ten));
    table.row(&[
        RECKONED.to_string(),
        format!("{rollups:.0}"),
        gbit(received),
        gbit(RECEIVED_MAX),
        met(received <= RECEIVED_MAX).into(),
        format!("{copies:.0}"),
        format!("{COPIES_MAX:.0}"),
        met(copies <= COPIES_MAX).into(),
    ]);
    report.say(table.text());
    let of_10_000 = carried.iter().filter(|(of, _)| *of == 10_000);
    Ok(of_10_000.map(|(_, rollups)| *rollups).fold(0.0, f64::max))
}

/// The rollups that all machines have work for.
fn most(report: &Report<'_>, machines: u64) -> Result<f64, ReportError> {
    let mut file = report.scenario("block-on-10000")?;
    file.machines[0].count = machines;
    let machine_s = report.setup(file)?.1.machine_s;
    Ok(machines as f64 * EVERY_S / machine_s)
}

/// Simulates the parts of the rollups that a fleet can work for, side by side.
fn stream(report: &Report<'_>, machines: u64, hours: f64, most: f64) -> Result<Vec<Simulated>, ReportError> {
    let simulate = |part: u32| {
        let rollups = most * f64::from(part) / 100.0;
        // The number of requesters is rounded up, with a block a little less often.
        let requesters = rollups.ceil();
        let mut file = report.scenario("stream")?;
        file.hours = hours;
        file.machines[0].count = machines;
        file.requesters[0].count = requesters as u64;
        file.requesters[0].every_s = Some(EVERY_S * requesters / rollups);
        report.simulate(file)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = PARTS
            .iter()
            .map(|&part| scope.spawn(move || simulate(part)))
            .collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("a simulation does not panic"));
        joined.collect()
    })
}

/// The incoming traffic for each rollup that has a block every 12 s.
pub fn received_gbit(simulated: &Simulated, rollups: f64) -> f64 {
    gbit_of(simulated, rollups, |requester| requester.down_bytes)
}

/// The outgoing traffic for each of them.
pub fn sent_gbit(simulated: &Simulated, rollups: f64) -> f64 {
    gbit_of(simulated, rollups, |requester| requester.up_bytes)
}

fn gbit_of(simulated: &Simulated, rollups: f64, bytes: fn(&RequesterOutcome) -> u64) -> f64 {
    let world = &simulated.outcome.worlds[0];
    let bytes: u64 = world.requesters.iter().map(bytes).sum();
    8e-9 * bytes as f64 / world.end_s / rollups
}

pub fn gbit(gbit: f64) -> String {
    format!("{gbit:.2} Gbit/s")
}

/// CPU time in which a requester verifies the proofs of a block.
pub fn verified_s(simulated: &Simulated) -> f64 {
    let world = &simulated.outcome.worlds[0];
    world.counts.verified_s / world.blocks.max(1) as f64
}

/// The number of times that a requester sends the input of a block itself.
pub fn copies(simulated: &Simulated) -> f64 {
    let world = &simulated.outcome.worlds[0];
    world.counts.input_copies as f64 / world.blocks.max(1) as f64
}

fn gas(rollups: f64) -> String {
    format!("{:.1} M", rollups * MEGAGAS / EVERY_S)
}
