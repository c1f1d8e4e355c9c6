//! `myriad plan`: sizes a fleet for a job.

mod costs;

use std::path::{Path, PathBuf};

use myriad_core::EngineName;
use myriad_cost::{
    model::CostModel,
    planner::{self, Class, Link, Question, RequesterSide, Workload},
    profile::{Profile, Vm},
    reference,
};
use myriad_sim::fleet::{self, Rehearsal};
use serde::Serialize;

use crate::{
    args::Plan,
    engines::{Choice, Signs},
    error::Error,
    execution,
    files::{self, ProgramFile},
    guest,
    report::Rows,
    settings::Settings,
    terminal::{self, BOLD, DIM, bytes, count, duration, plural},
};

/// Bytes a second of a megabit a second.
const MBIT: f64 = 1e6 / 8.0;
/// Instructions per gas in OpenVM, in two measured blocks.
const INSTRUCTIONS_PER_GAS: f64 = 5.2;

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    plan: &'a planner::FleetPlan,
    instructions: f64,
    /// The program whose costs were taken.
    costs_of: &'a str,
    profiles: Vec<ClassReport<'a>>,
    honest: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_s: Option<f64>,
    /// Machines in all that are needed for the deadline, honest or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes_needed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_time: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    simulation: Option<Rehearsal>,
}

#[derive(Serialize)]
struct ClassReport<'a> {
    name: &'a str,
    machines: u64,
    threads: u32,
    memory_bytes: u64,
}

pub fn run(args: &Plan) -> Result<(), Error> {
    let work = Work::of(args)?;
    let mut question = question(args, &work)?;
    let needed = args
        .deadline
        .map(|deadline_s| planner::machines_for(&question, deadline_s))
        .transpose()?;
    // The plan is for the fleet that is needed, if none is given.
    if let (Some(needed), None, false) = (needed, args.nodes, counted(args)) {
        question = planner::scaled(&question, needed);
    }
    let plan = planner::plan(&question)?;
    let simulation = args
        .simulate
        .then(|| fleet::rehearse(&question, &plan))
        .transpose()?;
    let report = Report {
        instructions: question.workload.instructions,
        costs_of: question.requester.model.name(),
        profiles: question.classes.iter().map(ClassReport::from).collect(),
        honest: question.honest,
        deadline_s: args.deadline,
        nodes_needed: needed,
        in_time: args.deadline.map(|deadline_s| plan.expected_s <= deadline_s),
        simulation,
        plan: &plan,
    };
    if args.data.json {
        return terminal::print_json(&report).map_err(Error::Stdout);
    }
    terminal::print(&text(&report)).map_err(Error::Stdout)
}

/// The work that is to be proven, its engine, and its virtual machine.
struct Work {
    instructions: f64,
    shared_bytes: u64,
    engine: EngineName,
    vm: Vm,
    /// The program whose costs are the ones to take, if a profile has it and it is of the engine.
    name: String,
}

impl Work {
    fn of(args: &Plan) -> Result<Self, Error> {
        if let Some(path) = &args.program {
            let settings = Settings::load(&args.data)?;
            let signs = Signs {
                named: args.engine,
                proof: None,
            };
            let program = ProgramFile::read(path, args.config.as_deref(), signs)?;
            let input = files::read_input(&args.input)?;
            let shared_bytes = (program.image.len() + input.byte_len()) as u64;
            let loaded = execution::loaded(&program, &input, &settings)?;
            let (plan, _) = execution::plan(&program, input, &settings)?;
            return Ok(Self {
                instructions: plan.instructions as f64,
                shared_bytes,
                engine: program.engine,
                vm: Vm::of_costs(&loaded.costs),
                name: program.name,
            });
        }
        let engine = args.engine.unwrap_or(Choice::Openvm);
        let per_gas = per_gas(args, engine)?;
        let (vm, name) = match engine {
            Choice::Openvm => (Vm::Extended, guest::Variant::Plain.load()?.name),
            // Its programs cost alike, row for row: any one stands for all.
            Choice::Risc0 => (Vm::Risc0, guest::FIBONACCI_RISC0.0.into()),
        };
        let gas = args.gas.map(|gas| gas as f64 * per_gas);
        Ok(Self {
            instructions: gas.or(args.instructions.map(|n| n as f64)).unwrap_or(0.0),
            shared_bytes: args.shared.as_u64(),
            engine: engine.name(),
            vm,
            name,
        })
    }
}

/// Instructions per gas of a block.
fn per_gas(args: &Plan, engine: Choice) -> Result<f64, Error> {
    let per_gas = match (args.instructions_per_gas, engine) {
        (Some(given), _) => given,
        (None, Choice::Risc0) if args.gas.is_some() => {
            return Err(Error::Usage(
                "--gas alone says nothing of RISC Zero's cycles: add --instructions-per-gas, or give --instructions".into(),
            ));
        }
        (None, _) => INSTRUCTIONS_PER_GAS,
    };
    if !(per_gas > 0.0 && per_gas <= 1e6) {
        return Err(Error::Usage(format!(
            "--instructions-per-gas is {per_gas}, but must be above 0 and at most 1000000"
        )));
    }
    Ok(per_gas)
}

/// Whether the profiles come with counts.
fn counted(args: &Plan) -> bool {
    args.profile.iter().any(|text| split(text).1.is_some())
}

/// `FILE:COUNT`, or `FILE` alone.
fn split(text: &str) -> (&str, Option<u64>) {
    match text.rsplit_once(':') {
        Some((path, count)) => match count.parse() {
            Ok(count) => (path, Some(count)),
            Err(_) => (text, None),
        },
        None => (text, None),
    }
}

fn question(args: &Plan, work: &Work) -> Result<Question, Error> {
    let mut classes = Vec::new();
    let with_counts = counted(args);
    for text in &args.profile {
        let (path, machines) = split(text);
        if with_counts && machines.is_none() {
            return Err(Error::Usage(format!(
                "--profile {text} has no count, but another one has: write {text}:COUNT"
            )));
        }
        let profile = load(Path::new(path))?;
        let model = CostModel::fit(&profile)?.completed_by(reference::model());
        classes.push(class(args, work, &profile, &model, machines.unwrap_or(1))?);
    }
    if classes.is_empty() {
        classes.push(class(args, work, reference::profile(), reference::model(), 1)?);
    }
    let mut question = Question {
        workload: Workload {
            instructions: work.instructions,
            shared_bytes: work.shared_bytes,
        },
        classes,
        honest: args.honest,
        requester: RequesterSide {
            cores: args.requester_cores,
            link: link(args, args.requester_up, args.requester_down),
            model: costs::program(args, work, reference::model())?,
        },
        price_per_kwh: args.price_per_kwh,
    };
    if let Some(nodes) = args.nodes {
        if nodes > planner::MACHINES_MAX {
            return Err(Error::Usage(format!(
                "--nodes is {nodes}, and at most {} are allowed",
                planner::MACHINES_MAX
            )));
        }
        question = planner::scaled(&question, nodes);
    }
    Ok(question)
}

fn load(path: &Path) -> Result<Profile, Error> {
    Profile::load(path).map_err(|source| Error::Profile {
        path: PathBuf::from(path),
        source,
    })
}

fn class(
    args: &Plan,
    work: &Work,
    profile: &Profile,
    model: &CostModel,
    machines: u64,
) -> Result<Class, Error> {
    Ok(Class {
        name: profile.name.clone(),
        machines,
        threads: args.threads.map_or(profile.machine.cores, u32::from),
        memory_bytes: args.memory.bytes(),
        link: link(args, args.up, args.down),
        model: costs::program(args, work, model)?,
        watts: args.watts,
        price_per_h: args.price_per_hour,
    })
}

fn link(args: &Plan, up: f64, down: f64) -> Link {
    Link {
        up_bytes_per_s: up * MBIT,
        down_bytes_per_s: down * MBIT,
        latency_s: args.latency / 1000.0,
    }
}

impl<'a> From<&'a Class> for ClassReport<'a> {
    fn from(class: &'a Class) -> Self {
        Self {
            name: &class.name,
            machines: class.machines,
            threads: class.threads,
            memory_bytes: class.memory_bytes,
        }
    }
}

fn seconds(seconds: f64) -> String {
    duration(std::time::Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))
}

#[expect(clippy::too_many_lines, reason = "the summary, line by line")]
fn text(report: &Report<'_>) -> String {
    let plan = report.plan;
    let mut rows = Rows::plain(&format!(
        "{} instructions on {}: {}",
        count(report.instructions as u64),
        plural(plan.machines as usize, "machine"),
        seconds(plan.expected_s)
    ));
    for class in &report.profiles {
        let what = format!(
            "{} × {}, {}, {}",
            count(class.machines),
            class.name,
            plural(class.threads as usize, "thread"),
            bytes(class.memory_bytes)
        );
        rows.row("fleet", &what);
    }
    if report.honest < 1.0 {
        rows.row("honest", &format!("{} of them", count(plan.machines_honest)));
    }
    rows.row("costs of", report.costs_of);
    rows.row(
        "segments",
        &format!(
            "{} of {} instructions, cut for {}",
            count(plan.segment.segments),
            count(plan.segment.instructions as u64),
            bytes(plan.segment.memory_bytes)
        ),
    );
    let arities = plan.arities;
    rows.row(
        "tree",
        &format!(
            "nodes of up to {}, {} and {} children; {} nodes on {}",
            arities.leaf,
            arities.internal_for_leaf,
            arities.internal_recursive,
            count(plan.levels.iter().map(|&nodes| u64::from(nodes)).sum()),
            plural(plan.levels.len(), "level")
        ),
    );
    rows.row("binds", plan.binds.explained());
    rows.row("sustained", &format!("{:.1} such jobs an hour", plan.jobs_per_h));
    let requester = plan.requester;
    rows.row(
        "requester",
        &format!(
            "fetches {} of proofs, {:.1} Mbit/s; sends {} at most",
            bytes(requester.down_bytes as u64),
            requester.down_bytes_per_s / MBIT,
            bytes(requester.up_bytes_max as u64)
        ),
    );
    rows.row(
        "machine time",
        &format!("{}, {:.2} kWh", seconds(plan.machine_s), plan.energy_kwh),
    );
    if plan.cost > 0.0 {
        rows.row("cost", &format!("{:.2}", plan.cost));
    }
    if let (Some(deadline_s), Some(needed)) = (report.deadline_s, report.nodes_needed) {
        let met = if report.in_time == Some(true) {
            "is met"
        } else {
            "is missed"
        };
        rows.row(
            "deadline",
            &format!(
                "{} {met}; it takes {}",
                seconds(deadline_s),
                plural(needed as usize, "machine")
            ),
        );
    }
    if let Some(simulation) = &report.simulation {
        rows.row(
            "simulated",
            &format!(
                "{} with the real scheduler; the plan says {:.0} % of that",
                seconds(simulation.simulated_s),
                100.0 * simulation.planned_to_simulated
            ),
        );
    }
    format!("{}\n{}", rows.text(), parts(plan))
}

/// The parts of the time, and the bounds, one to a line.
fn parts(plan: &planner::FleetPlan) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: f64| {
        let share = 100.0 * value / plan.expected_s;
        text += &format!(
            "  {name:34} {BOLD}{:>12}{BOLD:#} {DIM}{share:>5.1} %{DIM:#}\n",
            seconds(value)
        );
    };
    let of = &plan.parts;
    for (name, value) in [
        ("execute and cut", of.execute_s),
        ("send program and input", of.distribute_s),
        ("segments", of.segments_s),
        ("tree, after the last segment", of.tree_s),
        ("final proof", of.final_s),
        ("queueing at the requester", of.requester_s),
        ("machines that waste time", of.wasters_s),
    ] {
        if value > 0.0 {
            line(name, value);
        }
    }
    let bounds = &plan.bounds;
    text += &format!("\n  {DIM}no schedule is faster than{DIM:#}\n");
    for (name, value) in [
        ("all work by all machines", bounds.machines_s),
        ("the longest path", bounds.path_s),
        ("the requester's downlink", bounds.requester_down_s),
        ("the requester's cores", bounds.requester_cpu_s),
    ] {
        text += &format!("  {name:34} {:>12}\n", seconds(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_may_come_with_a_count() {
        assert_eq!(split("a.json"), ("a.json", None));
        assert_eq!(split("a.json:12"), ("a.json", Some(12)));
        assert_eq!(split("C:/a.json"), ("C:/a.json", None));
    }
}
