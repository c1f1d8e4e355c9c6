//! The plots of an outcome.

use super::outcome::{Block, Outcome, WorldOutcome};
use crate::plot::{Axis, Colour, Marks, Plot, Series};

/// Requesters with a line of their own; more cannot be told apart.
const LINES_MAX: usize = 10;

/// The plots, each with the stem of its file's name. Plots that would show nothing are left out.
#[expect(clippy::too_many_lines, reason = "a list of plots")]
pub fn charts(outcome: &Outcome) -> Vec<(&'static str, Plot)> {
    let mut charts = Vec::new();
    let Some(first) = outcome.worlds.first() else {
        return charts;
    };
    charts.push((
        "utilisation",
        Plot {
            title: format!("Machines that deliver, seed {}", first.seed),
            x: Axis::linear("virtual time, seconds"),
            y: Axis::linear("machines"),
            series: vec![
                moments(first, ("online", Colour::Other), |moment| moment.online),
                moments(first, ("at work", Colour::Usual), |moment| moment.working),
            ],
        },
    ));
    charts.push((
        "lagging",
        Plot {
            title: format!("Blocks that are not proven yet, seed {}", first.seed),
            x: Axis::linear("virtual time, seconds"),
            y: Axis::linear("blocks"),
            series: vec![moments(first, ("all requesters", Colour::Usual), |moment| {
                moment.lagging as f64
            })],
        },
    ));
    let streams = first.requesters.iter().filter(|requester| requester.blocks > 1);
    let lags: Vec<Series> = streams
        .take(LINES_MAX)
        .enumerate()
        .map(|(place, requester)| Series {
            name: requester.name.clone(),
            points: requester.history.iter().filter_map(lag).collect(),
            marks: Marks::Line,
            colour: Colour::Nth(place),
            second: place >= LINES_MAX / 2,
        })
        .collect();
    if !lags.is_empty() {
        charts.push((
            "lag",
            Plot {
                title: format!("From a block's arrival to its proof, seed {}", first.seed),
                x: Axis::linear("arrival of the block, seconds"),
                y: Axis::linear("time until its proof, seconds"),
                series: lags,
            },
        ));
    }
    let mut makespans: Vec<f64> = outcome
        .worlds
        .iter()
        .filter_map(|world| world.makespan_s)
        .collect();
    makespans.sort_by(f64::total_cmp);
    if makespans.len() > 1 {
        let count = makespans.len() as f64;
        charts.push((
            "makespan",
            Plot {
                title: "Until all is proven, by seed".into(),
                x: Axis::linear("virtual time, seconds"),
                y: Axis::linear("part of the worlds that are done"),
                series: vec![Series {
                    name: format!("{count} worlds"),
                    points: makespans
                        .iter()
                        .enumerate()
                        .map(|(place, &makespan)| (makespan, (place + 1) as f64 / count))
                        .collect(),
                    marks: Marks::Both,
                    colour: Colour::Usual,
                    second: false,
                }],
            },
        ));
    }
    charts
}

fn moments(
    world: &WorldOutcome,
    (name, colour): (&str, Colour),
    value: impl Fn(&super::outcome::Moment) -> f64,
) -> Series {
    Series {
        name: name.into(),
        points: world
            .timeline
            .iter()
            .map(|moment| (moment.at_s, value(moment)))
            .collect(),
        marks: Marks::Line,
        colour,
        second: false,
    }
}

fn lag(block: &Block) -> Option<(f64, f64)> {
    Some((block.arrived_s?, block.lag_s()?))
}
