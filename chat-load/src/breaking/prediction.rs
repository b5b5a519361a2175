//! What a server said of its breaking point, against what was measured.

use serde::{Deserialize, Serialize};

use super::judge::Step;
use crate::{
    host::{Growth, Wall},
    measurement::ratio,
};

/// A prediction is met where it is off by no more than this share of what was measured.
pub const PREDICTION_MAX: f64 = 0.25;

/// So near half the breaking point a step need not be measured again.
const NEAR_HALF: f64 = 0.1;

/// What the server predicted from about half the load that broke it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// With so many users.
    pub at_users: usize,
    /// With how many it would break; `None` where it did not know.
    pub predicted: Option<f64>,
    /// With how many it broke.
    pub measured: usize,
    /// By which share of what was measured the prediction was off; more than 0 where it was too high.
    pub error: Option<f64>,
    /// Whether that is no more than [`PREDICTION_MAX`].
    pub is_met: bool,
    /// The share of what it can bear that it said was unused.
    pub headroom_ratio: Option<f64>,
    /// What it said it would run out of first.
    pub first_wall: Option<Wall>,
}

impl Prediction {
    /// `None` where the server predicts nothing at all.
    pub(super) fn of(steps: &[Step], broke: usize, growth: Growth) -> Option<Self> {
        let predicting = steps.iter().filter(|step| step.users < broke && capacity(step).is_some());
        let step = predicting.min_by_key(|step| (step.users * 2).abs_diff(broke))?;
        let capacity = capacity(step)?;
        let predicted = capacity.breaking(growth);
        let measured = ratio(broke as u64, 1);
        let error = predicted.map(|predicted| (predicted - measured) / measured);
        Some(Self {
            at_users: step.users,
            predicted,
            measured: broke,
            error,
            is_met: error.is_some_and(|error| error.abs() <= PREDICTION_MAX),
            headroom_ratio: capacity.headroom_ratio,
            first_wall: capacity.first_wall,
        })
    }
}

/// Whether a step with about so many users is there already.
pub(super) fn is_near(step: &Step, users: usize) -> bool {
    capacity(step).is_some() && ratio(step.users.abs_diff(users) as u64, users.max(1) as u64) <= NEAR_HALF
}

fn capacity(step: &Step) -> Option<&crate::host::Capacity> {
    step.measurement.as_ref()?.capacity.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{breaking::scene::measured, host::Capacity};

    fn step(users: usize, breaking: Option<f64>) -> Step {
        let mut found = measured(users);
        found.capacity = Some(Capacity { breaking_by_members: breaking, ..Capacity::default() });
        Step::of(found, None)
    }

    #[test]
    fn the_prediction_nearest_to_half_the_load_counts() {
        let steps = [step(100, None), step(1700, Some(3000.0)), step(1900, Some(9000.0)), step(3000, None)];
        let found = Prediction::of(&steps, 3500, Growth::Members).unwrap();
        assert_eq!((found.at_users, found.predicted, found.measured), (1700, Some(3000.0), 3500));
        assert!(found.is_met && (found.error.unwrap() + 1.0 / 7.0).abs() < 1e-9, "{found:?}");
        assert!(!Prediction::of(&steps, 3800, Growth::Members).unwrap().is_met, "9,000 is far off");
        assert!(is_near(&steps[1], 1750) && !is_near(&steps[1], 2000));
    }

    #[test]
    fn who_does_not_know_has_missed_and_who_does_not_predict_has_not() {
        let found = Prediction::of(&[step(100, Some(150.0))], 200, Growth::Rooms).unwrap();
        assert_eq!((found.predicted, found.error, found.is_met), (None, None, false));
        assert_eq!(Prediction::of(&[Step::of(measured(100), None)], 200, Growth::Rooms), None);
    }
}
