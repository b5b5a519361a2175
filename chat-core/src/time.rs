//! Time as an argument: the state machines never ask a clock.

use std::time::Duration;

use crate::ids::Timestamp;

/// One reading of the clocks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the engine started: for waits and timers.
    pub mono: Duration,
    /// The wall clock: what stands in events and replies.
    pub wall: Timestamp,
}

/// How often something happens: a mean that forgets within about [`Rate::WINDOW`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    per_second: f64,
    last: Duration,
}

impl Rate {
    const WINDOW: Duration = Duration::from_millis(100);

    /// Of something that has not happened yet.
    pub(crate) const fn new() -> Self {
        Self { per_second: 0.0, last: Duration::ZERO }
    }

    /// It has happened so many times now.
    #[expect(clippy::cast_precision_loss, reason = "nothing happens 2^53 times at once")]
    pub(crate) fn arrive(&mut self, now: Duration, times: usize) {
        self.per_second = self.at(now) + times as f64 / Self::WINDOW.as_secs_f64();
        self.last = now;
    }

    /// Times a second, where it does not happen now.
    pub(crate) fn at(&self, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.last).as_secs_f64();
        self.per_second * (-elapsed / Self::WINDOW.as_secs_f64()).exp()
    }

    /// Times a second, as of the last time.
    pub(crate) const fn per_second(&self) -> f64 {
        self.per_second
    }
}
