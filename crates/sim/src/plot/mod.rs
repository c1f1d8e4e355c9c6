//! Plots as SVG text: curves and points over two axes, each linear or logarithmic, with a legend
//! beside them.
//!
//! Used by `myriad bench`, `myriad simulate` and the report. The bytes follow from the data alone,
//! so that a report that is made again has the same plots.

mod axis;
mod draw;

use thiserror::Error;

pub use axis::{Axis, Scale};

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub marks: Marks,
    pub colour: Colour,
    /// Drawn with dashed lines and hollow points: of the same thing as another series, under
    /// another condition.
    pub second: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    Line,
    Points,
    Both,
}

/// The meaning of a series, which its colour stands for: the same thing has the same colour in all
/// plots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Simulated or measured values, under the usual conditions.
    Usual,
    /// Values that the usual ones are compared with.
    Other,
    /// A bound that nothing can pass.
    Bound,
    /// One of several things, by its place in an order that is always the same.
    Nth(usize),
}

/// Why there is no plot.
#[derive(Debug, Error)]
pub enum PlotError {
    #[error("the plot {title:?} has no point to show")]
    Empty { title: String },
    #[error("the plot {title:?} cannot be drawn: {reason}")]
    Drawing { title: String, reason: String },
}

impl Plot {
    /// The text of an SVG file. There is a legend where there are several series.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without a point that the axes can show.
    pub fn svg(&self) -> Result<String, PlotError> {
        let placed: Vec<Vec<(f64, f64)>> = self
            .series
            .iter()
            .map(|series| {
                let points = series.points.iter();
                points
                    .filter_map(|&(x, y)| Some((self.x.place(x)?, self.y.place(y)?)))
                    .collect()
            })
            .collect();
        if placed.iter().all(Vec::is_empty) {
            return Err(PlotError::Empty {
                title: self.title.clone(),
            });
        }
        draw::svg(self, &placed).map_err(|error| PlotError::Drawing {
            title: self.title.clone(),
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            title: "a < b".into(),
            x: Axis::logarithmic("nodes"),
            y: Axis::linear("seconds"),
            series: vec![Series {
                name: "measured".into(),
                points,
                marks: Marks::Both,
                colour: Colour::Usual,
                second: false,
            }],
        }
    }

    #[test]
    fn a_plot_has_its_names_and_a_dot_for_each_point() {
        let svg = plot(vec![(1.0, 2.0), (10.0, 4.0), (100.0, 3.0)]).svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["a &lt; b", "nodes", "seconds"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<circle").count(), 3);
        // One series needs no legend.
        assert!(!svg.contains("measured"));
    }

    #[test]
    fn a_legend_is_beside_the_data() {
        let mut two = plot(vec![(1.0, 2.0), (100.0, 3.0)]);
        two.series.push(Series {
            name: "possible".into(),
            colour: Colour::Bound,
            marks: Marks::Line,
            ..two.series[0].clone()
        });
        let svg = two.svg().unwrap();
        let rightmost = svg
            .split("<circle cx=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next()?.parse::<f64>().ok())
            .fold(0.0, f64::max);
        for name in ["measured", "possible"] {
            let before = svg.split(&format!("\n{name}\n")).next().unwrap();
            let text = before.rsplit("<text x=\"").next().unwrap();
            let x: f64 = text.split('"').next().unwrap().parse().unwrap();
            assert!(x > rightmost, "{name} is at {x}, and a point at {rightmost}");
        }
    }

    #[test]
    fn what_an_axis_cannot_show_is_left_out() {
        let svg = plot(vec![(0.0, 2.0), (-1.0, 1.0), (f64::NAN, 1.0), (10.0, 4.0)])
            .svg()
            .unwrap();
        assert_eq!(svg.matches("<circle").count(), 1);
        let error = plot(vec![(0.0, 1.0)]).svg().unwrap_err();
        assert!(matches!(error, PlotError::Empty { .. }));
    }
}
