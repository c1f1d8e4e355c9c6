//! Sizes a job for a fleet: its segments, its tree, its time, the number of machines, and what
//! limits it.
//!
//! ```text
//!  Question ─▶ for each cut that was measured, for each arities that fit: how early could it end?   (bounds, microseconds)
//!                                    │ best first, until none can be better
//!                                    ▼
//!                        the job on paper (list scheduling, milliseconds) ─▶ FleetPlan
//! ```
//!
//! The formulas are in `docs/PLANNING.md`. Nothing here reads a clock or draws a number: the same
//! question has the same plan.

mod candidates;
mod estimate;
mod plan;
mod question;

pub use plan::{Binds, Bounds, FleetPlan, Parts, SegmentSize, StageWork, Traffic, TreeArities};
pub use question::{Class, Link, MACHINES_MAX, PlanError, Question, RequesterSide, SEGMENTS_MAX, Workload};

use crate::trees::{Chosen, Timeline, choose};
use candidates::{Way, candidates};
use estimate::{Around, Best, describe};

/// The most tasks that are scheduled on paper for one plan, which takes about a third of a second.
const TASKS_ON_PAPER: usize = 400_000;
/// The most tasks that are scheduled on paper for each number of machines that is tried for a
/// deadline.
const TASKS_ON_PAPER_SEARCHING: usize = 20_000;
/// The most machines that are tried for a deadline.
pub const MACHINES_TRIED_MAX: u64 = 1 << 20;

/// The best plan for a fleet.
///
/// # Errors
/// See [`PlanError`]; [`PlanError::Deadline`] does not occur.
pub fn plan(question: &Question) -> Result<FleetPlan, PlanError> {
    question.validate()?;
    let best = best(question, TASKS_ON_PAPER)?;
    Ok(describe(question, &best))
}

/// Every way to do a job that fits the fleet, each as a plan: what [`plan()`] has chosen from.
///
/// # Errors
/// See [`plan()`].
pub fn plans(question: &Question) -> Result<Vec<FleetPlan>, PlanError> {
    question.validate()?;
    let all = candidates(question)?.into_iter().map(|candidate| Chosen {
        timeline: candidate.times.schedule(&candidate.tree),
        candidate,
    });
    Ok(all
        .map(|way| describe(question, &Best::of(question, way)))
        .collect())
}

/// The fewest machines, in the proportions of the question's classes, with which a job is done in
/// time.
///
/// # Errors
/// [`PlanError::Deadline`] where [`MACHINES_TRIED_MAX`] are not enough; otherwise see
/// [`PlanError`].
pub fn machines_for(question: &Question, deadline_s: f64) -> Result<u64, PlanError> {
    question.validate()?;
    let with = |machines: u64| -> Result<Option<Best>, PlanError> {
        match best(&scaled(question, machines), TASKS_ON_PAPER_SEARCHING) {
            Ok(best) => Ok(Some(best)),
            // A few machines of several classes may not include those that have the memory.
            Err(PlanError::Memory { .. } | PlanError::NobodyHonest { .. })
                if machines < MACHINES_TRIED_MAX =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    };
    let in_time = |machines| -> Result<bool, PlanError> {
        Ok(with(machines)?.is_some_and(|best| best.expected_s() <= deadline_s))
    };
    if !in_time(MACHINES_TRIED_MAX)? {
        let all = scaled(question, MACHINES_TRIED_MAX);
        let plan = describe(&all, &best(&all, TASKS_ON_PAPER_SEARCHING)?);
        return Err(PlanError::Deadline {
            most: MACHINES_TRIED_MAX,
            best_s: plan.expected_s,
            why: plan.binds.explained().into(),
        });
    }
    let (mut late, mut enough) = (0, MACHINES_TRIED_MAX);
    while enough - late > 1 {
        let middle = late + (enough - late) / 2;
        if in_time(middle)? {
            enough = middle;
        } else {
            late = middle;
        }
    }
    Ok(enough)
}

/// The same question with this many machines in all, shared out by largest remainder.
pub fn scaled(question: &Question, machines: u64) -> Question {
    let all: u64 = question.classes.iter().map(|class| class.machines).sum();
    let exact = |class: &Class| u128::from(class.machines) * u128::from(machines);
    let mut scaled = question.clone();
    let mut left = machines;
    for class in &mut scaled.classes {
        class.machines = (exact(class) / u128::from(all.max(1))) as u64;
        left -= class.machines;
    }
    let mut order: Vec<usize> = (0..scaled.classes.len()).collect();
    order.sort_by_key(|&index| {
        let rest = exact(&question.classes[index]) % u128::from(all.max(1));
        std::cmp::Reverse(rest)
    });
    for index in order.into_iter().take(left as usize) {
        scaled.classes[index].machines += 1;
    }
    scaled
}

/// The way that is done soonest.
fn best(question: &Question, tasks_on_paper: usize) -> Result<Best, PlanError> {
    let expected_s =
        |way: &Way, timeline: &Timeline| Around::of(question, way, timeline).expected_s(timeline);
    let chosen = choose(candidates(question)?, tasks_on_paper, expected_s);
    Ok(Best::of(
        question,
        chosen.expect("there is a way, or that is an error"),
    ))
}

#[cfg(test)]
mod tests;
