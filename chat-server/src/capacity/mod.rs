//! What the server can bear, by what it does and what that takes of it.
//!
//! The server fits `CPU = a + c × messages + w × writes + b × bytes` to itself ([`fit`]) and asks of each wall (processors,
//! commits, links, memory, descriptors) at how many connections it is met, where more come into the same rooms and where
//! more such rooms come ([`forecast`]). What it does is counted ([`load`], [`traffic`]); what it takes the system says
//! ([`machine`]).

mod fit;
mod forecast;
mod load;
mod machine;
#[cfg(test)]
mod tests;
mod traffic;

use std::time::Duration;

use chat_core::{Tally, limits::Gathering};
use metrics::{Gauge, Unit, describe_gauge, gauge};

pub(crate) use self::traffic::{closed, describe as describe_traffic, opened, tell as tell_traffic, wrote};
use self::{
    forecast::{Forecast, Forecaster, Growth, Wall},
    load::{Load, Totals},
};

/// A server's reckoning of itself. It is told the time and what the engine has done; the rest it looks up.
#[derive(Debug)]
pub(crate) struct Capacity {
    forecaster: Forecaster,
    before: Totals,
    figures: Figures,
}

impl Capacity {
    /// Begins at `now`, for a server that takes so many connections.
    pub(crate) fn begin(now: Duration, tally: Tally, connections_max: usize, gathering: Gathering) -> Self {
        let bounds = machine::bounds();
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 connections")]
        let connections_max = (connections_max < usize::MAX).then_some(connections_max as f64);
        tracing::debug!(?bounds, "what the server may use");
        if bounds.memory_bytes.is_none() || machine::processors().is_none() {
            tracing::info!("the system does not tell what the server needs to forecast all that it can bear");
        }
        Self {
            forecaster: Forecaster::new(bounds, connections_max, gathering),
            before: Totals::now(now, tally),
            figures: Figures::new(),
        }
    }

    /// Reckons with what was done since the last time.
    pub(crate) fn reckon(&mut self, now: Duration, tally: Tally) {
        let after = Totals::now(now, tally);
        let Some(load) = Load::between(&self.before, &after) else { return };
        self.before = after;
        self.forecaster.learn(&load);
        let forecast = self.forecaster.forecast();
        tracing::trace!(?load, ?forecast, "reckoned");
        self.figures.show(forecast.as_ref());
    }
}

/// How busy the processors were between two looks.
#[derive(Debug)]
pub(crate) struct Business {
    processors: f64,
    at: Duration,
    own_cpu: Duration,
    machine: Option<machine::Processors>,
}

impl Business {
    pub(crate) fn begin(now: Duration) -> Self {
        let processors = machine::bounds().processors;
        Self { processors, at: now, own_cpu: machine::own_cpu(), machine: machine::processors() }
    }

    /// The shares of the server's processors that it used since the last look, and of the machine's that were used.
    pub(crate) fn look(&mut self, now: Duration) -> (f64, Option<f64>) {
        let after = Self {
            processors: self.processors,
            at: now,
            own_cpu: machine::own_cpu(),
            machine: machine::processors(),
        };
        let seconds = after.at.saturating_sub(self.at).as_secs_f64();
        let own = after.own_cpu.saturating_sub(self.own_cpu).as_secs_f64() / self.processors;
        let machine = self.machine.zip(after.machine).and_then(|(before, after)| {
            let all = after.all_ticks - before.all_ticks;
            (all > 0.0).then(|| (after.busy_ticks - before.busy_ticks) / all)
        });
        *self = after;
        (if seconds > 0.0 { own / seconds } else { 0.0 }, machine)
    }
}

/// What is shown of it.
struct Figures {
    headroom: Gauge,
    breaking: [Gauge; 2],
    first: [Gauge; 5],
    used: [Gauge; 5],
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

impl Figures {
    fn new() -> Self {
        describe();
        let by_wall = |name: &'static str| Wall::ALL.map(|wall| gauge!(name, "wall" => wall.name()));
        let figures = Self {
            headroom: gauge!("chat_capacity_headroom_ratio"),
            breaking: Growth::ALL
                .map(|growth| gauge!("chat_capacity_breaking_connections", "growth" => growth.name())),
            first: by_wall("chat_capacity_first_wall"),
            used: by_wall("chat_capacity_wall_ratio"),
        };
        figures.show(None);
        figures
    }

    fn show(&self, forecast: Option<&Forecast>) {
        self.headroom.set(forecast.map_or(f64::NAN, |forecast| forecast.headroom));
        for (i, gauge) in self.breaking.iter().enumerate() {
            gauge.set(forecast.map_or(f64::NAN, |forecast| forecast.breaking[i]));
        }
        for (i, wall) in Wall::ALL.into_iter().enumerate() {
            let is_first = forecast.is_some_and(|forecast| forecast.first == wall);
            self.first[i].set(f64::from(u8::from(is_first)));
            self.used[i].set(forecast.and_then(|forecast| forecast.used[i]).unwrap_or(f64::NAN));
        }
    }
}

/// Says what the figures mean.
fn describe() {
    describe_gauge!(
        "chat_capacity_headroom_ratio",
        "The share of what the server can bear of the present mix that is not used; NaN until it is known."
    );
    describe_gauge!(
        "chat_capacity_breaking_connections",
        Unit::Count,
        "Connections at which the server is taken to break, where more come into the same rooms (members) or into more \
         rooms like these (rooms); NaN until it is known."
    );
    describe_gauge!(
        "chat_capacity_first_wall",
        "1 for what it is taken to break at first, 0 for the others."
    );
    describe_gauge!(
        "chat_capacity_wall_ratio",
        "How much of what it can break at is used; NaN where that is not known."
    );
}
