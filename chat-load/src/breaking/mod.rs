//! The search for the number of users at which a server breaks.
//!
//! [`find`] measures one number of users after the other, each at a fresh server where it starts them itself, until the
//! least that breaks it and the largest that it holds are near each other. Of all steps it makes the two models of the
//! server's processor time, says which wall came first, and holds the server's own prediction against what was measured.

mod fit;
mod judge;
mod models;
mod prediction;
#[cfg(test)]
pub(crate) mod scene;
mod search;
mod subject;
mod table;
mod walls;

use std::{
    error::Error,
    ops::ControlFlow,
    pin::pin,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use self::search::Search;
pub use self::{
    fit::{CONDITION_MAX, Fit, FitError, Point, fit},
    judge::{P99_MAX_MS, Reason, Step},
    models::{CountedBy, Model, Models},
    prediction::{PREDICTION_MAX, Prediction},
    search::{Bounds, End},
    subject::Subject,
    table::BreakingTable,
    walls::{CPU_SHARE, CpuShares, FULL_SHARE},
};
pub(crate) use self::{
    models::{better, breaks_at, seed_cost},
    table::{better_text, errors, prediction_text, seed_text, signs, thousands},
};
use crate::{
    host::{Growth, Wall, processors},
    run::Progress,
    scenario::{Scenario, Settings},
    server::MeasureError,
};

/// Where a server breaks, and what is known of the way there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakingPoint {
    /// Whose.
    pub subject: String,
    /// What the users did.
    pub scenario: Scenario,
    /// In which way the load grew.
    pub growth: Growth,
    /// Bytes of each text.
    pub text_bytes: usize,
    /// Messages a second of each user.
    pub rate: f64,
    /// Acks and deliveries that took longer than this after the last send are late.
    pub settle_seconds: f64,
    /// Processors of server and tool.
    pub processors: usize,
    /// What the network carries in a second, where that was said.
    pub link_bits_per_s: Option<f64>,
    /// Why the search ended.
    pub end: End,
    /// How long it took.
    pub seconds: f64,
    /// The least number of users that was too many.
    pub broke: Option<usize>,
    /// The largest number below that which it held.
    pub held: Option<usize>,
    /// What was used up first, of what can be.
    pub first_wall: Option<FirstWall>,
    /// What its processor time is made of.
    pub models: Models,
    /// What the server itself had predicted from half the load, where it predicts something.
    pub prediction: Option<Prediction>,
    /// Everything that was measured, in its order.
    pub steps: Vec<Step>,
}

/// The wall that came first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FirstWall {
    /// Which.
    pub wall: Wall,
    /// How much of it was used, 1 being all of it. Below 1 another sign came first, and this wall is only the nearest.
    pub used: f64,
}

impl BreakingPoint {
    /// Whether a breaking point was found, and the server did nothing that it must not.
    pub const fn is_good(&self) -> bool {
        self.broke.is_some() && matches!(self.end, End::Found | End::Steps | End::Time)
    }

    /// The step at which it broke.
    pub fn breaking_step(&self) -> Option<&Step> {
        let broke = self.broke?;
        self.steps.iter().rev().find(|step| step.users == broke && !step.is_held())
    }

    /// The step that ended the search: that at which it broke, or else the last one where that is why there is none.
    pub fn ending_step(&self) -> Option<&Step> {
        let last = || self.steps.last().filter(|step| !step.is_held());
        self.breaking_step().or_else(last)
    }

    /// The steps by their users, those that were measured twice by their last.
    pub fn steps_by_users(&self) -> Vec<&Step> {
        let mut steps: Vec<&Step> = self.steps.iter().rev().collect();
        steps.sort_by_key(|step| step.users);
        steps.dedup_by_key(|step| step.users);
        steps
    }

    /// What the server did that it must not do, with the number of users at which it did.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &str)> {
        self.steps.iter().flat_map(|step| step.failures.iter().map(|failure| (step.users, failure.as_str())))
    }

    /// Milliseconds of processor time a second that are the CPU wall.
    pub fn cpu_wall_ms_per_s(&self) -> f64 {
        cpu_wall_ms_per_s(self.processors)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of processors")]
pub(crate) fn cpu_wall_ms_per_s(processors: usize) -> f64 {
    CPU_SHARE * 1e3 * processors as f64
}

/// Searches for the breaking point of a server, until it is found or `until` says why it should end.
///
/// # Errors
/// [`MeasureError`]. What a server does wrong is none: see [`BreakingPoint::failures`].
///
/// # Cancel safety
/// Dropping it kills a server that it has started; let `until` end it, and the server is gone before its folder is.
pub async fn find<E: Error + Send + Sync + 'static>(
    subject: &Subject,
    bounds: Bounds,
    time_max: Duration,
    progress: &impl Progress,
    until: impl Future<Output = E>,
) -> Result<BreakingPoint, MeasureError> {
    let mut until = pin!(until);
    let begun = Instant::now();
    let mut way = Way { search: Search::new(bounds), steps: Vec::new(), longest: Duration::ZERO };
    let end = loop {
        let users = match way.search.next() {
            ControlFlow::Break(end) => break end,
            ControlFlow::Continue(users) => users,
        };
        if let ControlFlow::Break(end) = way.time_and_steps(begun, bounds, time_max) {
            break end;
        }
        let step = way.measure(subject, users, progress, until.as_mut()).await?;
        if let ControlFlow::Break(end) = way.take(step) {
            break end;
        }
    };
    let is_known = |step: &Step| step.measurement.as_ref().is_some_and(|found| found.capacity.is_some());
    if let (Some(broke), true) = (way.search.broke(), way.steps.iter().any(is_known)) {
        let half = bounds.rounded(broke / 2);
        let is_there = way.steps.iter().any(|step| prediction::is_near(step, half));
        if !is_there && half < broke && way.time_and_steps(begun, bounds, time_max).is_continue() {
            let step = way.measure(subject, half, progress, until.as_mut()).await?;
            way.steps.push(step);
        }
    }
    way.conclude(subject, end, begun.elapsed())
}

/// A search under way.
struct Way {
    search: Search,
    steps: Vec<Step>,
    longest: Duration,
}

impl Way {
    /// Whether there is time for one more step, as long as the longest was, and a step left.
    fn time_and_steps(&self, begun: Instant, bounds: Bounds, time_max: Duration) -> ControlFlow<End> {
        if self.steps.len() >= bounds.steps_max {
            return ControlFlow::Break(End::Steps);
        }
        if !self.steps.is_empty() && begun.elapsed() + self.longest > time_max {
            return ControlFlow::Break(End::Time);
        }
        ControlFlow::Continue(())
    }

    async fn measure<E: Error + Send + Sync + 'static>(
        &mut self,
        subject: &Subject,
        users: usize,
        progress: &impl Progress,
        until: impl Future<Output = E>,
    ) -> Result<Step, MeasureError> {
        progress.step(self.steps.len() + 1, users);
        let begun = Instant::now();
        let settings = Settings { users, ..subject.settings.clone() };
        let measured = subject.server.measure(&settings, progress, until).await;
        self.longest = self.longest.max(begun.elapsed());
        let has_held = self.steps.iter().any(Step::is_held);
        match measured {
            Ok(found) => Ok(Step::of(found, subject.link_bits_per_s)),
            // Who does not get in with few users does not because of their number.
            Err(MeasureError::Run(error)) if has_held => {
                Ok(Step::not_measured(users, &error, &subject.server))
            }
            Err(error) => Err(error),
        }
    }

    /// What a step tells the search.
    fn take(&mut self, step: Step) -> ControlFlow<End> {
        let end = if !step.failures.is_empty() {
            ControlFlow::Break(End::Failed)
        } else if step.is_held() {
            self.search.hold(step.users, step.used());
            ControlFlow::Continue(())
        } else if step.is_tool_full {
            ControlFlow::Break(End::Tool)
        } else if step.is_doubtful() && !self.steps.iter().any(|other| other.users == step.users) {
            // The search asks for the same number again.
            ControlFlow::Continue(())
        } else {
            self.search.break_at(step.users);
            ControlFlow::Continue(())
        };
        self.steps.push(step);
        end
    }

    fn conclude(self, subject: &Subject, end: End, took: Duration) -> Result<BreakingPoint, MeasureError> {
        let (broke, held) = (self.search.broke(), self.search.held());
        Ok(concluded(subject, self.steps, processors()?, Ended { end, took, broke, held }))
    }
}

/// How a search ended.
#[derive(Clone, Copy)]
struct Ended {
    end: End,
    took: Duration,
    broke: Option<usize>,
    held: Option<usize>,
}

fn concluded(subject: &Subject, steps: Vec<Step>, processors: usize, ended: Ended) -> BreakingPoint {
    let settings = &subject.settings;
    let growth = subject.growth();
    let mut point = BreakingPoint {
        subject: subject.name.clone(),
        scenario: settings.scenario,
        growth,
        text_bytes: settings.text_bytes,
        rate: settings.rate,
        settle_seconds: settings.settle.as_secs_f64(),
        processors,
        link_bits_per_s: subject.link_bits_per_s,
        end: ended.end,
        seconds: ended.took.as_secs_f64(),
        broke: ended.broke,
        held: ended.held,
        first_wall: None,
        models: Models::of(&steps, settings, cpu_wall_ms_per_s(processors)),
        prediction: None,
        steps,
    };
    point.first_wall = point.breaking_step().and_then(first_wall);
    point.prediction = point.broke.and_then(|broke| Prediction::of(&point.steps, broke, growth));
    point
}

/// What comes of measurements that are made up.
#[cfg(test)]
pub(crate) fn made_up(
    name: &str,
    settings: &Settings,
    found: Vec<crate::Measurement>,
    held: Option<usize>,
    broke: Option<usize>,
) -> BreakingPoint {
    let server =
        crate::Server::Running { target: std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into(), pid: None };
    let subject =
        Subject { name: name.to_owned(), settings: settings.clone(), server, link_bits_per_s: None };
    let steps = found.into_iter().map(|found| Step::of(found, None)).collect();
    let end = if broke.is_some() { End::Found } else { End::Unbroken };
    concluded(&subject, steps, 2, Ended { end, took: Duration::from_secs(100), broke, held })
}

/// Of the walls that are known the one of which the most was used.
fn first_wall(step: &Step) -> Option<FirstWall> {
    let most = step.walls.iter().max_by(|one, other| one.1.total_cmp(other.1))?;
    Some(FirstWall { wall: *most.0, used: *most.1 })
}
