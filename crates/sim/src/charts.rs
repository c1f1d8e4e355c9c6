//! The plots of a machine profile: what was measured, and the model beside it.

use std::collections::BTreeSet;

use myriad_core::Kind;
use myriad_cost::{
    model::{CostModel, FitError, ProgramModel},
    profile::{Profile, Program, SegmentSample},
};

use crate::plot::{Axis, Marks, Plot, Series};

const GIB: f64 = (1u64 << 30) as f64;
/// Points of a curve.
const POINTS: u32 = 100;

/// The plots, each with the stem of its file's name.
///
/// # Errors
/// See [`CostModel::fit`].
pub fn charts(profile: &Profile) -> Result<Vec<(&'static str, Plot)>, FitError> {
    let model = CostModel::fit(profile)?;
    let programs: Vec<(&Program, &ProgramModel)> = profile
        .programs
        .iter()
        .filter_map(|program| Some((program, model.program(&program.name)?)))
        .collect();
    let title = |what: &str| format!("{what}: {}", profile.name);
    Ok(vec![
        (
            "segment-size",
            Plot {
                title: title("Instructions of a segment for a memory budget"),
                x: Axis::linear("memory budget, GiB"),
                y: Axis::linear("instructions"),
                series: programs
                    .iter()
                    .map(|(program, _)| Series {
                        name: program.name.clone(),
                        points: program
                            .cuts
                            .iter()
                            .map(|cut| (cut.budget_bytes as f64 / GIB, cut.instructions))
                            .collect(),
                        marks: Marks::Both,
                    })
                    .collect(),
            },
        ),
        (
            "segment-memory",
            Plot {
                title: title("Peak memory of a segment"),
                x: Axis::linear("instructions"),
                y: Axis::linear("peak memory, GiB"),
                series: programs
                    .iter()
                    .flat_map(|(program, model)| {
                        let measured = |s: &SegmentSample| s.measured.peak_bytes as f64 / GIB;
                        [
                            segments(program, None, measured),
                            curve(program, model, "model", |model, n| {
                                model.segment(model.load(n), 1).peak_bytes as f64 / GIB
                            }),
                        ]
                    })
                    .collect(),
            },
        ),
        (
            "segment-time",
            Plot {
                title: title("Time to prove a segment on t threads"),
                x: Axis::linear("instructions"),
                y: Axis::linear("seconds"),
                series: programs
                    .iter()
                    .flat_map(|(program, model)| {
                        threads(program).into_iter().flat_map(|threads| {
                            [
                                segments(program, Some(threads), |s| s.measured.undisturbed_wall_s()),
                                curve(program, model, &format!("model, t = {threads}"), |model, n| {
                                    model.segment(model.load(n), threads).wall_s
                                }),
                            ]
                        })
                    })
                    .collect(),
            },
        ),
        (
            "node-time",
            Plot {
                title: title("Time to make a node of the tree, all threads"),
                x: Axis::linear("children"),
                y: Axis::linear("seconds"),
                series: programs.iter().flat_map(|(program, _)| nodes(program)).collect(),
            },
        ),
    ])
}

fn threads(program: &Program) -> BTreeSet<u32> {
    program.segments.iter().map(|s| s.measured.threads).collect()
}

fn segments(program: &Program, threads: Option<u32>, value: impl Fn(&SegmentSample) -> f64) -> Series {
    let samples = program.segments.iter().filter(|s| !s.measured.cold);
    let of = threads.map_or(String::new(), |threads| format!(", t = {threads}"));
    Series {
        name: format!("{}{of}", program.name),
        points: samples
            .filter(|s| threads.is_none_or(|threads| threads == s.measured.threads))
            .map(|s| (s.instructions as f64, value(s)))
            .collect(),
        marks: Marks::Points,
    }
}

fn curve(
    program: &Program,
    model: &ProgramModel,
    name: &str,
    value: impl Fn(&ProgramModel, f64) -> f64,
) -> Series {
    let largest = program.segments.iter().map(|s| s.instructions).max().unwrap_or(0) as f64;
    Series {
        name: format!("{}, {name}", program.name),
        points: (1..=POINTS)
            .map(|step| largest * f64::from(step) / f64::from(POINTS))
            .map(|n| (n, value(model, n)))
            .collect(),
        marks: Marks::Line,
    }
}

fn nodes(program: &Program) -> impl Iterator<Item = Series> + use<'_> {
    let most = threads(program).into_iter().max().unwrap_or(1);
    Kind::ALL.into_iter().filter_map(move |stage| {
        let samples = program.nodes.iter().filter(|node| node.stage == stage);
        let warm = samples.filter(|node| !node.measured.cold && node.measured.threads == most);
        let mut points: Vec<(f64, f64)> = warm
            .map(|node| (f64::from(node.children), node.measured.undisturbed_wall_s()))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        (!points.is_empty()).then(|| Series {
            name: format!("{}, {}", program.name, stage.name()),
            points,
            marks: Marks::Both,
        })
    })
}

#[cfg(test)]
mod tests {
    use myriad_cost::lawful::lawful;

    use super::*;

    #[test]
    fn every_chart_of_a_profile_can_be_drawn() {
        let charts = charts(&lawful()).unwrap();
        assert_eq!(charts.len(), 4);
        for (name, plot) in &charts {
            let svg = plot.svg().unwrap();
            assert!(svg.contains("<circle"), "{name}");
        }
        // The law's points lie on the model's curves.
        let (_, time) = &charts[2];
        let (points, curve) = (&time.series[0].points, &time.series[1].points);
        let &(x, y) = points.last().unwrap();
        let near = curve
            .iter()
            .min_by(|a, b| (a.0 - x).abs().total_cmp(&(b.0 - x).abs()))
            .unwrap();
        assert!((near.1 / y - 1.0).abs() < 0.01, "{near:?} {y}");
    }
}
