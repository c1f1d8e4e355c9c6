//! Least squares of relative errors, with coefficients that are not negative.
//!
//! Costs are sums of parts that each take something: a negative part would fit a handful of
//! measurements better, and say nonsense a little beyond them. There are at most three features, so
//! every choice of those that count is tried, which finds the optimum (a face of the cone) without
//! an iteration.

/// Features of a measurement: a constant and two more.
pub(super) const FEATURES: usize = 3;

/// One measurement: its features, and the measured value, which is positive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub features: [f64; FEATURES],
    pub value: f64,
}

/// The coefficients with the least sum of squared relative errors, and that sum.
pub(super) fn fit(rows: &[Row]) -> ([f64; FEATURES], f64) {
    let mut best = ([0.0; FEATURES], f64::INFINITY);
    for chosen in 1u32..1 << FEATURES {
        let places: Vec<usize> = (0..FEATURES).filter(|place| chosen & (1 << place) != 0).collect();
        let Some(solution) = solve(rows, &places) else {
            continue;
        };
        if solution.iter().any(|&coefficient| coefficient < 0.0) {
            continue;
        }
        let mut coefficients = [0.0; FEATURES];
        for (place, value) in places.iter().zip(solution) {
            coefficients[*place] = value;
        }
        let error = rows.iter().map(|row| relative(&coefficients, row).powi(2)).sum();
        // Fewer features come first, and more have to be worth it.
        if error < best.1 * (1.0 - 1e-9) {
            best = (coefficients, error);
        }
    }
    best
}

pub(super) fn predict(coefficients: &[f64; FEATURES], features: &[f64; FEATURES]) -> f64 {
    coefficients.iter().zip(features).map(|(c, f)| c * f).sum()
}

fn relative(coefficients: &[f64; FEATURES], row: &Row) -> f64 {
    predict(coefficients, &row.features) / row.value - 1.0
}

/// The normal equations over the features at `places`, by Gaussian elimination with pivots; none
/// where the features do not tell these apart.
fn solve(rows: &[Row], places: &[usize]) -> Option<Vec<f64>> {
    let count = places.len();
    // Features differ by orders of magnitude; scaled to one, a small pivot means dependence.
    let scale: Vec<f64> = places
        .iter()
        .map(|&place| {
            let squares = rows.iter().map(|row| (row.features[place] / row.value).powi(2));
            squares.sum::<f64>().sqrt()
        })
        .collect();
    if scale.iter().any(|&scale| scale.is_nan() || scale <= 0.0) {
        return None;
    }
    let mut matrix = vec![vec![0.0; count + 1]; count];
    for row in rows {
        let of = |i: usize| row.features[places[i]] / row.value / scale[i];
        for (i, equation) in matrix.iter_mut().enumerate() {
            for (j, cell) in equation[..count].iter_mut().enumerate() {
                *cell += of(i) * of(j);
            }
            equation[count] += of(i);
        }
    }
    for column in 0..count {
        let pivot =
            (column..count).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        if matrix[pivot][column].abs() < 1e-9 {
            return None;
        }
        matrix.swap(column, pivot);
        let pivot_row = matrix[column].clone();
        for (index, other) in matrix.iter_mut().enumerate() {
            if index != column {
                let factor = other[column] / pivot_row[column];
                other
                    .iter_mut()
                    .zip(&pivot_row)
                    .for_each(|(cell, pivot)| *cell -= factor * pivot);
            }
        }
    }
    Some(
        (0..count)
            .map(|i| matrix[i][count] / matrix[i][i] / scale[i])
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(law: impl Fn([f64; 3]) -> f64) -> Vec<Row> {
        [(1.0, 8.0), (2.0, 8.0), (3.0, 16.0), (5.0, 16.0), (9.0, 64.0)]
            .map(|(a, b)| [1.0, a, b])
            .map(|features| Row {
                features,
                value: law(features),
            })
            .to_vec()
    }

    #[test]
    fn a_law_is_found_again() {
        let ([a, b, c], error) = fit(&rows(|[one, x, y]| 3.0 * one + 2.0 * x + 0.25 * y));
        assert!((a - 3.0).abs() < 1e-6 && (b - 2.0).abs() < 1e-6 && (c - 0.25).abs() < 1e-6);
        assert!(error < 1e-12);
    }

    #[test]
    fn no_coefficient_is_negative_and_none_beside_it_fits_better() {
        let rows = rows(|[one, x, y]| 30.0 * one - 2.0 * x + 0.1 * y);
        let (found, error) = fit(&rows);
        assert!(found.iter().all(|&c| c >= 0.0));
        // The problem is convex: no better neighbour means no better solution.
        for place in 0..FEATURES {
            for step in [-1e-4, 1e-4] {
                let mut other = found;
                other[place] = (other[place] + step).max(0.0);
                let sum: f64 = rows.iter().map(|row| relative(&other, row).powi(2)).sum();
                assert!(sum >= error - 1e-12, "{found:?} {other:?}");
            }
        }
    }

    #[test]
    fn one_measurement_is_enough_for_a_constant() {
        let row = Row {
            features: [1.0, 5.0, 5.0],
            value: 7.0,
        };
        let (found, error) = fit(&[row]);
        assert!((predict(&found, &row.features) - 7.0).abs() < 1e-9 && error < 1e-12);
    }
}
