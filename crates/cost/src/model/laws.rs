//! The laws of segments and nodes, and their fit to measurements.

use super::fit::{FEATURES, Row, fit, predict};
use crate::profile::{Measured, NodeSample, SegmentSample};

/// The load of a segment, which determines its cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Field elements in all traces.
    pub cells: f64,
    /// Bus interactions.
    pub interactions: f64,
}

impl Load {
    pub(super) fn features(self) -> [f64; FEATURES] {
        [1.0, self.cells, self.interactions]
    }
}

/// The part of a task's work that is assumed not to get faster with threads where a profile has
/// only one number of threads and cannot tell. It is that of the reference machine, rounded up.
const SERIAL_UNKNOWN: f64 = 0.1;
/// The number of steps in which the serial part is searched.
const SERIAL_STEPS: u32 = 100;

/// Coefficients for the features of a [`Load`].
#[derive(Clone, Debug)]
pub(super) struct SegmentLaw {
    pub work_s: [f64; FEATURES],
    pub serial: f64,
    pub cpu_s: [f64; FEATURES],
    pub peak_bytes: [f64; FEATURES],
    pub proof_bytes: [f64; FEATURES],
    pub verify_s: [f64; FEATURES],
    pub cold_s: f64,
}

/// A node with a number of children.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeLaw {
    /// The work on one thread.
    pub work_s: f64,
    pub serial: f64,
    pub cpu_s: f64,
    pub cold_s: f64,
    pub peak_bytes: f64,
    pub proof_bytes: f64,
    pub verify_s: f64,
}

impl NodeLaw {
    pub(super) fn slowed(&self, factor: f64) -> Self {
        Self {
            work_s: self.work_s * factor,
            cpu_s: self.cpu_s * factor,
            cold_s: self.cold_s * factor,
            verify_s: self.verify_s * factor,
            ..*self
        }
    }
}

/// The time on this many threads, as a part of the time on one.
pub(super) fn amdahl(serial: f64, threads: u32) -> f64 {
    serial + (1.0 - serial) / f64::from(threads.max(1))
}

/// Scales the features of each measurement of wall time by the effect of its threads, so that one
/// fit takes them all. The serial part is the one with the best fit.
fn fit_wall(rows: &[(Row, u32)]) -> ([f64; FEATURES], f64) {
    let with = |serial: f64| {
        let scaled: Vec<Row> = rows
            .iter()
            .map(|(row, threads)| Row {
                features: row.features.map(|feature| feature * amdahl(serial, *threads)),
                value: row.value,
            })
            .collect();
        fit(&scaled)
    };
    if rows.iter().all(|(_, threads)| *threads == rows[0].1) {
        return (with(SERIAL_UNKNOWN).0, SERIAL_UNKNOWN);
    }
    let tried = (0..=SERIAL_STEPS).map(|step| {
        let serial = f64::from(step) / f64::from(SERIAL_STEPS);
        let (coefficients, error) = with(serial);
        (coefficients, serial, error)
    });
    let (coefficients, serial, _) = tried
        .min_by(|a, b| a.2.total_cmp(&b.2))
        .expect("some step is tried");
    (coefficients, serial)
}

/// The samples with tools ready, or all where there are none.
fn warm<'a, T>(samples: &[&'a T], measured: impl Fn(&T) -> &Measured) -> Vec<&'a T> {
    let warm: Vec<&T> = samples.iter().copied().filter(|s| !measured(s).cold).collect();
    if warm.is_empty() { samples.to_vec() } else { warm }
}

impl SegmentLaw {
    /// Fits the law to samples, of which there is at least one.
    pub(super) fn fit(samples: &[&SegmentSample], execute_per_s: f64) -> Self {
        let warm = warm(samples, |s| &s.measured);
        let load = |s: &SegmentSample| Load {
            cells: s.cells as f64,
            interactions: s.interactions as f64,
        };
        // The execution up to the start of the segment is not part of it.
        let without_start = |s: &SegmentSample, measured: f64| {
            (measured - s.instructions_before as f64 / execute_per_s).max(measured / 2.0)
        };
        let rows = |value: &dyn Fn(&SegmentSample) -> f64| -> Vec<Row> {
            warm.iter()
                .map(|s| Row {
                    features: load(s).features(),
                    value: value(s),
                })
                .collect()
        };
        let walls: Vec<(Row, u32)> = rows(&|s| without_start(s, s.measured.undisturbed_wall_s()))
            .into_iter()
            .zip(warm.iter().map(|s| s.measured.threads))
            .collect();
        let (work_s, serial) = fit_wall(&walls);
        let cold_s = mean(samples.iter().filter(|s| s.measured.cold).map(|s| {
            let warm = predict(&work_s, &load(s).features()) * amdahl(serial, s.measured.threads);
            (without_start(s, s.measured.undisturbed_wall_s()) - warm).max(0.0)
        }));
        Self {
            work_s,
            serial,
            cpu_s: fit(&rows(&|s| without_start(s, s.measured.cpu_s))).0,
            peak_bytes: fit(&rows(&|s| s.measured.peak_bytes as f64)).0,
            proof_bytes: fit(&rows(&|s| s.measured.proof_bytes as f64)).0,
            verify_s: fit(&rows(&|s| s.measured.verify_s)).0,
            cold_s,
        }
    }
}

/// Nodes of one stage, by their children: as they were measured, and on a line through these where
/// they were not, up to the widest that was.
pub(super) fn fit_stage(samples: &[&NodeSample]) -> impl Iterator<Item = (u32, NodeLaw)> {
    let warm = warm(samples, |s| &s.measured);
    let line = |s: &NodeSample, value: f64| Row {
        features: [1.0, f64::from(s.children), 0.0],
        value,
    };
    let fit_of = |value: &dyn Fn(&Measured) -> f64| {
        let rows: Vec<Row> = warm.iter().map(|s| line(s, value(&s.measured))).collect();
        fit(&rows).0
    };
    let walls: Vec<(Row, u32)> = warm
        .iter()
        .map(|s| (line(s, s.measured.undisturbed_wall_s()), s.measured.threads))
        .collect();
    let (work, serial) = fit_wall(&walls);
    let cold_s = mean(samples.iter().filter(|s| s.measured.cold).filter_map(|s| {
        let same = |w: &&&NodeSample| {
            !w.measured.cold && w.children == s.children && w.measured.threads == s.measured.threads
        };
        let warm: Vec<f64> = warm
            .iter()
            .filter(same)
            .map(|w| w.measured.undisturbed_wall_s())
            .collect();
        (!warm.is_empty()).then(|| (s.measured.undisturbed_wall_s() - mean(warm.into_iter())).max(0.0))
    }));
    let lines = [
        fit_of(&|m| m.cpu_s),
        fit_of(&|m| m.peak_bytes as f64),
        fit_of(&|m| m.proof_bytes as f64),
        fit_of(&|m| m.verify_s),
    ];
    let widest = warm.iter().map(|s| s.children).max().unwrap_or(0);
    let laws: Vec<(u32, NodeLaw)> = (1..=widest)
        .map(|children| {
            let same: Vec<&&NodeSample> = warm.iter().filter(|s| s.children == children).collect();
            let or_line = |law: &[f64; FEATURES], value: &dyn Fn(&Measured) -> f64| {
                if same.is_empty() {
                    predict(law, &[1.0, f64::from(children), 0.0])
                } else {
                    mean(same.iter().map(|s| value(&s.measured)))
                }
            };
            let law = NodeLaw {
                work_s: or_line(&work, &|m| m.undisturbed_wall_s() / amdahl(serial, m.threads)),
                serial,
                cpu_s: or_line(&lines[0], &|m| m.cpu_s),
                cold_s,
                // The largest that was seen, with keys to load too: a process must fit it.
                peak_bytes: samples
                    .iter()
                    .filter(|s| s.children == children)
                    .map(|s| s.measured.peak_bytes as f64)
                    .reduce(f64::max)
                    .unwrap_or_else(|| predict(&lines[1], &[1.0, f64::from(children), 0.0])),
                proof_bytes: or_line(&lines[2], &|m| m.proof_bytes as f64),
                verify_s: or_line(&lines[3], &|m| m.verify_s),
            };
            (children, law)
        })
        .collect();
    laws.into_iter()
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}
