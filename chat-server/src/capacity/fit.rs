//! Least squares for what a server measures of itself.

use std::collections::VecDeque;

/// What makes up a measured sum, and what each part is taken to cost as long as nothing better is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Priors<const N: usize> {
    /// Of one unit of each part.
    pub costs: [f64; N],
    /// How far off each may be, as a share of it.
    pub doubt: [f64; N],
    /// What a measured sum may be off without any reason.
    pub noise: f64,
}

/// Fits `sum = Σ costᵢ × partᵢ` to the last samples, with costs that are never negative.
///
/// It is a ridge towards the priors, over samples that count ever less: where the parts have never moved apart, as at one
/// constant load, samples tell nothing but the sum, and the priors how it divides. Without them any division would do, and
/// a prediction for another load could be anything.
#[derive(Debug, Clone)]
pub(super) struct Fit<const N: usize> {
    priors: Priors<N>,
    samples: VecDeque<([f64; N], f64)>,
    /// The costs, as multiples of the priors.
    factors: [f64; N],
}

/// Samples that are kept: five minutes at one a second. The oldest of them counts a thirtieth of the newest.
const SAMPLES_MAX: usize = 300;

/// Samples after which one counts half.
const HALF_LIFE: f64 = 60.0;

/// A measured sum may be off by this share of it.
const NOISE_SHARE: f64 = 0.1;

/// Rounds over all costs. What a round leaves of the error is one part in a hundred less at the worst, and each fit begins
/// where the one before ended.
const ROUNDS: usize = 300;

impl<const N: usize> Fit<N> {
    pub(super) const fn new(priors: Priors<N>) -> Self {
        Self { priors, samples: VecDeque::new(), factors: [1.0; N] }
    }

    /// What one unit of each part costs.
    pub(super) fn costs(&self) -> [f64; N] {
        std::array::from_fn(|i| self.priors.costs[i] * self.factors[i])
    }

    /// The sum of these parts.
    pub(super) fn predict(&self, parts: &[f64; N]) -> f64 {
        self.costs().iter().zip(parts).map(|(cost, part)| cost * part).sum()
    }

    /// Takes one more sample.
    pub(super) fn learn(&mut self, parts: [f64; N], sum: f64) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((parts, sum));
        self.solve();
    }

    /// Minimises the weighted squares over the factors, one after the other, each held at zero from below: the sequential
    /// coordinate-wise algorithm for non-negative least squares (Franc, Hlaváč and Navara, CAIP 2005).
    fn solve(&mut self) {
        let (matrix, right) = self.normal_equations();
        for _ in 0..ROUNDS {
            for i in 0..N {
                let others: f64 = (0..N).filter(|j| *j != i).map(|j| matrix[i][j] * self.factors[j]).sum();
                self.factors[i] = ((right[i] - others) / matrix[i][i]).max(0.0);
            }
        }
    }

    /// In factors of the priors, so that all are of one size, and with the ridge: a factor is 1, give or take its doubt.
    fn normal_equations(&self) -> ([[f64; N]; N], [f64; N]) {
        let mut matrix = [[0.0; N]; N];
        let mut right = [0.0; N];
        for i in 0..N {
            let trust = 1.0 / (self.priors.doubt[i] * self.priors.doubt[i]);
            matrix[i][i] = trust;
            right[i] = trust;
        }
        let fading = 0.5_f64.powf(1.0 / HALF_LIFE);
        let mut weight = 1.0;
        for (parts, sum) in self.samples.iter().rev() {
            let noise = self.priors.noise + NOISE_SHARE * sum;
            let scaled: [f64; N] = std::array::from_fn(|i| parts[i] * self.priors.costs[i] / noise);
            for i in 0..N {
                right[i] += weight * scaled[i] * sum / noise;
                for j in 0..N {
                    matrix[i][j] += weight * scaled[i] * scaled[j];
                }
            }
            weight *= fading;
        }
        (matrix, right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIORS: Priors<4> =
        Priors { costs: [20.0, 0.025, 0.0035, 2e-7], doubt: [1.0, 0.5, 0.5, 0.5], noise: 10.0 };

    /// What a server of these costs takes for a load, as far off as measurements are.
    fn measured(costs: [f64; 4], parts: [f64; 4], rng: &mut fastrand::Rng) -> f64 {
        let sum: f64 = costs.iter().zip(parts).map(|(cost, part)| cost * part).sum();
        sum * (0.95 + 0.1 * rng.f64())
    }

    /// A room of so many, each of whom says something once a second.
    fn room(members: f64) -> [f64; 4] {
        [1.0, members, members * 1000.0 / (28.0 + 0.026 * members), members * members * 306.0]
    }

    fn is_near(value: f64, expected: f64, share: f64) -> bool {
        (value - expected).abs() <= share * expected
    }

    #[test]
    fn loads_that_vary_give_the_costs_away() {
        let mut rng = fastrand::Rng::with_seed(1);
        let costs = [60.0, 0.06, 0.005, 1.2e-7];
        let mut fit = Fit::new(PRIORS);
        for _ in 0..SAMPLES_MAX {
            let parts = [1.0, 5000.0 * rng.f64(), 50_000.0 * rng.f64(), 2e9 * rng.f64()];
            fit.learn(parts, measured(costs, parts, &mut rng));
        }
        // What is there without any load is small against the noise of the rest.
        for ((fitted, cost), share) in fit.costs().into_iter().zip(costs).zip([0.3, 0.1, 0.1, 0.1]) {
            assert!(is_near(fitted, cost, share), "{:?} for {costs:?}", fit.costs());
        }
    }

    #[test]
    fn a_constant_load_gives_the_sum_away_and_the_priors_how_it_divides() {
        let mut rng = fastrand::Rng::with_seed(2);
        for factor in [0.6, 1.0, 1.7, 2.5] {
            let costs = PRIORS.costs.map(|cost| cost * factor);
            let mut fit = Fit::new(PRIORS);
            for _ in 0..60 {
                fit.learn(room(1500.0), measured(costs, room(1500.0), &mut rng));
            }
            let sum = |members| costs.iter().zip(room(members)).map(|(cost, part)| cost * part).sum::<f64>();
            assert!(is_near(fit.predict(&room(1500.0)), sum(1500.0), 0.03), "{factor}");
            assert!(is_near(fit.predict(&room(3000.0)), sum(3000.0), 0.15), "{factor}: {:?}", fit.costs());
        }
    }

    #[test]
    fn no_cost_is_negative_and_what_costs_nothing_shows() {
        let mut rng = fastrand::Rng::with_seed(3);
        let costs = [5.0, 0.1, 0.0, 0.0];
        let mut fit = Fit::new(PRIORS);
        for _ in 0..SAMPLES_MAX {
            let parts = [1.0, 5000.0 * rng.f64(), 50_000.0 * rng.f64(), 2e9 * rng.f64()];
            fit.learn(parts, measured(costs, parts, &mut rng));
        }
        assert!(fit.costs().iter().all(|cost| *cost >= 0.0));
        assert!(fit.costs()[2] < 0.1 * PRIORS.costs[2] && fit.costs()[3] < 0.1 * PRIORS.costs[3]);
        assert!(is_near(fit.costs()[1], 0.1, 0.05), "{:?}", fit.costs());
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let mut rng = fastrand::Rng::with_seed(4);
        let mut fit = Fit::new(PRIORS);
        let dearer = PRIORS.costs.map(|cost| cost * 2.0);
        for costs in [dearer, PRIORS.costs] {
            for _ in 0..SAMPLES_MAX {
                let parts = room(500.0 + 1500.0 * rng.f64());
                fit.learn(parts, measured(costs, parts, &mut rng));
            }
        }
        assert_eq!(fit.samples.len(), SAMPLES_MAX);
        let sum: f64 = PRIORS.costs.iter().zip(room(2000.0)).map(|(cost, part)| cost * part).sum();
        assert!(is_near(fit.predict(&room(2000.0)), sum, 0.03));
    }

    #[test]
    fn without_samples_the_priors_hold_and_nothing_at_all_is_no_trouble() {
        let mut fit = Fit::new(PRIORS);
        assert!(fit.costs().into_iter().zip(PRIORS.costs).all(|(cost, prior)| is_near(cost, prior, 1e-9)));
        for _ in 0..10 {
            fit.learn([1.0, 0.0, 0.0, 0.0], 0.0);
        }
        assert!(fit.costs().iter().all(|cost| cost.is_finite() && *cost >= 0.0));
    }
}
