//! The plots of a machine profile: the measurements, and the model beside them.

use std::collections::BTreeSet;

use myriad_core::Kind;
use myriad_cost::{
    model::{CostModel, FitError, ProgramModel},
    profile::{Profile, Program, SegmentSample},
};

use crate::plot::{Axis, Colour, Marks, Plot, Series};

const GIB: f64 = (1u64 << 30) as f64;
/// Points of a curve.
const POINTS: u32 = 100;
/// The programs of the reference, whose colours are the same in every plot.
const PROGRAMS: [&str; 2] = ["fibonacci", "evm-block"];

/// The colour of a program.
pub fn colour_of(program: &str) -> Colour {
    let place = PROGRAMS.iter().position(|name| *name == program);
    Colour::Nth(place.unwrap_or(PROGRAMS.len()))
}

/// The colour of a stage, which is none of a program's.
fn colour_of_stage(stage: Kind) -> Colour {
    Colour::Nth(PROGRAMS.len() + stage as usize)
}

/// The plots, each with the stem of its file's name.
///
/// # Errors
/// See [`CostModel::fit`].
#[expect(clippy::too_many_lines, reason = "a list of plots")]
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
                x: Axis::linear("memory budget of a process, GiB"),
                y: Axis::linear("instructions of a segment"),
                series: programs
                    .iter()
                    .map(|(program, _)| Series {
                        name: program.name.clone(),
                        colour: colour_of(&program.name),
                        second: false,
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
                x: Axis::linear("instructions of the segment"),
                y: Axis::linear("peak memory of the process, GiB"),
                series: programs
                    .iter()
                    .flat_map(|(program, model)| {
                        let measured = |s: &SegmentSample| s.measured.peak_bytes as f64 / GIB;
                        [
                            segments(program, None, measured),
                            curve(program, model, ("model", None), |model, n| {
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
                x: Axis::linear("instructions of the segment"),
                y: Axis::linear("time, seconds"),
                series: programs
                    .iter()
                    .flat_map(|(program, model)| {
                        threads(program).into_iter().flat_map(|threads| {
                            [
                                segments(program, Some(threads), |s| s.measured.undisturbed_wall_s()),
                                curve(
                                    program,
                                    model,
                                    (&format!("model, t = {threads}"), Some(threads)),
                                    |model, n| model.segment(model.load(n), threads).wall_s,
                                ),
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
                x: Axis::linear("children of the node"),
                y: Axis::linear("time, seconds"),
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
        colour: colour_of(&program.name),
        second: is_second(program, threads),
    }
}

/// Whether it has fewer threads than the most that the program was measured with.
fn is_second(program: &Program, of: Option<u32>) -> bool {
    of.is_some_and(|of| Some(of) < threads(program).into_iter().max())
}

fn curve(
    program: &Program,
    model: &ProgramModel,
    (name, threads): (&str, Option<u32>),
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
        colour: colour_of(&program.name),
        second: is_second(program, threads),
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
            colour: colour_of_stage(stage),
            second: program.name != PROGRAMS[0],
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
