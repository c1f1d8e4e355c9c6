//! Measures how well the model predicts measurements that it was not fitted to: each budget in turn
//! is held out, with all others that cut into segments of the same size.
//!
//! A model of three coefficients fits a handful of measurements well, whether it predicts others or
//! not. Only held-out measurements show that.

use std::collections::BTreeSet;

use myriad_core::EngineName;
use serde::Serialize;

use crate::{
    model::{Load, ProgramModel},
    profile::Program,
};

/// Budgets that have to be left to fit to: with one there is nothing that depends on the size.
const BUDGETS_LEFT_MIN: usize = 2;
/// Segments whose instructions differ by less, as a part, are of one size: budgets between two
/// steps are cut alike.
const SAME_SIZE: f64 = 0.02;

/// A segment that was measured, beside the prediction of a model that has not seen its budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    pub budget_bytes: u64,
    pub instructions: u64,
    pub threads: u32,
    pub wall_s: f64,
    /// The prediction from its cells and interactions, as a requester knows them when it has cut.
    pub predicted_wall_s: f64,
    /// The prediction from its instructions alone, as a planner makes it.
    pub planned_wall_s: f64,
    pub peak_bytes: u64,
    pub predicted_peak_bytes: u64,
    pub planned_peak_bytes: u64,
}

/// Errors of all held-out measurements, as parts of the measured values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    pub segments: usize,
    pub wall_mean: f64,
    pub wall_max: f64,
    pub planned_wall_mean: f64,
    pub peak_mean: f64,
    pub peak_max: f64,
    pub planned_peak_mean: f64,
}

/// Predicts every segment of a program of this engine without the measurements of its budget, of
/// segments of the same size, and of the cuts into such. Empty where too little is left then.
pub fn held_out(program: &Program, engine: EngineName) -> Vec<HeldOut> {
    let budgets: BTreeSet<u64> = program.segments.iter().map(|s| s.budget_bytes).collect();
    let mut rows = Vec::new();
    for &budget in &budgets {
        let of_budget = program.segments.iter().filter(|s| s.budget_bytes == budget);
        let sizes: Vec<f64> = of_budget.map(|s| s.instructions as f64).collect();
        let is_kept = |budget_bytes: u64, instructions: f64| {
            budget_bytes != budget && !sizes.iter().any(|&size| is_same(size, instructions))
        };
        let mut rest = program.clone();
        rest.segments
            .retain(|s| is_kept(s.budget_bytes, s.instructions as f64));
        rest.cuts
            .retain(|cut| is_kept(cut.budget_bytes, cut.instructions));
        let left: BTreeSet<u64> = rest.segments.iter().map(|s| s.budget_bytes).collect();
        if left.len() < BUDGETS_LEFT_MIN {
            continue;
        }
        let Ok(model) = ProgramModel::fit(&rest, engine) else {
            continue;
        };
        let measured = program.segments.iter();
        for sample in measured.filter(|s| s.budget_bytes == budget && !s.measured.cold) {
            let threads = sample.measured.threads;
            let load = Load {
                cells: sample.cells as f64,
                interactions: sample.interactions as f64,
            };
            let known = model.segment(load, threads);
            let planned = model.segment(model.load(sample.instructions as f64), threads);
            let start_s = model.execution_s(sample.instructions_before as f64);
            rows.push(HeldOut {
                budget_bytes: sample.budget_bytes,
                instructions: sample.instructions,
                threads,
                wall_s: sample.measured.undisturbed_wall_s(),
                predicted_wall_s: known.wall_s + start_s,
                planned_wall_s: planned.wall_s + start_s,
                peak_bytes: sample.measured.peak_bytes,
                predicted_peak_bytes: known.peak_bytes,
                planned_peak_bytes: planned.peak_bytes,
            });
        }
    }
    rows
}

fn is_same(size: f64, other: f64) -> bool {
    (size / other - 1.0).abs() < SAME_SIZE
}

/// Sums up what [`held_out`] has found; none without rows.
pub fn accuracy(rows: &[HeldOut]) -> Option<Accuracy> {
    let error = |predicted: f64, measured: f64| (predicted / measured - 1.0).abs();
    let mean = |of: &dyn Fn(&HeldOut) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
    let max = |of: &dyn Fn(&HeldOut) -> f64| rows.iter().map(of).fold(0.0, f64::max);
    let wall = |row: &HeldOut| error(row.predicted_wall_s, row.wall_s);
    let peak = |row: &HeldOut| error(row.predicted_peak_bytes as f64, row.peak_bytes as f64);
    (!rows.is_empty()).then(|| Accuracy {
        segments: rows.len(),
        wall_mean: mean(&wall),
        wall_max: max(&wall),
        planned_wall_mean: mean(&|row| error(row.planned_wall_s, row.wall_s)),
        peak_mean: mean(&peak),
        peak_max: max(&peak),
        planned_peak_mean: mean(&|row| error(row.planned_peak_bytes as f64, row.peak_bytes as f64)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lawful::lawful;

    fn held_out(program: &Program) -> Vec<HeldOut> {
        super::held_out(program, EngineName::of_older_builds())
    }

    #[test]
    fn a_law_is_predicted_from_the_other_budgets() {
        let rows = held_out(&lawful().programs[0]);
        // Six budgets, each on one thread and on two.
        assert_eq!(rows.len(), 12);
        let all = accuracy(&rows).unwrap();
        assert!(all.wall_max < 0.01 && all.peak_max < 0.01, "{all:?}");
        assert!(
            all.planned_wall_mean < 0.01 && all.planned_peak_mean < 0.01,
            "{all:?}"
        );
    }

    #[test]
    fn what_breaks_the_law_is_seen() {
        let mut profile = lawful();
        let budget = profile.programs[0].cuts[2].budget_bytes;
        for sample in &mut profile.programs[0].segments {
            if sample.budget_bytes == budget {
                sample.measured.wall_s *= 2.0;
            }
        }
        let rows = held_out(&profile.programs[0]);
        let off = |row: &&HeldOut| row.predicted_wall_s / row.wall_s < 0.6;
        assert_eq!(rows.iter().filter(off).count(), 2);
        assert!(accuracy(&rows).unwrap().wall_max > 0.4);
    }

    #[test]
    fn few_budgets_say_nothing() {
        let mut profile = lawful();
        let budgets: Vec<u64> = profile.programs[0]
            .cuts
            .iter()
            .map(|cut| cut.budget_bytes)
            .collect();
        profile.programs[0]
            .segments
            .retain(|s| budgets[..2].contains(&s.budget_bytes));
        assert_eq!(held_out(&profile.programs[0]), []);
        assert_eq!(accuracy(&[]), None);
    }
}
