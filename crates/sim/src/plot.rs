//! Plots as SVG text: curves and points over two axes, each linear or logarithmic.
//!
//! Used by `myriad bench` and by the report. The bytes follow from the data alone, so that a report that is made
//! again has the same plots.

use plotters::{
    prelude::{
        BLACK, ChartBuilder, Circle, IntoDrawingArea, LineSeries, PathElement, RGBColor, SVGBackend,
        SeriesLabelPosition, WHITE,
    },
    style::Color,
};
use thiserror::Error;

/// Width and height, in pixels.
const SIZE: (u32, u32) = (800, 480);
/// Room that the data leaves at each side of an axis, as a part of its length.
const MARGIN: f64 = 0.04;
/// Colours that people with any sight tell apart (Okabe and Ito, 2008), without yellow, which white swallows.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

/// An axis, with its unit in its label.
#[derive(Clone, Debug)]
pub struct Axis {
    pub label: String,
    pub scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From zero, unless there are negative values.
    Linear,
    /// Values that are not positive are left out.
    Logarithmic,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub marks: Marks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    Line,
    Points,
    Both,
}

/// Why there is no plot.
#[derive(Debug, Error)]
pub enum PlotError {
    #[error("the plot {title:?} has no point to show")]
    Empty { title: String },
    #[error("the plot {title:?} cannot be drawn: {reason}")]
    Drawing { title: String, reason: String },
}

impl Axis {
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            scale: Scale::Linear,
        }
    }

    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            scale: Scale::Logarithmic,
        }
    }

    /// Where a value is on the axis, if it is on it.
    fn place(&self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.log10(),
        };
        place.is_finite().then_some(place)
    }

    fn range(&self, places: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let mut from = places.clone().fold(f64::INFINITY, f64::min);
        let mut to = places.fold(f64::NEG_INFINITY, f64::max);
        if self.scale == Scale::Linear {
            from = from.min(0.0);
        }
        // A single value is in the middle.
        let length = if to > from { to - from } else { 1.0 };
        to += MARGIN * length;
        if from != 0.0 || self.scale == Scale::Logarithmic {
            from -= MARGIN * length;
        }
        (from, to)
    }

    fn text(&self, place: f64) -> String {
        match self.scale {
            Scale::Linear => number(place),
            Scale::Logarithmic => number(10f64.powf(place)),
        }
    }
}

/// With three digits that count, and a unit for thousands.
fn number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 || size == 0.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

impl Plot {
    /// The text of an SVG file.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without a point that the axes can show.
    pub fn svg(&self) -> Result<String, PlotError> {
        let series: Vec<(&Series, Vec<(f64, f64)>)> = self
            .series
            .iter()
            .map(|series| {
                let points = series.points.iter();
                let placed = points.filter_map(|&(x, y)| Some((self.x.place(x)?, self.y.place(y)?)));
                (series, placed.collect())
            })
            .collect();
        let all = || series.iter().flat_map(|(_, points)| points.iter().copied());
        if all().next().is_none() {
            return Err(PlotError::Empty {
                title: self.title.clone(),
            });
        }
        let x = self
            .x
            .range(all().map(|point| point.0).collect::<Vec<_>>().into_iter());
        let y = self
            .y
            .range(all().map(|point| point.1).collect::<Vec<_>>().into_iter());
        let mut svg = String::new();
        self.draw(&mut svg, &series, x, y)
            .map_err(|reason| PlotError::Drawing {
                title: self.title.clone(),
                reason: reason.to_string(),
            })?;
        Ok(svg)
    }

    fn draw(
        &self,
        svg: &mut String,
        series: &[(&Series, Vec<(f64, f64)>)],
        x: (f64, f64),
        y: (f64, f64),
    ) -> Result<(), Box<dyn std::error::Error>> {
        let fail = |error: &dyn std::fmt::Display| error.to_string();
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|e| fail(&e))?;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)
            .map_err(|e| fail(&e))?;
        chart
            .configure_mesh()
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .x_label_formatter(&|place| self.x.text(*place))
            .y_label_formatter(&|place| self.y.text(*place))
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.1))
            .draw()
            .map_err(|e| fail(&e))?;
        for (index, (series, points)) in series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let line = if series.marks == Marks::Points {
                Vec::new()
            } else {
                points.clone()
            };
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(2)))
                .map_err(|e| fail(&e))?
                .label(&series.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(3)));
            if series.marks != Marks::Line {
                let dots = points.iter().map(|&point| Circle::new(point, 3, colour.filled()));
                chart.draw_series(dots).map_err(|e| fail(&e))?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .draw()
            .map_err(|e| fail(&e))?;
        root.present().map_err(|e| fail(&e))?;
        Ok(())
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
            }],
        }
    }

    #[test]
    fn a_plot_has_its_names_and_a_dot_for_each_point() {
        let svg = plot(vec![(1.0, 2.0), (10.0, 4.0), (100.0, 3.0)]).svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["a &lt; b", "nodes", "seconds", "measured"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<circle").count(), 3);
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

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.125, 2.5, 40.0, 1234.0, 65_536.0, 1.5e6, 2e9].map(number);
        assert_eq!(texts, ["0", "0.125", "2.5", "40", "1234", "65.5k", "1.5M", "2G"]);
    }
}
