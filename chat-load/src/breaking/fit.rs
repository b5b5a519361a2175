//! What a server's processor time is made of, by least squares.

use nalgebra::{DMatrix, DVector, SVD};
use serde::{Deserialize, Serialize};

/// Singular values below this share of the largest are none: what they would tell is rounding.
const RANK_SHARE: f64 = 1e-9;

/// A model may be worse by this much of its error, and take fewer coefficients for it: what costs nothing measurable, or
/// cannot be told from something else, is left out.
const WORSE_MAX: f64 = 1.001;

/// Whole numbers of coefficients: each set of them is tried.
const COEFFICIENTS_MAX: usize = 6;

/// What is known of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What the coefficients are multiplied with, in their order.
    pub factors: Vec<f64>,
    /// What came of it: more than 0.
    pub cost: f64,
}

/// A model, and how well it fits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// None is below 0.
    pub coefficients: Vec<f64>,
    /// To how many points.
    pub points: usize,
    /// The root of the mean square of the relative errors.
    pub relative_rms: f64,
    /// The share of the costs' variance that the model explains: 1 is all of it. Below 0 their mean were a better model.
    pub r_squared: f64,
    /// The condition number of what the coefficients are multiplied with, each scaled to the same length. Past 30 some
    /// rose so much together that nobody can tell which of them the cost came from (Belsley, Kuh and Welsch, Regression
    /// Diagnostics, 1980); `None` where it is infinite.
    pub condition: Option<f64>,
}

/// Past this the coefficients cannot be told apart.
pub const CONDITION_MAX: f64 = 30.0;

impl Fit {
    /// Whether the coefficients by themselves mean something, and not only their sum.
    pub fn is_told_apart(&self) -> bool {
        self.condition.is_some_and(|condition| condition <= CONDITION_MAX)
    }

    /// What this would cost.
    pub fn cost(&self, factors: &[f64]) -> f64 {
        self.coefficients.iter().zip(factors).map(|(coefficient, factor)| coefficient * factor).sum()
    }
}

/// There is no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FitError {
    /// As many coefficients as points fit always, and say nothing.
    #[error("{points} points are too few for {coefficients} coefficients")]
    Few {
        /// What there is.
        points: usize,
        /// What was wanted.
        coefficients: usize,
    },
    /// The points are no such numbers, or without one that matters.
    #[error("the points are no numbers to fit to")]
    Numbers,
}

/// Finds the coefficients, none of them below 0, for which the sum of the squares of the relative errors is the least.
///
/// Relative, as the costs of a small load say as much of the coefficients as those of a large one, whose errors are
/// larger. No coefficient is below 0, as nothing gives processor time back: of all sets of coefficients that come out so by
/// ordinary least squares the best is taken, which is what other methods for non-negative least squares search for.
///
/// # Errors
/// [`FitError`].
pub fn fit(points: &[Point]) -> Result<Fit, FitError> {
    let Some(first) = points.first() else { return Err(FitError::Few { points: 0, coefficients: 1 }) };
    let count = first.factors.len();
    let are_numbers = points.iter().all(|point| {
        let factors = &point.factors;
        let are_finite = factors.len() == count && factors.iter().all(|factor| factor.is_finite());
        are_finite && point.cost.is_finite() && point.cost > 0.0
    });
    if !are_numbers || !(1..=COEFFICIENTS_MAX).contains(&count) {
        return Err(FitError::Numbers);
    }
    if points.len() <= count {
        return Err(FitError::Few { points: points.len(), coefficients: count });
    }
    let relative =
        DMatrix::from_fn(points.len(), count, |row, column| points[row].factors[column] / points[row].cost);
    let scales: Vec<f64> = relative.column_iter().map(|column| column.norm()).collect();
    let scaled = DMatrix::from_fn(points.len(), count, |row, column| match scales[column] {
        0.0 => 0.0,
        scale => relative[(row, column)] / scale,
    });
    let best = best_set(&scaled).ok_or(FitError::Numbers)?;
    let coefficients =
        best.iter().zip(&scales).map(|(value, scale)| if *scale == 0.0 { 0.0 } else { value / scale });
    Ok(judged(coefficients.collect(), points, condition(&scaled)))
}

/// The best set of coefficients that are not below 0: of those that are as good as the best, the smallest.
fn best_set(scaled: &DMatrix<f64>) -> Option<Vec<f64>> {
    let count = scaled.ncols();
    let mut sets: Vec<(usize, f64, Vec<f64>)> = Vec::new();
    for set in 1_u32..1 << count {
        let columns: Vec<usize> = (0..count).filter(|column| set >> column & 1 == 1).collect();
        if let Some((error, values)) = solved(scaled, &columns) {
            sets.push((columns.len(), error, values));
        }
    }
    let least = sets.iter().map(|(_, error, _)| *error).min_by(f64::total_cmp)?;
    // The squares are of numbers around 1: below this they are rounding.
    let enough = (least * WORSE_MAX).max(1e-18);
    let good = sets.into_iter().filter(|(_, error, _)| *error <= enough);
    let best =
        good.min_by(|one, other| (one.0, one.1).partial_cmp(&(other.0, other.1)).expect("all are numbers"));
    best.map(|(_, _, values)| values)
}

/// The values of these columns, the others being 0, and the square of their error. `None` where some are below 0, or
/// where the columns do not tell them.
fn solved(scaled: &DMatrix<f64>, columns: &[usize]) -> Option<(f64, Vec<f64>)> {
    let chosen = scaled.select_columns(columns);
    let svd = SVD::new(chosen.clone(), true, true);
    let eps = svd.singular_values.max() * RANK_SHARE;
    if svd.rank(eps) < columns.len() {
        return None;
    }
    let ones = DVector::from_element(scaled.nrows(), 1.0);
    let found = svd.solve(&ones, eps).ok()?;
    if found.iter().any(|value| *value < 0.0 || !value.is_finite()) {
        return None;
    }
    let error = (chosen * &found - ones).norm_squared();
    let mut values = vec![0.0; scaled.ncols()];
    for (column, value) in columns.iter().zip(found.iter()) {
        values[*column] = *value;
    }
    Some((error, values))
}

fn condition(scaled: &DMatrix<f64>) -> Option<f64> {
    let values = scaled.clone().singular_values();
    let (least, most) = (values.min(), values.max());
    (least > most * RANK_SHARE).then(|| most / least)
}

#[expect(clippy::cast_precision_loss, reason = "a number of steps")]
fn judged(coefficients: Vec<f64>, points: &[Point], condition: Option<f64>) -> Fit {
    let mut fit = Fit { coefficients, points: points.len(), relative_rms: 0.0, r_squared: 0.0, condition };
    let count = points.len() as f64;
    let mean = points.iter().map(|point| point.cost).sum::<f64>() / count;
    let (mut relative, mut unexplained, mut all) = (0.0, 0.0, 0.0);
    for point in points {
        let error = fit.cost(&point.factors) - point.cost;
        relative += (error / point.cost).powi(2);
        unexplained += error.powi(2);
        all += (point.cost - mean).powi(2);
    }
    fit.relative_rms = (relative / count).sqrt();
    // Where all costs are the same there is nothing to explain.
    fit.r_squared = if all > 0.0 { 1.0 - unexplained / all } else { 0.0 };
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What n users in one room cost, by the coefficients.
    fn points(coefficients: [f64; 4], noise: f64) -> Vec<Point> {
        let users = [20.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3000.0, 3500.0];
        let points = users.iter().enumerate().map(|(at, n): (usize, &f64)| {
            // Writes gather as the room grows.
            let factors = vec![1.0, *n, n * (n - 1.0) / (1.0 + n / 50.0), 306.0 * n * (n - 1.0)];
            let cost: f64 = factors.iter().zip(coefficients).map(|(factor, each)| factor * each).sum();
            let sign = if at.is_multiple_of(2) { 1.0 } else { -1.0 };
            Point { factors, cost: cost * (1.0 + sign * noise) }
        });
        points.collect()
    }

    fn near(found: f64, wanted: f64, share: f64) -> bool {
        (found - wanted).abs() <= wanted.abs() * share
    }

    #[test]
    fn coefficients_that_are_known_are_found() {
        let wanted = [3.0, 0.05, 0.003, 1e-7];
        let found = fit(&points(wanted, 0.0)).unwrap();
        for (found, wanted) in found.coefficients.iter().zip(wanted) {
            assert!(near(*found, wanted, 1e-6), "{found} is not {wanted}");
        }
        assert!(found.relative_rms < 1e-9 && found.r_squared > 1.0 - 1e-9, "{found:?}");
    }

    #[test]
    fn noise_shows_as_error_and_moves_the_coefficients_little() {
        let found = fit(&points([3.0, 0.05, 0.003, 1e-7], 0.05)).unwrap();
        assert!((0.02..0.06).contains(&found.relative_rms), "{found:?}");
        assert!((0.98..1.0).contains(&found.r_squared), "{found:?}");
        assert!(near(found.coefficients[2], 0.003, 0.3), "{found:?}");
        assert!(found.coefficients.iter().all(|value| *value >= 0.0));
    }

    #[test]
    fn nothing_gives_time_back() {
        // The best by ordinary least squares would have a negative first coefficient.
        let points: Vec<Point> = [(1.0, 1.0), (2.0, 2.5), (4.0, 5.5), (8.0, 11.5)]
            .map(|(n, cost)| Point { factors: vec![1.0, n], cost })
            .into();
        let found = fit(&points).unwrap();
        assert!(found.coefficients[0].abs() < 1e-12 && found.coefficients[1] > 1.0, "{found:?}");
    }

    #[test]
    fn what_rises_together_is_not_told_apart() {
        let points: Vec<Point> =
            [10.0, 20.0, 40.0, 80.0].map(|n| Point { factors: vec![n, 3.0 * n], cost: 2.0 * n }).into();
        let found = fit(&points).unwrap();
        assert!(!found.is_told_apart(), "{found:?}");
        assert_eq!(
            found.coefficients.iter().filter(|value| **value > 0.0).count(),
            1,
            "one of them is enough"
        );
        assert!(near(found.cost(&[100.0, 300.0]), 200.0, 1e-9), "their sum is known");
    }

    #[test]
    fn what_never_happened_costs_nothing() {
        let points: Vec<Point> =
            [10.0, 20.0, 40.0].map(|n| Point { factors: vec![n, 0.0], cost: 2.0 * n }).into();
        let found = fit(&points).unwrap();
        assert!(near(found.coefficients[0], 2.0, 1e-9) && found.coefficients[1] == 0.0, "{found:?}");
        assert_eq!(found.condition, None);
    }

    #[test]
    fn points_that_say_nothing_are_refused() {
        let few = points([1.0, 1.0, 1.0, 1.0], 0.0)[..4].to_vec();
        assert_eq!(fit(&few), Err(FitError::Few { points: 4, coefficients: 4 }));
        assert_eq!(fit(&[]), Err(FitError::Few { points: 0, coefficients: 1 }));
        for cost in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let points = vec![Point { factors: vec![1.0], cost }; 3];
            assert_eq!(fit(&points), Err(FitError::Numbers), "{cost}");
        }
        let nothing = vec![Point { factors: vec![0.0], cost: 1.0 }; 3];
        assert_eq!(fit(&nothing), Err(FitError::Numbers));
        let uneven =
            vec![Point { factors: vec![1.0], cost: 1.0 }, Point { factors: vec![1.0, 2.0], cost: 1.0 }];
        assert_eq!(fit(&uneven), Err(FitError::Numbers));
    }
}
