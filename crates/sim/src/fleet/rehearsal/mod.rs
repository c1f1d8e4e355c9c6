//! A plan put to the test: a simulated fleet does it, with one block and one world.
//!
//! The planner adds up the time of a task, and lists tasks on paper. Here,
//! [`myriad_core::Requester`] gives them out, with its leases, copies and trials, and messages,
//! transfers and verification queue. Machines that are not honest take tasks and are not heard of
//! again.

use myriad_cost::planner::{Class, FleetPlan, Link, PlanError, Question};
use serde::Serialize;
use thiserror::Error;

use super::{
    file::{Copies, MBIT, MachineTable, RequesterTable, ScenarioFile, Spread, WhatIf},
    outcome::WorldOutcome,
    setup::Setup,
    simulate::simulate,
};
use crate::peer::Habit;

/// The most machines of a rehearsal: with more it takes minutes.
pub const MACHINES_REHEARSED_MAX: u64 = 50_000;
/// A job takes no longer than this many times its plan, unless it never gets done.
const PATIENCE: f64 = 100.0;

/// The outcome of a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rehearsal {
    /// The time from the request to the final proof.
    pub simulated_s: f64,
    /// The plan's expectation, as a part of that.
    pub planned_to_simulated: f64,
    pub leases: u64,
    /// Leases that ran out.
    pub expired: u64,
    /// Working time of machines that deliver.
    pub machine_s: f64,
}

/// Why there is none.
#[derive(Debug, Error)]
pub enum RehearsalError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(
        "{actual} machines are more than the {MACHINES_REHEARSED_MAX} that are simulated here; `myriad simulate` takes more"
    )]
    Machines { actual: u64 },
    #[error("the job was not done after {seconds:.0} s of virtual time")]
    Late { seconds: f64 },
}

/// Has the fleet of a question do its plan.
///
/// # Errors
/// See [`RehearsalError`].
pub fn rehearse(question: &Question, plan: &FleetPlan) -> Result<Rehearsal, RehearsalError> {
    question.validate()?;
    if plan.machines > MACHINES_REHEARSED_MAX {
        return Err(RehearsalError::Machines {
            actual: plan.machines,
        });
    }
    let limit_s = PATIENCE * plan.expected_s;
    let world = perform(question, plan, limit_s);
    let simulated_s = world
        .makespan_s
        .ok_or(RehearsalError::Late { seconds: limit_s })?;
    Ok(Rehearsal {
        simulated_s,
        planned_to_simulated: plan.expected_s / simulated_s,
        leases: world.counts.leases,
        expired: world.counts.expired,
        machine_s: world.counts.worked_s,
    })
}

/// The world in which it is done, unless that takes longer than `limit_s`.
fn perform(question: &Question, plan: &FleetPlan, limit_s: f64) -> WorldOutcome {
    let file = ScenarioFile {
        seed: 1,
        seeds: 1,
        hours: 0.0,
        patience_hours: limit_s / 3600.0,
        redundancy: Copies::Adaptive,
        what_if: WhatIf::default(),
        requesters: vec![requester(question)],
        machines: question
            .classes
            .iter()
            .map(|class| machines(question, class))
            .collect(),
    };
    let setup = Setup::planned(file, question, plan.clone());
    simulate(&setup, |_| ()).worlds.remove(0)
}

fn requester(question: &Question) -> RequesterTable {
    let Link {
        up_bytes_per_s,
        down_bytes_per_s,
        latency_s,
    } = question.requester.link;
    RequesterTable {
        name: "requester".into(),
        count: 1,
        every_s: None,
        gas: None,
        instructions: Some(question.workload.instructions),
        instructions_per_gas: 1.0,
        costs_of: question.requester.model.name().into(),
        // The sizes make no difference for one block.
        program_mb: 0.0,
        input_mb: question.workload.shared_bytes as f64 / 1e6,
        open_max: 1,
        deadline_s: None,
        cores: question.requester.cores,
        up_mbit: up_bytes_per_s / MBIT,
        down_mbit: down_bytes_per_s / MBIT,
        latency_ms: 1000.0 * latency_s,
        connections: None,
    }
}

fn machines(question: &Question, class: &Class) -> MachineTable {
    MachineTable {
        name: class.name.clone(),
        count: class.machines,
        profile: None,
        threads: Some(class.threads),
        memory_gib: class.memory_bytes as f64 / f64::from(1 << 30),
        speed: Spread::One(1.0),
        busy: 0.0,
        up_mbit: Spread::One(class.link.up_bytes_per_s / MBIT),
        down_mbit: Spread::One(class.link.down_bytes_per_s / MBIT),
        latency_ms: Spread::One(1000.0 * class.link.latency_s),
        honest: question.honest_of(class) as f64 / class.machines.max(1) as f64,
        wasters: vec![Habit::Silent],
        known: false,
        nat: 0.0,
        online_h: None,
        offline_h: 1.0,
        vanishes: 0.0,
    }
}

#[cfg(test)]
mod tests;
