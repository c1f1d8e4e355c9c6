//! Draws plots with `plotters`.

use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, Circle, DashedLineSeries, DrawingArea, IntoDrawingArea, IntoFont, LineSeries,
        PathElement, RGBColor, SVGBackend, Text, WHITE,
    },
    style::{Color, ShapeStyle},
};

use super::{Colour, Marks, Plot, Series};

/// Width and height, in pixels.
const SIZE: (u32, u32) = (800, 480);
/// Colours that people with any sight tell apart (Okabe and Ito, 2008), without yellow, which white
/// swallows.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const THINGS: [RGBColor; 6] = [
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    BLUE,
    VERMILION,
];
/// Ticks of an axis, at most.
const TICKS: usize = 10;
/// The length of a dash, and the gap between two.
const DASH: i32 = 6;
/// Widths of a letter of the legend, on average; of its lines, from one to the next; and of the
/// sample before each name.
const LETTER_WIDTH: usize = 7;
const LINE_HEIGHT: i32 = 20;
const SAMPLE_WIDTH: i32 = 24;
const FONT_SIZE: u32 = 13;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The SVG of a plot with its points in places.
pub(super) fn svg(plot: &Plot, placed: &[Vec<(f64, f64)>]) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(text)?;
        let below = root.titled(&plot.title, ("sans-serif", 18)).map_err(text)?;
        if plot.series.len() > 1 {
            let longest = plot.series.iter().map(|series| series.name.chars().count()).max();
            let width = SAMPLE_WIDTH + (longest.unwrap_or(0) * LETTER_WIDTH) as i32 + 16;
            let (chart, beside) = below.split_horizontally(SIZE.0 as i32 - width);
            data(&chart, plot, placed)?;
            legend(&beside, &plot.series)?;
        } else {
            data(&below, plot, placed)?;
        }
        root.present().map_err(text)?;
    }
    Ok(svg)
}

/// The error of a string that is drawn to borrows it.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn data(area: &Area<'_>, plot: &Plot, placed: &[Vec<(f64, f64)>]) -> Drawn {
    let all = || placed.iter().flatten();
    let x = plot.x.span(all().map(|point| point.0));
    let y = plot.y.span(all().map(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)
        .map_err(text)?;
    chart
        .configure_mesh()
        .x_desc(&plot.x.label)
        .y_desc(&plot.y.label)
        .x_labels(TICKS)
        .y_labels(TICKS)
        .x_max_light_lines(0)
        .y_max_light_lines(0)
        .x_label_formatter(&|place| plot.x.text(*place))
        .y_label_formatter(&|place| plot.y.text(*place))
        .bold_line_style(BLACK.mix(0.1))
        .draw()
        .map_err(text)?;
    for (series, points) in plot.series.iter().zip(placed) {
        let colour = series.colour.drawn();
        if series.marks != Marks::Points {
            let line = colour.stroke_width(2);
            if series.second {
                let dashes = DashedLineSeries::new(points.clone(), DASH, DASH, line);
                chart.draw_series(dashes).map_err(text)?;
            } else {
                chart
                    .draw_series(LineSeries::new(points.clone(), line))
                    .map_err(text)?;
            }
        }
        if series.marks != Marks::Line {
            let dots = points.iter().map(|&point| Circle::new(point, 3, series.dot()));
            chart.draw_series(dots).map_err(text)?;
        }
    }
    Ok(())
}

fn legend(area: &Area<'_>, all: &[Series]) -> Drawn {
    for (index, series) in (1..).zip(all) {
        let y = index * LINE_HEIGHT;
        let line = series.colour.drawn().stroke_width(2);
        if series.marks != Marks::Points {
            // A dashed one is two dashes.
            let ends = if series.second {
                vec![0, 8, 12, 20]
            } else {
                vec![0, 20]
            };
            for pair in ends.chunks(2) {
                let path = PathElement::new(vec![(pair[0], y), (pair[1], y)], line);
                area.draw(&path).map_err(text)?;
            }
        }
        if series.marks != Marks::Line {
            area.draw(&Circle::new((10, y), 3, series.dot())).map_err(text)?;
        }
        let font = ("sans-serif", FONT_SIZE).into_font();
        let name = Text::new(
            series.name.as_str(),
            (SAMPLE_WIDTH + 2, y - FONT_SIZE as i32 / 2),
            font,
        );
        area.draw(&name).map_err(text)?;
    }
    Ok(())
}

impl Series {
    fn dot(&self) -> ShapeStyle {
        let colour = self.colour.drawn();
        if self.second {
            colour.stroke_width(1)
        } else {
            colour.filled()
        }
    }
}

impl Colour {
    fn drawn(self) -> RGBColor {
        match self {
            Self::Usual => BLUE,
            Self::Other => VERMILION,
            Self::Bound => BLACK,
            Self::Nth(place) => THINGS[place % THINGS.len()],
        }
    }
}
