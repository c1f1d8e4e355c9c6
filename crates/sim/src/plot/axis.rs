//! Axes: their ranges, and their ticks at 1, 2 and 5 times powers of ten.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// Room that the data leaves at each side of a linear axis, as a part of its length.
const MARGIN: f64 = 0.04;
/// A logarithm that is so near a tick's is that tick.
const NEAR: f64 = 1e-9;
/// Ticks within a power of ten.
const TICKS: [f64; 3] = [1.0, 2.0, 5.0];

/// An axis. Its label names the quantity, with the unit.
#[derive(Clone, Debug)]
pub struct Axis {
    pub label: String,
    pub scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// An axis from zero, unless there are negative values.
    Linear,
    /// Values that are not positive are left out.
    Logarithmic,
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

    /// The place of a value on the axis, if it is on it.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.log10(),
        };
        place.is_finite().then_some(place)
    }

    /// The ends of the axis that shows all these places.
    pub(super) fn span(&self, places: impl Iterator<Item = f64> + Clone) -> Span {
        let whole = places.clone().all(|place| place.fract() == 0.0);
        let mut from = places.clone().fold(f64::INFINITY, f64::min);
        let mut to = places.fold(f64::NEG_INFINITY, f64::max);
        match self.scale {
            Scale::Linear => {
                from = from.min(0.0);
                // A single value is in the middle.
                let length = if to > from { to - from } else { 1.0 };
                to += MARGIN * length;
                if from != 0.0 {
                    from -= MARGIN * length;
                }
            }
            // The axis goes from tick to tick, so that there are two of them at least.
            Scale::Logarithmic => {
                let single = to - from < NEAR;
                let ticks = log_ticks(from - 1.0, to + 1.0);
                let below = |tick: f64| tick < from - NEAR || (tick < from + NEAR && !single);
                let above = |tick: f64| tick > to + NEAR || (tick > to - NEAR && !single);
                let first = ticks.iter().rev().find(|tick| below(**tick));
                let last = ticks.iter().find(|tick| above(**tick));
                (from, to) = (
                    first.map_or(from - 1.0, |tick| *tick),
                    last.map_or(to + 1.0, |tick| *tick),
                );
            }
        }
        Span {
            from,
            to,
            scale: self.scale,
            step_min: if whole { 1.0 } else { 0.0 },
        }
    }

    /// The label at a place.
    pub(super) fn text(&self, place: f64) -> String {
        match self.scale {
            Scale::Linear => number(place),
            Scale::Logarithmic => number(10f64.powf(place)),
        }
    }
}

/// A part of an axis, in places: the logarithms of values, where it is logarithmic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub from: f64,
    pub to: f64,
    scale: Scale,
    /// The least step of ticks on a linear axis: there are none between things that are counted.
    step_min: f64,
}

impl Span {
    /// At most this many ticks, unless there are two.
    fn ticks(&self, most: usize) -> Vec<f64> {
        let most = most.max(2);
        match self.scale {
            Scale::Linear => {
                let decades = (-12..=15).map(|decade| 10f64.powi(decade));
                let steps = decades.flat_map(|decade| TICKS.map(|tick| tick * decade));
                let at = |step: f64| {
                    let first = (self.from / step - NEAR).ceil() as i64;
                    let last = (self.to / step + NEAR).floor() as i64;
                    (first..=last).map(move |index| index as f64 * step)
                };
                let count = |step: &f64| (self.to - self.from) / step;
                let step = steps
                    .filter(|step| *step >= self.step_min)
                    .find(|step| count(step) < most as f64);
                step.map_or(vec![self.from, self.to], |step| at(step).collect())
            }
            Scale::Logarithmic => {
                let all = log_ticks(self.from - NEAR, self.to + NEAR);
                if all.len() <= most {
                    return all;
                }
                let decades = |every: i64| -> Vec<f64> {
                    let (first, last) = ((self.from - NEAR).ceil() as i64, (self.to + NEAR).floor() as i64);
                    (first..=last)
                        .filter(|decade| decade % every == 0)
                        .map(|decade| decade as f64)
                        .collect()
                };
                let few = (1..).map(decades).find(|decades| decades.len() <= most);
                few.unwrap_or_default()
            }
        }
    }
}

/// The logarithms of all ticks between two logarithms.
fn log_ticks(from: f64, to: f64) -> Vec<f64> {
    let decades = from.floor() as i32..=to.ceil() as i32;
    let ticks = decades.flat_map(|decade| TICKS.map(|tick| f64::from(decade) + tick.log10()));
    ticks.filter(|tick| (from..=to).contains(tick)).collect()
}

impl Ranged for Span {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        limit.0 + (f64::from(limit.1 - limit.0) * part).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.ticks(hint.bold_points())
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

/// Writes three digits that count, and a unit for thousands.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis, values: &[f64]) -> Vec<String> {
        let places = values.iter().filter_map(|value| axis.place(*value));
        let span = axis.span(places.collect::<Vec<_>>().into_iter());
        span.ticks(10).into_iter().map(|place| axis.text(place)).collect()
    }

    #[test]
    fn logarithmic_ticks_are_at_1_2_and_5() {
        let axis = Axis::logarithmic("machines");
        assert_eq!(
            ticks(&axis, &[150.0, 4000.0]),
            ["100", "200", "500", "1000", "2000", "5000"]
        );
        // The ranges are between two ticks, on two, and on one.
        assert_eq!(ticks(&axis, &[21.0, 47.0]), ["20", "50"]);
        assert_eq!(ticks(&axis, &[20.0, 50.0]), ["20", "50"]);
        assert_eq!(ticks(&axis, &[20.0]), ["10", "20", "50"]);
        assert_eq!(
            ticks(&axis, &[0.02, 3e7]),
            ["0.1", "1", "10", "100", "1000", "10k", "100k", "1M", "10M"]
        );
        assert!(ticks(&axis, &[1e-9, 1e30]).len() <= 10);
    }

    #[test]
    fn linear_ticks_are_at_steps_of_1_2_or_5() {
        let axis = Axis::linear("seconds");
        assert_eq!(
            ticks(&axis, &[3.0, 9.0]),
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
        );
        assert_eq!(
            ticks(&axis, &[170.0]),
            ["0", "20", "40", "60", "80", "100", "120", "140", "160"]
        );
        assert_eq!(ticks(&axis, &[1.0, 4.0]), ["0", "1", "2", "3", "4"]);
        assert_eq!(ticks(&axis, &[2.5e6]), ["0", "500k", "1M", "1.5M", "2M", "2.5M"]);
        assert_eq!(
            ticks(&axis, &[-0.4, 0.9]),
            ["-0.4", "-0.2", "0", "0.2", "0.4", "0.6", "0.8"]
        );
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.125, 2.5, 40.0, 1234.0, 65_536.0, 1.5e6, 2e9].map(number);
        assert_eq!(texts, ["0", "0.125", "2.5", "40", "1234", "65.5k", "1.5M", "2G"]);
    }
}
