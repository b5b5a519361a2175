//! The two models of a server's processor time, fitted to the steps.

use serde::{Deserialize, Serialize};

use super::{
    fit::{Fit, Point, fit},
    judge::Step,
};
use crate::{
    measurement::{Measurement, ratio},
    scenario::{Plan, Settings},
};

/// A model predicts no further than to so many users.
const USERS_MAX: usize = 1 << 20;

/// Both models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Models {
    /// `c·messages + s·deliveries`, in milliseconds a second: for n users of one room who each say one message a second
    /// `n × (c + s × (n − 1))`.
    pub seed: Model,
    /// With how many users the seed model is at the CPU wall; `None` where it is at none.
    pub seed_breaks_at: Option<usize>,
    /// `a + c·messages + w·writes + b·bytes`, in milliseconds a second.
    pub better: Model,
    /// Who counted writes and bytes.
    pub counted_by: CountedBy,
}

/// A model, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// How it fits.
    pub fit: Option<Fit>,
    /// Why it does not.
    pub missing: Option<String>,
}

/// Who counted the writes to sockets, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountedBy {
    /// The server.
    Server,
    /// The load tool, as the server counts none: its reads stand for the writes, and may be fewer.
    Tool,
}

/// Steps that leave an error of a fit of four coefficients to be seen.
const HELD_MIN: usize = 6;

impl Model {
    fn of(points: &[Point]) -> Self {
        match fit(points) {
            Ok(fit) => Self { fit: Some(fit), missing: None },
            Err(error) => Self { fit: None, missing: Some(error.to_string()) },
        }
    }
}

impl Models {
    /// Fits both to the steps that the server held, as one that is late does other work beside: replays, long queues. Where
    /// they are too few to tell, to all in which the users said what they were asked to.
    pub(super) fn of(steps: &[Step], settings: &Settings, wall_ms_per_s: f64) -> Self {
        let measured = |is_of_use: fn(&Step) -> bool| -> Vec<&Measurement> {
            let of_use = steps.iter().filter(|step| step.is_carried() && is_of_use(step));
            of_use.filter_map(|step| step.measurement.as_ref()).collect()
        };
        let held = measured(Step::is_held);
        let found = if held.len() < HELD_MIN { measured(|_| true) } else { held };
        let counted_by = if found.iter().all(|found| counted(found).is_some()) {
            CountedBy::Server
        } else {
            CountedBy::Tool
        };
        let seed = Model::of(&points(&found, |found| vec![rates(found).0, rates(found).1]));
        let better = Model::of(&points(&found, |found| better(found, counted_by)));
        let at_wall = |fit: &Fit| breaks_at(|users| seed_cost(fit, settings, users), wall_ms_per_s);
        Self { seed_breaks_at: seed.fit.as_ref().and_then(at_wall), seed, better, counted_by }
    }
}

fn points(found: &[&Measurement], factors: impl Fn(&Measurement) -> Vec<f64>) -> Vec<Point> {
    let points = found.iter().filter_map(|found| {
        Some(Point { factors: factors(found), cost: found.server.as_ref()?.cpu_ms_per_s })
    });
    points.collect()
}

/// Messages that were kept, and deliveries, a second.
fn rates(found: &Measurement) -> (f64, f64) {
    let a_second = |count| ratio(count, 1) / found.seconds;
    // Where nothing is acked nobody knows how much was kept.
    let kept = if found.has_acks { found.traffic.acked } else { found.traffic.sent };
    (a_second(kept), a_second(found.traffic.delivered))
}

/// Writes and bytes a second, where the server counts them.
fn counted(found: &Measurement) -> Option<(f64, f64)> {
    let figures = found.figures.as_ref()?;
    Some((figures.writes_per_s?, figures.written_bytes_per_s?))
}

/// What the better model's coefficients are multiplied with.
pub(crate) fn better(found: &Measurement, counted_by: CountedBy) -> Vec<f64> {
    let a_second = |count| ratio(count, 1) / found.seconds;
    let by_tool = || (a_second(found.traffic.reads), a_second(found.traffic.read_bytes));
    let (writes, bytes) = match counted_by {
        CountedBy::Server => counted(found).unwrap_or_else(by_tool),
        CountedBy::Tool => by_tool(),
    };
    vec![1.0, rates(found).0, writes, bytes]
}

/// What so many users would cost by the seed model, in milliseconds a second.
pub(crate) fn seed_cost(fit: &Fit, settings: &Settings, users: usize) -> f64 {
    let plan = Plan::new(&Settings { users, ..settings.clone() });
    let rounds = settings.rate;
    fit.cost(&[rounds * ratio(plan.messages_a_round(), 1), rounds * ratio(plan.deliveries_a_round(), 1)])
}

/// The least number of users who cost so much; what they cost rises with their number.
pub(crate) fn breaks_at(cost: impl Fn(usize) -> f64, wall: f64) -> Option<usize> {
    let mut beyond = 1;
    while cost(beyond) < wall {
        beyond *= 2;
        if beyond > USERS_MAX {
            return None;
        }
    }
    let mut below = beyond / 2;
    while beyond - below > 1 {
        let middle = usize::midpoint(below, beyond);
        if cost(middle) < wall { below = middle } else { beyond = middle }
    }
    Some(beyond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{breaking::scene::measured, scenario::Scenario};

    #[test]
    fn the_model_of_the_original_breaks_where_it_says() {
        // 6 ms a commit and 0.1 ms a send, and 1,600 ms a second on two processors.
        let cost = |users: usize| {
            let n = f64::from(u32::try_from(users).unwrap());
            n * (6.0 + 0.1 * (n - 1.0))
        };
        assert_eq!(breaks_at(cost, 1600.0), Some(101), "it holds 100 just so: 1,590 ms");
        assert_eq!(breaks_at(|_| 0.0, 1600.0), None);
        assert_eq!(breaks_at(|_| 1.0, 1.0), Some(1));
    }

    #[test]
    fn a_server_that_follows_a_model_is_found_to() {
        let steps: Vec<Step> =
            [50, 100, 200, 400, 800, 1600, 2000].map(|users| Step::of(measured(users), None)).into();
        let models = Models::of(&steps, &Settings::new(Scenario::Room), 1600.0);
        assert_eq!(models.counted_by, CountedBy::Server);
        let seed = models.seed.fit.unwrap();
        // 0.2 ms a message and 0.2 us a delivery, and 5 ms for nothing, which the seed model has not.
        assert!((seed.coefficients[1] - 0.0002).abs() < 0.00005, "{seed:?}");
        let breaks_at = models.seed_breaks_at.unwrap();
        assert!((2300..2500).contains(&breaks_at), "{breaks_at}");
        let better = models.better.fit.unwrap();
        assert!((better.coefficients[0] - 5.0).abs() < 0.1 && better.relative_rms < 0.01, "{better:?}");
    }

    #[test]
    fn steps_at_which_the_server_broke_are_left_out_where_there_are_others() {
        let fit = |counts: &[usize]| {
            let mut steps: Vec<Step> = counts.iter().map(|users| Step::of(measured(*users), None)).collect();
            for step in steps.iter_mut().filter(|step| !step.is_held()) {
                step.measurement.as_mut().unwrap().server.as_mut().unwrap().cpu_ms_per_s *= 2.0;
            }
            Models::of(&steps, &Settings::new(Scenario::Room), 1600.0).better.fit.unwrap()
        };
        assert!(fit(&[50, 100, 200, 400, 800, 1600, 3000]).relative_rms < 0.01);
        assert!(fit(&[50, 100, 200, 400, 3000, 4000]).relative_rms > 0.01, "too few held");
    }

    #[test]
    fn the_tools_counts_stand_in_where_one_step_has_none_of_the_servers() {
        let mut steps: Vec<Step> =
            [50, 100, 200, 400, 800, 1600].map(|users| Step::of(measured(users), None)).into();
        steps[3].measurement.as_mut().unwrap().figures = None;
        let models = Models::of(&steps, &Settings::new(Scenario::Room), 1600.0);
        assert_eq!(models.counted_by, CountedBy::Tool);
        assert!(models.better.fit.unwrap().relative_rms < 0.01);
    }

    #[test]
    fn steps_whose_users_could_not_say_what_they_should_are_left_out() {
        let mut steps: Vec<Step> = [50, 100, 200].map(|users| Step::of(measured(users), None)).into();
        for step in &mut steps {
            step.measurement.as_mut().unwrap().traffic.acked /= 2;
        }
        let models = Models::of(&steps, &Settings::new(Scenario::Room), 1600.0);
        assert_eq!((models.seed.fit, models.seed_breaks_at), (None, None));
        assert!(models.better.missing.unwrap().contains("0 points are too few"));
    }
}
